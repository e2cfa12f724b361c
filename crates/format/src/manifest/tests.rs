use super::*;
use crate::container::{TABLE_NAME_BYTES_MAX, TableKind};
use proptest::{collection::vec, prelude::*};
use prunedb_core::TableId;

pub(crate) fn any_stream() -> impl Strategy<Value = StreamEntry> {
    let max = CONTAINER_BYTES_MAX as u64;
    let shape = (0u8..3, any::<u32>(), 2usize..20, 1usize..20, any::<u32>(), any::<u32>());
    let rest = (any::<u32>(), any::<u64>(), 0..=max, 0..=max, any::<[u8; 32]>(), any::<[u8; 32]>());
    (shape, rest).prop_map(|((kind, number, p, q, codec, generation), rest)| {
        let (group, term, container_bytes, coded_bytes, stream_digest, root) = rest;
        StreamEntry {
            id: ContainerId { kind: ContainerKind::from_byte(kind).unwrap(), number },
            policy: Policy::new(p, q).unwrap(),
            codec,
            generation: Generation(generation),
            group,
            term: Term(term),
            container_bytes,
            coded_bytes,
            stream_digest: Digest(stream_digest),
            root: Digest(root),
        }
    })
}

pub(crate) fn some_stream() -> StreamEntry {
    StreamEntry {
        id: ContainerId::data(12),
        policy: Policy::new(3, 2).unwrap(),
        codec: 1,
        generation: Generation(0),
        group: 4,
        term: Term(5),
        container_bytes: 1000,
        coded_bytes: 900,
        stream_digest: Digest([0xd0; 32]),
        root: Digest([0xd1; 32]),
    }
}

fn any_summary(id: u32) -> impl Strategy<Value = TableSummary> {
    (any::<bool>(), "[a-z /é]{0,20}", 1u32..1000, any::<[u64; 2]>()).prop_map(
        move |(is_sequence, name, records, keys)| {
            let kind = if is_sequence { TableKind::Sequence } else { TableKind::Keyed };
            let [first, last] = keys;
            let (first, last) = if records == 1 { (first, first) } else { (first, last) };
            TableSummary {
                table: TableName { id: TableId(id), kind, name },
                records,
                first_key: first.min(last).to_be_bytes().to_vec(),
                last_key: first.max(last).to_be_bytes().to_vec(),
            }
        },
    )
}

fn any_entry() -> impl Strategy<Value = ContainerEntry> {
    let tables = (any_summary(1), any_summary(2), any_summary(7), 0usize..4);
    (any_stream(), tables, any::<[u8; 32]>(), vec(any::<u8>(), 0..300)).prop_map(
        |(stream, (a, b, c, count), digest, frame_table)| {
            let mut tables = vec![a, b, c];
            tables.truncate(count);
            let names = (0..stream.policy.total_shards())
                .map(|i| Digest(*blake3::hash(&i.to_le_bytes()).as_bytes()))
                .collect();
            ContainerEntry {
                stream,
                record_count: tables.iter().map(|t| t.records).sum(),
                digest: Digest(digest),
                tables,
                names,
                frame_table,
            }
        },
    )
}

fn any_index() -> impl Strategy<Value = IndexEntry> {
    let run = (0u64..100, 0u32..100, any::<u8>(), any::<[u8; 8]>()).prop_map(
        |(number, first_container, level, header)| IndexRun {
            number,
            first_container,
            level,
            header: header.repeat(9).try_into().unwrap(),
        },
    );
    (any::<u32>(), 100u32.., 100u64.., vec(run, 0..4)).prop_map(
        |(covered, next_container, next_run, runs)| IndexEntry {
            covered,
            next_container,
            next_run,
            runs,
        },
    )
}

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        any_summary(3).prop_map(|summary| Edit::Table(summary.table)),
        any_entry().prop_map(|entry| Edit::Container(Box::new(entry))),
        any_index().prop_map(|entry| Edit::Index(Box::new(entry))),
    ]
}

/// The bytes with a checksum that fits.
fn sealed(body: &[u8]) -> Vec<u8> {
    [body, &crc32c(body).to_le_bytes()].concat()
}

proptest! {
    #[test]
    fn edit_round_trip_and_every_cut_is_seen(edit in any_edit()) {
        let bytes = edit.encode();
        prop_assert_eq!(Edit::decode(&bytes), Ok(edit));
        for cut in 0..bytes.len() {
            prop_assert!(Edit::decode(&bytes[..cut]).is_err());
            // also where the checksum fits: then it is the fields that end too early
            if cut + 4 < bytes.len() {
                prop_assert!(Edit::decode(&sealed(&bytes[..cut])).is_err());
            }
        }
        let longer = sealed(&[&bytes[..bytes.len() - 4], &[0]].concat());
        let told = matches!(Edit::decode(&longer), Err(FormatError::Excess { bytes: 1, .. }));
        prop_assert!(told);
    }

    #[test]
    fn flipped_bit_is_seen(edit in any_edit(), at: prop::sample::Index) {
        let mut bytes = edit.encode();
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let told = matches!(Edit::decode(&bytes), Err(FormatError::Checksum { .. }));
        prop_assert!(told, "bit {}", bit);
    }

    #[test]
    fn any_bytes_are_an_edit_or_refused(kind in 0u8..5, body in vec(any::<u8>(), 0..300)) {
        prop_assert!(Edit::decode(&body).is_err());
        let bytes = sealed(&[&[1, kind], &body[..]].concat());
        if let Ok(edit) = Edit::decode(&bytes) {
            prop_assert_eq!(edit.encode(), bytes);
        }
    }

    /// Good edits with one byte changed and the checksum made to fit: what is taken is written back the same.
    #[test]
    fn what_is_taken_is_canonical(edit in any_edit(), at: prop::sample::Index, byte: u8) {
        let mut bytes = edit.encode();
        bytes.truncate(bytes.len() - 4);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let bytes = sealed(&bytes);
        if let Ok(edit) = Edit::decode(&bytes) {
            prop_assert_eq!(edit.encode(), bytes);
        }
    }
}

fn table(name: &str) -> Edit {
    Edit::Table(TableName { id: TableId(1), kind: TableKind::Keyed, name: name.into() })
}

#[test]
fn every_flipped_bit_of_a_table_is_seen() {
    let good = table("blocks").encode();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Edit::decode(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn names_are_bounded_and_utf8() {
    let longest = table(&"n".repeat(TABLE_NAME_BYTES_MAX));
    assert_eq!(Edit::decode(&longest.encode()), Ok(longest));
    let mut bytes = table("n").encode();
    bytes[9] = 0xff;
    let body = &bytes[..bytes.len() - 4];
    assert!(matches!(Edit::decode(&sealed(body)), Err(FormatError::Value { .. })));
}

#[test]
#[should_panic(expected = "names are checked at the border")]
fn longer_name_is_not_written() {
    table(&"n".repeat(TABLE_NAME_BYTES_MAX + 1)).encode();
}

#[test]
fn newer_version_and_unknown_kind_are_told() {
    let found = Edit::decode(&sealed(&[2, 1]));
    assert!(matches!(found, Err(FormatError::Version { found: 2, known: 1, .. })));
    for kind in [0, 4, 255] {
        let found = Edit::decode(&sealed(&[1, kind]));
        assert!(matches!(found, Err(FormatError::Value { .. })), "{kind}: {found:?}");
    }
}

#[test]
fn container_entry_that_contradicts_itself_is_refused() {
    let summary = |id, records| TableSummary {
        table: TableName { id: TableId(id), kind: TableKind::Keyed, name: "t".into() },
        records,
        first_key: b"a".to_vec(),
        last_key: b"b".to_vec(),
    };
    let entry = ContainerEntry {
        stream: some_stream(),
        record_count: 5,
        digest: Digest([0xd2; 32]),
        tables: vec![summary(1, 2), summary(2, 3)],
        names: vec![Digest([0xd3; 32]); 5],
        frame_table: b"frames".to_vec(),
    };
    let good = Edit::Container(Box::new(entry)).encode();
    let body = &good[..good.len() - 4];
    assert!(Edit::decode(&sealed(body)).is_ok());
    // behind version and kind: the stream entry (108), record count, digest, count of tables, tables of 18 bytes
    let tables = 2 + 108 + 4 + 32 + 4;
    for (at, byte, why) in [
        (2, 3, "kind of container"),
        (3, 1, "policy 1+2"),
        (4, 0, "policy 3+0"),
        (5, 1, "unused byte"),
        (2 + 28 + 3, 0x20, "container of 512 MiB"),
        (2 + 36 + 3, 0x20, "coded stream of 512 MiB"),
        (2 + 108, 6, "record count"),
        (tables - 4, 1, "one table less"),
        (tables, 2, "the same table twice"),
        (tables + 4, 2, "kind of table"),
        (tables + 4, 1, "a sequence with keys of one byte"),
        (tables + 8, 1, "records of a table"),
        (tables + 14, b'c', "first key behind the last"),
    ] {
        let mut bad = body.to_vec();
        assert_ne!(bad[at], byte, "{why}");
        bad[at] = byte;
        let found = Edit::decode(&sealed(&bad));
        assert!(found.is_err(), "{why}: {found:?}");
    }
}

#[test]
fn index_entry_that_contradicts_itself_is_refused() {
    let run = IndexRun { number: 6, first_container: 8, level: 1, header: [5; INDEX_HEADER_BYTES] };
    let entry = IndexEntry { covered: 3, next_container: 9, next_run: 7, runs: vec![run] };
    let good = Edit::Index(Box::new(entry)).encode();
    let body = &good[..good.len() - 4];
    for (at, byte, why) in [
        (2 + 4, 8, "next container"),
        (2 + 8, 6, "next run"),
        (2 + 16, 0, "one run less"),
        (2 + 16, 2, "one run more"),
        (2 + 20, 7, "number of the run"),
        (2 + 28, 9, "its container"),
        (2 + 33, 1, "unused byte"),
    ] {
        let mut bad = body.to_vec();
        assert_ne!(bad[at], byte, "{why}");
        bad[at] = byte;
        let found = Edit::decode(&sealed(&bad));
        assert!(found.is_err(), "{why}: {found:?}");
    }
}

#[test]
#[should_panic(expected = "one name a shard")]
fn entry_without_all_names_is_not_written() {
    let entry = ContainerEntry {
        stream: some_stream(),
        record_count: 0,
        digest: Digest([0; 32]),
        tables: vec![],
        names: vec![Digest([0; 32]); 4],
        frame_table: vec![],
    };
    Edit::Container(Box::new(entry)).encode();
}

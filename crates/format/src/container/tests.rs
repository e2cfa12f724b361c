use super::*;
use crate::FormatError;
use proptest::{collection::vec, prelude::*};
use prunedb_core::{
    ContainerId, ContainerKind, Digest, LakeId, TableId,
    units::{CONTAINER_BYTES_MAX, KEY_BYTES_MAX},
};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Record {
    table: TableId,
    key: Vec<u8>,
    value: Vec<u8>,
    end_of_put: bool,
}

/// Odd tables are sequences.
fn table_of(id: TableId) -> TableName {
    let kind = if id.0 % 2 == 1 { TableKind::Sequence } else { TableKind::Keyed };
    TableName { id, kind, name: format!("table {id}") }
}

fn any_record() -> impl Strategy<Value = Record> {
    let table_and_key = prop_oneof![
        (0u32..3, vec(any::<u8>(), 0..40)).prop_map(|(t, key)| (t * 2, key)),
        (0u32..3, any::<u64>()).prop_map(|(t, n)| (t * 2 + 1, n.to_be_bytes().to_vec())),
    ];
    (table_and_key, vec(any::<u8>(), 0..200), any::<bool>()).prop_map(
        |((table, key), value, end_of_put)| Record {
            table: TableId(table),
            key,
            value,
            end_of_put,
        },
    )
}

fn any_id() -> impl Strategy<Value = ContainerId> {
    (0u8..3, any::<u32>()).prop_map(|(kind, number)| ContainerId {
        kind: ContainerKind::from_byte(kind).unwrap(),
        number,
    })
}

fn any_header() -> impl Strategy<Value = ContainerHeader> {
    (any::<[u8; 16]>(), any_id()).prop_map(|(lake, id)| ContainerHeader { lake: LakeId(lake), id })
}

fn write(header: ContainerHeader, records: &[Record]) -> Vec<u8> {
    let mut out = header.encode().to_vec();
    let mut footer = FooterBuilder::default();
    for r in records {
        footer.add(r.table, out.len() as u64, &r.key);
        encode_record(&mut out, r.table, &r.key, &r.value, r.end_of_put);
    }
    let (body, trailer) = footer.finish(out.len() as u64, table_of);
    out.extend_from_slice(&body);
    let digest = Digest(blake3::hash(&out).into());
    out.extend_from_slice(&trailer.encode(digest));
    out
}

/// Reads a container as an offline check does: every byte is covered by something.
fn read(bytes: &[u8]) -> Result<(ContainerHeader, Vec<Record>, Footer), FormatError> {
    let header = ContainerHeader::decode(bytes.first_chunk().unwrap())?;
    let (before, last) = bytes.split_last_chunk::<TRAILER_BYTES>().unwrap();
    let trailer = Trailer::decode(last, bytes.len() as u64)?;
    assert_eq!(trailer.records_end + trailer.footer_bytes(), bytes.len() as u64);
    let records_end = usize::try_from(trailer.records_end).unwrap();
    let mut records = Vec::new();
    let mut at = HEADER_BYTES;
    while at < records_end {
        let view = RecordView::decode(&before[at..records_end])?;
        records.push(Record {
            table: view.table,
            key: view.key.to_vec(),
            value: view.value.to_vec(),
            end_of_put: view.end_of_put,
        });
        at += view.record_bytes();
    }
    let footer = Footer::decode(trailer, &before[records_end..])?;
    Ok((header, records, footer))
}

fn sample() -> (ContainerHeader, Vec<Record>) {
    let record = |table, key: &[u8], value: &[u8], end_of_put| Record {
        table: TableId(table),
        key: key.to_vec(),
        value: value.to_vec(),
        end_of_put,
    };
    let header =
        ContainerHeader { lake: LakeId(*b"0123456789abcdef"), id: ContainerId::data(0x0102_0304) };
    let records = vec![
        record(1, &7u64.to_be_bytes(), b"a block", false),
        record(2, b"hash of it", &7u64.to_be_bytes(), true),
        record(2, b"", b"", true),
        record(1, &8u64.to_be_bytes(), &[0x5a; 100], true),
    ];
    (header, records)
}

proptest! {
    #[test]
    fn header_round_trip(header in any_header()) {
        prop_assert_eq!(ContainerHeader::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn record_round_trip(record in any_record(), tail in vec(any::<u8>(), 0..40)) {
        let mut bytes = vec![];
        encode_record(&mut bytes, record.table, &record.key, &record.value, record.end_of_put);
        prop_assert_eq!(bytes.len(), record_bytes(record.key.len(), record.value.len()));
        prop_assert_eq!(bytes.len() % 16, 0);
        let whole = bytes.len();
        for cut in 0..whole {
            let cut_short = RecordView::decode(&bytes[..cut]);
            let told = matches!(cut_short, Err(FormatError::Truncated { needed, .. }) if needed <= whole as u64);
            prop_assert!(told, "cut at {}: {:?}", cut, cut_short);
        }
        bytes.extend(tail);
        let view = RecordView::decode(&bytes).unwrap();
        prop_assert_eq!(view.record_bytes(), whole);
        prop_assert_eq!((view.table, view.end_of_put), (record.table, record.end_of_put));
        prop_assert_eq!((view.key, view.value), (&record.key[..], &record.value[..]));
        let header = RecordHeader::decode(bytes.first_chunk().unwrap()).unwrap();
        prop_assert_eq!(header.record_bytes(), whole);
        prop_assert_eq!((header.key_bytes, header.value_bytes), (record.key.len(), record.value.len()));
    }

    #[test]
    fn flipped_bit_in_a_record_is_seen(record in any_record(), at: prop::sample::Index) {
        let mut bytes = vec![];
        encode_record(&mut bytes, record.table, &record.key, &record.value, record.end_of_put);
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        // a flipped length may claim what follows: as in a container, something does
        bytes.resize(bytes.len() + 4096, 0);
        prop_assert!(RecordView::decode(&bytes).is_err(), "bit {}", bit);
    }

    #[test]
    fn container_round_trip_and_footer_is_what_a_model_says(
        header in any_header(),
        records in vec(any_record(), 0..40),
    ) {
        let bytes = write(header, &records);
        let (found_header, found, footer) = read(&bytes).unwrap();
        prop_assert_eq!(found_header, header);
        prop_assert_eq!(&found, &records);
        prop_assert_eq!(footer.trailer().digest.0, *blake3::hash(&bytes[..bytes.len() - TRAILER_BYTES]).as_bytes());

        let entries: Vec<_> = footer.entries().collect();
        prop_assert_eq!(entries.len(), records.len());
        for (entry, record) in entries.iter().zip(&records) {
            let view = RecordView::decode(&bytes[entry.offset as usize..]).unwrap();
            prop_assert_eq!((entry.table, entry.key), (record.table, &record.key[..]));
            prop_assert_eq!((view.table, view.key), (record.table, &record.key[..]));
        }

        let mut model: BTreeMap<u32, Vec<&[u8]>> = BTreeMap::new();
        for record in &records {
            model.entry(record.table.0).or_default().push(&record.key);
        }
        let expected: Vec<_> = model
            .into_iter()
            .map(|(id, mut keys)| {
                keys.sort();
                TableSummary {
                    table: table_of(TableId(id)),
                    records: u32::try_from(keys.len()).unwrap(),
                    first_key: keys[0].to_vec(),
                    last_key: keys[keys.len() - 1].to_vec(),
                }
            })
            .collect();
        prop_assert_eq!(footer.tables(), expected);
    }

    #[test]
    fn directory_length_is_foreseen(records in vec(any_record(), 0..40)) {
        let mut builder = FooterBuilder::default();
        let (mut offset, mut directory_bytes) = (HEADER_BYTES, 0);
        for r in &records {
            builder.add(r.table, offset as u64, &r.key);
            offset += record_bytes(r.key.len(), r.value.len());
            directory_bytes += FooterBuilder::entry_bytes(r.key.len()) as u64;
            prop_assert_eq!(builder.directory_bytes(), directory_bytes);
        }
        prop_assert_eq!(builder.record_count() as usize, records.len());
        let (body, trailer) = builder.finish(offset as u64, table_of);
        prop_assert_eq!(u64::from(trailer.directory_bytes), directory_bytes);
        prop_assert_eq!(trailer.footer_bytes(), (body.len() + TRAILER_BYTES) as u64);
    }

    #[test]
    fn any_bytes_are_refused(bytes in vec(any::<u8>(), 256..600), len: u64) {
        prop_assert!(ContainerHeader::decode(bytes.first_chunk().unwrap()).is_err());
        prop_assert!(Trailer::decode(bytes.first_chunk().unwrap(), len).is_err());
        prop_assert!(RecordView::decode(&bytes).is_err());
        let _ = RecordHeader::decode(bytes.first_chunk().unwrap());
    }

    /// With checksums that fit, so that every check behind them is reached.
    #[test]
    fn any_sealed_bytes_are_a_footer_or_refused(
        mut bytes in vec(prop_oneof![Just(0u8), Just(1), 0u8..16, any::<u8>()], 0..200),
        directory_bytes in 0u32..120,
        record_count in 0u32..6,
        is_marked: bool,
    ) {
        if is_marked {
            bytes.splice(..0, END_MARK);
        }
        let tables_bytes = u32::try_from(bytes.len()).unwrap().saturating_sub(directory_bytes + 16);
        let trailer = resealed(HEADER_BYTES as u64, record_count, directory_bytes, tables_bytes, &bytes);
        let trailer = Trailer::decode(&trailer, HEADER_BYTES as u64 + bytes.len() as u64 + TRAILER_BYTES as u64);
        if let Ok(trailer) = trailer && let Ok(footer) = Footer::decode(trailer, &bytes) {
            prop_assert_eq!(footer.entries().count(), record_count as usize);
        }
    }
}

/// A trailer that fits a footer's bytes, whatever they are.
fn resealed(
    records_end: u64,
    record_count: u32,
    directory_bytes: u32,
    tables_bytes: u32,
    footer: &[u8],
) -> [u8; TRAILER_BYTES] {
    let mut out = [0; TRAILER_BYTES];
    out[..8].copy_from_slice(b"PDBFOOT\x01");
    out[8] = 1;
    out[16..24].copy_from_slice(&records_end.to_le_bytes());
    out[24..28].copy_from_slice(&record_count.to_le_bytes());
    out[28..32].copy_from_slice(&directory_bytes.to_le_bytes());
    out[32..36].copy_from_slice(&tables_bytes.to_le_bytes());
    out[36..40].copy_from_slice(&crate::crc32c(footer).to_le_bytes());
    let crc = crate::crc32c(&out);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

#[test]
fn every_flipped_bit_of_a_container_is_seen() {
    let (header, records) = sample();
    let good = write(header, &records);
    assert!(read(&good).is_ok());
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&bad).is_err(), "byte {} bit {}", bit / 8, bit % 8);
    }
    for cut in HEADER_BYTES + TRAILER_BYTES..good.len() {
        assert!(read(&good[..cut]).is_err(), "cut at {cut}");
    }
}

/// One change to a good footer, its checksums made to fit again.
#[test]
fn footer_that_contradicts_itself_is_refused() {
    let (header, records) = sample();
    let good = write(header, &records);
    let trailer = Trailer::decode(good.last_chunk().unwrap(), good.len() as u64).unwrap();
    let records_end = usize::try_from(trailer.records_end).unwrap();
    let body = &good[records_end..good.len() - TRAILER_BYTES];
    let directory = 16..16 + trailer.directory_bytes as usize;
    let check = |body: &[u8], records_end: u64| {
        let sealed = resealed(
            records_end,
            trailer.record_count,
            trailer.directory_bytes,
            trailer.tables_bytes,
            body,
        );
        let length = records_end + (body.len() + TRAILER_BYTES) as u64;
        Trailer::decode(&sealed, length).and_then(|t| Footer::decode(t, body))
    };
    assert!(check(body, trailer.records_end).is_ok());
    // every byte of mark and directory, and every length and count among the tables, decides something
    for at in 0..directory.end {
        let mut bad = body.to_vec();
        // offsets may grow within the gap that a value leaves
        let is_offset = (16..directory.end).contains(&at) && check_is_offset(&records, at - 16);
        bad[at] ^= 0x80;
        let found = check(&bad, trailer.records_end);
        assert!(found.is_err() || is_offset, "byte {at}: {found:?}");
    }
    for (records_end, why) in [
        (trailer.records_end - 16, "the last record does not fit"),
        (trailer.records_end + 8, "not aligned"),
        (48, "inside of the header"),
        (CONTAINER_BYTES_MAX as u64, "longer than a container"),
    ] {
        let bad = check(body, records_end);
        // the last value is long: cut only what its key needs
        assert!(bad.is_err() || why == "the last record does not fit", "{why}");
    }
    let tables = directory.end;
    // count u32, then id u32 kind u8 name u16 + 7 bytes, records u32, first key u16 + 8
    for (at, why) in [
        (tables, "count of tables"),
        (tables + 4, "id"),
        (tables + 8, "kind"),
        (tables + 9, "length of the name"),
        (tables + 18, "records"),
        (tables + 22, "length of the first key"),
        (tables + 31, "first key"),
        (tables + 41, "last key"),
    ] {
        let mut bad = body.to_vec();
        bad[at] ^= 4;
        assert!(check(&bad, trailer.records_end).is_err(), "{why}");
    }
}

fn check_is_offset(records: &[Record], mut at: usize) -> bool {
    for record in records {
        let entry = 10 + record.key.len();
        if at < entry {
            return (4..8).contains(&at);
        }
        at -= entry;
    }
    false
}

#[test]
fn empty_container_is_one() {
    let (header, _) = sample();
    let bytes = write(header, &[]);
    assert_eq!(bytes.len(), HEADER_BYTES + 16 + 4 + TRAILER_BYTES);
    let (_, records, footer) = read(&bytes).unwrap();
    assert_eq!((records.len(), footer.tables().len()), (0, 0));
}

#[test]
fn zeros_and_end_mark_start_no_record() {
    assert!(matches!(RecordView::decode(&[0; 64]), Err(FormatError::Checksum { .. })));
    assert!(matches!(RecordHeader::decode(&END_MARK), Err(FormatError::Value { .. })));
}

/// A directory's bytes are the users' keys. Without the mark in front of them, this one would be a record of table 9
/// with the right checksum, and a crash while the footer was written would have made it one of the container's.
#[test]
fn keys_in_the_directory_cannot_pose_as_records() {
    let footer_with = |table: u32| {
        // as a record: crc = table, value_bytes = 64 / 16, key_bytes = 22, then flags, zero and table from the key
        let first_key = [&[1, 0, 9, 0, 0, 0][..], &[0xaa; 16]].concat();
        let mut footer = FooterBuilder::default();
        footer.add(TableId(table), HEADER_BYTES as u64, &first_key);
        footer.add(TableId(2), 112, &[0; 6]); // its zeros are the padding
        let name = |id| TableName { id, kind: TableKind::Keyed, name: "t".into() };
        footer.finish(144, name).0
    };
    let crc = crate::crc32c(&footer_with(4)[16..][4..16 + 22 + 4]);
    let body = footer_with(crc);
    let forged = RecordView::decode(&body[END_MARK.len()..]).unwrap();
    assert_eq!((forged.table, forged.end_of_put), (TableId(9), true));
    assert!(matches!(RecordView::decode(&body), Err(FormatError::Value { .. })));
}

#[test]
fn longest_key_and_name_fit() {
    let mut out = vec![];
    let key = vec![7; KEY_BYTES_MAX];
    encode_record(&mut out, TableId(2), &key, b"", true);
    assert_eq!(RecordView::decode(&out).unwrap().key, key);
    let mut footer = FooterBuilder::default();
    footer.add(TableId(2), 64, &key);
    let name = TableName {
        id: TableId(2),
        kind: TableKind::Keyed,
        name: "n".repeat(TABLE_NAME_BYTES_MAX),
    };
    let (body, trailer) = footer.finish((64 + out.len()) as u64, |_| name.clone());
    let trailer = trailer.encode(Digest::default());
    let length = (64 + out.len() + body.len() + TRAILER_BYTES) as u64;
    let trailer = Trailer::decode(&trailer, length).unwrap();
    assert_eq!(Footer::decode(trailer, &body).unwrap().tables()[0].table, name);
}

#[test]
#[should_panic(expected = "names are checked at the border")]
fn name_that_no_reader_takes_is_not_written() {
    let mut footer = FooterBuilder::default();
    footer.add(TableId(2), 64, b"k");
    let name = |id| TableName { id, kind: TableKind::Keyed, name: "n".repeat(129) };
    footer.finish(96, name);
}

#[test]
#[should_panic(expected = "a summary that every reader takes")]
fn sequence_key_that_no_reader_takes_is_not_written() {
    let mut footer = FooterBuilder::default();
    footer.add(TableId(1), 64, b"short");
    footer.finish(96, table_of);
}

#[test]
#[should_panic(expected = "records follow each other")]
fn records_cannot_go_back() {
    let mut footer = FooterBuilder::default();
    footer.add(TableId(2), 64, b"a long key that needs 64 bytes with its header");
    footer.add(TableId(2), 96, b"k");
}

#[test]
fn newer_version_is_told_as_such() {
    let (header, records) = sample();
    let mut bytes = header.encode();
    bytes[8] = 2;
    bytes[12..16].fill(0);
    let crc = crate::crc32c(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let found = ContainerHeader::decode(&bytes);
    assert!(matches!(found, Err(FormatError::Version { found: 2, known: 1, .. })));
    // without its checksum it is a flipped bit, not a version
    let mut container = write(header, &records);
    container[8] ^= 2;
    let found = ContainerHeader::decode(container.first_chunk().unwrap());
    assert!(matches!(found, Err(FormatError::Checksum { .. })));
}

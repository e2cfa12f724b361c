//! Manifest edits: a table, a container, and damaged ones.

use super::{check, fixture, flipped};
use prunedb_core::{ContainerId, Digest, Generation, Policy, TableId, Term};
use prunedb_format::{
    container::{TableKind, TableName, TableSummary},
    crc32c,
    manifest::{ContainerEntry, Edit, INDEX_HEADER_BYTES, IndexEntry, IndexRun, StreamEntry},
};

fn digest(of: &str) -> Digest {
    Digest(*blake3::hash(of.as_bytes()).as_bytes())
}

pub(crate) fn stream(id: ContainerId) -> StreamEntry {
    StreamEntry {
        id,
        policy: Policy::new(2, 1).expect("a policy"),
        codec: 1,
        generation: Generation(0),
        group: 3,
        term: Term(9),
        container_bytes: 100_000,
        coded_bytes: 65_432,
        stream_digest: digest("coded stream"),
        root: digest("root"),
    }
}

fn container() -> Edit {
    let blocks = TableName { id: TableId(1), kind: TableKind::Sequence, name: "blocks".into() };
    let hashes = TableName { id: TableId(2), kind: TableKind::Keyed, name: "block hashes".into() };
    let key = |height: u64| height.to_be_bytes().to_vec();
    Edit::Container(Box::new(ContainerEntry {
        stream: stream(ContainerId::data(7)),
        record_count: 5,
        digest: digest("container"),
        tables: vec![
            TableSummary { table: blocks, records: 2, first_key: key(0), last_key: key(1) },
            TableSummary {
                table: hashes,
                records: 3,
                first_key: vec![],
                last_key: b"\xff\x01".to_vec(),
            },
        ],
        names: vec![digest("shard 0"), digest("shard 1"), digest("shard 2")],
        frame_table: b"its format is the frame table's".to_vec(),
    }))
}

fn index() -> Edit {
    let run = |number: u64, first_container, level| IndexRun {
        number,
        first_container,
        level,
        header: digest("header").0.repeat(3)[..INDEX_HEADER_BYTES]
            .try_into()
            .expect("cut to its length"),
    };
    let runs = vec![run(3, 0, 2), run(9, 40, 0)];
    Edit::Index(Box::new(IndexEntry { covered: 7, next_container: 41, next_run: 12, runs }))
}

#[test]
fn manifest_fixtures() {
    let table = TableName { id: TableId(1), kind: TableKind::Sequence, name: "blocks".into() };
    let table = Edit::Table(table).encode();
    let container = container().encode();
    let sealed = |body: &[u8]| [body, &crc32c(body).to_le_bytes()].concat();
    let mut unknown = table[..table.len() - 4].to_vec();
    unknown[1] = 4;
    let mut newer = table[..table.len() - 4].to_vec();
    newer[0] = 2;
    let cut = container[..container.len() - 1].to_vec();
    let reencode = |bytes: &[u8]| Edit::decode(bytes).map(|edit| edit.encode());
    check(
        "manifest",
        vec![
            fixture("table.edit", table.clone(), reencode),
            fixture("container.edit", container.clone(), reencode),
            fixture("index.edit", index().encode(), reencode),
            fixture("flipped.edit", flipped(container, 40), reencode)
                .refused(r#"Checksum { what: "manifest edit""#),
            fixture("cut.edit", cut, reencode).refused(r#"Checksum { what: "manifest edit""#),
            fixture("unknown-kind.edit", sealed(&unknown), reencode)
                .refused(r#"Value { what: "kind of a manifest edit", found: 4"#),
            fixture("newer-version.edit", sealed(&newer), reencode)
                .refused(r#"Version { what: "manifest edit", found: 2"#),
        ],
    );
}

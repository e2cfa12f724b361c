//! The bytes of released formats: what an old node wrote is read, and writing it again gives the same bytes.
//!
//! `RUSTFLAGS="--cfg bless" cargo test -p prunedb-node golden` writes them anew: a new format needs a new version.

use crate::support::*;
use prunedb_core::Term;
use prunedb_node::{Head, NodeError, PutMode};
use std::path::{Path, PathBuf};

const FILES: [(&str, &str); 7] = [
    ("node-segment/v1/00000000.seg", FIRST),
    ("node-segment/v1/fence", "/node/lakes/fence-61206c616b6520666f72207465737473"),
    ("node-segment/v1/head", "/node/lakes/head-61206c616b6520666f72207465737473"),
    ("node-segment/v1/checkpoint", "/node/checkpoint"),
    ("node-index/v1/snapshot", "/node/snapshot"),
    ("node-index/v1/changed-00000002", "/node/changed-00000002"),
    ("node-index/v1/00000002.run", "/node/index/00000002.run"),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A committed shard of one block, one of two blocks, a deleted one, and an upload that never ended.
fn written() -> FaultyDisk {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    put(&node, id(0), 3, &bytes(0, 100)).unwrap();
    put(&node, id(1), 3, &bytes(1, 16_385)).unwrap();
    put(&node, id(2), 4, &bytes(2, 50)).unwrap();
    node.checkpoint().unwrap();
    assert!(node.delete(id(2), Term(5)).unwrap());
    let head = Head { term: Term(5), number: 9, bytes: bytes(9, 200).into() };
    node.put_head(LAKE, &head).unwrap();
    node.checkpoint().unwrap();
    let mut upload = node.put(id(3), Term(5), 60, PutMode::IfAbsent).unwrap();
    upload.write(0, &bytes(3, 30)).unwrap();
    disk.killed()
}

#[test]
fn golden_bytes_are_written() {
    let disk = written();
    for (name, path) in FILES {
        let found = disk.file(path);
        if cfg!(bless) {
            std::fs::write(fixture(name), found).unwrap();
        } else {
            assert!(found == std::fs::read(fixture(name)).unwrap(), "{name} has other bytes");
        }
    }
}

#[test]
fn golden_bytes_are_read() {
    let disk = FaultyDisk::default();
    for (name, path) in FILES {
        disk.put_file(path, std::fs::read(fixture(name)).unwrap());
    }
    let node = open(&disk);
    assert_eq!(node.report().damage, []);
    assert!(disk.has("/node/snapshot"), "it is believed");
    assert_eq!((node.report().shards, node.report().uploads_dropped), (2, 1));
    assert_eq!(get(&node, id(0)).unwrap(), bytes(0, 100));
    assert_eq!(get(&node, id(1)).unwrap(), bytes(1, 16_385));
    assert_eq!(node.stat(id(1)).unwrap().unwrap().term, Term(3));
    assert!(node.stat(id(2)).unwrap().is_none() && node.stat(id(3)).unwrap().is_none());
    let head = node.head(LAKE).unwrap().unwrap();
    assert_eq!((head.term, head.number, &head.bytes[..]), (Term(5), 9, &bytes(9, 200)[..]));
    let old = node.delete(id(0), Term(4));
    assert!(matches!(old, Err(NodeError::Fenced { seen: Term(5), .. })));
}

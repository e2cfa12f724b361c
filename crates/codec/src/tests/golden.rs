//! Golden fixtures: what was sealed once is made again byte by byte, and is read for ever.
//!
//! `fixtures/sealed-shard/v1/<policy>-<container>.txt` pins digests; `2+1-d9.bin` holds whole sealed shards and
//! `2+1-d9.table` their frame table. `--cfg bless` writes them anew: a deliberate step, with a new version.

use super::*;
use std::{fmt::Write as _, path::PathBuf};

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures/sealed-shard/v1", name].iter().collect()
}

/// The bytes that the fixture holds; under `--cfg bless` it is made to hold `now` first.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    if cfg!(bless) {
        std::fs::write(fixture(name), now).unwrap();
    }
    std::fs::read(fixture(name)).unwrap()
}

#[test]
fn sealed_shards_are_those_of_the_fixtures() {
    for (policy, container, length) in [
        ("2+1", ContainerId::data(9), 6_000),
        ("4+2", ContainerId::data(4_000_000_000), 200_000),
        ("16+4", ContainerId::data(0), 3_000_000),
        ("16+4", ContainerId::manifest(5), 300_000),
        ("20+80", ContainerId::data(77), 2_500_000),
    ] {
        let name = format!("{policy}-{container}");
        let sealed = seal(sample_bytes(2026, length), policy, container, 2, 5);
        let (layout, stream) = (sealed.opener.layout(), sealed.opener.stream());
        let mut text = String::new();
        writeln!(text, "lake {}", sealed.opener.params().lake).unwrap();
        writeln!(text, "container {}", blake3::hash(&sealed.bytes)).unwrap();
        writeln!(text, "stream {} bytes {}", stream.coded_bytes, stream.digest).unwrap();
        writeln!(text, "frame table {}", blake3::hash(&sealed.table.encode())).unwrap();
        let (leaf_bytes, leaves) = (layout.leaf_bytes(), layout.leaves_per_shard());
        writeln!(text, "leaves {leaves} of {leaf_bytes} bytes").unwrap();
        writeln!(text, "root {}", sealed.made.root).unwrap();
        for (index, shard_name) in sealed.made.names.iter().enumerate() {
            writeln!(text, "shard {index} {shard_name}").unwrap();
        }
        let expected = golden(&format!("{name}.txt"), text.as_bytes());
        assert_eq!(text, String::from_utf8(expected).unwrap(), "{name}");
    }
}

#[test]
fn shards_sealed_long_ago_are_read() {
    let made = seal(sample_bytes(2026, 6_000), "2+1", ContainerId::data(9), 1, 1);
    let shard_bytes = golden("2+1-d9.bin", &made.shards.concat());
    let table = golden("2+1-d9.table", &made.table.encode());
    let table = FrameTable::decode(&table).unwrap();
    let shards: Vec<_> = shard_bytes.chunks(shard_bytes.len() / 3).collect();
    for set in [[0, 1], [0, 2], [1, 2]] {
        let given: Vec<_> = set.iter().map(|&i| (shard(i), shards[i])).collect();
        let bytes = decode_container(&made.opener, &made.code, &table, &given).unwrap();
        assert!(bytes.bytes == sample_bytes(2026, 6_000), "{set:?}");
    }
}

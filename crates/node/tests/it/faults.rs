//! A disk that fails while the node runs.

use crate::support::*;
use prunedb_core::{Term, units::LEAF_BYTES};
use prunedb_node::{Damage, NodeError, PutMode};

#[test]
fn a_failed_sync_poisons_the_segment_and_nothing_else() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let shard = bytes(1, 50_000);
    put(&node, id(0), 1, &shard).unwrap();
    let mut waiting = node.put(id(1), Term(1), 50_000, PutMode::IfAbsent).unwrap();
    waiting.write(0, &shard).unwrap();
    disk.set_faults(|faults| faults.syncs = 1);
    let failed = put(&node, id(2), 1, &shard);
    assert!(matches!(failed, Err(NodeError::Disk { .. })), "{failed:?}");
    // the disk says that all is well now, but what it lost it does not tell
    let failed = waiting.commit(name(&shard), Term(1));
    assert!(matches!(failed, Err(NodeError::Poisoned { segment: 0 })), "{failed:?}");
    assert!(matches!(node.delete(id(0), Term(1)), Err(NodeError::Poisoned { .. })));
    assert_eq!(get(&node, id(0)).unwrap(), shard, "readable, and not deleted");
    assert!(node.stat(id(1)).unwrap().is_none() && node.stat(id(2)).unwrap().is_none());
    put(&node, id(2), 1, &shard).unwrap();
    assert!(disk.has("/node/segments/00000001.seg"));
    for seed in 0..20 {
        let node = open(&disk.crashed(Unsynced::Torn(seed)));
        assert_eq!(get(&node, id(0)).unwrap(), shard);
        assert_eq!(get(&node, id(2)).unwrap(), shard);
        // whole, or not there, or known to be bad: another try always gives a good one
        put(&node, id(1), 1, &shard).unwrap();
        assert_eq!(get(&node, id(1)).unwrap(), shard);
    }
}

#[test]
fn a_full_disk_is_an_answer_whenever_it_comes() {
    let shard = bytes(1, 700_000);
    let mut refused = 0;
    for writes in 0..12 {
        let disk = FaultyDisk::default();
        let node = open(&disk);
        put(&node, id(0), 0, &shard).unwrap();
        disk.set_faults(|faults| faults.writes_left = writes);
        match put(&node, id(1), 1, &shard) {
            Ok(()) => break,
            Err(NodeError::Full { .. }) => refused += 1,
            Err(e) => panic!("after {writes} writes: {e}"),
        }
        let used = node.space().unwrap().used_bytes;
        assert_eq!(get(&node, id(0)).unwrap(), shard);
        assert!(node.stat(id(1)).unwrap().is_none());
        disk.set_faults(|faults| faults.writes_left = u64::MAX);
        put(&node, id(1), 1, &shard).unwrap();
        assert!(node.space().unwrap().used_bytes > used);
        let node = open(&disk.crashed(Unsynced::Torn(1)));
        assert_eq!(get(&node, id(0)).unwrap(), shard);
        assert_eq!(get(&node, id(1)).unwrap(), shard);
    }
    // header, three batches, fence, trailer
    assert_eq!(refused, 6);
}

#[test]
fn capacity_is_kept_and_comes_back() {
    let disk = FaultyDisk::default();
    let mut config = config();
    config.capacity_bytes = 1_000_000;
    let node = open_with(config, &disk);
    let shard = bytes(1, 300_000);
    for number in 0..3 {
        put(&node, id(number), 1, &shard).unwrap();
    }
    let full = put(&node, id(3), 1, &shard);
    let free = match full {
        Err(NodeError::Full { free_bytes }) => free_bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(free, 1_000_000 - node.space().unwrap().used_bytes);
    assert_eq!(node.space().unwrap().capacity_bytes, 1_000_000);
    // an upload takes its room when it begins, and gives it back when it ends
    node.delete(id(0), Term(1)).unwrap();
    let upload = node.put(id(4), Term(1), 300_000, PutMode::IfAbsent).unwrap();
    assert!(matches!(put(&node, id(3), 1, &shard), Err(NodeError::Full { .. })));
    drop(upload);
    put(&node, id(3), 1, &shard).unwrap();
}

#[test]
fn the_rest_of_the_disk_is_left_to_others() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let reserve = node.config().reserve_bytes;
    disk.set_free_bytes(reserve + 110_000);
    let shard = bytes(1, 90_000);
    let upload = node.put(id(0), Term(1), 90_000, PutMode::IfAbsent).unwrap();
    assert!(matches!(put(&node, id(1), 1, &shard), Err(NodeError::Full { .. })));
    drop(upload);
    put(&node, id(1), 1, &shard).unwrap();
    disk.set_free_bytes(0);
    assert!(matches!(put(&node, id(2), 1, &shard), Err(NodeError::Full { .. })));
    assert_eq!(get(&node, id(1)).unwrap(), shard);
    let space = node.space().unwrap();
    assert_eq!(space.capacity_bytes, space.used_bytes);
    node.delete(id(1), Term(1)).unwrap();
}

#[test]
fn damage_is_told_with_its_place_and_touches_only_its_block() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let shard = bytes(1, 100_000);
    put(&node, id(0), 1, &shard).unwrap();
    node.checkpoint().unwrap();
    drop(node);
    // a byte of block 2: header page, record header, two blocks with their checks
    disk.flip(FIRST, PAGE + 256 + 2 * (LEAF_BYTES + 4) + 77, 0x10);
    let node = open(&disk);
    assert_eq!(node.report().damage, []);
    let leaf = LEAF_BYTES as u64;
    let damaged = node.get(id(0), 0, 100_000);
    assert!(matches!(damaged, Err(NodeError::Damaged { offset, .. }) if offset == 2 * leaf));
    assert_eq!(node.get(id(0), 0, 2 * 16_384).unwrap(), shard[..2 * LEAF_BYTES]);
    assert_eq!(node.get(id(0), 3 * leaf, 16_384).unwrap(), shard[3 * LEAF_BYTES..4 * LEAF_BYTES]);
    assert!(node.get(id(0), 3 * leaf - 1, 1).is_err());
    disk.set_faults(|faults| faults.reads_one_in = 1);
    assert!(matches!(node.get(id(0), 0, 1), Err(NodeError::Damaged { .. })));
}

#[test]
fn a_block_in_anothers_place_is_damage() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let shard = bytes(1, 2 * LEAF_BYTES);
    put(&node, id(0), 1, &shard).unwrap();
    put(&node, id(1), 1, &shard).unwrap();
    drop(node);
    let mut segment = disk.file(FIRST);
    let stride = LEAF_BYTES + 4;
    let first = PAGE + 256;
    segment.copy_within(first..first + stride, first + stride);
    disk.put_file(FIRST, segment);
    let node = open(&disk);
    let got = node.get(id(0), 0, 2 * 16_384);
    assert!(matches!(got, Err(NodeError::Damaged { offset: 16_384, .. })), "{got:?}");
}

#[test]
fn a_disk_that_cannot_be_read_at_start_loses_nothing() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    let shard = bytes(1, 50_000);
    put(&node, id(0), 1, &shard).unwrap();
    let mut open_upload = node.put(id(1), Term(1), 50_000, PutMode::IfAbsent).unwrap();
    open_upload.write(0, &shard[..20_000]).unwrap();
    let disk = disk.killed();
    let before = disk.file(FIRST);
    disk.set_faults(|faults| faults.reads_one_in = 1);
    // what is kept per lake is not there either, but that is reported, not fatal
    let broken = open(&disk);
    assert!(broken.report().damage.contains(&Damage::NotASegment { segment: 0, version: None }));
    drop(broken);
    disk.set_faults(|faults| faults.reads_one_in = 0);
    assert_eq!(disk.file(FIRST), before, "nothing was cut or dropped");
    let node = open(&disk);
    assert_eq!(get(&node, id(0)).unwrap(), shard);
}

#[test]
fn limits_refuse_and_the_next_one_goes_on() {
    let disk = FaultyDisk::default();
    let mut config = config();
    (config.uploads_max, config.lakes_max) = (2, 2);
    let node = open_with(config, &disk);
    let begin = |number| node.put(id(number), Term(0), 10, PutMode::IfAbsent);
    let (first, _second) = (begin(0).unwrap(), begin(1).unwrap());
    assert!(matches!(begin(2), Err(NodeError::Limit { what: "uploads", max: 2 })));
    drop(first);
    let mut third = begin(2).unwrap();
    let late = third.write(1, b"x");
    assert!(matches!(late, Err(NodeError::Mismatch { what: "offset", .. })), "{late:?}");
    let long = third.write(0, &[0; 11]);
    assert!(matches!(long, Err(NodeError::Range { shard_bytes: 10, .. })), "{long:?}");
    third.write(0, &[0; 10]).unwrap();
    third.commit(name(&[0; 10]), Term(0)).unwrap();

    for bytes in [0, (256 << 20) + 1, u64::MAX] {
        let refused = node.put(id(3), Term(0), bytes, PutMode::IfAbsent);
        assert!(matches!(refused, Err(NodeError::Range { .. })));
    }
    let lake = |n| prunedb_core::LakeId([n; 16]);
    node.fence(lake(1), Term(1)).unwrap();
    node.fence(lake(2), Term(1)).unwrap();
    assert!(matches!(node.fence(lake(3), Term(1)), Err(NodeError::Limit { .. })));
    node.fence(lake(2), Term(2)).unwrap();
}

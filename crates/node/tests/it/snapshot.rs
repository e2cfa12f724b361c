//! Starting from what the last clean stop left, and noticing where it does not fit.

use crate::support::*;
use prunedb_core::Term;
use prunedb_disk::Disk;
use prunedb_node::{Node, NodeConfig, PutMode};

const SNAPSHOT: &str = "/node/snapshot";
const CHANGED: &str = "/node/changed";

fn small() -> NodeConfig {
    let mut config = config();
    config.segment_bytes = 100_000;
    config
}

fn segment(number: u32) -> String {
    format!("/node/segments/{number:08}.seg")
}

/// A node with shards 0 to 19 in ten segments, two of them deleted.
fn filled(disk: &FaultyDisk) -> Node {
    let node = open_with(small(), disk);
    for number in 0..20 {
        put(&node, id(number), 1, &bytes(number.into(), 40_000)).unwrap();
    }
    assert!(node.delete(id(3), Term(1)).unwrap() && node.delete(id(4), Term(1)).unwrap());
    node
}

/// The same, stopped cleanly.
fn stopped() -> FaultyDisk {
    let disk = FaultyDisk::default();
    filled(&disk).checkpoint().unwrap();
    disk
}

fn check(node: &Node) {
    for number in 0..20 {
        match number {
            3 | 4 => assert!(node.stat(id(number)).is_none(), "shard {number} is back"),
            _ => assert_eq!(get(node, id(number)).unwrap(), bytes(number.into(), 40_000)),
        }
    }
    assert_eq!(node.space().unwrap().shards, 18);
}

#[test]
fn after_a_clean_stop_only_the_last_segment_is_walked() {
    let disk = stopped();
    let whole = filled(&FaultyDisk::default()).space().unwrap();
    let node = open_with(small(), &disk);
    let report = node.report();
    assert_eq!((report.shards, report.segments, report.segments_walked), (18, 10, 1));
    assert_eq!(report.damage, []);
    check(&node);
    assert_eq!(node.space().unwrap(), whole, "space is counted as it was");
    put(&node, id(20), 1, &bytes(20, 40_000)).unwrap();
}

#[test]
fn after_a_crash_only_what_has_changed_is_walked() {
    let disk = stopped();
    let node = open_with(small(), &disk);
    assert!(node.delete(id(8), Term(1)).unwrap());
    put_as(&node, id(12), 1, &bytes(12, 40_000), PutMode::Replace).unwrap();
    put(&node, id(20), 1, &bytes(20, 40_000)).unwrap();
    let disk = disk.crashed(Unsynced::Lost);
    drop(node);
    let node = open_with(small(), &disk);
    let report = node.report();
    // of the delete, of the copy that was replaced, and those at the end
    assert!((3..=5).contains(&report.segments_walked), "{report:?}");
    assert_eq!((report.shards, report.damage_count), (18, 0));
    assert!(node.stat(id(8)).is_none());
    for number in [0, 12, 20] {
        assert_eq!(get(&node, id(number)).unwrap(), bytes(number.into(), 40_000));
    }
    // and again, from the same snapshot
    drop(node);
    let node = open_with(small(), &disk.crashed(Unsynced::Lost));
    assert!(node.stat(id(8)).is_none() && get(&node, id(12)).is_ok());
}

#[test]
fn a_replaced_copy_in_a_quiet_segment_makes_the_start_walk_everything() {
    let disk = stopped();
    let node = open_with(small(), &disk);
    // the new copy is there, the crash comes before the old one is dropped: that takes listing its segment first
    let before = disk.operations();
    put_as(&node, id(12), 1, &bytes(12, 40_000), PutMode::Replace).unwrap();
    let took = disk.operations() - before;
    drop(node);
    for count in 0..took {
        let disk = stopped();
        let node = open_with(small(), &disk);
        disk.die_after(count);
        _ = put_as(&node, id(12), 1, &bytes(12, 40_000), PutMode::Replace);
        for unsynced in [Unsynced::Lost, Unsynced::Torn(count)] {
            let disk = disk.crashed(unsynced);
            let node = open_with(small(), &disk);
            check(&node);
            assert!(node.delete(id(12), Term(1)).unwrap());
            drop(node);
            let node = open_with(small(), &disk.crashed(Unsynced::Lost));
            assert!(node.stat(id(12)).is_none(), "a second copy is back after operation {count}");
        }
    }
}

#[test]
fn a_snapshot_that_is_damaged_or_does_not_fit_costs_a_walk_and_nothing_else() {
    let length = stopped().file(SNAPSHOT).len();
    let flips =
        (0..length).step_by(37).map(|at| (SNAPSHOT, at)).chain((0..16).map(|at| (CHANGED, at)));
    for (path, at) in flips {
        let disk = stopped();
        disk.flip(path, at, 1);
        let node = open_with(small(), &disk);
        assert_eq!(node.report().segments_walked, 10, "{path} at {at}");
        assert_eq!(node.report().damage, []);
        check(&node);
    }
    // a segment that is gone takes its shards with it, and no more
    let disk = stopped();
    disk.remove(segment(5).as_ref()).unwrap();
    let node = open_with(small(), &disk);
    assert_eq!((node.report().segments_walked, node.report().shards), (9, 16));
    // so does one of another length, or with another header
    let disk = stopped();
    let mut longer = disk.file(segment(5));
    longer.extend([0; 4096]);
    disk.put_file(segment(5), longer);
    let node = open_with(small(), &disk);
    assert_eq!(node.report().segments_walked, 10);
    check(&node);
    let disk = stopped();
    disk.flip(segment(5), 0, 1);
    let node = open_with(small(), &disk);
    assert_eq!((node.report().segments_walked, node.report().damage_count), (10, 1));
    check(&node);
    // a list without a snapshot, and a snapshot without a list
    for path in [SNAPSHOT, CHANGED] {
        let disk = stopped();
        disk.remove(path.as_ref()).unwrap();
        let node = open_with(small(), &disk);
        assert_eq!(node.report().segments_walked, 10);
        check(&node);
        assert!(!disk.has(SNAPSHOT) && !disk.has(CHANGED));
    }
}

#[test]
fn a_stop_that_dies_anywhere_leaves_everything() {
    let disk = stopped();
    let node = open_with(small(), &disk);
    assert!(node.delete(id(8), Term(1)).unwrap());
    let before = disk.operations();
    node.checkpoint().unwrap();
    let took = disk.operations() - before;
    for count in 0..=took {
        for fails in [false, true] {
            let disk = stopped();
            let node = open_with(small(), &disk);
            assert!(node.delete(id(8), Term(1)).unwrap());
            if fails {
                disk.fail_once_after(count)
            } else {
                disk.die_after(count)
            }
            let done = node.checkpoint();
            // a stop that failed is no end: what is done now counts, too
            let deleted = node.delete(id(9), Term(1)).is_ok();
            drop(node);
            let disk = disk.crashed(Unsynced::Torn(count));
            let node = open_with(small(), &disk);
            let context = format!("operation {count}, {fails}, {done:?}");
            assert!(node.stat(id(8)).is_none(), "{context}");
            if deleted {
                assert!(node.stat(id(9)).is_none(), "{context}");
            }
            for number in [0, 1, 2, 5, 6, 7, 10, 15, 19] {
                let found = get(&node, id(number)).unwrap();
                assert_eq!(found, bytes(number.into(), 40_000), "{context}");
            }
        }
    }
}

#[test]
fn nothing_is_taken_while_an_upload_runs() {
    let disk = stopped();
    let node = open_with(small(), &disk);
    let upload = node.put(id(30), Term(1), 1000, PutMode::IfAbsent).unwrap();
    let generation = disk.file(CHANGED)[..16].to_vec();
    node.checkpoint().unwrap();
    assert_eq!(disk.file(CHANGED)[..16], generation[..]);
    drop(upload);
    node.checkpoint().unwrap();
    assert_ne!(disk.file(CHANGED)[..16], generation[..]);
    drop(node);
    check(&open_with(small(), &disk));
}

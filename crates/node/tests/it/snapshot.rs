//! Starting from what the last clean stop left, and noticing where it does not fit.

use crate::support::*;
use prunedb_core::Term;
use prunedb_disk::Disk;
use prunedb_node::{Damage, Node, NodeConfig, NodeError, PutMode};

const SNAPSHOT: &str = "/node/snapshot";
const CHANGED: &str = "/node/changed-00000001";
const RUN: &str = "/node/index/00000001.run";

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
            3 | 4 => assert!(node.stat(id(number)).unwrap().is_none(), "shard {number} is back"),
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
    assert!(node.stat(id(8)).unwrap().is_none());
    for number in [0, 12, 20] {
        assert_eq!(get(&node, id(number)).unwrap(), bytes(number.into(), 40_000));
    }
    // and again, from the same snapshot
    drop(node);
    let node = open_with(small(), &disk.crashed(Unsynced::Lost));
    assert!(node.stat(id(8)).unwrap().is_none() && get(&node, id(12)).is_ok());
}

#[test]
fn a_replacement_that_dies_anywhere_leaves_one_good_copy() {
    let disk = stopped();
    let node = open_with(small(), &disk);
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
            assert!(
                node.stat(id(12)).unwrap().is_none(),
                "a second copy is back after operation {count}"
            );
        }
    }
}

#[test]
fn a_snapshot_that_is_damaged_or_does_not_fit_costs_a_walk_and_nothing_else() {
    let length = |path| stopped().file(path).len();
    assert_eq!(length(RUN), 3 * PAGE, "a header, items, and first ids");
    let of_snapshot = (0..length(SNAPSHOT)).step_by(37).map(|at| (SNAPSHOT, at));
    let of_run = (0..PAGE).step_by(41).flat_map(|at| [(RUN, at), (RUN, 2 * PAGE + at)]);
    let flips = of_snapshot.chain(of_run).chain((0..16).map(|at| (CHANGED, at)));
    for (path, at) in flips {
        let disk = stopped();
        disk.flip(path, at, 1);
        let node = open_with(small(), &disk);
        assert_eq!(node.report().segments_walked, 10, "{path} at {at}");
        assert_eq!(node.report().damage, []);
        check(&node);
    }
    // a run that is gone, or cut
    let disk = stopped();
    disk.remove(RUN.as_ref()).unwrap();
    assert_eq!(open_with(small(), &disk).report().segments_walked, 10);
    let disk = stopped();
    disk.put_file(RUN, disk.file(RUN)[..2 * PAGE].to_vec());
    assert_eq!(open_with(small(), &disk).report().segments_walked, 10);
    // a segment that is gone takes its shards with it, and no more
    let disk = stopped();
    disk.remove(segment(5).as_ref()).unwrap();
    let node = open_with(small(), &disk);
    assert_eq!((node.report().segments_walked, node.report().shards), (1, 16));
    assert_eq!(node.report().damage, [Damage::Unreadable { segment: 5 }]);
    assert!(node.stat(id(10)).unwrap().is_none() && node.stat(id(12)).unwrap().is_some());
    // its header is not needed while the snapshot has what it says
    let disk = stopped();
    disk.flip(segment(5), 0, 1);
    let node = open_with(small(), &disk);
    assert_eq!((node.report().segments_walked, node.report().damage_count), (1, 0));
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
            assert!(node.stat(id(8)).unwrap().is_none(), "{context}");
            if deleted {
                assert!(node.stat(id(9)).unwrap().is_none(), "{context}");
            }
            for number in [0, 1, 2, 5, 6, 7, 10, 15, 19] {
                let found = get(&node, id(number)).unwrap();
                assert_eq!(found, bytes(number.into(), 40_000), "{context}");
            }
        }
    }
}

#[test]
fn a_snapshot_is_taken_while_uploads_run() {
    let disk = stopped();
    let node = open_with(small(), &disk);
    let shard = bytes(30, 40_000);
    let mut upload = node.put(id(30), Term(1), 40_000, PutMode::IfAbsent).unwrap();
    upload.write(0, &shard[..20_000]).unwrap();
    // behind it in other segments, so that the upload's own is not the last one
    for number in 31..35 {
        put(&node, id(number), 1, &bytes(number.into(), 40_000)).unwrap();
    }
    node.checkpoint().unwrap();
    upload.write(20_000, &shard[20_000..]).unwrap();
    upload.commit(name(&shard), Term(1)).unwrap();
    for disk in [disk.killed(), disk.crashed(Unsynced::Lost), disk.crashed(Unsynced::Torn(4))] {
        let node = open_with(small(), &disk);
        let report = node.report();
        assert_eq!((report.shards, report.damage_count), (18 + 5, 0));
        assert!(report.segments_walked <= 3, "{report:?}");
        for number in 30..35 {
            assert_eq!(get(&node, id(number)).unwrap(), bytes(number.into(), 40_000));
        }
    }
}

#[test]
fn a_damaged_page_is_noticed_and_the_next_start_makes_the_index_anew() {
    let disk = stopped();
    let node = open_with(small(), &disk);
    assert_eq!(node.report().segments_walked, 1);
    disk.flip(RUN, PAGE + 500, 1);
    let refused = node.stat(id(0));
    assert!(matches!(refused, Err(NodeError::Disk { .. })), "{refused:?}");
    assert!(node.list(LAKE, None, 5).is_err() && node.scrub_step(1).is_err());
    assert!(node.checkpoint().is_err(), "what is damaged is not written on");
    drop(node);
    let node = open_with(small(), &disk);
    assert_eq!(node.report().segments_walked, 10);
    check(&node);
}

#[test]
fn memory_holds_few_changes_and_a_start_without_a_snapshot_too() {
    let mut config = small();
    config.changes_max = 4;
    let disk = FaultyDisk::default();
    let node = open_with(config.clone(), &disk);
    for number in 0..40 {
        put(&node, id(number), 1, &bytes(number.into(), 1000)).unwrap();
    }
    for number in (0..40).step_by(3) {
        assert!(node.delete(id(number), Term(1)).unwrap());
    }
    let there: Vec<u32> = (0..40).filter(|number| number % 3 != 0).collect();
    let listed = |node: &Node| -> Vec<u32> {
        let some = node.list(LAKE, None, 100).unwrap();
        some.iter().map(|info| info.id.container.number).collect()
    };
    assert!(disk.has(SNAPSHOT), "what does not fit is written");
    assert_eq!(listed(&node), there);
    drop(node);
    // from the snapshot, and without it
    for path in ["", SNAPSHOT] {
        if !path.is_empty() {
            disk.remove(path.as_ref()).unwrap();
        }
        let node = open_with(config.clone(), &disk);
        assert_eq!(listed(&node), there);
        assert_eq!(node.space().unwrap().shards, there.len() as u64);
        for &number in &there {
            assert_eq!(get(&node, id(number)).unwrap(), bytes(number.into(), 1000));
        }
        let mut after = None;
        for number in &there {
            let next = node.list(LAKE, after, 1).unwrap();
            assert_eq!(next[0].id.container.number, *number, "one by one");
            after = Some(next[0].id);
        }
        drop(node);
    }
}

#[test]
fn more_segments_than_may_be_open_are_read_and_deleted_from() {
    let mut config = small();
    config.segment_bytes = 5_000;
    let disk = FaultyDisk::default();
    let node = open_with(config.clone(), &disk);
    for number in 0..600 {
        put(&node, id(number), 1, &bytes(number.into(), 10)).unwrap();
    }
    node.checkpoint().unwrap();
    drop(node);
    let node = open_with(config, &disk);
    assert_eq!((node.report().segments, node.report().segments_walked), (600, 1));
    for number in 0..600 {
        assert_eq!(get(&node, id(number)).unwrap(), bytes(number.into(), 10));
        assert!(node.delete(id(number), Term(1)).unwrap());
    }
    assert_eq!(node.space().unwrap().shards, 0);
}

#[test]
fn snapshots_that_find_the_disk_full_leave_no_room_taken() {
    let disk = stopped();
    let node = open_with(small(), &disk);
    assert!(node.delete(id(8), Term(1)).unwrap());
    let kept = |disk: &FaultyDisk| -> Vec<_> {
        let mut paths = disk.paths();
        paths.retain(|path| !path.ends_with("checkpoint") && !path.ends_with("checkpoint.tmp"));
        paths
    };
    let before = kept(&disk);
    let mut refused = 0;
    for writes in 0.. {
        disk.set_faults(|faults| faults.writes_left = writes);
        let done = node.checkpoint();
        disk.set_faults(|faults| faults.writes_left = u64::MAX);
        if done.is_ok() {
            break;
        }
        refused += 1;
        assert_eq!(kept(&disk), before, "after {writes} writes");
    }
    // checkpoint, run, its header, snapshot, list
    assert_eq!(refused, 5);
    assert!(disk.has(SNAPSHOT));
}

#[test]
fn a_segment_that_was_emptied_and_removed_is_not_missed() {
    let disk = FaultyDisk::default();
    let node = open_with(small(), &disk);
    put(&node, id(0), 1, &bytes(0, 40_000)).unwrap();
    assert!(node.delete(id(0), Term(1)).unwrap());
    node.checkpoint().unwrap();
    put(&node, id(1), 1, &bytes(1, 80_000)).unwrap();
    assert!(!disk.has(segment(0)), "nothing is in it");
    drop(node);
    let node = open_with(small(), &disk.crashed(Unsynced::Kept));
    assert_eq!((node.report().damage.as_slice(), node.report().shards), (&[][..], 1));
}

#[test]
fn nothing_is_dropped_in_a_file_that_is_another_segments() {
    let disk = stopped();
    let [second, third] = [1, 2].map(|number| disk.file(segment(number)));
    disk.put_file(segment(1), third.clone());
    disk.put_file(segment(2), second.clone());
    let node = open_with(small(), &disk);
    for number in [2, 5] {
        let shard = node.get(id(number), 0, 100);
        assert!(matches!(shard, Err(NodeError::Damaged { .. })), "{shard:?}");
        assert!(node.delete(id(number), Term(1)).is_err());
    }
    assert_eq!([1, 2].map(|number| disk.file(segment(number))), [third, second.clone()]);
    // what has come elsewhere meanwhile is read from there
    put(&node, id(2), 1, &bytes(2, 40_000)).unwrap();
    assert_eq!(get(&node, id(2)).unwrap(), bytes(2, 40_000));
    assert_eq!(disk.file(segment(2)), second);
}

#[test]
fn what_lies_on_a_read_only_disk_is_read() {
    let disk = stopped();
    let node = open_with(small(), &disk);
    disk.set_faults(|faults| faults.read_only = true);
    check(&node);
    assert!(matches!(node.delete(id(0), Term(1)), Err(NodeError::Disk { .. })));
    while let Some(bytes) = node.scrub_step(1).unwrap() {
        assert!(bytes > 0);
    }
    assert_eq!(node.scrub_status().damaged_count, 0);
    disk.set_faults(|faults| faults.read_only = false);
    assert!(node.delete(id(0), Term(1)).unwrap());
}

#[test]
fn each_copy_that_could_not_be_dropped_is_looked_at_by_the_next_start() {
    let disk = stopped();
    let [second, third] = [1, 2].map(|number| disk.file(segment(number)));
    disk.put_file(segment(1), third);
    let node = open_with(small(), &disk);
    let shard = bytes(2, 40_000);
    // its segment is not there now: one copy stays in it
    assert!(get(&node, id(2)).is_err());
    put(&node, id(2), 1, &shard).unwrap();
    // the next one is damaged, and cannot be dropped either
    let newest = (0..).take_while(|&number| disk.has(segment(number))).last().unwrap();
    disk.flip(segment(newest), disk.file(segment(newest)).len() - 10_000, 1);
    assert!(get(&node, id(2)).is_err());
    for writes in 0.. {
        disk.set_faults(|faults| faults.writes_left = writes);
        let done = put(&node, id(2), 1, &shard);
        disk.set_faults(|faults| faults.writes_left = u64::MAX);
        if done.is_ok() {
            break;
        }
    }
    assert!(matches!(node.delete(id(2), Term(1)), Err(NodeError::Poisoned { .. })));
    disk.put_file(segment(1), second);
    node.checkpoint().unwrap();
    drop(node);
    assert!(open_with(small(), &disk).delete(id(2), Term(1)).unwrap());
    disk.remove(SNAPSHOT.as_ref()).unwrap();
    assert!(open_with(small(), &disk).stat(id(2)).unwrap().is_none(), "an old copy is back");
}

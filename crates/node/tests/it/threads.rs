//! Many threads on one node: no deadlock, no false damage, no commit behind a fence.

use crate::support::*;
use prunedb_core::{LakeId, ShardId, Term};
use prunedb_node::{NodeError, PutMode};
use std::thread;

#[test]
fn readers_never_see_what_writers_are_doing() {
    let disk = FaultyDisk::default();
    let mut config = config();
    config.segment_bytes = 300_000;
    let node = open_with(config.clone(), &disk);
    // each shard has one content, so that whatever is read must be it
    let shards: Vec<Vec<u8>> = (0..4).map(|seed| bytes(seed, 40_000)).collect();
    thread::scope(|scope| {
        for seed in 0..6 {
            let (node, shards) = (&node, &shards);
            scope.spawn(move || {
                let mut chance = Chance::new(seed);
                for _ in 0..150 {
                    let number = u32::try_from(chance.bits() % 4).unwrap();
                    let shard = &shards[number as usize];
                    let done = match chance.bits() % 6 {
                        0 => node.delete(id(number), Term(1)).map(drop),
                        1 => put_as(node, id(number), 1, shard, PutMode::Replace),
                        2 | 3 => put(node, id(number), 1, shard),
                        _ => node.get(id(number), 0, 40_000).map(|got| assert!(got == *shard)),
                    };
                    match done {
                        // deleted between the begin and the end of a put, or before a read
                        Ok(()) | Err(NodeError::Absent { .. }) => {}
                        Err(e) => panic!("{e}"),
                    }
                }
            });
        }
    });
    let (list, used) = (node.list(LAKE, None, 10).unwrap(), node.space().unwrap().used_bytes);
    drop(node);
    let node = open_with(config, &disk);
    assert_eq!(node.report().damage, []);
    assert_eq!(node.list(LAKE, None, 10).unwrap(), list);
    // dropped records at the end of a segment are cut off at the start
    assert!(node.space().unwrap().used_bytes <= used);
    for info in list {
        assert_eq!(get(&node, info.id).unwrap(), shards[info.id.container.number as usize]);
    }
}

#[test]
fn nothing_appears_behind_a_fence() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    for round in 0..20_u8 {
        let lake = LakeId([round; 16]);
        thread::scope(|scope| {
            for number in 0..4 {
                let node = &node;
                scope.spawn(move || {
                    for more in 0.. {
                        let id = ShardId { lake, ..id(number + more * 4) };
                        match put(node, id, 1, b"old writer") {
                            Ok(()) => {}
                            Err(NodeError::Fenced { seen: Term(2), .. }) => break,
                            Err(e) => panic!("{e}"),
                        }
                    }
                });
            }
            let node = &node;
            scope.spawn(move || {
                while node.list(lake, None, 20).unwrap().len() < 10 {
                    thread::yield_now();
                }
                node.fence(lake, Term(2)).unwrap();
                let there = node.list(lake, None, 1000).unwrap().len();
                thread::sleep(std::time::Duration::from_millis(5));
                assert_eq!(node.list(lake, None, 1000).unwrap().len(), there);
            });
        });
    }
}

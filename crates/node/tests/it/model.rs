//! The node against a plain map, through restarts, kills and losses of power.

use crate::support::{FaultyDisk, LAKE, Unsynced, bytes, config, get, id, name, open_with, put_as};
use proptest::{collection::vec, prelude::*};
use prunedb_core::Term;
use prunedb_node::{Head, Node, NodeError, PutMode, Upload};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    Put {
        number: u32,
        seed: u64,
        mode: PutMode,
    },
    /// begun and left open until it is committed, or the node stops
    Begin {
        number: u32,
        seed: u64,
        part: usize,
    },
    CommitOldest,
    Delete {
        number: u32,
    },
    Fence {
        up: u64,
    },
    Head {
        number: u64,
    },
    /// a snapshot, with uploads under way
    Snapshot,
    Reopen,
    Kill,
    Crash {
        seed: u64,
    },
    /// the sync of the next put fails
    FailSync {
        number: u32,
        seed: u64,
    },
    Read {
        number: u32,
        offset: usize,
        count: usize,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let numbers = || 0_u32..6;
    let modes = prop_oneof![4 => Just(PutMode::IfAbsent), 1 => Just(PutMode::Replace)];
    prop_oneof![
        8 => (numbers(), 0_u64..3, modes).prop_map(|(number, seed, mode)| Step::Put { number, seed, mode }),
        3 => (numbers(), 0_u64..3, 0_usize..50_000).prop_map(|(number, seed, part)| Step::Begin { number, seed, part }),
        3 => Just(Step::CommitOldest),
        3 => numbers().prop_map(|number| Step::Delete { number }),
        1 => (0_u64..2).prop_map(|up| Step::Fence { up }),
        1 => (0_u64..5).prop_map(|number| Step::Head { number }),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|seed| Step::Crash { seed }),
        1 => (numbers(), 0_u64..3).prop_map(|(number, seed)| Step::FailSync { number, seed }),
        5 => (numbers(), 0_usize..60_000, 1_usize..40_000)
            .prop_map(|(number, offset, count)| Step::Read { number, offset, count }),
    ]
}

/// A shard's bytes; lengths differ by number, so that all block shapes occur.
fn shard(number: u32, seed: u64) -> Vec<u8> {
    let sizes = [1, 100, 16_384, 16_385, 50_000, 40_000];
    bytes(seed * 100 + u64::from(number), sizes[number as usize])
}

struct Running {
    disk: FaultyDisk,
    node: Node,
    uploads: Vec<(u32, u64, Upload)>,
}

#[derive(Default)]
struct Model {
    shards: BTreeMap<u32, u64>,
    term: u64,
    head: Option<(u64, u64)>,
    /// puts whose sync failed: after a restart one of them may be there
    maybe: BTreeSet<(u32, u64)>,
}

fn small() -> prunedb_node::NodeConfig {
    let mut config = config();
    config.segment_bytes = 200_000;
    // so that the index is merged all the time
    config.changes_max = 3;
    config
}

impl Running {
    fn on(disk: FaultyDisk, model: &mut Model) -> Self {
        let node = open_with(small(), &disk);
        for (number, seed) in std::mem::take(&mut model.maybe) {
            let shard = shard(number, seed);
            let there =
                node.stat(id(number)).unwrap().is_some_and(|info| info.name == name(&shard));
            if there && !model.shards.contains_key(&number) {
                // whole and durable, or known to be bad and as good as none
                if get(&node, id(number)).is_err() {
                    put_as(&node, id(number), model.term, &shard, PutMode::IfAbsent).unwrap();
                }
                model.shards.insert(number, seed);
            }
        }
        Self { disk, node, uploads: Vec::new() }
    }

    /// Everything that the model has, and nothing else.
    fn check(&self, model: &Model) {
        for number in 0..6 {
            match (get(&self.node, id(number)), model.shards.get(&number)) {
                (Ok(found), Some(&seed)) => assert!(found == shard(number, seed), "shard {number}"),
                (Err(NodeError::Absent { .. }), None) => {}
                (got, want) => panic!("shard {number}: {:?}, expected {want:?}", got.err()),
            }
        }
        let head = self.node.head(LAKE).unwrap();
        assert_eq!(head.map(|head| (head.term.0, head.number)), model.head);
        assert_eq!(self.node.space().unwrap().shards, model.shards.len() as u64);
        let below = model.term.checked_sub(1).map(|term| self.node.fence(LAKE, Term(term)));
        assert!(below.is_none_or(|fence| matches!(fence, Err(NodeError::Fenced { .. }))));
    }
}

fn run(steps: Vec<Step>) {
    let mut model = Model::default();
    let mut it = Running::on(FaultyDisk::default(), &mut model);
    for step in steps {
        match step {
            Step::Put { number, seed, mode } => {
                let shard = shard(number, seed);
                match put_as(&it.node, id(number), model.term, &shard, mode) {
                    Ok(()) => assert_eq!(*model.shards.entry(number).or_insert(seed), seed),
                    Err(NodeError::Conflict { .. }) => assert_ne!(model.shards[&number], seed),
                    Err(e) => panic!("{e}"),
                }
            }
            Step::Begin { number, seed, part } => {
                let bytes = shard(number, seed);
                let length = bytes.len() as u64;
                let begun = it.node.put(id(number), Term(model.term), length, PutMode::IfAbsent);
                let mut upload = begun.unwrap();
                let (now, later) = bytes.split_at(part.min(bytes.len()));
                upload.write(0, now).unwrap();
                upload.write(now.len() as u64, later).unwrap();
                it.uploads.push((number, seed, upload));
            }
            Step::CommitOldest if !it.uploads.is_empty() => {
                let (number, seed, upload) = it.uploads.remove(0);
                match upload.commit(name(&shard(number, seed)), Term(model.term)) {
                    Ok(()) => assert_eq!(*model.shards.entry(number).or_insert(seed), seed),
                    Err(NodeError::Conflict { .. }) => assert_ne!(model.shards[&number], seed),
                    // it was stored when the upload began, and deleted since
                    Err(NodeError::Absent { .. }) => assert!(!model.shards.contains_key(&number)),
                    Err(NodeError::Poisoned { .. }) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            Step::CommitOldest => {}
            Step::Delete { number } => match it.node.delete(id(number), Term(model.term)) {
                Ok(was) => {
                    assert_eq!(was, model.shards.remove(&number).is_some());
                    // a delete that was answered holds for puts that failed before it, too
                    model.maybe.retain(|(of, _)| *of != number);
                }
                Err(NodeError::Poisoned { .. }) => {}
                Err(e) => panic!("{e}"),
            },
            Step::Fence { up } => {
                model.term += up;
                it.node.fence(LAKE, Term(model.term)).unwrap();
            }
            Step::Head { number } => {
                let bytes = bytes(number, 1000).into();
                let head = Head { term: Term(model.term), number, bytes };
                it.node.put_head(LAKE, &head).unwrap();
                model.head = model.head.max(Some((model.term, number)));
            }
            Step::Snapshot => it.node.checkpoint().unwrap(),
            Step::Reopen => {
                let Running { disk, node, uploads } = it;
                drop(uploads);
                node.checkpoint().unwrap();
                drop(node);
                it = Running::on(disk, &mut model);
            }
            Step::Kill => it = Running::on(it.disk.killed(), &mut model),
            Step::Crash { seed } => {
                it = Running::on(it.disk.crashed(Unsynced::Torn(seed)), &mut model)
            }
            Step::FailSync { number, seed } => {
                if model.shards.contains_key(&number) {
                    continue;
                }
                it.disk.set_faults(|faults| faults.syncs = 1);
                let shard = shard(number, seed);
                let put = put_as(&it.node, id(number), model.term, &shard, PutMode::IfAbsent);
                it.disk.set_faults(|faults| faults.syncs = 0);
                // the fault may hit the creation of a segment instead
                assert!(matches!(put, Err(NodeError::Disk { .. })), "{put:?}");
                model.maybe.insert((number, seed));
            }
            Step::Read { number, offset, count } => {
                let got = it.node.get(id(number), offset as u64, u32::try_from(count).unwrap());
                match (got, model.shards.get(&number)) {
                    (Ok(got), Some(&seed)) => {
                        assert!(got == shard(number, seed)[offset..offset + count]);
                    }
                    (Err(NodeError::Range { .. }), Some(&seed)) => {
                        assert!(offset + count > shard(number, seed).len());
                    }
                    (Err(NodeError::Absent { .. }), None) => {}
                    (got, want) => panic!("{:?}, expected {want:?}", got.err()),
                }
            }
        }
        it.check(&model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 2000, ..Default::default() })]

    #[test]
    fn the_node_is_a_map_that_survives(steps in vec(steps(), 1..40)) {
        run(steps);
    }
}

const fn put_step(number: u32, seed: u64, mode: PutMode) -> Step {
    Step::Put { number, seed, mode }
}

#[test]
fn a_delete_refused_by_a_poisoned_segment_does_not_happen_at_the_next_start() {
    let fail = Step::FailSync { number: 0, seed: 0 };
    run(vec![put_step(3, 0, PutMode::IfAbsent), fail, Step::Delete { number: 3 }, Step::Reopen]);
}

#[test]
fn a_shard_that_the_disk_forgot_is_not_trusted_at_the_next_start() {
    let fail = Step::FailSync { number: 0, seed: 0 };
    run(vec![put_step(2, 0, PutMode::IfAbsent), fail, Step::Reopen, Step::Crash { seed: 0 }]);
}

#[test]
fn a_replaced_copy_in_a_poisoned_segment_does_not_come_back() {
    run(vec![
        put_step(3, 1, PutMode::IfAbsent),
        Step::FailSync { number: 0, seed: 0 },
        put_step(3, 1, PutMode::Replace),
        Step::Delete { number: 3 },
        Step::Reopen,
    ]);
}

#[test]
fn an_upload_into_a_poisoned_segment_does_not_win_at_the_next_start() {
    run(vec![
        Step::Begin { number: 0, seed: 0, part: 0 },
        Step::FailSync { number: 0, seed: 1 },
        Step::CommitOldest,
        Step::Reopen,
    ]);
}

#[test]
fn an_emptied_segment_does_not_come_back_with_a_put_that_failed() {
    run(vec![
        put_step(4, 0, PutMode::IfAbsent),
        Step::Delete { number: 4 },
        Step::FailSync { number: 0, seed: 0 },
        put_step(1, 0, PutMode::IfAbsent),
        Step::Reopen,
        Step::Crash { seed: 13073476564913673538 },
    ]);
}

//! Four validators over real sockets: one of them goes, the others go on; it comes back, and has what they have.

mod cluster;

use cluster::{Cluster, VOTE};
use prunedb_consensus::{
    CHECKPOINT_HEIGHTS, Orderer, SITTING_HEIGHTS, SimplexError, Start, StartError,
};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_four_go_on_and_the_fourth_catches_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::new(dir.path().into(), 4, 4, Duration::from_millis(20));
    (0..4).for_each(|number| cluster.start(number));
    let tx = |n: u32| n.to_le_bytes().to_vec();
    for n in 0..100 {
        cluster.validator(n as usize % 4).orderer.submit(tx(n)).expect("room");
    }
    for number in 0..4 {
        cluster.reach(number, 10).await;
    }

    cluster.stop(3).await;
    let alone = cluster.height(0);
    for n in 100..200 {
        cluster.validator(n as usize % 3).orderer.submit(tx(n)).expect("room");
    }
    cluster.reach(0, alone + 2 * CHECKPOINT_HEIGHTS).await;

    cluster.start(3);
    let last = cluster.height(0);
    cluster.validator(3).orderer.submit(tx(200)).expect("room");
    for number in 0..4 {
        cluster.reach(number, last + CHECKPOINT_HEIGHTS).await;
    }
    let seen: Vec<_> = (0..4).map(|n| cluster.validator(n).seen.lock().expect("whole")).collect();
    let common = seen.iter().filter_map(|s| s.roots.last_key_value()).map(|(h, _)| *h).min();
    for (height, root) in seen[0].roots.range(..=common.expect("all have blocks")) {
        assert!(seen.iter().all(|s| s.roots[height] == *root), "roots differ at height {height}");
    }
    for n in 0..=200 {
        assert!(seen[0].txs.contains_key(&tx(n)), "transaction {n} is in no block");
    }
    drop(seen);
    let orderer = &cluster.validator(0).orderer;
    let mut agreed = 0;
    let mut proofs = 0;
    for height in 1..=last {
        let block = orderer.block(height).expect("kept").expect("final");
        agreed += u32::from(block.checkpoint.is_some());
        proofs += u32::from(orderer.proof(height).expect("kept").is_some_and(|p| p.len() > 32));
    }
    assert!(agreed > 0, "no root was agreed on");
    assert!(proofs > 0, "nothing is signed");
    assert!(orderer.metrics().contains("simplex"), "no metrics");
    for number in 0..4 {
        cluster.stop(number).await;
    }
}

impl Cluster {
    /// Has others vote, by their numbers.
    fn vote(&self, by: usize, numbers: &[u8]) {
        self.validator(by).orderer.submit([VOTE, numbers].concat()).expect("room");
    }

    /// The state of a validator after a height, with what shows that it was agreed on.
    fn state(&self, number: usize, height: u64) -> Start {
        let validator = self.validator(number);
        let (root, validators) = {
            let seen = validator.seen.lock().expect("whole");
            (seen.roots[&height], seen.validators[&height].clone())
        };
        let orderer = &validator.orderer;
        let of = |height| {
            Some((orderer.block(height).expect("kept")?, orderer.proof(height).expect("kept")?))
        };
        let blocks = (height + 1..=height + SITTING_HEIGHTS).map_while(of).collect();
        Start { height, root, validators, blocks }
    }
}

/// The first height after a sitting that begins after a height.
const fn next_sitting(height: u64) -> u64 {
    (height / SITTING_HEIGHTS + 1) * SITTING_HEIGHTS + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_become_five_and_one_leaves() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::new(dir.path().into(), 4, 5, Duration::from_millis(10));
    (0..4).for_each(|number| cluster.start(number));
    cluster.reach(0, 10).await;
    cluster.vote(0, &[0, 1, 2, 3, 4]);
    let votes = |cluster: &Cluster, number: usize| cluster.validator(number).orderer.status().votes;

    // one starts again between the vote and the sitting after it; the new one comes when that has begun
    cluster.stop(1).await;
    cluster.start(1);
    let five = next_sitting(cluster.height(0));
    cluster.reach(0, five).await;
    cluster.start(4);
    for number in 0..5 {
        cluster.reach(number, five + 10).await;
        assert!(votes(&cluster, number), "validator {number} votes");
    }
    // started again in the middle of the sitting, it knows who votes
    cluster.stop(4).await;
    cluster.start(4);
    cluster.vote(1, &[0, 1, 2, 4]);
    cluster.reach(4, five + 20).await;

    let four = next_sitting(cluster.height(0).max(five + 20));
    for number in 0..5 {
        cluster.reach(number, four + 10).await;
        assert_eq!(votes(&cluster, number), number != 3, "validator {number}");
    }
    // who left gets the blocks all the same
    cluster.stop(3).await;
    cluster.start(3);
    cluster.reach(3, four + 20).await;
    let root = |number: usize| cluster.validator(number).seen.lock().expect("whole").roots[&four];
    for number in 1..5 {
        assert_eq!(root(number), root(0), "validator {number}");
    }
    // without it and another one there are three of four: the new one's vote is needed
    cluster.stop(3).await;
    cluster.stop(0).await;
    let last = cluster.height(4);
    cluster.reach(4, next_sitting(last) + 5).await;
    cluster.reach(1, last + 5).await;
    for number in 0..5 {
        cluster.stop(number).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_goes_on_from_a_state_of_others() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::new(dir.path().into(), 4, 4, Duration::from_millis(10));
    (0..4).for_each(|number| cluster.start(number));
    for number in 0..4 {
        cluster.reach(number, 10).await;
    }
    cluster.stop(3).await;
    cluster.reach(0, 2 * SITTING_HEIGHTS).await;
    let height = cluster.height(0) / SITTING_HEIGHTS * SITTING_HEIGHTS;
    cluster.reach(0, height + SITTING_HEIGHTS / 2).await;
    // the others have its blocks no more
    (0..3).for_each(|number| cluster.validator(number).orderer.prune(height).expect("pruned"));
    let start = cluster.state(0, height);

    let refused = |cluster: &mut Cluster, start: Start| match cluster.try_start(3, Some(start)) {
        Err(SimplexError::Start(error)) => error,
        other => panic!("{other:?}"),
    };
    let mut lie = start.clone();
    lie.root.0[0] ^= 1;
    assert!(matches!(refused(&mut cluster, lie), StartError::OtherRoot { .. }));

    cluster.start_from(3, Some(start.clone()));
    let last = cluster.height(0);
    cluster.reach(3, last + 10).await;
    let orderer = |number: usize| &cluster.validator(number).orderer;
    assert_eq!(orderer(3).status().first_height, height + 1);
    for height in height + 1..=last {
        assert_eq!(
            orderer(3).block(height).expect("kept"),
            orderer(0).block(height).expect("kept")
        );
    }
    // it votes: with another one gone, three of four go on
    cluster.stop(0).await;
    let last = cluster.height(1);
    cluster.reach(3, last + 5).await;
    // started again it goes on with what is here; so does one that pruned its first blocks
    for number in [3, 1] {
        cluster.stop(number).await;
        let state = (height, start.root, start.validators.clone());
        cluster.start_with(number, state, None).expect("it starts again");
        let last = cluster.height(2);
        cluster.reach(number, last + 5).await;
    }
    cluster.stop(3).await;
    let old = cluster.state(2, height - SITTING_HEIGHTS);
    assert!(matches!(refused(&mut cluster, old), StartError::Old { .. }));
    for number in 0..4 {
        cluster.stop(number).await;
    }
}

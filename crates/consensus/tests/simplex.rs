//! Four validators over real sockets: one of them goes, the others go on; it comes back, and has what they have.

mod cluster;

use cluster::Cluster;
use prunedb_consensus::{CHECKPOINT_HEIGHTS, Orderer};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_four_go_on_and_the_fourth_catches_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::new(dir.path().into(), 4, Duration::from_millis(20));
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
        proofs += u32::from(orderer.proof(height).expect("kept").is_some_and(|p| !p.is_empty()));
    }
    assert!(agreed > 0, "no root was agreed on");
    assert!(proofs > 0, "nothing is signed");
    assert!(orderer.metrics().contains("simplex"), "no metrics");
    for number in 0..4 {
        cluster.stop(number).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_validator_begins_with_a_proven_block() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::new(dir.path().into(), 4, Duration::from_millis(20));
    (0..4).for_each(|number| cluster.start(number));
    for number in 0..4 {
        cluster.reach(number, 20).await;
    }
    cluster.stop(3).await;
    cluster.wipe(3);
    cluster.reach(0, 40).await;
    let proven = |height: &u64| {
        let proof = cluster.validator(0).orderer.proof(*height).expect("kept");
        proof.filter(|proof| !proof.is_empty()).map(|proof| (*height, proof))
    };
    let (first, proof) =
        (25..40).find_map(|height| proven(&height)).expect("one of them is signed");
    let mut forged = proof.clone();
    *forged.last_mut().expect("not empty") ^= 1;
    let refused = cluster.try_start(3, Some(forged)).expect_err("a signature is wrong");
    assert!(refused.to_string().contains("proof to begin with"), "{refused}");
    cluster.start_from(3, Some(proof));
    let orderer = std::sync::Arc::clone(&cluster.validator(3).orderer);
    let last = cluster.height(0);
    let begun = std::time::Instant::now();
    while orderer.status().height < last + 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", orderer.status());
    }
    assert!((first..=first + 1).contains(&orderer.status().first_height), "{:?}", orderer.status());
    for height in first + 1..=last {
        let block = |number: usize| cluster.validator(number).orderer.block(height).expect("kept");
        assert_eq!(block(3), block(0), "height {height}");
    }
    drop(orderer);
    for number in 0..4 {
        cluster.stop(number).await;
    }
}

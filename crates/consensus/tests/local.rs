//! One process alone orders transactions, and goes on where it was.

use prunedb_consensus::{CHECKPOINT_HEIGHTS, Follower, Local, LocalConfig, OrderError, Orderer};
use prunedb_core::Digest;
use prunedb_disk::faulty::FaultyDisk;
use std::{sync::Arc, time::Duration};

fn start(disk: &FaultyDisk) -> Arc<Local> {
    let config = LocalConfig { dir: "/registry".into(), interval: Duration::from_millis(1) };
    Arc::new(Local::start(Arc::new(disk.clone()), &config).expect("an empty or a good journal"))
}

/// A state: a hash over all transactions so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Chain(Digest);

impl Chain {
    fn apply(&mut self, tx: &[u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.0).update(tx);
        self.0 = Digest(*hasher.finalize().as_bytes());
    }
}

#[tokio::test]
async fn every_transaction_once_and_in_order_over_restarts() {
    let disk = FaultyDisk::new(1);
    let mut seen = Vec::new();
    let mut height = 0;
    for round in 0..4u8 {
        let orderer = start(&disk);
        let txs: Vec<Vec<u8>> = (0..200).map(|n| vec![round, n]).collect();
        for tx in &txs {
            orderer.submit(tx.clone()).unwrap();
        }
        let mut follower = Follower::new(Arc::clone(&orderer), height + 1);
        while seen.len() < usize::from(round + 1) * 200 {
            let block = follower.next().await.unwrap();
            height += 1;
            assert_eq!(block.height, height);
            seen.extend(block.txs);
        }
        assert_eq!(seen[usize::from(round) * 200..], txs);
        assert_eq!(orderer.status().waiting_txs, 0);
        assert_eq!(orderer.proof(height).unwrap(), Some(Vec::new()));
    }
    // from the start once more
    let orderer = start(&disk);
    let mut again = Vec::new();
    for height in 1..=height {
        again.extend(orderer.block(height).unwrap().unwrap().txs);
    }
    assert_eq!(again, seen);
}

#[tokio::test]
async fn a_state_that_comes_out_different_is_told() {
    let disk = FaultyDisk::new(1);
    let orderer = start(&disk);
    let mut follower = Follower::new(Arc::clone(&orderer), 1);
    let mut chain = Chain::default();
    let mut agreed = 0;
    while agreed < 3 * CHECKPOINT_HEIGHTS {
        let block = follower.next().await.unwrap();
        orderer.submit(block.height.to_le_bytes().to_vec()).unwrap();
        block.txs.iter().for_each(|tx| chain.apply(tx));
        orderer.applied(block.height, chain.0, &[]);
        agreed = block.checkpoint.map_or(agreed, |c| c.height);
    }
    drop((follower, orderer));
    // the same program again, then one that applies a transaction in another way
    for is_changed in [false, true] {
        let orderer = start(&disk);
        let mut chain = Chain::default();
        let mut last = Ok(());
        for height in 1..=3 * CHECKPOINT_HEIGHTS {
            let block = match orderer.block(height) {
                Ok(block) => block.unwrap(),
                Err(error) => {
                    last = Err(error);
                    break;
                }
            };
            block.txs.iter().for_each(|tx| chain.apply(tx));
            if is_changed && height == 5 {
                chain.apply(b"a bug");
            }
            orderer.applied(height, chain.0, &[]);
        }
        let is_told = matches!(last, Err(OrderError::Diverged { height: CHECKPOINT_HEIGHTS, .. }));
        assert_eq!(is_told, is_changed, "{last:?}");
    }
}

#[tokio::test]
async fn a_disk_that_fails_ends_it_with_a_reason() {
    let disk = FaultyDisk::new(1);
    let orderer = start(&disk);
    let mut follower = Follower::new(Arc::clone(&orderer), 1);
    follower.next().await.unwrap();
    disk.set_faults(|faults| faults.read_only = true);
    let stopped = loop {
        if let Err(error) = follower.next().await {
            break error;
        }
    };
    assert!(matches!(stopped, OrderError::Stopped { .. }), "{stopped}");
    assert!(orderer.status().failure.is_some());
    assert!(orderer.submit(vec![1]).is_err());
}

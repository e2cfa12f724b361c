//! `cargo bench -p prunedb-consensus --bench simplex`: four validators over loopback: blocks a second, the time until a
//! transaction is final, and how a validator that was away catches up.

#[path = "../tests/cluster/mod.rs"]
mod cluster;

use cluster::Cluster;
use prunedb_consensus::Orderer;
use std::time::{Duration, Instant};

const TXS: usize = 300;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::new(dir.path().into(), 4, 4, Duration::from_millis(50));
    (0..4).for_each(|number| cluster.start(number));
    for number in 0..4 {
        cluster.reach(number, 20).await;
    }

    let (started, first) = (Instant::now(), cluster.height(0));
    let mut submitted = Vec::new();
    for n in 0..TXS {
        let tx = (n as u64).to_le_bytes().to_vec();
        submitted.push((tx.clone(), Instant::now()));
        cluster.validator(n % 4).orderer.submit(tx).expect("room");
        tokio::time::sleep(Duration::from_millis(37)).await;
    }
    let (seconds, last) = (started.elapsed().as_secs_f64(), cluster.height(0));
    println!("simplex::blocks/validators=4: {:.1} blocks/s", (last - first) as f64 / seconds);
    cluster.reach(0, last + 20).await;
    let mut waits: Vec<f64> = {
        let seen = cluster.validator(0).seen.lock().expect("whole");
        let wait = |(tx, at): &(Vec<u8>, Instant)| seen.txs[tx].duration_since(*at);
        submitted.iter().map(|s| wait(s).as_secs_f64() * 1e3).collect()
    };
    waits.sort_by(f64::total_cmp);
    println!(
        "simplex::finality/validators=4: p50 {:.0} ms, p99 {:.0} ms from submitting to final and synced at another validator",
        waits[TXS / 2],
        waits[TXS * 99 / 100]
    );

    cluster.stop(3).await;
    let (started, first) = (Instant::now(), cluster.height(0));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let last = cluster.height(0);
    println!(
        "simplex::blocks/validators=3 of 4: {:.1} blocks/s",
        (last - first) as f64 / started.elapsed().as_secs_f64()
    );
    let started = Instant::now();
    cluster.start(3);
    cluster.reach(3, last).await;
    println!(
        "simplex::catch_up/blocks={}: {:.2} s with the start",
        last - first,
        started.elapsed().as_secs_f64()
    );
    for number in 0..4 {
        cluster.stop(number).await;
    }
}

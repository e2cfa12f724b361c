//! Lives of a lake. `PRUNEDB_SIM_SEEDS=2000` lives so many, from `PRUNEDB_SIM_FROM` on (0).

use prunedb_sim::live;
use std::{
    panic::catch_unwind,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread::{available_parallelism, scope},
};

/// Seeds of a normal test run.
const SEEDS: u64 = 24;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_and_redundancy_comes_back() {
    let from = number("PRUNEDB_SIM_FROM").unwrap_or(0);
    let end = from + number("PRUNEDB_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(from);
    let (records, losses) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed: Vec<String> = scope(|scope| {
        let threads = available_parallelism().map_or(1, usize::from);
        let live_on = || {
            let mut failed = Vec::new();
            loop {
                let seed = next.fetch_add(1, Relaxed);
                if seed >= end {
                    return failed;
                }
                let lived = catch_unwind(|| live(seed));
                match lived.unwrap_or_else(|_| Err(format!("seed {seed} panicked"))) {
                    Ok(life) => {
                        records.fetch_add(life.records, Relaxed);
                        losses.fetch_add(life.losses, Relaxed);
                    }
                    Err(reason) => {
                        let again = format!("again: PRUNEDB_SIM_FROM={seed} PRUNEDB_SIM_SEEDS=1");
                        eprintln!("{reason}\n{again}");
                        failed.push(format!("{reason}\n{again}"));
                    }
                }
            }
        };
        let lives: Vec<_> = (0..threads).map(|_| scope.spawn(live_on)).collect();
        lives.into_iter().flat_map(|life| life.join().expect("a life ends")).collect()
    });
    assert!(failed.is_empty(), "{} lives ended badly:\n{}", failed.len(), failed.join("\n\n"));
    // a simulator in which nothing happens proves nothing
    if end - from >= SEEDS {
        assert!(records.into_inner() > 1000 && losses.into_inner() > 10);
    }
}

#[test]
fn a_seed_goes_the_same_way_twice() {
    for seed in [3, 1_000_003] {
        assert_eq!(live(seed), live(seed), "seed {seed}");
    }
    assert_ne!(live(3).map(|life| life.trace), live(4).map(|life| life.trace));
}

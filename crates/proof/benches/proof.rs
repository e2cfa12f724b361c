//! `cargo bench -p prunedb-proof`: microseconds to prove and to verify one sample of a shard of 5 MB, the best of twenty runs.

use prunedb_core::{ContainerId, Digest, Generation, LakeId};
use prunedb_proof::{Challenge, ContainerFacts, merkle, prove_sample, verify_sample};
use std::{hint::black_box, time::Instant};

const LEAVES: u32 = 305;

fn main() {
    let mut shard = vec![0; 16_384 * LEAVES as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut shard);
    let mut names: Vec<Digest> = (0..20).map(|i| Digest([i; 32])).collect();
    names[3] = Digest(*blake3::hash(&shard).as_bytes());
    let facts = ContainerFacts {
        lake: LakeId([1; 16]),
        container: ContainerId::data(1),
        policy: "16+4".parse().expect("a policy"),
        codec: 1,
        generation: Generation(0),
        leaf_bytes: 16_384,
        leaves_per_shard: LEAVES,
        container_bytes: 80_000_000,
        coded_bytes: 79_000_000,
    };
    let root = facts.root(&names).expect("a name for each shard");
    let path = merkle::path(&names, 3).expect("there is a shard 3");
    let bytes = shard.len() as u64;
    let sample = prove_sample(&shard, 1234).expect("there is such a sample");
    let size = 1024 + 32 * (1 + path.len() + sample.path.len());
    println!("proof: {size} bytes");

    report("prove_sample", 20, || {
        black_box(prove_sample(&shard, 1234).expect("there is such a sample"));
    });
    report("verify", 5_000, || {
        facts.verify_name(&names[3], 3, &path, &root).expect("its name");
        verify_sample(&names[3], bytes, 1234, black_box(&sample)).expect("its sample");
    });
    let challenge = Challenge { seed: [7; 32], holder: 9, sequential: false };
    report("place", 5_000, || {
        black_box(challenge.place(black_box(7), 1 << 40, None));
    });
}

fn report(what: &str, calls: u32, mut work: impl FnMut()) {
    let run = |_| {
        let started = Instant::now();
        (0..calls).for_each(|_| work());
        started.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    };
    let best = (0..20).map(run).fold(f64::INFINITY, f64::min);
    println!("proof::{what}: {best:.2} us");
}

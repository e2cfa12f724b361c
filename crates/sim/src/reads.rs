//! How long point reads take, of shards that are there and of those whose nodes are gone: in virtual time, so the same figures
//! on every machine. What the processor does in it (opening leaves, decoding) takes none of that time.

use crate::{
    link::{Continent, Reach, way},
    store::{elapsed, lock},
    world::{Checked, World, number_of, virtual_time},
};
use prunedb_core::Policy;
use prunedb_disk::faulty::Chance;
use std::{collections::BTreeSet, time::Duration};

/// Records of the lake: all in one container, some 4 MB.
const RECORDS: u64 = 400;
const CONTAINER_BYTES: u64 = 32 << 20;
/// How often every record is read, from the lake each time.
const ROUNDS: usize = 4;

/// How nodes are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// their machines refuse connections
    Crashed,
    /// they never answer
    Hanging,
}

/// Times of some reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// how many
    pub reads: usize,
    /// median of what an empty message takes there and back: to the record's node, or until `p` answers are here of the nearest `p`
    /// and a quarter more
    pub round_trip: Duration,
    /// median of the reads
    pub p50: Duration,
    /// median of what each read took longer than such messages of its own
    pub longer: Duration,
    /// ninety-nine of a hundred take less
    pub p99: Duration,
}

/// Point reads in a lake some of whose nodes are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointReads {
    /// nodes that are gone: holders of data shards
    pub gone: usize,
    /// of records on nodes that are there
    pub healthy: Times,
    /// of records whose node is gone: rebuilt from `p` others
    pub degraded: Times,
}

/// What a round trip took, and a read.
#[derive(Default)]
struct Samples(Vec<[Duration; 2]>);

impl Samples {
    fn times(self) -> Checked<Times> {
        let reads = self.0.len();
        if reads < 20 {
            return Err(format!("{reads} reads are too few"));
        }
        let at = |percent: usize, of: fn(&[Duration; 2]) -> Duration| {
            let mut all: Vec<Duration> = self.0.iter().map(of).collect();
            *all.select_nth_unstable(reads * percent / 100).1
        };
        Ok(Times {
            reads,
            round_trip: at(50, |[round_trip, _]| *round_trip),
            p50: at(50, |[_, read]| *read),
            longer: at(50, |[round_trip, read]| read.saturating_sub(*round_trip)),
            p99: at(99, |[_, read]| *read),
        })
    }
}

/// Reads records one after another from a machine in Europe, while a quarter of the holders of data shards, though fewer than
/// parity shards, are gone. Nothing is known of that at the first read.
///
/// # Errors
/// What went wrong where nothing may.
///
/// # Panics
/// Where the system has no runtime for it.
pub fn point_reads(seed: u64, policy: Policy, gone: Gone) -> Result<PointReads, String> {
    let runtime = virtual_time();
    let _clock = runtime.enter();
    let mut world = World::with_containers(seed, policy, CONTAINER_BYTES, runtime)?;
    world.put(RECORDS)?;
    world.forget()?;
    let mut chance = Chance::new(seed);
    // which record is on which node
    let mut holders = Vec::new();
    let mut slots = Vec::new();
    for record in 0..RECORDS {
        let found = world.explain(record)?;
        slots = found.shards.iter().map(|shard| number_of(&shard.node)).collect::<Vec<_>>();
        // a record over two shards is read from both
        if let [touched] = found.touched[..] {
            holders.push((record, slots[touched.as_usize()]));
        }
    }
    let here = Continent::of(0);
    let count = (policy.data_shards() / 4).clamp(1, policy.parity_shards() - 1);
    let lost: BTreeSet<usize> = slots.iter().copied().take(count).collect();
    for &node in &lost {
        let mut machine = lock(&world.machines[node]);
        match gone {
            Gone::Crashed => machine.crash(0),
            Gone::Hanging => machine.reach = Reach::Hangs,
        }
    }
    let mut nearest: Vec<usize> = slots.into_iter().filter(|node| !lost.contains(node)).collect();
    nearest.sort_by_key(|&node| here.milliseconds_to(Continent::of(node)));
    nearest.truncate(policy.data_shards() + policy.data_shards().div_ceil(4));
    let (mut healthy, mut degraded) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        world.forget()?;
        for _ in 0..holders.len() {
            let (record, holder) = *chance.pick(&holders);
            let before = elapsed(&world.net);
            if world.fetch(record)? == 0 {
                continue; // its frame was just read
            }
            let took = elapsed(&world.net) - before;
            let mut there_and_back = |node: usize| {
                let mut one = |from, to| way(from, to, 0, Reach::Well, &mut chance);
                let at = Continent::of(node);
                one(here, at) + one(at, here)
            };
            let (samples, round_trip) = if lost.contains(&holder) {
                let mut asked: Vec<Duration> =
                    nearest.iter().copied().map(there_and_back).collect();
                asked.sort_unstable();
                (&mut degraded, asked[policy.data_shards() - 1])
            } else {
                (&mut healthy, there_and_back(holder))
            };
            samples.0.push([round_trip, took]);
        }
    }
    Ok(PointReads { gone: lost.len(), healthy: healthy.times()?, degraded: degraded.times()? })
}

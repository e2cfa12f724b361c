//! Erasure codes in the cache and from memory.
//!
//! A code is given as a closure over data and parity shards, so that ours and others are measured by the same lines.

use crate::{Meter, Shards};
use prunedb_core::Policy;
use prunedb_erasure::ReedSolomon;
use std::hint::black_box;

/// Data of a measurement from memory: larger than the caches that one core has for itself.
pub const MEMORY_BYTES: usize = 64_000_000;
/// Data that is encoded in one run from the cache, a few shards over and over.
const CACHE_RUN_BYTES: usize = 32_000_000;
/// Lengths of shards in the cache: the fastest counts.
const CACHE_SHARD_BYTES: [usize; 3] = [1024, 4096, 16_384];

/// The fastest of some shard lengths.
#[derive(Debug, Clone, Copy)]
pub struct InCache {
    /// of data
    pub gbps: f64,
    /// length of the shards
    pub shard_bytes: usize,
}

/// GB/s of data that `prepare`'s job encodes while data and parity are in the cache. The job gets the data shards and the
/// parity shards to write; `prepare` gets the length of a shard.
pub fn encode_cache<J>(meter: Meter, policy: Policy, prepare: impl Fn(usize) -> J + Sync) -> InCache
where
    J: FnMut(&[&[u8]], &mut [&mut [u8]]),
{
    CACHE_SHARD_BYTES
        .map(|shard_bytes| {
            let rounds = CACHE_RUN_BYTES / (policy.data_shards() * shard_bytes);
            let gbps =
                transform(meter, policy.parity_shards(), policy, shard_bytes, rounds, &prepare);
            InCache { gbps, shard_bytes }
        })
        .into_iter()
        .max_by(|a, b| a.gbps.total_cmp(&b.gbps))
        .expect("there are lengths")
}

/// GB/s of data that is encoded from memory to memory, as [`encode_cache`].
pub fn encode_memory<J>(meter: Meter, policy: Policy, prepare: impl Fn(usize) -> J + Sync) -> f64
where
    J: FnMut(&[&[u8]], &mut [&mut [u8]]),
{
    transform(meter, policy.parity_shards(), policy, memory_shard_bytes(policy), 1, &prepare)
}

/// GB/s of data when as many data shards as can be are lost ([`lost`]), from memory. The job gets the other data shards and
/// then parity shards, p in all, and the lost shards to write.
pub fn decode_worst<J>(meter: Meter, policy: Policy, prepare: impl Fn(usize) -> J + Sync) -> f64
where
    J: FnMut(&[&[u8]], &mut [&mut [u8]]),
{
    transform(meter, lost(policy), policy, memory_shard_bytes(policy), 1, &prepare)
}

/// Data shards that are lost in the worst case: the first ones.
pub fn lost(policy: Policy) -> usize {
    policy.data_shards().min(policy.parity_shards())
}

/// Length of a shard from memory.
pub fn memory_shard_bytes(policy: Policy) -> usize {
    MEMORY_BYTES / policy.data_shards() / 4096 * 4096
}

/// Our encoder as a job.
pub fn encode_job(code: &ReedSolomon) -> impl FnMut(&[&[u8]], &mut [&mut [u8]]) {
    |data, parity| code.encode(data, parity).expect("as many and as long as the code has")
}

/// Our decoder as a job, for [`decode_worst`].
pub fn decode_job(code: &ReedSolomon) -> impl FnMut(&[&[u8]], &mut [&mut [u8]]) + use<> {
    let (p, lost) = (code.data_shards(), code.data_shards().min(code.parity_shards()));
    let numbers = |range: std::ops::Range<usize>| -> Vec<u8> {
        range.map(|shard| u8::try_from(shard).expect("at most 255 shards")).collect()
    };
    let decoder = code.decoder(&numbers(lost..p + lost), &numbers(0..lost));
    let decoder = decoder.expect("p distinct shards");
    move |have, want| decoder.decode(have, want).expect("as many and as long as the decoder has")
}

fn transform<J>(
    meter: Meter,
    outputs: usize,
    policy: Policy,
    shard_bytes: usize,
    rounds: usize,
    prepare: &(impl Fn(usize) -> J + Sync),
) -> f64
where
    J: FnMut(&[&[u8]], &mut [&mut [u8]]),
{
    let inputs = policy.data_shards();
    meter.gbps(rounds * inputs * shard_bytes, || {
        let from = Shards::new(inputs, shard_bytes);
        let mut to = Shards::new(outputs, shard_bytes);
        let mut job = prepare(shard_bytes);
        move || {
            let (from, mut to) = (from.slices(), to.slices_mut());
            for _ in 0..rounds {
                job(black_box(&from), black_box(&mut to));
            }
        }
    })
}

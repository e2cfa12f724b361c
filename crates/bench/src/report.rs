//! All figures of the codec, from one run.

use crate::{
    Meter,
    codec::{Coding, Container, coded_share, compress_gbps},
    erasure, limits, process,
};
use prunedb_core::Policy;
use prunedb_erasure::{Error, Kernel};
use serde::{Serialize, Serializer};
use std::num::NonZero;

/// What `prunedb bench codec` measures.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// the machine, and what it can do
    pub machine: Machine,
    /// one for each policy, in the order asked for
    pub policies: Vec<PolicyReport>,
}

/// The machine, and what it can do per core.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// bytes that a plain copy of 1 GiB copies
    pub memcpy_gbps: f64,
    /// products of a byte and a coefficient, in registers
    pub affine_gbps: f64,
    /// the processor's name for itself
    pub cpu: String,
    /// cores that this process may use
    pub cores: usize,
    /// threads that were measured at once
    pub threads: usize,
    /// instructions of the erasure code
    pub kernel: String,
    /// what was compressed
    pub container: String,
    /// bytes that compressing left of each byte
    pub coded_share: f64,
}

/// GB/s per core of each stage for one policy: of input, but for `seal`, `open`, `hash` and `hasher`: of shard bytes.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyReport {
    /// p+q
    #[serde(serialize_with = "as_text")]
    pub policy: Policy,
    /// how parity is made: `matrix` or `fft`
    pub algorithm: String,
    /// parity, all shards in the cache
    pub encode_cache_gbps: f64,
    /// length of a shard for which that is
    pub encode_cache_shard_bytes: usize,
    /// parity of 64 MB, from memory to memory
    pub encode_memory_gbps: f64,
    /// as many data shards as can be are lost, 64 MB
    pub decode_worst_gbps: f64,
    /// AES-256-GCM of a leaf in the cache
    pub seal_gbps: f64,
    /// and back, with its tag checked
    pub open_gbps: f64,
    /// BLAKE3 of all shards of a row in the cache
    pub hash_gbps: f64,
    /// the same by `blake3::Hasher`
    pub hasher_gbps: f64,
    /// what the parts in the cache would give one after another
    pub sum_gbps: f64,
    /// coded stream to sealed and named shards
    pub fused_gbps: f64,
    /// container to coded stream
    pub compress_gbps: f64,
    /// container to sealed and named shards
    pub whole_gbps: f64,
    /// memory beside the coded stream of a container of 100 MB; measured in another process
    pub peak_bytes: Option<u64>,
}

/// All is measured in so many rounds: a machine that is slow for a while is slow for a limit and for what it limits alike.
const ROUNDS: usize = 4;

/// Measures every policy; `step` hears what is being measured. The best of `meter.runs` runs counts.
///
/// # Errors
/// What the environment variable `PRUNEDB_KERNEL` asks for and cannot be had.
pub fn report(
    meter: Meter,
    policies: &[Policy],
    step: &mut dyn FnMut(&str),
) -> Result<Report, Error> {
    let codings: Vec<Coding> =
        policies.iter().map(|&policy| Coding::new(policy)).collect::<Result<_, _>>()?;
    let container = Container::of_blocks();
    let meter = Meter { runs: meter.runs.div_ceil(ROUNDS), ..meter };
    let mut best: Option<Report> = None;
    for round in 1..=ROUNDS {
        let mut step = |what: &str| step(&format!("{what}, round {round} of {ROUNDS}"));
        let report = one_round(meter, &codings, &container, &mut step)?;
        best = Some(match best {
            Some(best) => best.best_of(&report),
            None => report,
        });
    }
    let mut report = best.expect("there are rounds");
    for (policy, coding) in report.policies.iter_mut().zip(&codings) {
        let p = coding.code().data_shards() as f64;
        let shards_per_input = coding.code().total_shards() as f64 / p;
        let shard_bytes = shards_per_input * (1.0 / policy.seal_gbps + 1.0 / policy.hash_gbps);
        policy.sum_gbps = rounded(1.0 / (1.0 / policy.encode_cache_gbps + shard_bytes));
    }
    Ok(report)
}

fn one_round(
    meter: Meter,
    codings: &[Coding],
    container: &Container,
    step: &mut dyn FnMut(&str),
) -> Result<Report, Error> {
    let kernel = codings.first().map_or_else(Kernel::detect, |coding| coding.code().kernel());
    step("memory and arithmetic");
    let machine = Machine {
        memcpy_gbps: rounded(limits::memcpy_gbps(meter)),
        affine_gbps: rounded(limits::affine_gbps(meter, kernel)?),
        cpu: process::cpu_name(),
        cores: std::thread::available_parallelism().map_or(1, NonZero::get),
        threads: meter.threads.get(),
        kernel: kernel.to_string(),
        container: container.what.into(),
        coded_share: rounded(coded_share(&container.bytes)),
    };
    step("compress");
    let compressed = rounded(compress_gbps(meter, &container.bytes));
    let policies = codings.iter().map(|coding| {
        step(&coding.policy().to_string());
        measure(meter, coding, container, compressed)
    });
    Ok(Report { machine, policies: policies.collect() })
}

fn measure(
    meter: Meter,
    coding: &Coding,
    container: &Container,
    compress_gbps: f64,
) -> PolicyReport {
    let (code, policy) = (coding.code(), coding.policy());
    let encode = erasure::encode_cache(meter, policy, |_| erasure::encode_job(code));
    let memory = erasure::encode_memory(meter, policy, |_| erasure::encode_job(code));
    let decode = erasure::decode_worst(meter, policy, |_| erasure::decode_job(code));
    PolicyReport {
        policy,
        algorithm: format!("{:?}", code.algorithm()).to_lowercase(),
        encode_cache_gbps: rounded(encode.gbps),
        encode_cache_shard_bytes: encode.shard_bytes,
        encode_memory_gbps: rounded(memory),
        decode_worst_gbps: rounded(decode),
        seal_gbps: rounded(coding.seal_gbps(meter)),
        open_gbps: rounded(coding.open_gbps(meter)),
        hash_gbps: rounded(coding.hash_gbps(meter)),
        hasher_gbps: rounded(coding.hasher_gbps(meter)),
        sum_gbps: 0.0,
        fused_gbps: rounded(coding.fused_gbps(meter)),
        compress_gbps,
        whole_gbps: rounded(coding.whole_gbps(meter, &container.bytes)),
        peak_bytes: None,
    }
}

impl Report {
    /// The better one of each figure.
    fn best_of(mut self, other: &Self) -> Self {
        self.machine.memcpy_gbps = self.machine.memcpy_gbps.max(other.machine.memcpy_gbps);
        self.machine.affine_gbps = self.machine.affine_gbps.max(other.machine.affine_gbps);
        for (mine, other) in self.policies.iter_mut().zip(&other.policies) {
            if other.encode_cache_gbps > mine.encode_cache_gbps {
                mine.encode_cache_shard_bytes = other.encode_cache_shard_bytes;
            }
            for (mine, other) in [
                (&mut mine.encode_cache_gbps, other.encode_cache_gbps),
                (&mut mine.encode_memory_gbps, other.encode_memory_gbps),
                (&mut mine.decode_worst_gbps, other.decode_worst_gbps),
                (&mut mine.seal_gbps, other.seal_gbps),
                (&mut mine.open_gbps, other.open_gbps),
                (&mut mine.hash_gbps, other.hash_gbps),
                (&mut mine.hasher_gbps, other.hasher_gbps),
                (&mut mine.fused_gbps, other.fused_gbps),
                (&mut mine.compress_gbps, other.compress_gbps),
                (&mut mine.whole_gbps, other.whole_gbps),
            ] {
                *mine = mine.max(other);
            }
        }
        self
    }
}

fn as_text<S: Serializer>(policy: &Policy, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(policy)
}

/// With four digits behind the point.
fn rounded(gbps: f64) -> f64 {
    (gbps * 1e4).round() / 1e4
}

//! What encoding and decoding cost on one core, as shares of what the machine can do.
//!
//! `cargo bench -p prunedb-erasure [-- [POLICY..] [KERNEL..]]` prints a table for each kernel (16+4 and 20+80 on all kernels
//! unless said). GB/s of data, in thread CPU time, the best of some runs:
//!
//! - encode, 1K 4K 16K: shards of so many KiB, in the second-level cache
//! - of bound: the best of these, in units of the matrix bound (products per second / q)
//! - 64 MB: encode from memory to memory, and as a multiple of memcpy (bytes copied)
//! - decode: worst case (as many data shards lost as can be), 4 KiB shards in cache, 64 MB from memory, and of memcpy
//! - decoder: microseconds to prepare that

use prunedb_erasure::{Algorithm, Decoder, Kernel, ReedSolomon, probe};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;

const MEMORY_BYTES: usize = 64_000_000;
const CACHED_BYTES: usize = 16_000_000;

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// Seconds of the best run.
fn best_of(runs: usize, mut job: impl FnMut()) -> f64 {
    job();
    (0..runs)
        .map(|_| {
            let start = cpu_seconds();
            job();
            cpu_seconds() - start
        })
        .fold(f64::INFINITY, f64::min)
}

/// Shards side by side, aligned to cache lines; a gap keeps them from falling into the same set of a cache.
struct Shards {
    memory: Vec<u8>,
    count: usize,
    len: usize,
}

const GAP: usize = 320;

impl Shards {
    fn new(count: usize, len: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut memory = vec![0; count * (len + GAP) + 4096];
        for word in memory.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        Self { memory, count, len }
    }

    fn slices(&self) -> Vec<&[u8]> {
        let start = self.memory.as_ptr().align_offset(4096);
        let shards = self.memory[start..].chunks_exact(self.len + GAP).take(self.count);
        shards.map(|shard| &shard[..self.len]).collect()
    }

    fn slices_mut(&mut self) -> Vec<&mut [u8]> {
        let start = self.memory.as_ptr().align_offset(4096);
        let shards = self.memory[start..].chunks_exact_mut(self.len + GAP).take(self.count);
        shards.map(|shard| &mut shard[..self.len]).collect()
    }
}

/// GB/s of a job on `inputs` shards, run until `total` bytes are done.
fn rate(
    inputs: usize,
    outputs: usize,
    len: usize,
    total: usize,
    job: impl Fn(&[&[u8]], &mut [&mut [u8]]),
) -> f64 {
    let from = Shards::new(inputs, len);
    let mut to = Shards::new(outputs, len);
    let (from, mut to) = (from.slices(), to.slices_mut());
    let rounds = (total / (inputs * len)).max(1);
    let seconds = best_of(9, || {
        for _ in 0..rounds {
            job(black_box(&from), black_box(&mut to));
        }
    });
    (rounds * inputs * len) as f64 / seconds / 1e9
}

/// Prepares to decode with as many data shards lost as can be.
fn worst_decoder(code: &ReedSolomon) -> (Decoder, usize) {
    let (p, lost) = (code.data_shards(), code.data_shards().min(code.parity_shards()));
    let numbers: Vec<u8> = (0..=254).collect();
    let decoder = code.decoder(&numbers[lost..p + lost], &numbers[..lost]);
    (decoder.expect("p distinct shards"), lost)
}

fn measure(code: &ReedSolomon, affine: f64, memcpy: f64) {
    let (p, q) = (code.data_shards(), code.parity_shards());
    let memory_len = MEMORY_BYTES / p / 64 * 64;
    let encode = |len, total| {
        rate(p, q, len, total, |data, parity| code.encode(data, parity).expect("equal lengths"))
    };
    let cached = [1024, 4096, 16_384].map(|len| encode(len, CACHED_BYTES));
    let of_bound = cached.into_iter().fold(0.0, f64::max) / (affine / q as f64);
    let memory = encode(memory_len, 0);

    let (decoder, lost) = worst_decoder(code);
    let decode = |len, total| {
        rate(p, lost, len, total, |have, want| decoder.decode(have, want).expect("equal lengths"))
    };
    let (decode_cached, decode_memory) = (decode(4096, CACHED_BYTES), decode(memory_len, 0));
    let prepare =
        best_of(9, || (0..100).for_each(|_| drop(black_box(worst_decoder(code))))) / 100.0;

    let policy = format!("{p}+{q}");
    let algorithm = format!("{:?}", code.algorithm()).to_lowercase();
    let [a, b, c] = cached;
    println!(
        "{policy:<8} {algorithm:<6} {a:7.2} {b:7.2} {c:7.2} {of_bound:8.2} {memory:7.2} {:5.2}x  {decode_cached:7.2} {decode_memory:7.2} {:5.2}x {:8.1}",
        memory / memcpy,
        decode_memory / memcpy,
        prepare * 1e6,
    );
}

fn memcpy_rate() -> f64 {
    let from = vec![1_u8; 1 << 30];
    let mut to = vec![2_u8; 1 << 30];
    let seconds = best_of(3, || black_box(&mut to).copy_from_slice(black_box(&from)));
    (1_u64 << 30) as f64 / seconds / 1e9
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let mut kernels: Vec<Kernel> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    if kernels.is_empty() {
        kernels = Kernel::available();
    }
    let parse = |(p, q): (&str, &str)| Some((p.parse().ok()?, q.parse().ok()?));
    let mut policies: Vec<(usize, usize)> =
        arguments.iter().filter_map(|a| a.split_once('+')).filter_map(parse).collect();
    if policies.is_empty() {
        policies = vec![(16, 4), (20, 80)];
    }

    let memcpy = memcpy_rate();
    println!("memcpy 1 GiB: {memcpy:.1} GB/s copied");
    for kernel in kernels {
        let mut products = 0;
        let seconds =
            best_of(9, || products = probe::multiply(kernel, 1_000_000).expect("available"));
        let affine = products as f64 / seconds / 1e9;
        println!("\n{kernel}: {affine:.0} GB/s of products");
        println!(
            "policy   by       enc 1K      4K     16K of bound   64 MB of cpy   dec 4K   64 MB of cpy  decoder"
        );
        for &(p, q) in &policies {
            for algorithm in [Algorithm::Matrix, Algorithm::Fft] {
                match ReedSolomon::with_algorithm(p, q, kernel, algorithm) {
                    Ok(code) => measure(&code, affine, memcpy),
                    Err(error) => println!("{p}+{q}: {error}"),
                }
            }
        }
    }
}

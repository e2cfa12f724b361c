//! What encoding and decoding cost on one core, as shares of what the machine can do.
//!
//! `cargo bench -p prunedb-erasure [-- POLICY.. [KERNEL..]]`: a table per kernel. Thread CPU time, best of some runs.

use prunedb_erasure::{Algorithm, Kernel, ReedSolomon, probe};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;

const MEMORY_BYTES: usize = 64_000_000;

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

/// Shards side by side, as slices of a container lie.
struct Shards {
    memory: Vec<u8>,
    count: usize,
    len: usize,
    stride: usize,
}

impl Shards {
    fn new(count: usize, len: usize, stride: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut memory = vec![0; count * stride + 4096];
        for word in memory.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        Self { memory, count, len, stride }
    }

    fn start(&self) -> usize {
        self.memory.as_ptr().align_offset(4096)
    }

    fn slices(&self) -> Vec<&[u8]> {
        let (len, start) = (self.len, self.start());
        self.memory[start..]
            .chunks_exact(self.stride)
            .take(self.count)
            .map(|shard| &shard[..len])
            .collect()
    }

    fn slices_mut(&mut self) -> Vec<&mut [u8]> {
        let (len, start) = (self.len, self.start());
        self.memory[start..]
            .chunks_exact_mut(self.stride)
            .take(self.count)
            .map(|shard| &mut shard[..len])
            .collect()
    }
}

/// GB/s of data.
fn encode(code: &ReedSolomon, len: usize, stride: usize, total: usize, runs: usize) -> f64 {
    let (p, q) = (code.data_shards(), code.parity_shards());
    let data = Shards::new(p, len, stride);
    let mut parity = Shards::new(q, len, stride);
    let (data, mut parity) = (data.slices(), parity.slices_mut());
    let rounds = (total / (p * len)).max(1);
    let seconds = best_of(runs, || {
        for _ in 0..rounds {
            code.encode(black_box(&data), black_box(&mut parity)).expect("equal lengths");
        }
    });
    (rounds * p * len) as f64 / seconds / 1e9
}

/// GB/s of data: as many data shards as can be are lost.
fn decode_worst(code: &ReedSolomon, len: usize, stride: usize, total: usize, runs: usize) -> f64 {
    let (p, q) = (code.data_shards(), code.parity_shards());
    let lost = p.min(q);
    let number = |shard: usize| u8::try_from(shard).expect("below 255");
    let have: Vec<u8> = (lost..p + lost).map(number).collect();
    let want: Vec<u8> = (0..lost).map(number).collect();
    let decoder = code.decoder(&have, &want).expect("p distinct shards");
    let present = Shards::new(p, len, stride);
    let mut wanted = Shards::new(lost, len, stride);
    let (present, mut wanted) = (present.slices(), wanted.slices_mut());
    let rounds = (total / (p * len)).max(1);
    let seconds = best_of(runs, || {
        for _ in 0..rounds {
            decoder.decode(black_box(&present), black_box(&mut wanted)).expect("equal lengths");
        }
    });
    (rounds * p * len) as f64 / seconds / 1e9
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let mut kernels: Vec<Kernel> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    if kernels.is_empty() {
        kernels = Kernel::available();
    }
    let mut policies: Vec<(usize, usize)> = arguments
        .iter()
        .filter_map(|a| a.split_once('+'))
        .filter_map(|(p, q)| Some((p.parse().ok()?, q.parse().ok()?)))
        .collect();
    if policies.is_empty() {
        policies = vec![(16, 4), (20, 80)];
    }

    let from = vec![1_u8; 1 << 30];
    let mut to = vec![2_u8; 1 << 30];
    let memcpy = (1_u64 << 30) as f64
        / best_of(3, || black_box(&mut to).copy_from_slice(black_box(&from)))
        / 1e9;
    drop((from, to));
    println!("memcpy 1 GiB: {memcpy:.1} GB/s copied");
    for kernel in kernels {
        let mut products = 0;
        let seconds =
            best_of(5, || products = probe::multiply(kernel, 2_000_000).expect("available"));
        let affine = products as f64 / seconds / 1e9;
        println!("\n{kernel}: {affine:.0} GB/s of products");
        println!(
            "policy    by      encode GB/s 1 KiB   4 KiB  16 KiB  16368  aliased  | best/matrix bound | 64 MB  /memcpy | decode 64 MB  /memcpy"
        );
        for &(p, q) in &policies {
            for algorithm in [Algorithm::Matrix, Algorithm::Fft] {
                let Ok(code) = ReedSolomon::with_algorithm(p, q, kernel, algorithm) else {
                    continue;
                };
                let total = 16_000_000;
                let cached: Vec<f64> = [
                    (1024, 1024 + 64),
                    (4096, 4096 + 192),
                    (16384, 16384 + 320),
                    (16368, 16368),
                    (16384, 16384),
                ]
                .into_iter()
                .map(|(len, stride)| encode(&code, len, stride, total, 7))
                .collect();
                let best = cached.iter().copied().fold(0.0, f64::max);
                let len = MEMORY_BYTES / p / 4096 * 4096;
                let memory = encode(&code, len, len + 320, 0, 9);
                let decode = decode_worst(&code, len, len + 320, 0, 9);
                let cached_decode = decode_worst(&code, 4096, 4096 + 192, total, 7);
                print!("{:<9} {:<7}", format!("{p}+{q}"), format!("{algorithm:?}").to_lowercase());
                for figure in &cached {
                    print!(" {figure:8.2}");
                }
                println!(
                    " | {:.2} | {memory:.2} {:.2} | {cached_decode:.2} {decode:.2} {:.2}",
                    best / (affine / q as f64),
                    memory / memcpy,
                    decode / memcpy
                );
            }
        }
    }
}

//! Every kernel computes the same bytes, whatever the length, the alignment and how a shard is cut into calls.

use proptest::prelude::*;
use prunedb_erasure::{Algorithm, Error, Kernel, ReedSolomon};

/// Bytes that repeat only after a long time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// Shards of `len` bytes, each at its own odd place in memory.
struct Shards {
    memory: Vec<u8>,
    len: usize,
    starts: Vec<usize>,
}

impl Shards {
    fn new(seed: u64, count: usize, len: usize) -> Self {
        let gaps = noise(seed ^ 0x5eed, count);
        let mut end = 0;
        let starts = gaps
            .iter()
            .map(|&gap| {
                let start = end + usize::from(gap % 80);
                end = start + len;
                start
            })
            .collect();
        Self { memory: noise(seed, end), len, starts }
    }

    fn slices(&self) -> Vec<&[u8]> {
        self.starts.iter().map(|&start| &self.memory[start..start + self.len]).collect()
    }

    fn slices_mut(&mut self) -> Vec<&mut [u8]> {
        let (mut rest, mut at) = (self.memory.as_mut_slice(), 0);
        let mut slices = Vec::new();
        for &start in &self.starts {
            let (_, tail) = rest.split_at_mut(start - at);
            let (slice, tail) = tail.split_at_mut(self.len);
            (rest, at) = (tail, start + self.len);
            slices.push(slice);
        }
        slices
    }
}

fn encode(kernel: Kernel, p: usize, q: usize, data: &Shards, seed: u64) -> Shards {
    let mut parity = Shards::new(seed, q, data.len);
    let code = ReedSolomon::with_kernel(p, q, kernel).expect("an available kernel");
    code.encode(&data.slices(), &mut parity.slices_mut()).expect("shards of one length");
    parity
}

/// Where each step takes a microsecond: a few small codes, which still take every path.
const MIRI: bool = cfg!(miri);
const CASES: u32 = if MIRI { 6 } else { 200 };
const LENGTH: usize = if MIRI { 50 } else { 5000 };

fn policy() -> impl Strategy<Value = (usize, usize)> {
    let most = if MIRI { 9 } else { 255 };
    prop_oneof![
        Just(if MIRI { (5, 4) } else { (16, 4) }),
        Just(if MIRI { (4, 9) } else { (20, 80) }),
        Just(if MIRI { (8, 8) } else { (20, 20) }),
        Just(if MIRI { (9, 3) } else { (100, 28) }),
        Just(if MIRI { (16, 8) } else { (128, 64) }),
        (2usize..most.min(40)).prop_flat_map(move |p| (Just(p), 1usize..most.min(40))),
        (2usize..most).prop_flat_map(move |p| (Just(p), 1..=most - p)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn all_kernels_encode_alike((p, q) in policy(), len in prop_oneof![0..LENGTH.min(300), 0..LENGTH], seed: u64) {
        let data = Shards::new(seed, p, len);
        let expected = encode(Kernel::Scalar, p, q, &data, seed);
        for kernel in Kernel::available() {
            let parity = encode(kernel, p, q, &data, seed);
            // with the bytes between the shards, which nobody may touch
            prop_assert!(parity.memory == expected.memory, "{} {}+{}", kernel, p, q);
        }
    }

    #[test]
    fn transform_and_matrix_encode_alike((p, q) in policy(), len in 0..LENGTH.min(700), seed: u64) {
        let data = Shards::new(seed, p, len);
        let expected = encode(Kernel::Scalar, p, q, &data, seed);
        for kernel in Kernel::available() {
            for algorithm in [Algorithm::Matrix, Algorithm::Fft] {
                let code = match ReedSolomon::with_algorithm(p, q, kernel, algorithm) {
                    Ok(code) => code,
                    Err(Error::NoTransform { .. }) => continue,
                    Err(error) => panic!("{error}"),
                };
                let mut parity = Shards::new(seed, q, len);
                code.encode(&data.slices(), &mut parity.slices_mut()).unwrap();
                prop_assert!(parity.memory == expected.memory, "{} {:?} {}+{}", kernel, algorithm, p, q);
            }
        }
    }

    #[test]
    fn all_kernels_decode_any_p_of_all((p, q) in policy(), len in 0..LENGTH.min(600), seed: u64, order in any::<prop::sample::Index>()) {
        let data = Shards::new(seed, p, len);
        let parity = encode(Kernel::detect(), p, q, &data, seed);
        let all: Vec<&[u8]> = data.slices().into_iter().chain(parity.slices()).collect();
        // a random order: the first p are present, some of the rest are wanted
        let mut numbers: Vec<u8> = (0..u8::try_from(p + q).unwrap()).collect();
        let dice = noise(seed ^ 7, 2 * numbers.len());
        for i in (1..numbers.len()).rev() {
            numbers.swap(i, (usize::from(dice[2 * i]) * 256 + usize::from(dice[2 * i + 1])) % (i + 1));
        }
        let (have, rest) = numbers.split_at(p);
        let want = &rest[..order.index(q + 1)];
        let present: Vec<&[u8]> = have.iter().map(|&shard| all[usize::from(shard)]).collect();
        for kernel in Kernel::available() {
            let decoder = ReedSolomon::with_kernel(p, q, kernel).unwrap().decoder(have, want).unwrap();
            let mut wanted = Shards::new(seed, want.len(), len);
            decoder.decode(&present, &mut wanted.slices_mut()).unwrap();
            for (slice, &shard) in wanted.slices().iter().zip(want) {
                prop_assert!(*slice == all[usize::from(shard)], "{} {}+{} shard {}", kernel, p, q, shard);
            }
        }
    }

    #[test]
    fn a_range_of_columns_is_the_same_range_of_the_shards((p, q) in policy(), len in 1..LENGTH.min(3000), cut in any::<prop::sample::Index>(), seed: u64) {
        let data = Shards::new(seed, p, len);
        let cut = cut.index(len);
        for kernel in Kernel::available() {
            let whole = encode(kernel, p, q, &data, seed);
            let code = ReedSolomon::with_kernel(p, q, kernel).unwrap();
            let mut parity = Shards::new(seed, q, len);
            for half in [0..cut, cut..len] {
                let inputs: Vec<&[u8]> = data.slices().into_iter().map(|s| &s[half.clone()]).collect();
                let outputs = parity.slices_mut();
                let mut outputs: Vec<&mut [u8]> = outputs.into_iter().map(|s| &mut s[half.clone()]).collect();
                code.encode(&inputs, &mut outputs).unwrap();
            }
            prop_assert!(whole.memory == parity.memory, "{} {}+{}", kernel, p, q);
        }
    }
}

/// Outputs that are too many bytes for the caches, and aligned, bypass them.
#[test]
#[cfg_attr(miri, ignore = "megabytes")]
fn streamed_outputs_are_the_same() {
    let (p, q) = (6, 5);
    let len = (1 << 20) - 8;
    let data = Shards::new(3, p, len);
    let expected = encode(Kernel::detect(), p, q, &data, 5);
    let expected = expected.slices();
    for kernel in Kernel::available() {
        for algorithm in [Algorithm::Matrix, Algorithm::Fft] {
            let code = ReedSolomon::with_algorithm(p, q, kernel, algorithm).unwrap();
            let mut memory = vec![0; (q << 20) + 64];
            let start = memory.as_ptr().align_offset(64);
            let aligned = memory[start..].chunks_exact_mut(1 << 20);
            let mut parity: Vec<&mut [u8]> = aligned.map(|shard| &mut shard[..len]).collect();
            code.encode(&data.slices(), &mut parity).unwrap();
            assert!(parity == expected, "{kernel} {algorithm:?}");
            assert!(memory[start..].chunks_exact(1 << 20).all(|shard| shard[len..] == [0; 8]));
        }
    }
}

//! Equihash with n = 200 and k = 9: 512 numbers whose hashes, in pairs of pairs, cancel out 20 bits more at each of nine levels, and all 200 at the end.
//!
//! The order within pairs is fixed, so that each solution has one form. Cost: 512 hashes, about as much as hashing 130 KB.

use super::fault::Fault;
use blake2::{
    Blake2bMac,
    digest::{FixedOutput as _, Update as _, consts::U50},
};

/// Bits of a hash, and levels.
const N: usize = 200;
const K: usize = 9;
/// Bits that cancel out at each level.
const LEVEL_BITS: usize = N / (K + 1);
/// A number has one bit more.
const INDEX_BITS: usize = LEVEL_BITS + 1;
/// Bytes of a solution.
const SOLUTION_BYTES: usize = (1 << K) * INDEX_BITS / 8;
/// Hashes in one digest.
const PER_DIGEST: u32 = 2;

type Leaf = [u8; N / 8];

/// Verifies the solution of a header (without it).
pub(super) fn verify(header: &[u8], solution: &[u8]) -> Result<(), Fault> {
    if solution.len() != SOLUTION_BYTES {
        return Err(Fault::Solution("it has not 1,344 bytes"));
    }
    let indices: Vec<u32> = (0..1 << K).map(|at| index(solution, at)).collect();
    let mut sorted = indices.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Fault::Solution("a number is there twice"));
    }
    let mut leaves: Vec<Leaf> = indices.iter().map(|&index| leaf(header, index)).collect();
    for level in 1..=K {
        let numbers = 1 << (level - 1);
        if indices.chunks(2 * numbers).any(|pair| pair[0] >= pair[numbers]) {
            return Err(Fault::Solution("its numbers are not in order"));
        }
        leaves = leaves
            .chunks(2)
            .map(|pair| {
                let mut both = pair[0];
                both.iter_mut().zip(pair[1]).for_each(|(left, right)| *left ^= right);
                both
            })
            .collect();
        // the last level cancels out the last two stretches
        let zeros = if level == K { N } else { level * LEVEL_BITS };
        if leaves.iter().any(|leaf| !begins_with_zeros(leaf, zeros)) {
            return Err(Fault::Solution("its hashes do not cancel out"));
        }
    }
    Ok(())
}

/// A number of the solution: they lie one after another, each with its highest bit first.
fn index(solution: &[u8], at: usize) -> u32 {
    let bits = at * INDEX_BITS..(at + 1) * INDEX_BITS;
    bits.fold(0, |value, bit| value << 1 | u32::from(solution[bit / 8] >> (7 - bit % 8) & 1))
}

/// The hash of a number.
fn leaf(header: &[u8], index: u32) -> Leaf {
    let mut personal = *b"ZcashPoW\0\0\0\0\0\0\0\0";
    personal[8] = 200;
    personal[12] = 9;
    let hasher = Blake2bMac::<U50>::new_with_salt_and_personal(None, &[], &personal);
    let mut hasher = hasher.expect("no key, no salt, 16 bytes");
    hasher.update(header);
    hasher.update(&(index / PER_DIGEST).to_le_bytes());
    let digest = hasher.finalize_fixed();
    let half = if index.is_multiple_of(PER_DIGEST) { &digest[..N / 8] } else { &digest[N / 8..] };
    half.try_into().expect("25 bytes")
}

fn begins_with_zeros(leaf: &Leaf, bits: usize) -> bool {
    let (bytes, rest) = (bits / 8, bits % 8);
    leaf[..bytes].iter().all(|byte| *byte == 0) && (rest == 0 || leaf[bytes] >> (8 - rest) == 0)
}

//! A Merkle mountain range: a root over a list that only grows, kept as at most 32 peaks.

use crate::canonical::canonical_struct;
use prunedb_core::Digest;

canonical_struct! {
    /// The peaks of perfect trees, the largest first: one for each bit of `count`.
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub struct Mmr {
        /// leaves so far
        pub count: u32,
        /// roots of the trees
        pub peaks: Vec<Digest>,
    }
}

impl Mmr {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: &[u8]) {
        let mut peak = Digest(blake3::derive_key("prunedb v1 mmr leaf", leaf));
        for _ in 0..self.count.trailing_ones() {
            let left = self.peaks.pop().expect("one peak for each bit of the count");
            let mut pair = [0; 64];
            pair[..32].copy_from_slice(&left.0);
            pair[32..].copy_from_slice(&peak.0);
            peak = Digest(blake3::derive_key("prunedb v1 mmr node", &pair));
        }
        self.peaks.push(peak);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_for_each_bit_and_every_leaf_in_one() {
        let mut lists: Vec<Mmr> = vec![Mmr::default(); 9];
        for n in 0..100u32 {
            for (changed, mmr) in lists.iter_mut().enumerate() {
                // list 0 is the plain one, list k has another leaf 12 k
                let leaf = if changed > 0 && n as usize == 12 * changed { !n } else { n };
                mmr.push(&leaf.to_le_bytes());
                assert_eq!(mmr.peaks.len(), (n + 1).count_ones() as usize);
            }
        }
        for changed in 1..9 {
            assert_ne!(lists[0], lists[changed]);
        }
    }
}

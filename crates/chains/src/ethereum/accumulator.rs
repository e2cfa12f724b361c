//! The accumulator: one hash that commits to every block hash and total difficulty of an epoch.
//!
//! SSZ `hash_tree_root(List[HeaderRecord, 8192])` with SHA-256, where a header record is the block hash and the total
//! difficulty (32 bytes, little-endian): a Merkle tree of 8,192 leaves, empty ones zero, hashed with the count.

use super::{hash::Hash32, uint::U256};
use sha2::{Digest as _, Sha256};

/// Blocks of a full epoch.
pub const EPOCH_BLOCKS: usize = 8192;
const DEPTH: u32 = EPOCH_BLOCKS.trailing_zeros();
const _: () = assert!(EPOCH_BLOCKS == 1 << DEPTH);

/// Collects header records, 32 bytes each.
#[derive(Default)]
pub(crate) struct Accumulator {
    leaves: Vec<[u8; 32]>,
}

impl Accumulator {
    /// Adds the next block; at most [`EPOCH_BLOCKS`].
    pub(crate) fn push(&mut self, hash: Hash32, total_difficulty: U256) {
        assert!(self.leaves.len() < EPOCH_BLOCKS);
        self.leaves.push(pair(&hash.0, &total_difficulty.to_le_bytes()));
    }

    /// The root over the blocks so far.
    pub(crate) fn root(&self) -> Hash32 {
        let root = self.levels(|_, _| ());
        Hash32(pair(&root, &self.count()))
    }

    /// The path from the hash of a block that was added, whose total difficulty is given, to the root.
    pub(crate) fn path(&self, mut index: usize, total: U256) -> [[u8; 32]; PATH_HASHES] {
        let mut path = vec![total.to_le_bytes()];
        self.levels(|level, zero| {
            path.push(*level.get(index ^ 1).unwrap_or(zero));
            index /= 2;
        });
        path.push(self.count());
        path.try_into().expect("one hash of each level")
    }

    /// Builds the tree, showing each level and the root of an empty subtree in it; gives the top.
    fn levels(&self, mut show: impl FnMut(&[[u8; 32]], &[u8; 32])) -> [u8; 32] {
        let mut level = self.leaves.clone();
        let mut zero = [0; 32];
        for _ in 0..DEPTH {
            show(&level, &zero);
            level = level
                .chunks(2)
                .map(|nodes| pair(&nodes[0], nodes.get(1).unwrap_or(&zero)))
                .collect();
            zero = pair(&zero, &zero);
        }
        *level.first().unwrap_or(&zero)
    }

    fn count(&self) -> [u8; 32] {
        let mut count = [0; 32];
        count[..8].copy_from_slice(&(self.leaves.len() as u64).to_le_bytes());
        count
    }
}

/// Hashes on the path from a block's hash to the root: the total difficulty, a neighbour on each level, the count.
pub(crate) const PATH_HASHES: usize = 2 + DEPTH as usize;

/// The root that a path from the hash of the block at `height` leads to.
pub(crate) fn root_by_path(height: u64, hash: Hash32, path: &[[u8; 32]; PATH_HASHES]) -> Hash32 {
    let index = height % EPOCH_BLOCKS as u64;
    let [total, levels @ .., count] = path;
    let record = pair(&hash.0, total);
    let root = levels.iter().zip(0..).fold(record, |node, (neighbour, level)| {
        if index >> level & 1 == 0 { pair(&node, neighbour) } else { pair(neighbour, &node) }
    });
    Hash32(pair(&root, count))
}

fn pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, with all 8,192 leaves.
    fn model(records: &[(Hash32, U256)]) -> Hash32 {
        let mut level = vec![[0; 32]; EPOCH_BLOCKS];
        for (leaf, (hash, total)) in level.iter_mut().zip(records) {
            *leaf = pair(&hash.0, &total.to_le_bytes());
        }
        while level.len() > 1 {
            level = level.chunks(2).map(|nodes| pair(&nodes[0], &nodes[1])).collect();
        }
        let mut count = [0; 32];
        count[..2].copy_from_slice(&u16::try_from(records.len()).unwrap().to_le_bytes());
        Hash32(pair(&level[0], &count))
    }

    #[test]
    fn equals_the_definition() {
        for count in [0u64, 1, 2, 3, 5, 100, 8191, 8192] {
            let records: Vec<_> = (0..count)
                .map(|i| (Hash32([u8::try_from(i % 256).unwrap(); 32]), U256::from(i)))
                .collect();
            let mut accumulator = Accumulator::default();
            records.iter().for_each(|&(hash, total)| accumulator.push(hash, total));
            assert_eq!(accumulator.root(), model(&records), "{count}");
        }
    }

    #[test]
    fn a_path_leads_to_the_root() {
        let records: Vec<_> = (0..5000u64).map(|i| (keccak(i), U256::from(7 * i))).collect();
        let mut accumulator = Accumulator::default();
        records.iter().for_each(|&(hash, total)| accumulator.push(hash, total));
        let root = accumulator.root();
        for index in [0usize, 1, 2, 4095, 4096, 4999] {
            let path = accumulator.path(index, records[index].1);
            let (hash, height) = (records[index].0, 3 * EPOCH_BLOCKS as u64 + index as u64);
            assert_eq!(root_by_path(height, hash, &path), root, "{index}");
            assert_ne!(root_by_path(height ^ 1, hash, &path), root, "{index}");
            assert_ne!(root_by_path(height, keccak(9999), &path), root, "{index}");
        }
    }

    fn keccak(number: u64) -> Hash32 {
        crate::ethereum::hash::keccak256(&number.to_le_bytes())
    }
}

//! BLAKE3 of all shards of a container at once, row by row.
//!
//! All shards have equally many leaves of equal length, so their hash trees have one shape and grow in step: the parents
//! of a level are compressed together, sixteen shards in one vector, where one shard alone would leave most lanes idle.
//!
//! ```text
//! leaf: 16 chunks -> 16 chaining values        one vector a leaf
//! row:  n * 16 -> n * 8 -> n * 4 -> n * 2 -> n one flat array, halved: neighbours are each other's siblings
//! rows: merged like a binary counter           one array of n for each full subtree
//! ```
//! The result is `blake3::hash` of each shard; the gain is about a tenth. What compresses is the `blake3` crate's own vector
//! code, through its `platform` module: public but not documented, so a later release of that crate may move it. This file
//! is the only one that uses it, and its tests compare with `blake3::hash`.
//!
//! Memory: 1.6 KB a shard.

use blake3::{
    IncrementCounter, OUT_LEN,
    hazmat::{Mode, merge_subtrees_non_root, merge_subtrees_root},
    platform::Platform,
};
use prunedb_core::Digest;

const CHUNK_BYTES: usize = blake3::CHUNK_LEN;
const BLOCK_BYTES: usize = 64;
/// Widest vector: inputs that are compressed at once.
const LANES: usize = 16;
/// BLAKE3's flags.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const PARENT: u8 = 4;
/// BLAKE3's initial words, those of SHA-256.
const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Hashes equally long shards, leaf by leaf, all of a row before the next.
pub struct RowHasher {
    platform: Platform,
    shards: usize,
    rows: u64,
    rows_done: u64,
    leaf_chunks: usize,
    /// chaining values of the current row's chunks, shard by shard
    chunks: Vec<u8>,
    /// room for the level above
    parents: Vec<u8>,
    /// chaining values of the full subtrees so far, the largest first: one for each shard
    subtrees: Vec<Vec<u8>>,
    /// the names themselves, where a shard is one leaf: a leaf that is the root is hashed as one
    single: Vec<Digest>,
}

impl RowHasher {
    /// For `shards` shards of `rows` leaves of `leaf_bytes`.
    ///
    /// # Panics
    /// Unless a leaf is a power of two of BLAKE3's chunks of 1 KiB.
    pub fn new(shards: usize, rows: u64, leaf_bytes: usize) -> Self {
        let leaf_chunks = leaf_bytes / CHUNK_BYTES;
        assert!(leaf_chunks.is_power_of_two() && leaf_bytes.is_multiple_of(CHUNK_BYTES));
        Self {
            platform: Platform::detect(),
            shards,
            rows,
            rows_done: 0,
            leaf_chunks,
            chunks: vec![0; shards * leaf_chunks * OUT_LEN],
            parents: vec![0; shards * leaf_chunks * OUT_LEN],
            subtrees: Vec::new(),
            single: vec![Digest::default(); if rows == 1 { shards } else { 0 }],
        }
    }

    /// Takes the current row's leaf of one shard.
    ///
    /// # Panics
    /// Where the leaf has another length, or there is no such shard.
    pub fn leaf(&mut self, shard: usize, leaf: &[u8]) {
        if self.rows == 1 {
            self.single[shard] = Digest(*blake3::hash(leaf).as_bytes());
            return;
        }
        let (chunks, rest) = leaf.as_chunks::<CHUNK_BYTES>();
        assert!(chunks.len() == self.leaf_chunks && rest.is_empty(), "a whole leaf");
        let start = shard * leaf.len() / CHUNK_BYTES * OUT_LEN;
        let values = &mut self.chunks[start..start + self.leaf_chunks * OUT_LEN];
        let mut counter = self.rows_done * self.leaf_chunks as u64;
        for (chunks, values) in chunks.chunks(LANES).zip(values.chunks_mut(LANES * OUT_LEN)) {
            let mut inputs = [&chunks[0]; LANES];
            inputs.iter_mut().zip(chunks).for_each(|(input, chunk)| *input = chunk);
            let inputs = &inputs[..chunks.len()];
            let (platform, yes) = (self.platform, IncrementCounter::Yes);
            platform.hash_many(inputs, &IV, counter, yes, 0, CHUNK_START, CHUNK_END, values);
            counter += chunks.len() as u64;
        }
    }

    /// Ends the row: every shard's leaf was taken.
    ///
    /// # Panics
    /// After the last row.
    pub fn end_row(&mut self) {
        assert!(self.rows_done < self.rows, "no row too many");
        if self.rows > 1 {
            let mut width = self.leaf_chunks;
            while width > 1 {
                let below = &self.chunks[..self.shards * width * OUT_LEN];
                hash_parents(self.platform, below, &mut self.parents);
                std::mem::swap(&mut self.chunks, &mut self.parents);
                width /= 2;
            }
            let row = self.chunks[..self.shards * OUT_LEN].to_vec();
            // the last merges wait for `finish`: until the end nobody knows which parent is the root
            while self.subtrees.len() > self.rows_done.count_ones() as usize {
                let right = self.subtrees.pop().expect("there are more than some");
                let left = self.subtrees.pop().expect("subtrees merge in pairs");
                let merged = self.merge(&left, &right);
                self.subtrees.push(merged);
            }
            self.subtrees.push(row);
        }
        self.rows_done += 1;
    }

    /// The shards' names, once every row is done.
    ///
    /// # Panics
    /// Before the last row.
    pub fn finish(mut self) -> Vec<Digest> {
        assert_eq!(self.rows_done, self.rows, "every row was hashed");
        if self.rows == 1 {
            return self.single;
        }
        let last = self.subtrees.pop().expect("there are rows");
        let value = |all: &[u8], shard: usize| -> [u8; OUT_LEN] { all.as_chunks().0[shard] };
        (0..self.shards)
            .map(|shard| {
                let (largest, between) = self.subtrees.split_first().expect("more than one row");
                let right = between.iter().rev().fold(value(&last, shard), |right, left| {
                    merge_subtrees_non_root(&value(left, shard), &right, Mode::Hash)
                });
                let root = merge_subtrees_root(&value(largest, shard), &right, Mode::Hash);
                Digest(*root.as_bytes())
            })
            .collect()
    }

    /// The parents of two subtrees, for each shard.
    fn merge(&self, left: &[u8], right: &[u8]) -> Vec<u8> {
        let mut below = vec![0; 2 * left.len()];
        let (children, _) = below.as_chunks_mut::<OUT_LEN>();
        let values = left.as_chunks::<OUT_LEN>().0.iter().zip(right.as_chunks().0);
        for (pair, (left, right)) in children.chunks_exact_mut(2).zip(values) {
            pair.copy_from_slice(&[*left, *right]);
        }
        let mut merged = vec![0; left.len()];
        hash_parents(self.platform, &below, &mut merged);
        merged
    }
}

impl std::fmt::Debug for RowHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowHasher({} shards, row {} of {})", self.shards, self.rows_done, self.rows)
    }
}

/// The parents of chaining values that lie side by side, two children each.
fn hash_parents(platform: Platform, below: &[u8], parents: &mut [u8]) {
    let (blocks, _) = below.as_chunks::<BLOCK_BYTES>();
    for (blocks, parents) in blocks.chunks(LANES).zip(parents.chunks_mut(LANES * OUT_LEN)) {
        let mut inputs = [&blocks[0]; LANES];
        inputs.iter_mut().zip(blocks).for_each(|(input, block)| *input = block);
        let inputs = &inputs[..blocks.len()];
        platform.hash_many(inputs, &IV, 0, IncrementCounter::No, PARENT, 0, 0, parents);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_bytes;

    fn check(shards: usize, rows: usize, leaf_bytes: usize) {
        let all: Vec<_> = (0..shards).map(|i| sample_bytes(i as u64, rows * leaf_bytes)).collect();
        let mut hasher = RowHasher::new(shards, rows as u64, leaf_bytes);
        for row in 0..rows {
            for (index, bytes) in all.iter().enumerate() {
                hasher.leaf(index, &bytes[row * leaf_bytes..][..leaf_bytes]);
            }
            hasher.end_row();
        }
        for (name, bytes) in hasher.finish().iter().zip(&all) {
            assert_eq!(name.0, *blake3::hash(bytes).as_bytes(), "{shards} x {rows} x {leaf_bytes}");
        }
    }

    #[test]
    fn is_blake3_of_each_shard() {
        for rows in (1..=17).chain([31, 32, 33]) {
            check(3, rows, 4096);
            check(5, rows, 16_384);
        }
        for shards in [16, 17, 20, 40, 255] {
            check(shards, 3, 4096);
        }
        check(100, 2, 16_384);
    }
}

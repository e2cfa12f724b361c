//! Where the bytes of a coded stream lie in the leaves of its shards.
//!
//! ```text
//! coded stream   |-------- slice 0 --------|-------- slice 1 --------| ... | slice p-1, zero padded |
//! data shard i   | leaf 0 | leaf 1 | ...  leaf n-1 |      leaf = payload (16,368 B), sealed (16,384 B)
//! row r          leaf r of every shard
//! ```
//! Invariants: slices are whole payloads and equally long, so a frame lies in one data shard, or in a few adjacent ones
//! where the slices are shorter than it. Every container has at least one row.

use prunedb_core::units::{CONTAINER_BYTES_MAX, LEAF_BYTES, SMALL_LEAF_BYTES, TAG_BYTES};
use prunedb_core::{ContainerKind, Policy, ShardIndex};
use std::ops::Range;

/// Data containers whose coded stream is shorter than this times `p` have small leaves.
const SMALL_SLICE_BYTES: u64 = 64 * 1024;

/// A coded stream that no container can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a coded stream of {coded_bytes} bytes: the longest has {CONTAINER_BYTES_MAX}")]
pub struct StreamTooLong {
    /// its length
    pub coded_bytes: u64,
}

/// The shape of a container's shards; follows from policy, kind and length of the coded stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardLayout {
    policy: Policy,
    coded_bytes: u64,
    leaf_bytes: usize,
    leaves_per_shard: u64,
}

/// A run of leaves of one data shard that holds a part of a range of the coded stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// which data shard
    pub shard: ShardIndex,
    /// its first leaf of interest
    pub first_leaf: u64,
    /// leaves to read
    pub leaf_count: u64,
    /// bytes of the opened payloads to skip
    pub skip: usize,
    /// bytes to take after that
    pub take: usize,
}

impl ShardLayout {
    /// The layout of a container of this kind and policy with a coded stream of that length.
    ///
    /// # Errors
    /// [`StreamTooLong`] past the largest container.
    pub fn new(
        policy: Policy,
        kind: ContainerKind,
        coded_bytes: u64,
    ) -> Result<Self, StreamTooLong> {
        if coded_bytes > CONTAINER_BYTES_MAX as u64 {
            return Err(StreamTooLong { coded_bytes });
        }
        let data_shards = policy.data_shards() as u64;
        let small = !kind.is_metadata() && coded_bytes < data_shards * SMALL_SLICE_BYTES;
        let leaf_bytes = if small { SMALL_LEAF_BYTES } else { LEAF_BYTES };
        let payload_bytes = (leaf_bytes - TAG_BYTES) as u64;
        let leaves = coded_bytes.div_ceil(data_shards).div_ceil(payload_bytes).max(1);
        Ok(Self { policy, coded_bytes, leaf_bytes, leaves_per_shard: leaves })
    }

    /// p+q
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Length of the coded stream.
    pub fn coded_bytes(&self) -> u64 {
        self.coded_bytes
    }

    /// Sealed bytes of a leaf.
    pub fn leaf_bytes(&self) -> usize {
        self.leaf_bytes
    }

    /// Coded bytes in a leaf.
    pub fn payload_bytes(&self) -> usize {
        self.leaf_bytes - TAG_BYTES
    }

    /// Leaves of each shard; also the number of rows.
    pub fn leaves_per_shard(&self) -> u64 {
        self.leaves_per_shard
    }

    /// Sealed bytes of each shard.
    pub fn shard_bytes(&self) -> u64 {
        self.leaves_per_shard * self.leaf_bytes as u64
    }

    /// Bytes of the coded stream in each data shard, the padding included.
    pub fn slice_bytes(&self) -> u64 {
        self.leaves_per_shard * self.payload_bytes() as u64
    }

    /// The part of the coded stream that a leaf of a data shard holds; shorter than its payload, or empty, where the
    /// padding begins.
    pub(crate) fn coded_range(&self, data_shard: usize, leaf: u64) -> Range<u64> {
        let payload = self.payload_bytes() as u64;
        let start = data_shard as u64 * self.slice_bytes() + leaf * payload;
        let end = (start + payload).min(self.coded_bytes);
        start.min(end)..end
    }

    /// The leaves that hold a range of the coded stream, in its order. Bytes past the end of the stream are in no leaf.
    pub fn pieces(&self, coded: Range<u64>) -> impl Iterator<Item = Piece> + use<> {
        let (slice, payload) = (self.slice_bytes(), self.payload_bytes() as u64);
        let end = coded.end.min(self.coded_bytes);
        let mut start = coded.start;
        std::iter::from_fn(move || {
            if start >= end {
                return None;
            }
            let shard = start / slice;
            let stop = end.min((shard + 1) * slice);
            let (from, to) = (start - shard * slice, stop - shard * slice);
            let first_leaf = from / payload;
            let bytes = |n: u64| usize::try_from(n).expect("bounded by the largest container");
            let piece = Piece {
                shard: ShardIndex(u8::try_from(shard).expect("below p")),
                first_leaf,
                leaf_count: to.div_ceil(payload) - first_leaf,
                skip: bytes(from - first_leaf * payload),
                take: bytes(to - from),
            };
            start = stop;
            Some(piece)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(policy: &str, kind: ContainerKind, coded_bytes: u64) -> ShardLayout {
        ShardLayout::new(policy.parse().unwrap(), kind, coded_bytes).unwrap()
    }

    #[test]
    fn leaves_are_small_for_small_data_only() {
        use ContainerKind::{Data, Index, Manifest};
        for (policy, kind, coded, leaf, leaves) in [
            ("16+4", Data, 100_000_000, 16_384, 382),
            ("16+4", Data, 16 * 65_536, 16_384, 5),
            ("16+4", Data, 16 * 65_536 - 1, 4096, 17),
            ("16+4", Data, 0, 4096, 1),
            ("16+4", Index, 1_048_576, 16_384, 5),
            ("16+4", Manifest, 100, 16_384, 1),
            ("20+80", Data, 20 * 16_368 * 7, 16_384, 7),
            ("20+80", Data, 20 * 16_368 * 7 + 1, 16_384, 8),
            ("2+1", Data, 256 << 20, 16_384, 8201),
        ] {
            let layout = layout(policy, kind, coded);
            assert_eq!((layout.leaf_bytes(), layout.leaves_per_shard()), (leaf, leaves), "{coded}");
            assert_eq!(layout.shard_bytes(), leaves * leaf as u64);
        }
        let long = (256 << 20) + 1;
        let refused = ShardLayout::new("2+1".parse().unwrap(), Data, long);
        assert_eq!(refused, Err(StreamTooLong { coded_bytes: long }));
    }

    #[test]
    fn a_frame_touches_one_shard_rarely_two() {
        let layout = layout("16+4", ContainerKind::Data, 100_000_000);
        let mut touched = [0; 3];
        for start in (0..99_900_000).step_by(65_536) {
            touched[layout.pieces(start..start + 65_536).count()] += 1;
        }
        assert_eq!(touched[0], 0);
        assert_eq!(touched[2], 15, "only where two slices meet");
    }

    proptest! {
        #[test]
        fn pieces_cover_exactly_the_range(
            p in 2usize..30, coded in 0u64..3_000_000, start in 0u64..3_100_000, length in 0u64..400_000, metadata: bool,
        ) {
            let kind = if metadata { ContainerKind::Index } else { ContainerKind::Data };
            let layout = ShardLayout::new(Policy::new(p, 1).unwrap(), kind, coded).unwrap();
            prop_assert!(layout.slice_bytes() * p as u64 >= coded);
            let mut at = start;
            for piece in layout.pieces(start..start + length) {
                prop_assert!(piece.take > 0);
                prop_assert!(piece.shard.as_usize() < p);
                prop_assert!(piece.first_leaf + piece.leaf_count <= layout.leaves_per_shard());
                // no leaf is read in vain, and none is missing
                let payload = layout.payload_bytes() as u64;
                prop_assert!((piece.skip as u64) < payload);
                prop_assert_eq!((piece.skip as u64 + piece.take as u64).div_ceil(payload), piece.leaf_count);
                let offset = piece.first_leaf * payload + piece.skip as u64;
                prop_assert_eq!(piece.shard.0 as u64 * layout.slice_bytes() + offset, at);
                at += piece.take as u64;
            }
            prop_assert_eq!(at, (start + length).min(coded).max(start));
        }

        #[test]
        fn the_leaves_of_all_data_shards_are_the_stream(p in 2usize..20, coded in 0u64..2_000_000) {
            let layout = ShardLayout::new(Policy::new(p, 1).unwrap(), ContainerKind::Data, coded).unwrap();
            let mut at = 0;
            for shard in 0..p {
                for leaf in 0..layout.leaves_per_shard() {
                    let range = layout.coded_range(shard, leaf);
                    prop_assert!(range.is_empty() || range.start == at);
                    at = range.end;
                }
            }
            prop_assert_eq!(at, coded);
        }
    }
}

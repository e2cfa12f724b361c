//! A sample: 1 KiB of a shard, shown to be under the shard's name by the path through its BLAKE3 tree.
//!
//! ```text
//! name = BLAKE3(shard)                 sample i = bytes i * 1024 .. (i+1) * 1024: exactly one chunk of the hash
//!        /        \
//!    value         value               the path: the siblings' chaining values, from the sample up
//!    /   \         /   \               5 MB: 13 of them, 416 bytes; with the sample about 1.5 KB
//! chunk  chunk  chunk  chunk
//! ```
//! The hash of the shard is the plain BLAKE3 of its bytes: nothing of its own is stored for proofs. The length of the
//! shard decides the shape of the tree, and most paths do not show it: a verifier must have it from the container root's
//! facts, not from the prover.
//!
//! Cost: proving hashes the shard once, whatever the number of samples ([`Prover`]); verifying compresses the sample's 16 blocks and one parent a level.

use blake3::{
    CHUNK_LEN, Hasher,
    hazmat::{
        ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root,
        merge_subtrees_root,
    },
};
use prunedb_core::Digest;
use std::ops::Range;

/// Values of the longest path: 2^64 bytes.
pub const PATH_MAX: usize = 54;
/// Size of a sample.
pub const SAMPLE_BYTES: usize = CHUNK_LEN;

/// A sample and its path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SampleProof {
    /// the bytes
    pub sample: Box<[u8; SAMPLE_BYTES]>,
    /// the siblings' chaining values, from the sample up
    pub path: Vec<[u8; 32]>,
}

/// A sample that cannot be, or is not under the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// Shards are whole samples, at least two.
    #[error(
        "a shard of {shard_bytes} bytes: shards are at least two whole samples of {SAMPLE_BYTES}"
    )]
    ShardBytes {
        /// its length
        shard_bytes: u64,
    },
    /// No such sample.
    #[error("sample {index} of a shard with {count}")]
    Index {
        /// the sample asked for
        index: u64,
        /// samples of the shard
        count: u64,
    },
    /// Another number of samples than were asked for.
    #[error("{found} samples, expected {expected}")]
    Count {
        /// samples asked for
        expected: usize,
        /// samples shown
        found: usize,
    },
    /// Not as long a path as this sample's.
    #[error("a path of {found} values, expected {expected}")]
    PathLength {
        /// levels above the sample
        expected: usize,
        /// values given
        found: usize,
    },
    /// The bytes or the path are others.
    #[error("the sample leads to shard {found}, expected {expected}")]
    Name {
        /// the shard's name
        expected: Digest,
        /// the name that sample and path give
        found: Digest,
    },
}

/// What [`Prover::group`] takes at once: a whole subtree of the hash.
pub const GROUP_BYTES: usize = 256 << 10;
const _: () = assert!(GROUP_BYTES.is_power_of_two() && GROUP_BYTES > SAMPLE_BYTES);

/// Shows samples of a shard that passes by once, group by group: memory is a group and 32 bytes for each group before.
#[derive(Debug)]
pub struct Prover {
    shard_bytes: u64,
    /// the samples to show, in the order they were asked for
    wanted: Vec<Wanted>,
    /// values of the groups that passed
    groups: Vec<ChainingValue>,
    passed_bytes: u64,
}

#[derive(Debug)]
struct Wanted {
    index: u64,
    sample: Box<[u8; SAMPLE_BYTES]>,
    /// from the sample up, as far as the sample's group reaches
    path: Vec<ChainingValue>,
}

impl Prover {
    /// Begins to show these samples of a shard.
    ///
    /// # Errors
    /// [`SampleError::ShardBytes`], [`SampleError::Index`].
    pub fn new(
        shard_bytes: u64,
        indices: impl IntoIterator<Item = u64>,
    ) -> Result<Self, SampleError> {
        turns(shard_bytes, 0)?;
        let wanted = indices.into_iter().map(|index| {
            turns(shard_bytes, index)?;
            Ok(Wanted { index, sample: Box::new([0; SAMPLE_BYTES]), path: Vec::new() })
        });
        let wanted = wanted.collect::<Result<_, _>>()?;
        Ok(Self { shard_bytes, wanted, groups: Vec::new(), passed_bytes: 0 })
    }

    /// Takes the shard's next [`GROUP_BYTES`], or all that is left of it.
    ///
    /// # Panics
    /// Where it is less or more.
    pub fn group(&mut self, bytes: &[u8]) {
        let start = self.passed_bytes;
        let expected = (self.shard_bytes - start).min(GROUP_BYTES as u64);
        assert_eq!(bytes.len() as u64, expected, "groups are whole");
        let inside = |range: &Range<u64>| {
            let place = |at: u64| usize::try_from(at - start).expect("inside of a group");
            place(range.start)..place(range.end)
        };
        for wanted in &mut self.wanted {
            let at = wanted.index * SAMPLE_BYTES as u64;
            let sample = at..at + SAMPLE_BYTES as u64;
            if group_of(at) != group_of(start) {
                continue;
            }
            wanted.sample.copy_from_slice(&bytes[inside(&sample)]);
            let turns = turns(self.shard_bytes, wanted.index).expect("checked when it was asked");
            let within =
                turns.iter().rev().take_while(|t| group_of(t.sibling.start) == group_of(at));
            wanted.path =
                within.map(|t| value(&bytes[inside(&t.sibling)], t.sibling.start)).collect();
        }
        self.passed_bytes += expected;
        // a shard of one group has no value: it is the root, and no path leads past it
        if self.shard_bytes > GROUP_BYTES as u64 {
            self.groups.push(value(bytes, start));
        }
    }

    /// The samples and their paths, in the order they were asked for.
    ///
    /// # Panics
    /// Where the shard has not passed whole.
    pub fn finish(self) -> Vec<SampleProof> {
        assert_eq!(self.passed_bytes, self.shard_bytes, "the shard passes whole");
        let (shard_bytes, groups) = (self.shard_bytes, self.groups);
        let complete = |mut wanted: Wanted| {
            let turns = turns(shard_bytes, wanted.index).expect("checked when it was asked");
            let above = turns.iter().rev().skip(wanted.path.len());
            wanted.path.extend(above.map(|turn| value_of_groups(&groups, turn.sibling.clone())));
            SampleProof { sample: wanted.sample, path: wanted.path }
        };
        self.wanted.into_iter().map(complete).collect()
    }
}

/// Number of the group that a byte is in.
fn group_of(at: u64) -> u64 {
    at / GROUP_BYTES as u64
}

/// The value of a subtree of whole groups.
fn value_of_groups(groups: &[ChainingValue], range: Range<u64>) -> ChainingValue {
    let bytes = range.end - range.start;
    if bytes <= GROUP_BYTES as u64 {
        return groups[usize::try_from(group_of(range.start)).expect("as many as are in memory")];
    }
    let middle = range.start + left_subtree_len(bytes);
    let left = value_of_groups(groups, range.start..middle);
    let right = value_of_groups(groups, middle..range.end);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

/// Shows sample `index` of a shard in memory.
///
/// # Errors
/// [`SampleError::ShardBytes`], [`SampleError::Index`].
pub fn prove_sample(shard: &[u8], index: u64) -> Result<SampleProof, SampleError> {
    let mut prover = Prover::new(shard.len() as u64, [index])?;
    shard.chunks(GROUP_BYTES).for_each(|group| prover.group(group));
    Ok(prover.finish().pop().expect("one was asked for"))
}

/// Whether a proof shows sample `index` of the shard with this name and length.
///
/// # Errors
/// [`SampleError`]: the shard has no such sample, or the proof does not lead to the name.
pub fn verify_sample(
    name: &Digest,
    shard_bytes: u64,
    index: u64,
    proof: &SampleProof,
) -> Result<(), SampleError> {
    let turns = turns(shard_bytes, index)?;
    if turns.len() != proof.path.len() {
        return Err(SampleError::PathLength { expected: turns.len(), found: proof.path.len() });
    }
    let mut below = value(&proof.sample[..], index * SAMPLE_BYTES as u64);
    let mut found = Digest::default();
    for (level, (turn, sibling)) in turns.iter().rev().zip(&proof.path).enumerate() {
        let (left, right) =
            if turn.sibling_is_left { (sibling, &below) } else { (&below, sibling) };
        if level + 1 == turns.len() {
            found = Digest(*merge_subtrees_root(left, right, Mode::Hash).as_bytes());
        } else {
            below = merge_subtrees_non_root(left, right, Mode::Hash);
        }
    }
    if found == *name { Ok(()) } else { Err(SampleError::Name { expected: *name, found }) }
}

/// One step from the root down to a sample: what is left aside.
struct Turn {
    sibling: Range<u64>,
    sibling_is_left: bool,
}

/// The steps from the root to a sample: at least one, at most 54.
fn turns(shard_bytes: u64, index: u64) -> Result<Vec<Turn>, SampleError> {
    let sample_bytes = SAMPLE_BYTES as u64;
    let count = shard_bytes / sample_bytes;
    if count < 2 || !shard_bytes.is_multiple_of(sample_bytes) {
        return Err(SampleError::ShardBytes { shard_bytes });
    }
    if index >= count {
        return Err(SampleError::Index { index, count });
    }
    let (at, mut start, mut end) = (index * sample_bytes, 0, shard_bytes);
    let mut turns = Vec::new();
    while end - start > sample_bytes {
        let middle = start + left_subtree_len(end - start);
        let sibling_is_left = at >= middle;
        let sibling = if sibling_is_left { start..middle } else { middle..end };
        turns.push(Turn { sibling, sibling_is_left });
        if sibling_is_left { start = middle } else { end = middle }
    }
    Ok(turns)
}

/// The chaining value of a subtree that is not the root.
fn value(bytes: &[u8], offset: u64) -> ChainingValue {
    Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shard(samples: usize) -> Vec<u8> {
        let mut bytes = vec![0; samples * SAMPLE_BYTES];
        Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn name(shard: &[u8]) -> Digest {
        Digest(*blake3::hash(shard).as_bytes())
    }

    #[test]
    fn every_sample_of_every_shape_is_under_the_name() {
        for samples in [2, 3, 4, 5, 12, 16, 17, 64, 100, 256, 257, 700] {
            let shard = shard(samples);
            let (name, bytes) = (name(&shard), shard.len() as u64);
            for index in 0..samples as u64 {
                let proof = prove_sample(&shard, index).unwrap();
                assert_eq!(verify_sample(&name, bytes, index, &proof), Ok(()));
                let other = (index + 1) % samples as u64;
                assert!(verify_sample(&name, bytes, other, &proof).is_err());
            }
            // the last sample's path shows the length; that of others may not, so it must come from the facts
            let last = samples as u64 - 1;
            let proof = prove_sample(&shard, last).unwrap();
            assert!(verify_sample(&name, bytes + 1024, last, &proof).is_err());
        }
    }

    #[test]
    fn many_samples_of_a_shard_of_many_groups_are_shown_at_once() {
        for samples in [256, 257, 511, 1024, 1300] {
            let shard = shard(samples);
            let indices = [samples as u64 - 1, 0, 255, 255, samples as u64 / 2];
            let mut prover = Prover::new(shard.len() as u64, indices).unwrap();
            shard.chunks(GROUP_BYTES).for_each(|group| prover.group(group));
            for (index, proof) in indices.into_iter().zip(prover.finish()) {
                let verified = verify_sample(&name(&shard), shard.len() as u64, index, &proof);
                assert_eq!(verified, Ok(()), "sample {index} of {samples}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_shown() {
        let shard = shard(8);
        let (name, bytes) = (name(&shard), shard.len() as u64);
        let proof = prove_sample(&shard, 7).unwrap();
        assert_eq!(prove_sample(&shard, 8), Err(SampleError::Index { index: 8, count: 8 }));
        for wrong in [0, 1024, 2047, u64::MAX] {
            let refused = verify_sample(&name, wrong, 0, &proof);
            assert_eq!(refused, Err(SampleError::ShardBytes { shard_bytes: wrong }));
        }
        let refused = verify_sample(&name, bytes, u64::MAX, &proof);
        assert_eq!(refused, Err(SampleError::Index { index: u64::MAX, count: 8 }));
        let mut short = proof.clone();
        short.path.pop();
        let refused = verify_sample(&name, bytes, 7, &short);
        assert_eq!(refused, Err(SampleError::PathLength { expected: 3, found: 2 }));
    }

    proptest! {
        #[test]
        fn arbitrary_proofs_never_panic_or_verify(
            shard_bytes: u64, index: u64, path in prop::collection::vec(any::<[u8; 32]>(), 0..60), whole: bool, low: bool,
        ) {
            let shard_bytes = if whole { shard_bytes & !1023 } else { shard_bytes };
            let index = if low { index >> 11 } else { index };
            let fitting = turns(shard_bytes, index).map_or(0, |turns| turns.len());
            let mut path = path;
            path.resize(fitting, [1; 32]);
            let proof = SampleProof { sample: Box::new([3; SAMPLE_BYTES]), path };
            prop_assert!(verify_sample(&Digest([1; 32]), shard_bytes, index, &proof).is_err());
        }

        #[test]
        fn a_flipped_bit_anywhere_is_found(samples in 2usize..40, at: prop::sample::Index, bit in 0usize..(1024 + 32) * 8) {
            let shard = shard(samples);
            let index = at.index(samples) as u64;
            let mut proof = prove_sample(&shard, index).unwrap();
            match (bit / 8).checked_sub(SAMPLE_BYTES) {
                None => proof.sample[bit / 8] ^= 1 << (bit % 8),
                Some(byte) => {
                    let level = at.index(proof.path.len());
                    proof.path[level][byte] ^= 1 << (bit % 8);
                }
            }
            let refused = verify_sample(&name(&shard), shard.len() as u64, index, &proof);
            let is_refused = matches!(refused, Err(SampleError::Name { .. }));
            prop_assert!(is_refused);
        }
    }
}

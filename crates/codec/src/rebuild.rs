//! Lost shards from any `p` others, range by range.

use prunedb_core::ShardIndex;
use prunedb_erasure::{Decoder, ReedSolomon};

/// Why shards cannot be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// Fewer shards than the policy needs.
    #[error("{found} shards, {needed} are needed")]
    TooFew {
        /// p
        needed: usize,
        /// shards given
        found: usize,
    },
    /// A shard is in the list twice.
    #[error("shard {shard} is given twice")]
    Duplicate {
        /// which shard
        shard: ShardIndex,
    },
    /// A shard that the policy does not have.
    #[error("shard {shard} of a policy with {total_shards} shards")]
    NoSuchShard {
        /// which shard
        shard: ShardIndex,
        /// p+q
        total_shards: usize,
    },
    /// A shard that is there already.
    #[error("shard {shard} is given and wanted")]
    WantedPresent {
        /// which shard
        shard: ShardIndex,
    },
    /// Ranges of unequal length, or another number of them than at the start.
    #[error("range {position} has {found} bytes, expected {expected}")]
    Length {
        /// place in the list
        position: usize,
        /// bytes of the first range
        expected: usize,
        /// bytes of this one
        found: usize,
    },
    /// Not one range for each shard that was given.
    #[error("{found} ranges for {expected} shards")]
    RangeCount {
        /// shards given at the start
        expected: usize,
        /// ranges given
        found: usize,
    },
}

/// Rebuilds some shards from others: made once, used for every range of a container.
pub struct Rebuilder {
    given: usize,
    used: usize,
    wanted: usize,
    decoder: Decoder,
}

impl Rebuilder {
    /// Prepares to rebuild `want` from `have`: at least `p` shards, of which the first `p` are used. Costs up to 160 us: keep it.
    ///
    /// # Errors
    /// [`RebuildError`], all but those of lengths.
    pub fn new(
        code: &ReedSolomon,
        have: &[ShardIndex],
        want: &[ShardIndex],
    ) -> Result<Self, RebuildError> {
        let (needed, total_shards) = (code.data_shards(), code.total_shards());
        let mut seen = vec![None; total_shards];
        for (list, is_wanted) in [(have, false), (want, true)] {
            for &shard in list {
                let slot = seen
                    .get_mut(shard.as_usize())
                    .ok_or(RebuildError::NoSuchShard { shard, total_shards })?;
                match slot.replace(is_wanted) {
                    None => {}
                    Some(before) if before == is_wanted => {
                        return Err(RebuildError::Duplicate { shard });
                    }
                    Some(_) => return Err(RebuildError::WantedPresent { shard }),
                }
            }
        }
        if have.len() < needed {
            return Err(RebuildError::TooFew { needed, found: have.len() });
        }
        let numbers =
            |shards: &[ShardIndex]| shards.iter().map(|shard| shard.0).collect::<Vec<_>>();
        let decoder = code
            .decoder(&numbers(&have[..needed]), &numbers(want))
            .expect("p different shards, and none of them wanted");
        Ok(Self { given: have.len(), used: needed, wanted: want.len(), decoder })
    }

    /// The same range of each wanted shard, from that range of each given one, both in the order of [`Self::new`].
    ///
    /// # Errors
    /// [`RebuildError::RangeCount`], [`RebuildError::Length`].
    pub fn rebuild(&self, have: &[&[u8]]) -> Result<Vec<Vec<u8>>, RebuildError> {
        let bytes = have.first().map_or(0, |range| range.len());
        let mut wanted = vec![vec![0; bytes]; self.wanted];
        let mut outputs: Vec<_> = wanted.iter_mut().map(Vec::as_mut_slice).collect();
        self.rebuild_into(have, &mut outputs)?;
        Ok(wanted)
    }

    /// As [`Self::rebuild`], into buffers of the ranges' length.
    ///
    /// # Errors
    /// [`RebuildError::RangeCount`], [`RebuildError::Length`]: nothing was written.
    pub fn rebuild_into(
        &self,
        have: &[&[u8]],
        wanted: &mut [&mut [u8]],
    ) -> Result<(), RebuildError> {
        for (expected, found) in [(self.given, have.len()), (self.wanted, wanted.len())] {
            if expected != found {
                return Err(RebuildError::RangeCount { expected, found });
            }
        }
        let expected = have[0].len();
        let lengths =
            have.iter().map(|range| range.len()).chain(wanted.iter().map(|out| out.len()));
        for (position, found) in lengths.enumerate() {
            if expected != found {
                return Err(RebuildError::Length { position, expected, found });
            }
        }
        self.decoder.decode(&have[..self.used], wanted).expect("counts and lengths fit");
        Ok(())
    }
}

impl std::fmt::Debug for Rebuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.decoder.fmt(f)
    }
}

/// The same range of each shard of `want`, from that range of at least `p` others: payloads, not sealed leaves.
///
/// # Errors
/// [`RebuildError`].
pub fn rebuild(
    code: &ReedSolomon,
    have: &[(ShardIndex, &[u8])],
    want: &[ShardIndex],
) -> Result<Vec<Vec<u8>>, RebuildError> {
    let (shards, ranges): (Vec<_>, Vec<_>) = have.iter().copied().unzip();
    Rebuilder::new(code, &shards, want)?.rebuild(&ranges)
}

//! An audit: somebody who knows the name and the length of a shard has a holder show samples of it. Which ones follows
//! from a seed that the auditor makes up for it, and from the shard, so that one seed serves for many.

use crate::{Challenge, SAMPLE_BYTES, SampleError, SampleProof, domain, verify_sample};
use prunedb_core::{Digest, ShardId};

/// Samples asked for in one audit of a shard, at most.
pub const AUDIT_SAMPLES_MAX: u16 = 64;

/// Which samples of a shard are to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// which shard
    pub shard: ShardId,
    /// nobody knew it before
    pub seed: [u8; 32],
    /// how many samples, at most [`AUDIT_SAMPLES_MAX`]; some may be the same
    pub samples: u16,
}

impl Audit {
    /// The samples to show of a shard of so many bytes, in order.
    ///
    /// # Errors
    /// [`SampleError::ShardBytes`]: it has no samples.
    pub fn indices(&self, shard_bytes: u64) -> Result<Vec<u64>, SampleError> {
        let count = shard_bytes / SAMPLE_BYTES as u64;
        if count < 2 || !shard_bytes.is_multiple_of(SAMPLE_BYTES as u64) {
            return Err(SampleError::ShardBytes { shard_bytes });
        }
        let Digest(seed) = domain::hash("prunedb v1 audit", &[&self.seed, &self.shard.to_bytes()]);
        let challenge = Challenge { seed, holder: 0, sequential: false };
        Ok((0..self.samples).map(|nth| challenge.place(nth, count, None)).collect())
    }

    /// Whether the holder of the shard with this name and length has shown what it had to.
    ///
    /// # Errors
    /// [`SampleError`]: too few or too many samples, or one that does not lead to the name.
    pub fn verify(
        &self,
        name: &Digest,
        shard_bytes: u64,
        shown: &[SampleProof],
    ) -> Result<(), SampleError> {
        let indices = self.indices(shard_bytes)?;
        if indices.len() != shown.len() {
            return Err(SampleError::Count { expected: indices.len(), found: shown.len() });
        }
        let mut pairs = indices.into_iter().zip(shown);
        pairs.try_for_each(|(index, proof)| verify_sample(name, shard_bytes, index, proof))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove_sample;
    use prunedb_core::{ContainerId, LakeId, ShardIndex};

    const BYTES: usize = 40 * SAMPLE_BYTES;

    fn audit(seed: u8, index: u8) -> Audit {
        let container = ContainerId::data(7);
        let shard = ShardId { lake: LakeId([1; 16]), container, index: ShardIndex(index) };
        Audit { shard, seed: [seed; 32], samples: 5 }
    }

    fn shard() -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn shown(audit: &Audit, shard: &[u8]) -> Vec<SampleProof> {
        let indices = audit.indices(shard.len() as u64).unwrap();
        indices.into_iter().map(|index| prove_sample(shard, index).unwrap()).collect()
    }

    #[test]
    fn a_holder_passes_and_nobody_else() {
        let (shard, audit) = (shard(), audit(1, 0));
        let name = Digest(*blake3::hash(&shard).as_bytes());
        let verify = |shown: &[SampleProof]| audit.verify(&name, BYTES as u64, shown);
        let right = shown(&audit, &shard);
        assert_eq!(verify(&right), Ok(()));
        assert_eq!(verify(&right[1..]), Err(SampleError::Count { expected: 5, found: 4 }));
        let mut turned = right.clone();
        turned.reverse();
        assert!(matches!(verify(&turned), Err(SampleError::Name { .. })));
        let mut other = shard.clone();
        other[BYTES / 2] ^= 1;
        assert!(matches!(verify(&shown(&audit, &other)), Err(SampleError::Name { .. })));
    }

    #[test]
    fn seed_and_shard_decide_which_samples() {
        let indices = |audit: Audit| audit.indices(1 << 30).unwrap();
        let base = indices(audit(1, 0));
        assert_ne!(indices(audit(2, 0)), base, "another seed");
        assert_ne!(indices(audit(1, 1)), base, "another shard");
        assert!(base.iter().all(|&index| index < 1 << 20));
        assert_eq!(audit(1, 0).indices(1500), Err(SampleError::ShardBytes { shard_bytes: 1500 }));
    }
}

//! What a heavy node's report of its cells says of one of them, and whether that proves the cell.
//!
//! ```text
//! epoch's seed ──> a seed for each cell ──> places of samples ──> the holder's samples, checked against the cell's root
//! answers root = Merkle root of leaves; leaf = H("prunedb v1 market answer", epoch || cell || samples)
//! ```
//! Heavy nodes check by these rules before they report, and the registry by the same ones where a report is disputed: so an honest
//! report is never found wrong.

use crate::canonical::{Canonical, canonical_struct};
use prunedb_core::Digest;
use prunedb_proof::{Challenge, SAMPLE_BYTES, SampleError, SampleProof, merkle, verify_sample};

/// Samples of a cell in an epoch.
pub const CELL_SAMPLES: u16 = 8;

canonical_struct! {
    /// A sample of a cell, and its path to the cell's root.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Shown {
        /// the bytes
        pub sample: [u8; SAMPLE_BYTES],
        /// from the sample up
        pub path: Vec<[u8; 32]>,
    }
}

impl From<SampleProof> for Shown {
    fn from(proof: SampleProof) -> Self {
        Self { sample: *proof.sample, path: proof.path }
    }
}

impl From<&Shown> for SampleProof {
    fn from(shown: &Shown) -> Self {
        Self { sample: Box::new(shown.sample), path: shown.path.clone() }
    }
}

/// Samples that prove nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// Not as many samples as were asked for.
    #[error("{found} samples, expected {expected}")]
    Count {
        /// samples asked for
        expected: u16,
        /// samples shown
        found: usize,
    },
    /// A sample is not the cell's.
    #[error("sample {position}: {source}")]
    Sample {
        /// which one
        position: usize,
        /// what is wrong
        source: SampleError,
    },
}

/// The seed of a cell in an epoch.
pub fn cell_seed(epoch_seed: &[u8; 32], cell: u64) -> [u8; 32] {
    let input = [&epoch_seed[..], &cell.to_le_bytes()].concat();
    blake3::derive_key("prunedb v1 market check", &input)
}

/// The samples to show of a cell of so many bytes.
pub fn cell_places(seed: &[u8; 32], bytes: u64, samples: u16) -> Vec<u64> {
    let count = (bytes / SAMPLE_BYTES as u64).max(1);
    let challenge = Challenge { seed: *seed, holder: 0, sequential: false };
    (0..samples).map(|index| challenge.place(index, count, None)).collect()
}

/// Whether a holder has shown what it had to, of a cell with this root.
///
/// # Errors
/// [`CheckError`].
pub fn verify_cell(
    (root, bytes): (&Digest, u64),
    seed: &[u8; 32],
    samples: u16,
    shown: &[Shown],
) -> Result<(), CheckError> {
    let places = cell_places(seed, bytes, samples);
    if places.len() != shown.len() || places.is_empty() {
        return Err(CheckError::Count { expected: samples, found: shown.len() });
    }
    for (position, (place, shown)) in places.into_iter().zip(shown).enumerate() {
        verify_sample(root, bytes, place, &SampleProof::from(shown))
            .map_err(|source| CheckError::Sample { position, source })?;
    }
    Ok(())
}

/// What an answers' root has of a cell.
pub fn answer_leaf(epoch: u32, cell: u64, shown: &Vec<Shown>) -> Digest {
    let mut bytes = (epoch, cell).to_bytes();
    shown.put(&mut bytes);
    Digest(blake3::derive_key("prunedb v1 market answer", &bytes))
}

canonical_struct! {
    /// What a root of answers says of a cell.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Evidence {
        /// which epoch
        pub epoch: u32,
        /// which cell
        pub cell: u64,
        /// the samples; none: it did not prove
        pub shown: Vec<Shown>,
        /// leaves under the root
        pub leaves: u32,
        /// which of them this is
        pub position: u32,
        /// from the leaf to the root
        pub path: Vec<Digest>,
    }
}

impl Evidence {
    /// Whether it is under a root that was committed to.
    pub fn is_under(&self, root: &Digest) -> bool {
        let leaf = answer_leaf(self.epoch, self.cell, &self.shown);
        let (position, leaves) = (self.position as usize, self.leaves as usize);
        merkle::root_of_path(&leaf, position, leaves, &self.path).is_ok_and(|found| found == *root)
    }
}

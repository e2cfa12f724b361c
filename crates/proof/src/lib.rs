//! What a container's root commits to, and how parts of a container are shown to be under it.
//!
//! ```text
//! container root = H(parameters and lengths || Merkle root of the shard names)
//!   shard name   = BLAKE3(sealed bytes of the shard)
//! ```
//! - [`ContainerFacts::root`]: the root, from public facts and shard names alone. Nothing in it depends on plaintext
//!   except through the encrypted shards, so it can be published.
//! - [`merkle`]: the tree over the shard names, with paths, so that one name is checked without the others.
//! - [`Challenge`]: which samples a holder must show, from a seed.
//! - [`prove_sample`], [`Prover`], [`verify_sample`]: 1 KiB of a shard, under the shard's name.
//! - [`Audit`]: samples of one shard for somebody who knows its name.
//!
//! Pure: no I/O, no clock. The byte tables are in `docs/format/container-root.md`.

mod audit;
mod challenge;
mod container;
mod domain;
pub mod merkle;
mod sample;

pub use audit::{AUDIT_SAMPLES_MAX, Audit};
pub use challenge::Challenge;
pub use container::{ContainerFacts, FACTS_BYTES, RootError};
pub use sample::{
    GROUP_BYTES, PATH_MAX, Prover, SAMPLE_BYTES, SampleError, SampleProof, prove_sample,
    verify_sample,
};

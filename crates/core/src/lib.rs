//! Ids, policy, units and digests: the words every other crate of PruneDB speaks.
//!
//! Pure: no I/O, no clock, no randomness. The words are those of `docs/glossary.md`.

mod digest;
mod ids;
mod policy;
pub mod units;

pub use digest::{Digest, HexError};
pub use ids::{
    ContainerId, ContainerIdError, ContainerKind, Generation, LakeId, ShardId, ShardIndex, TableId,
    Term,
};
pub use policy::{Policy, PolicyError};

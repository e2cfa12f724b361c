//! What a validator has itself of the blocks that are archived: without it nothing is signed.

use prunedb_core::{Digest, Policy};

/// A batch as this machine has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCopy {
    /// digest of the container, keyed
    pub container_digest: Digest,
    /// root of the container under the policy of its group
    pub root: Digest,
    /// its first block
    pub first_block: u64,
    /// how many blocks it has
    pub blocks: u32,
}

/// The validator's own copy of the chain's history.
pub trait Copies: Send + Sync {
    /// The batch of this number, coded under a policy; `None` where this machine does not have it (yet). Takes as long as
    /// coding a container does.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    fn own(&self, batch: u32, policy: Policy) -> Result<Option<OwnCopy>, String>;
}

/// A validator without blocks: it orders and checks transactions, and signs no closing.
#[derive(Clone, Copy, Debug)]
pub struct NoCopies;

impl Copies for NoCopies {
    fn own(&self, _batch: u32, _policy: Policy) -> Result<Option<OwnCopy>, String> {
        Ok(None)
    }
}

//! What a validator has itself of the blocks that are archived: without it nothing is signed.

use prunedb_core::{Digest, Policy};
use prunedb_registry::CloseBatch;

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
    /// The batch that a closing is of, coded under a policy; `None` where this machine does not have it (yet). Of the closing
    /// its number, its first block and its count of blocks may be taken as they are: nothing else. Takes as long as coding a
    /// container does.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    fn own(&self, close: &CloseBatch, policy: Policy) -> Result<Option<OwnCopy>, String>;
}

/// A validator without blocks: it orders and checks transactions, and signs no closing.
#[derive(Clone, Copy, Debug)]
pub struct NoCopies;

impl Copies for NoCopies {
    fn own(&self, _: &CloseBatch, _: Policy) -> Result<Option<OwnCopy>, String> {
        Ok(None)
    }
}

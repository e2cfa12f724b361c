//! What a holder has, and how it may come to have it.

use prunedb_core::{Digest, Policy, ShardId, ShardIndex};
use prunedb_node::Node;
use prunedb_proof::{SampleError, SampleProof};
use prunedb_registry::Batch;

/// The shards of a storage node.
pub trait HeldShards: Send + Sync {
    /// Name and length of a shard; `None` where it is not there.
    ///
    /// # Errors
    /// Why that cannot be told, in words.
    fn stat(&self, id: ShardId) -> Result<Option<(Digest, u64)>, String>;

    /// Samples of a shard, in this order.
    ///
    /// # Errors
    /// Why not, in words: it is missing, or damaged.
    fn show(&self, id: ShardId, samples: &[u64]) -> Result<Vec<SampleProof>, String>;
}

impl HeldShards for Node {
    fn stat(&self, id: ShardId) -> Result<Option<(Digest, u64)>, String> {
        let found = Self::stat(self, id).map_err(|e| e.to_string())?;
        Ok(found.map(|info| (info.name, info.bytes)))
    }

    fn show(&self, id: ShardId, samples: &[u64]) -> Result<Vec<SampleProof>, String> {
        let choose = |shard_bytes| match samples.iter().find(|&&s| s >= shard_bytes / 1024) {
            Some(_) => Err(SampleError::ShardBytes { shard_bytes }),
            None => Ok(samples.to_vec()),
        };
        Self::show(self, id, choose).map_err(|e| e.to_string())
    }
}

/// Makes a shard of a batch from the blocks that this machine has itself.
pub trait MakeShard: Send + Sync {
    /// Makes the shard of a batch of this number and stores it at the node; `false` where the batch is not here (yet).
    ///
    /// # Errors
    /// Why not, in words.
    fn make(
        &self,
        number: u32,
        batch: &Batch,
        policy: Policy,
        shard: ShardIndex,
    ) -> Result<bool, String>;
}

//! A database as a validator's own copy of the history.

use crate::shards::MakeShard;
use prunedb_core::{Policy, ShardIndex};
use prunedb_engine::{BatchFacts, Db};
use prunedb_store::ShardStore;
use prunedb_validator::{Copies, OwnCopy};
use std::sync::Arc;

/// The records of a database, which this machine has itself.
#[derive(Debug, Clone)]
pub struct OwnRecords(pub Db);

impl Copies for OwnRecords {
    fn own(&self, batch: u32, policy: Policy) -> Result<Option<OwnCopy>, String> {
        let found = self.0.own_batch(batch, policy).map_err(|e| e.to_string())?;
        Ok(found.as_ref().map(own_copy))
    }
}

/// What a validator says of a batch.
pub(crate) const fn own_copy(batch: &BatchFacts) -> OwnCopy {
    OwnCopy {
        container_digest: batch.container_digest,
        root: batch.root,
        first_block: batch.first_record,
        blocks: batch.records,
    }
}

/// Own records, and the store of the node beside them.
pub struct OwnShards {
    /// the records
    pub records: Db,
    /// where the node's shards go
    pub store: Arc<dyn ShardStore>,
}

impl MakeShard for OwnShards {
    fn make(&self, batch: u32, policy: Policy, shard: ShardIndex) -> Result<bool, String> {
        self.records.put_own_shard(batch, policy, shard, &self.store).map_err(|e| e.to_string())
    }
}

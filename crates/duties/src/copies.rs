//! What a validator has itself: the writer's database, or an archive of its own.

use prunedb_core::{Policy, ShardIndex};
use prunedb_engine::{BatchFacts, Cut, CutBatch, Db, LakeSecret};
use prunedb_registry::CloseBatch;
use prunedb_validator::{Copies, OwnCopy};

/// The records of a lake's own database.
#[derive(Debug, Clone)]
pub struct OwnRecords(pub Db);

impl Copies for OwnRecords {
    fn own(&self, close: &CloseBatch, policy: Policy) -> Result<Option<OwnCopy>, String> {
        let found = self.0.own_batch(close.batch, policy).map_err(|e| e.to_string())?;
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

/// A database of its own, of another lake, that was given the same records in the same order: every batch is cut from it and
/// coded anew, and nothing of the batch's lake is read.
pub struct Archive {
    records: Db,
    lake: LakeSecret,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    /// These records, for batches of the lake with this secret.
    pub const fn new(records: Db, lake: LakeSecret) -> Self {
        Self { records, lake }
    }

    /// Cuts a batch, and makes one of its shards where that is wanted; `None` where its records are not all here (yet).
    pub(crate) fn cut(
        &self,
        cut: Cut,
        policy: Policy,
        shard: Option<ShardIndex>,
    ) -> Result<Option<CutBatch>, String> {
        self.records.cut_batch(&self.lake, cut, policy, shard).map_err(|e| e.to_string())
    }
}

impl Copies for Archive {
    fn own(&self, close: &CloseBatch, policy: Policy) -> Result<Option<OwnCopy>, String> {
        let cut =
            Cut { number: close.batch, first_record: close.first_block, records: close.blocks };
        let made = self.cut(cut, policy, None)?;
        Ok(made.map(|made| own_copy(&made.batch)))
    }
}

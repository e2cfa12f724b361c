//! What the threads of a validator share: its blocks, its pool, the roots of its state.

use crate::{
    block::{Checkpoint, Finalized},
    journal::Journal,
    orderer::{Status, SubmitError},
    pool::Pool,
    roots::Roots,
};
use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) journal: Journal,
    pub(crate) roots: Roots,
    pool: Mutex<Pool>,
    /// height of the newest checkpoint that was agreed on
    agreed: AtomicU64,
    failure: Mutex<Option<String>>,
    /// transactions for the other validators
    gossip: mpsc::Sender<Vec<u8>>,
    validators: usize,
}

impl Shared {
    pub(crate) fn new(journal: Journal, validators: usize, gossip: mpsc::Sender<Vec<u8>>) -> Self {
        Self {
            journal,
            roots: Roots::default(),
            pool: Mutex::default(),
            agreed: AtomicU64::new(0),
            failure: Mutex::default(),
            gossip,
            validators,
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a transaction of this validator's clients in, and tells the others about it where there is room; where there is
    /// none it waits for this validator's turn to propose.
    pub(crate) fn submit(&self, tx: Vec<u8>) -> Result<(), SubmitError> {
        if let Some(reason) = self.failure().clone() {
            return Err(SubmitError::Stopped { reason });
        }
        if self.pool().add(tx.clone())? {
            let _ = self.gossip.try_send(tx);
        }
        Ok(())
    }

    /// Takes another validator's transaction in, if there is room.
    pub(crate) fn heard(&self, tx: Vec<u8>) {
        let _ = self.pool().add(tx);
    }

    /// The body of the block after some that are not final yet.
    pub(crate) fn propose<'a>(
        &self,
        height: u64,
        pending: impl Iterator<Item = &'a Finalized>,
    ) -> Finalized {
        let mut taken = BTreeSet::new();
        let mut agreed = self.agreed.load(Ordering::Relaxed);
        for block in pending {
            taken.extend(block.txs.iter().map(|tx| *blake3::hash(tx).as_bytes()));
            agreed = agreed.max(block.checkpoint.map_or(0, |c| c.height));
        }
        let checkpoint = self.roots.newest(agreed, height);
        Finalized { height, checkpoint, txs: self.pool().block(&taken) }
    }

    /// Whether the own state agrees with a block; waits until it has come that far.
    pub(crate) async fn agrees(&self, checkpoint: Option<Checkpoint>) -> bool {
        match checkpoint {
            None => true,
            Some(Checkpoint { height, root }) => self.roots.wait(height).await == root,
        }
    }

    /// Keeps a block that is final; one that is there already is no error.
    pub(crate) fn finalize(&self, block: &Finalized, certificate: &[u8]) -> Result<bool, String> {
        if block.height <= self.journal.last_height() {
            return Ok(false);
        }
        self.journal.append(block, certificate).map_err(|error| error.to_string())?;
        self.pool().remove(&block.txs);
        if let Some(checkpoint) = block.checkpoint {
            self.agreed.fetch_max(checkpoint.height, Ordering::Relaxed);
        }
        Ok(true)
    }

    /// There will be no more blocks.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(reason, "no more blocks come");
        self.failure().get_or_insert(reason);
    }

    pub(crate) fn status(&self) -> Status {
        let (waiting_txs, waiting_bytes) = self.pool().size();
        Status {
            height: self.journal.last_height(),
            first_height: self.journal.first_height(),
            waiting_txs,
            waiting_bytes,
            validators: self.validators,
            failure: self.failure().clone(),
        }
    }
}

//! What the threads of a validator share: its blocks, its pool, the roots of its state.

use super::{
    Certificate, Digest, SimplexError, Start, StartError, chain::Block, committees::Committees,
    proof::Proof, sittings::sitting_of,
};
use crate::{
    block::{Checkpoint, Finalized, SITTING_HEIGHTS},
    journal::{Journal, JournalError},
    orderer::{Status, SubmitError},
    pool::Pool,
    roots::Roots,
};
use commonware_cryptography::Digestible;
use prunedb_registry::Key;
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
    pub(crate) committees: Committees,
    pool: Mutex<Pool>,
    /// height of the newest checkpoint that was agreed on
    agreed: AtomicU64,
    failure: Mutex<Option<String>>,
    /// transactions for the other validators
    gossip: mpsc::Sender<Vec<u8>>,
}

impl Shared {
    pub(crate) fn new(
        journal: Journal,
        committees: Committees,
        gossip: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        Self {
            journal,
            roots: Roots::default(),
            committees,
            pool: Mutex::default(),
            agreed: AtomicU64::new(0),
            failure: Mutex::default(),
            gossip,
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
    pub(crate) fn finalize(&self, block: &Finalized, proof: &[u8]) -> Result<bool, String> {
        if block.height <= self.journal.last_height() {
            return Ok(false);
        }
        self.journal.append(block, proof).map_err(|error| error.to_string())?;
        self.pool().remove(&block.txs);
        if let Some(checkpoint) = block.checkpoint {
            self.agreed.fetch_max(checkpoint.height, Ordering::Relaxed);
        }
        Ok(true)
    }

    /// Takes in what the own state is after a height.
    pub(crate) fn applied(&self, height: u64, root: prunedb_core::Digest, validators: &[Key]) {
        if height > 0
            && height.is_multiple_of(SITTING_HEIGHTS)
            && let Err(reason) = self.committees.elected(sitting_of(height + 1), validators)
        {
            self.fail(reason);
        }
        self.roots.applied(height, root);
    }

    /// The digest of a block that ends a sitting, or of the one before the first.
    pub(crate) fn eve(&self, height: u64) -> Result<Digest, String> {
        if height == 0 {
            return Ok(Block::genesis(self.committees.registry()).digest());
        }
        let text = |error: JournalError| error.to_string();
        let damaged = |error: commonware_codec::Error| {
            format!("the proof of block {height} or the next one is damaged: {error}")
        };
        if let Some((_, proof)) = self.journal.read(height + 1).map_err(text)? {
            return Ok(Proof::decode(&proof).map_err(damaged)?.parent);
        }
        let (block, proof) = self
            .journal
            .read(height)
            .map_err(text)?
            .ok_or("a sitting begins with a block that is here")?;
        Ok(Proof::decode(&proof).map_err(damaged)?.digest(&block))
    }

    /// Goes on from a state of others, whose blocks were checked: what was before is dropped.
    pub(crate) fn begin(&self, start: &Start) -> Result<(), SimplexError> {
        let (height, last) = (start.height, self.journal.last_height());
        let brought = height + start.signed().len() as u64;
        if last >= brought {
            // begun with it before, and stopped before the state was kept
            let is_begun = self.journal.first_height() == height + 1;
            return if is_begun { Ok(()) } else { Err(StartError::Old { height, last }.into()) };
        }
        self.committees.begin_at(sitting_of(height + 1), &start.validators)?;
        self.journal.clear()?;
        for (block, proof) in start.signed() {
            self.journal.append(block, proof)?;
        }
        Ok(())
    }

    /// Where the first blocks are not here any more: the newest certificate, from which others' blocks are asked for.
    pub(crate) fn floor(&self) -> Result<Option<Certificate>, JournalError> {
        let first = self.journal.first_height();
        if first == 1 {
            return Ok(None);
        }
        for height in (first..=self.journal.last_height()).rev() {
            let Some((_, proof)) = self.journal.read(height)? else { break };
            if let Ok(Proof { certificate: Some(certificate), .. }) = Proof::decode(&proof) {
                return Ok(Some(certificate));
            }
        }
        Ok(None)
    }

    /// There will be no more blocks.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(reason, "no more blocks come");
        self.failure().get_or_insert(reason);
    }

    pub(crate) fn status(&self) -> Status {
        let (waiting_txs, waiting_bytes) = self.pool().size();
        let (validators, votes) = self.committees.newest();
        Status {
            height: self.journal.last_height(),
            first_height: self.journal.first_height(),
            waiting_txs,
            waiting_bytes,
            validators,
            votes,
            failure: self.failure().clone(),
        }
    }
}

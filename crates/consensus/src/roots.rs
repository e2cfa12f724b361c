//! The roots of this validator's own state, to compare with those that blocks agree on.

use crate::{
    block::{CHECKPOINT_HEIGHTS, Checkpoint, Finalized},
    orderer::OrderError,
};
use prunedb_core::Digest;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Most checkpoints that are remembered.
const KEPT: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Roots {
    own: Mutex<BTreeMap<u64, Digest>>,
    more: watch::Sender<()>,
}

impl Roots {
    fn own(&self) -> MutexGuard<'_, BTreeMap<u64, Digest>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the root after a height, where it is a checkpoint's.
    pub(crate) fn applied(&self, height: u64, root: Digest) {
        if height == 0 || !height.is_multiple_of(CHECKPOINT_HEIGHTS) {
            return;
        }
        let mut own = self.own();
        own.insert(height, root);
        while own.len() > KEPT {
            own.pop_first();
        }
        drop(own);
        self.more.send_replace(());
    }

    /// The newest checkpoint below a height and above another.
    pub(crate) fn newest(&self, above: u64, below: u64) -> Option<Checkpoint> {
        let newest = self.own().range(..below).next_back().map(|(&h, &root)| (h, root));
        newest.filter(|(h, _)| *h > above).map(|(height, root)| Checkpoint { height, root })
    }

    /// The own root after a height.
    pub(crate) fn get(&self, height: u64) -> Option<Digest> {
        self.own().get(&height).copied()
    }

    /// The own root after a height, as soon as it is there.
    #[cfg(feature = "simplex")]
    pub(crate) async fn wait(&self, height: u64) -> Digest {
        let mut more = self.more.subscribe();
        loop {
            if let Some(root) = self.get(height) {
                return root;
            }
            more.changed().await.expect("the sender is here");
        }
    }

    /// Refuses a block that agrees on another root than the own one.
    pub(crate) fn check(&self, block: &Finalized) -> Result<(), OrderError> {
        let Some(Checkpoint { height, root: agreed }) = block.checkpoint else { return Ok(()) };
        match self.get(height) {
            Some(own) if own != agreed => Err(OrderError::Diverged { height, own, agreed }),
            _ => Ok(()),
        }
    }
}

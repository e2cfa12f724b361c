//! One process alone: a block each interval, synced before anybody sees it.
//!
//! Cost: an append and a sync of about 50 bytes and the block's transactions per interval, whether there are some or
//! not, because heights are the registry's clock.

use crate::{
    block::Finalized,
    journal::{Journal, JournalError},
    orderer::{OrderError, Orderer, Status, SubmitError},
    pool::Pool,
    roots::Roots,
};
use prunedb_core::Digest;
use prunedb_disk::Disk;
use prunedb_registry::Key;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::watch;

/// What a [`Local`] is made of.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// where the blocks are kept; nothing else is
    pub dir: PathBuf,
    /// time from block to block
    pub interval: Duration,
}

/// The orderer that asks nobody.
#[derive(Debug)]
pub struct Local {
    shared: Arc<Shared>,
    heights: watch::Receiver<u64>,
    maker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    journal: Journal,
    roots: Roots,
    work: Mutex<Work>,
    stop: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    pool: Pool,
    /// why no more blocks are made
    stopped: Option<String>,
}

impl Local {
    /// Opens the journal and begins to make blocks.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn start(disk: Arc<dyn Disk>, config: &LocalConfig) -> Result<Self, JournalError> {
        let journal = Journal::open(disk, &config.dir)?;
        let (height, heights) = watch::channel(journal.last_height());
        let work = Mutex::new(Work::default());
        let shared =
            Arc::new(Shared { journal, roots: Roots::default(), work, stop: Condvar::new() });
        let (maker, interval) = (Arc::clone(&shared), config.interval);
        let maker = std::thread::Builder::new()
            .name("prunedb-orderer".into())
            .spawn(move || maker.run(interval, &height))
            .map_err(|error| JournalError::io("the orderer's thread", &config.dir, &error))?;
        Ok(Self { shared, heights, maker: Some(maker) })
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, interval: Duration, height: &watch::Sender<u64>) {
        let mut agreed = 0;
        loop {
            let txs = {
                let waited = self
                    .stop
                    .wait_timeout_while(self.work(), interval, |work| work.stopped.is_none());
                let (work, _) = waited.unwrap_or_else(PoisonError::into_inner);
                if work.stopped.is_some() {
                    return;
                }
                work.pool.block(&BTreeSet::new())
            };
            let next = self.journal.last_height() + 1;
            let checkpoint = self.roots.newest(agreed, next);
            agreed = checkpoint.map_or(agreed, |c| c.height);
            let block = Finalized { height: next, checkpoint, txs };
            if let Err(error) = self.journal.append(&block, &[]) {
                tracing::error!(%error, height = next, "no more blocks are made");
                self.work().stopped = Some(error.to_string());
                return;
            }
            self.work().pool.remove(&block.txs);
            height.send_replace(next);
        }
    }
}

impl Orderer for Local {
    fn submit(&self, tx: Vec<u8>) -> Result<(), SubmitError> {
        let mut work = self.shared.work();
        if let Some(reason) = &work.stopped {
            return Err(SubmitError::Stopped { reason: reason.clone() });
        }
        work.pool.add(tx).map(|_| ())
    }

    fn heights(&self) -> watch::Receiver<u64> {
        self.heights.clone()
    }

    fn block(&self, height: u64) -> Result<Option<Finalized>, OrderError> {
        let Some((block, _)) = self.shared.journal.read(height)? else { return Ok(None) };
        self.shared.roots.check(&block)?;
        Ok(Some(block))
    }

    fn applied(&self, height: u64, root: Digest, _: &[Key]) {
        self.shared.roots.applied(height, root);
    }

    fn proof(&self, height: u64) -> Result<Option<Vec<u8>>, OrderError> {
        Ok(self.shared.journal.read(height)?.map(|(_, certificate)| certificate))
    }

    fn prune(&self, below: u64) -> Result<(), OrderError> {
        Ok(self.shared.journal.prune(below)?)
    }

    fn status(&self) -> Status {
        let work = self.shared.work();
        let (waiting_txs, waiting_bytes) = work.pool.size();
        Status {
            height: self.shared.journal.last_height(),
            first_height: self.shared.journal.first_height(),
            waiting_txs,
            waiting_bytes,
            validators: 1,
            votes: true,
            failure: work.stopped.clone(),
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.shared.work().stopped.get_or_insert_with(|| "it was shut down".into());
        self.shared.stop.notify_all();
        if let Some(maker) = self.maker.take()
            && maker.join().is_err()
        {
            tracing::error!("the orderer's thread had panicked");
        }
    }
}

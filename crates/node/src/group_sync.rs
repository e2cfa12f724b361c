//! Syncs of one file, shared by all who wait for one at the same time, and poison.
//!
//! A failed sync leaves the kernel free to forget what it could not write, so it is never retried: the file is
//! poisoned, what it holds stays readable, and nothing more in it can be promised.

use crate::state::lock;
use prunedb_disk::File;
use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The syncs of one file.
#[derive(Debug, Default)]
pub(crate) struct GroupSync {
    /// callers so far
    asked: AtomicU64,
    /// how many of these a finished sync covers
    covered: Mutex<u64>,
    poisoned: AtomicBool,
}

/// Why something is not durable.
#[derive(Debug)]
pub(crate) enum SyncError {
    /// a sync of this file failed before
    Poisoned,
    /// this one failed
    Failed(io::Error),
}

impl GroupSync {
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    /// Makes all that was written to the file before this call durable.
    pub(crate) fn sync(&self, file: &dyn File) -> Result<(), SyncError> {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut covered = lock(&self.covered);
        if self.is_poisoned() {
            return Err(SyncError::Poisoned);
        }
        if *covered >= ticket {
            return Ok(());
        }
        let covers = self.asked.load(Ordering::SeqCst);
        match file.sync_data() {
            Ok(()) => {
                *covered = covers;
                Ok(())
            }
            Err(e) => {
                self.poisoned.store(true, Ordering::SeqCst);
                Err(SyncError::Failed(e))
            }
        }
    }
}

//! The lake as a validator's copy of the history: read from the holders, and coded anew.
//!
//! For validators that have none of the records themselves. What they sign is that a random `p` of the holders' shards give the
//! container back, that its digest and count of records are those proposed, and that it is coded to this root. What its records
//! say of their chain is not looked at here.

use crate::copies::own_copy;
use prunedb_core::Policy;
use prunedb_engine::Db;
use prunedb_registry::CloseBatch;
use prunedb_validator::{Copies, OwnCopy};
use std::sync::{Mutex, PoisonError};

type Open = dyn Fn() -> Result<Db, String> + Send + Sync;

/// A reader of the lake, opened when it is needed first: a lake begins after its registry.
pub struct LakeReader {
    open: Box<Open>,
    opened: Mutex<Option<Db>>,
}

impl LakeReader {
    /// Opens the lake with this, as often as it takes.
    pub fn new(open: impl Fn() -> Result<Db, String> + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open), opened: Mutex::default() }
    }

    /// The lake as it is now.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub fn refreshed(&self) -> Result<Db, String> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let db = match &*opened {
            Some(db) => db.clone(),
            None => opened.insert((self.open)()?).clone(),
        };
        drop(opened);
        db.refresh().map_err(|e| e.to_string())?;
        Ok(db)
    }
}

impl std::fmt::Debug for LakeReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeReader").finish_non_exhaustive()
    }
}

impl Copies for LakeReader {
    fn own(&self, close: &CloseBatch, policy: Policy) -> Result<Option<OwnCopy>, String> {
        let found = self.refreshed()?.reread_batch(close.batch).map_err(|e| e.to_string())?;
        Ok(found.filter(|batch| batch.facts.policy == policy).as_ref().map(own_copy))
    }
}

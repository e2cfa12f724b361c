//! Puts that look first.

use crate::{
    db::{Db, Table},
    error::Error,
    lake::Trace,
    writer::Position,
};
use prunedb_format::{container::record_bytes, crc32c};
use std::sync::{Mutex, PoisonError};

/// Held by whoever looks and then puts; keys share them.
#[derive(Debug)]
pub(crate) struct Looking(Vec<Mutex<()>>);

impl Default for Looking {
    fn default() -> Self {
        Self((0..1024).map(|_| Mutex::default()).collect())
    }
}

impl Db {
    /// Looks first: where the key has this value already nothing is written (`false`), another value is an error. Of
    /// several at once with one key the first wins, the others see what it put.
    ///
    /// # Errors
    /// [`Error::Contradiction`], and those of [`Self::put`]. Where a plain put of the same key came between, and with
    /// another value, it is a contradiction as well; what was put here then is a duplicate that nobody reads.
    pub fn put_checked(&self, table: &Table, key: &[u8], value: &[u8]) -> Result<bool, Error> {
        let looking = &self.inner.looking.0;
        let stripe = crc32c(key).wrapping_add(table.id().0) as usize % looking.len();
        let _one = looking[stripe].lock().unwrap_or_else(PoisonError::into_inner);
        let same = |old: &[u8]| {
            if old == value { Ok(false) } else { Err(Error::contradiction(table, old, value)) }
        };
        if let Some(old) = self.get(table, key)? {
            return same(&old);
        }
        let position = self.put_at(table, key, value)?;
        let ours = position.last_record(record_bytes(key.len(), value.len()));
        let first = self.inner.find(table, key, Position::END, &mut Trace::default())?;
        match first {
            Some((at, record)) if Some(at) != ours => same(record.view().value),
            _ => Ok(true),
        }
    }
}

//! Keys under which two different records were put: found when runs of the index merge, by reading both.
//!
//! The first one stays the one that is read. Equal records are no news, and neither are different keys that share a
//! fingerprint. What cannot be read now waits, and is kept in the manifest, as runs that are merged have no pairs any more.
//! A crash loses the pairs of the last merge where none of them was looked at yet.

use super::MERGE_STEP_ENTRIES;
use crate::{
    db::{Db, Inner},
    error::Error,
    lake::Trace,
    record::Record,
};
use prunedb_core::{ContainerId, Digest, TableId};
use prunedb_index::{Location, Suspect};
use std::{collections::VecDeque, sync::PoisonError};

/// Two records of one key with different values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// their table
    pub table: String,
    /// their key
    pub key: Vec<u8>,
    /// the one that is read
    pub first: Contender,
    /// the one that is not
    pub second: Contender,
}

/// One of the records of a [`Duplicate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// its container
    pub container: ContainerId,
    /// where in it the record starts
    pub offset: u32,
    /// BLAKE3 of its value
    pub digest: Digest,
}

/// What the manifest keeps of a duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) places: Suspect,
    pub(crate) table: TableId,
    pub(crate) digests: [Digest; 2],
    pub(crate) key: Vec<u8>,
}

/// Pairs of records that wait to be read, because they may have one key.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    waiting: VecDeque<Suspect>,
    /// those that the manifest keeps are others
    changed: bool,
}

impl Suspects {
    /// Those that an earlier process kept.
    pub(crate) fn kept(pairs: Vec<Suspect>) -> Self {
        Self { waiting: pairs.into(), changed: false }
    }
}

/// Pairs that wait to be read at most; more are not looked at.
const WAITING_MAX: usize = 65_536;
/// Bytes that are read of a record at first.
const FIRST_READ_BYTES: usize = 4096;
/// Pairs that one step reads.
const STEP_PAIRS: usize = 256;

impl Db {
    /// Keys under which different values were put: those that were found so far, 10,000 at most.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn duplicates(&self) -> Result<Vec<Duplicate>, Error> {
        self.inner.duplicates()
    }
}

impl Inner {
    pub(crate) fn duplicates(&self) -> Result<Vec<Duplicate>, Error> {
        let found = self.manifest.duplicates()?.into_iter();
        let duplicates = found.map(|Found { places, table, digests, key }| {
            let contender = |at: Location, digest| Contender {
                container: ContainerId::data(at.container),
                offset: at.offset,
                digest,
            };
            let name = self.manifest.table_by_id(table).map(|table| table.name);
            Duplicate {
                table: name.unwrap_or_else(|| table.to_string()),
                key,
                first: contender(places.0, digests[0]),
                second: contender(places.1, digests[1]),
            }
        });
        Ok(duplicates.collect())
    }

    /// Merges a little, and reads some of the pairs that merges found; whether something is left to do.
    pub(super) fn merge_index(&self) -> Result<bool, Error> {
        let step = self.healing(|| Ok(self.index.merge_step(MERGE_STEP_ENTRIES)?))?;
        let waiting = self.compare_suspects()?;
        Ok(!step.idle || waiting)
    }

    /// Reads pairs of records that may have one key; whether more of them wait.
    fn compare_suspects(&self) -> Result<bool, Error> {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_suspects(&mut suspects);
        let Suspects { waiting, changed } = &mut *suspects;
        let count = waiting.len().min(STEP_PAIRS);
        let (mut found, mut unread) = (Vec::new(), Vec::new());
        for &pair in waiting.iter().take(count) {
            match self.compare(pair) {
                Ok(duplicate) => found.extend(duplicate),
                Err(error) => {
                    tracing::debug!(%error, "two records were not compared, it is tried again");
                    unread.push(pair);
                }
            }
        }
        self.manifest.add_duplicates(&found)?;
        waiting.drain(..count);
        let more = !waiting.is_empty();
        *changed |= unread.len() < count;
        waiting.extend(&unread);
        if !unread.is_empty() {
            self.keep(&mut suspects)?;
        }
        Ok(more)
    }

    /// Adds the pairs that the index found meanwhile.
    fn take_suspects(&self, suspects: &mut Suspects) {
        let new = self.index.take_suspects();
        let room = WAITING_MAX.saturating_sub(suspects.waiting.len());
        if new.len() > room {
            let count = new.len() - room;
            tracing::warn!(count, "pairs of records that may have one key are not looked at");
        }
        suspects.changed |= !new.is_empty();
        suspects.waiting.extend(new.into_iter().take(room));
    }

    /// Keeps the pairs that wait, for a process to come.
    pub(super) fn keep_suspects(&self) -> Result<(), Error> {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_suspects(&mut suspects);
        self.keep(&mut suspects)
    }

    fn keep(&self, suspects: &mut Suspects) -> Result<(), Error> {
        if suspects.changed {
            self.manifest.set_suspects(suspects.waiting.make_contiguous())?;
            suspects.changed = false;
        }
        Ok(())
    }

    /// The two records where they have one key and different values.
    fn compare(&self, places: Suspect) -> Result<Option<Found>, Error> {
        let read = |at: Location| self.record_at(at, FIRST_READ_BYTES, &mut Trace::default());
        let (first, second): (Record, Record) = (read(places.0)?, read(places.1)?);
        let (a, b) = (first.view(), second.view());
        if (a.table, a.key) != (b.table, b.key) || a.value == b.value {
            return Ok(None);
        }
        let digests = [a.value, b.value].map(|value| Digest(*blake3::hash(value).as_bytes()));
        tracing::warn!(
            table = %a.table,
            first = %ContainerId::data(places.0.container),
            first_offset = places.0.offset,
            first_digest = %digests[0],
            second = %ContainerId::data(places.1.container),
            second_offset = places.1.offset,
            second_digest = %digests[1],
            "two different records have one key: the first one is read"
        );
        Ok(Some(Found { places, table: a.table, digests, key: a.key.to_vec() }))
    }
}

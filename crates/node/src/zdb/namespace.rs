//! One namespace: its settings, its logs, and where each key's newest record is. Reading is here, writing in
//! `write`, opening in `load`, giving space back in `compact`.
//!
//! Locks, always taken in this order: the settings' change, the writer, the state. The disk is written under the
//! writer; the state is held for memory accesses only, so readers wait for nothing longer. A reader takes a place and
//! its log under one look at the state: a log that is rewritten or dropped meanwhile stays open until it is done.

use super::{
    budget::Budget,
    error::ZdbError,
    index::{Index, KeyHasher, Place},
    layout::{FIRST_UNIT, Position, RecordHeader, UNIT_BYTES},
    log::{Damaged, Head, Log},
    settings::Settings,
    walk::{Seen, Walk, WalkBack},
    write::Writer,
};
use prunedb_disk::Disk;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

/// One namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) id: u32,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) mark_seed: [u8; 32],
    pub(crate) budget: Arc<Budget>,
    pub(crate) hasher: KeyHasher,
    pub(crate) settings: RwLock<Settings>,
    /// one at a time changes the settings
    pub(crate) changing: Mutex<()>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) state: RwLock<State>,
    /// connections that have it selected must let go
    pub(crate) gone: AtomicBool,
    /// commands whose data or index could not be read or written
    pub(crate) disk_errors: AtomicU32,
}

/// A log of a namespace, and what of it counts.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) log: Arc<Log>,
    /// where its records end
    pub(crate) end: u32,
    /// the last record; 0 where there is none
    pub(crate) last: u32,
    /// bytes of records that do not count any more, and of tombstones
    pub(crate) dead_bytes: u64,
    /// how many of these the last rewriting had to keep
    pub(crate) kept_bytes: u64,
    /// something in it is damaged: it is never rewritten or removed
    pub(crate) damaged: bool,
}

impl Held {
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.end) * UNIT_BYTES
    }
}

/// What readers look at.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) logs: BTreeMap<u32, Held>,
    pub(crate) index: Index,
    /// bytes of the values that count
    pub(crate) value_bytes: u64,
    /// logs that changed since the last reset
    pub(crate) dirty: BTreeSet<u32>,
}

/// A key's newest record.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) log: Arc<Log>,
    pub(crate) head: Head,
}

/// An entry of a scan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Scanned {
    pub(crate) key: Vec<u8>,
    pub(crate) header: RecordHeader,
    pub(crate) position: Position,
}

/// A version of a key, and where the one before it is.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) older: Option<Position>,
    pub(crate) timestamp: u32,
    pub(crate) value: Vec<u8>,
}

impl Namespace {
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// The newest record of a key.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<Found>, Damaged> {
        self.find_hashed(self.hasher.hash(key), key, Log::head_only)
    }

    pub(crate) fn find_hashed(
        &self,
        hash: u64,
        key: &[u8],
        read: impl Fn(&Log, u32) -> Result<Head, Damaged>,
    ) -> Result<Option<Found>, Damaged> {
        // nearly always one: a second place is a second key with the same hash
        let mut skip = 0;
        loop {
            let state = self.state();
            let Some(place) = state.index.places(hash).nth(skip) else { return Ok(None) };
            let log = Arc::clone(&state.logs.get(&place.log).expect("an indexed log is held").log);
            drop(state);
            let head = read(&log, place.unit)?;
            if head.key() == key {
                return Ok(Some(Found { place, log, head }));
            }
            skip += 1;
        }
    }

    /// The value of a key, checked: `take` is told its length, and may have it filled in.
    pub(crate) fn get<T>(
        &self,
        key: &[u8],
        take: impl FnOnce(usize, &mut dyn FnMut(&mut [u8]) -> Result<(), Damaged>) -> Result<T, Damaged>,
    ) -> Result<Option<T>, Damaged> {
        let found = self.find_hashed(self.hasher.hash(key), key, Log::head)?;
        let Some(found) = found else { return Ok(None) };
        let mut fill = |value: &mut [u8]| found.log.value(&found.head, value);
        take(found.head.header.value_len(), &mut fill).map(Some)
    }

    /// Up to `count` records that count, behind a position or from the first.
    pub(crate) fn scan(
        &self,
        after: Option<Position>,
        count: usize,
    ) -> Result<Vec<Scanned>, Damaged> {
        let mut out = Vec::new();
        let mut next = after.map_or(0, |after| after.log);
        'logs: loop {
            let state = self.state();
            let Some((&number, held)) = state.logs.range(next..).next() else { return Ok(out) };
            let held = held.clone();
            drop(state);
            let (found_before, after) = (out.len(), after.filter(|after| after.log == number));
            let from = match after {
                None => FIRST_UNIT,
                // a rewritten log is read from its beginning: its records say where they were
                Some(_) if held.log.rewritten => FIRST_UNIT,
                Some(after) => after.unit,
            };
            let mut walk = Walk::new(Arc::clone(&held.log), from, held.end);
            loop {
                let seen = match walk.next() {
                    Ok(Some(seen)) => seen,
                    Ok(None) => break,
                    Err(_) if held.damaged => {
                        walk.skip()?;
                        continue;
                    }
                    Err(e) => return Err(e),
                };
                let position = held.log.at(seen.header.origin);
                if after.is_some_and(|after| position <= after) {
                    continue;
                }
                match self.counts(&held.log, &seen) {
                    Some(true) => {
                        out.push(Scanned { key: seen.key, header: seen.header, position });
                        if out.len() >= count {
                            return Ok(out);
                        }
                    }
                    Some(false) => {}
                    None => {
                        out.truncate(found_before);
                        continue 'logs;
                    }
                }
            }
            next = number.saturating_add(1);
        }
    }

    /// Up to `count` records that count, in front of a position or from the last, backwards.
    pub(crate) fn scan_back(
        &self,
        before: Option<Position>,
        count: usize,
    ) -> Result<Vec<Scanned>, Damaged> {
        let mut out = Vec::new();
        let mut last = before.map_or(u32::MAX, |before| before.log);
        'logs: loop {
            let state = self.state();
            let Some((&number, held)) = state.logs.range(..=last).next_back() else {
                return Ok(out);
            };
            let held = held.clone();
            drop(state);
            let found_before = out.len();
            let mut walk = WalkBack::new(Arc::clone(&held.log), held.last);
            if let Some(before) = before.filter(|b| b.log == number && !held.log.rewritten) {
                walk.at = before.unit;
            }
            while let Some(seen) = walk.next()? {
                let position = held.log.at(seen.header.origin);
                if before.is_some_and(|before| position >= before) {
                    continue;
                }
                match self.counts(&held.log, &seen) {
                    Some(true) => {
                        out.push(Scanned { key: seen.key, header: seen.header, position });
                        if out.len() >= count {
                            return Ok(out);
                        }
                    }
                    Some(false) => {}
                    None => {
                        out.truncate(found_before);
                        continue 'logs;
                    }
                }
            }
            match number.checked_sub(1) {
                Some(lower) => last = lower,
                None => return Ok(out),
            }
        }
    }

    /// Whether a record is the newest of its key, and no tombstone; `None` where its log was rewritten meanwhile.
    fn counts(&self, log: &Arc<Log>, seen: &Seen) -> Option<bool> {
        let state = self.state();
        let now = state.logs.get(&log.number())?;
        let place = Place { log: log.number(), unit: seen.unit };
        Arc::ptr_eq(&now.log, log).then(|| state.index.has(self.hasher.hash(&seen.key), place))
    }

    /// The record that was first written at a position, if it is still there.
    pub(crate) fn at(&self, position: Position) -> Option<(Arc<Log>, Head)> {
        let held = self.state().logs.get(&position.log)?.clone();
        let unit = if held.log.rewritten {
            let mut walk = Walk::new(Arc::clone(&held.log), FIRST_UNIT, held.end);
            loop {
                let seen = walk.next().ok()??;
                if seen.header.origin >= position.unit {
                    break (seen.header.origin == position.unit).then_some(seen.unit)?;
                }
            }
        } else {
            (FIRST_UNIT..held.end).contains(&position.unit).then_some(position.unit)?
        };
        let head = held.log.head(unit).ok()?;
        Some((held.log, head))
    }

    /// A version of a key: the newest, or the one at a position.
    pub(crate) fn version(
        &self,
        key: &[u8],
        at: Option<Position>,
    ) -> Result<Option<Version>, ZdbError> {
        let (log, head) = match at {
            None => match self.find(key)? {
                None => return Ok(None),
                Some(found) => (found.log, found.head),
            },
            Some(at) => match self.at(at) {
                Some((log, head)) if head.key() == key => (log, head),
                _ => return Err(ZdbError::BadCursor),
            },
        };
        let mut value = vec![0; head.header.value_len()];
        log.value(&head, &mut value)?;
        // what was compacted away is no version any more
        let older = head
            .header
            .previous
            .filter(|&at| self.at(at).is_some_and(|(_, older)| older.key() == key));
        Ok(Some(Version { older, timestamp: head.header.timestamp, value }))
    }

    /// Bytes that all logs take up.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.state().logs.values().map(Held::bytes).sum()
    }
}

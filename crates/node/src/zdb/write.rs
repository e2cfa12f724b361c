//! Writing: a run of sets and deletes is gathered, written at once, and only then seen by readers.
//!
//! A run holds the namespace's writer. Records gather in memory (up to 1 MiB; a large value is written as it came)
//! until [`WriteRun::flush`] writes them and brings the index up to date. If the write fails, nothing of what had
//! gathered counts, and what may be on the disk of it is cut off. What was written is durable once the logs that
//! [`WriteRun::finish`] returns are synced; all who sync one at the same time share the sync.

use super::{
    error::ZdbError,
    index::Place,
    layout::{
        FIRST_UNIT, KEY_BYTES_MAX, Kind, LogHeader, Position, RecordHeader, UNIT_BYTES,
        extent_bytes,
    },
    log::{Damaged, Log},
    namespace::{Found, Held, Namespace, State},
    settings::Mode,
};
use crate::{layout::crc32c, state::lock};
use std::{
    collections::HashSet,
    sync::{Arc, MutexGuard},
};

/// Bytes that gather before they are written.
const GATHER_BYTES: usize = 1 << 20;
/// A value from this size on is written from where it is.
const LARGE_VALUE_BYTES: usize = 64 << 10;

/// Where records go.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// the log that grows; `None` until something is written
    pub(crate) active: Option<Arc<Log>>,
    /// where the next record goes
    pub(crate) tail: u32,
    /// the record in front of it
    pub(crate) last: u32,
    pub(crate) next_log: u32,
    /// next id of a sequence
    pub(crate) next_id: u64,
    gathered: Vec<u8>,
    staged: Vec<Staged>,
    hashes: HashSet<u64>,
}

impl Writer {
    /// Of a namespace without records.
    pub(crate) fn new(next_log: u32) -> Self {
        Self { next_log, ..Self::default() }
    }
}

/// A record that is not in the index yet.
#[derive(Debug)]
struct Staged {
    hash: u64,
    unit: u32,
    header: RecordHeader,
    old: Option<Old>,
}

/// The record that it takes the place of.
#[derive(Clone, Copy, Debug)]
struct Old {
    place: Place,
    value_bytes: u32,
    extent_bytes: u64,
}

impl Old {
    fn of(found: &Found) -> Self {
        let header = found.head.header;
        Self {
            place: found.place,
            value_bytes: header.value_bytes,
            extent_bytes: header.extent_bytes(),
        }
    }
}

/// What a set did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SetDone {
    Stored,
    /// a new id of a sequence
    StoredAs(u64),
    /// the key had this value already
    Same,
}

/// Sets and deletes of one connection, one after another.
#[derive(Debug)]
pub(crate) struct WriteRun<'a> {
    namespace: &'a Namespace,
    writer: MutexGuard<'a, Writer>,
    /// next id when the last flush succeeded
    id_before: u64,
    /// logs that must be synced before the run may be answered
    touched: Vec<Arc<Log>>,
    /// what gathered could not be written
    lost: bool,
}

impl Namespace {
    /// Begins a run; others wait for it.
    pub(crate) fn write(&self) -> WriteRun<'_> {
        let writer = lock(&self.writer);
        let id_before = writer.next_id;
        WriteRun { namespace: self, writer, id_before, touched: Vec::new(), lost: false }
    }
}

impl WriteRun<'_> {
    /// Whether all that was set or deleted is written.
    pub(crate) fn is_written(&self) -> bool {
        self.writer.staged.is_empty()
    }

    /// Whether a write failed, and all that was not written by then does not count. Tells it once.
    pub(crate) fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Ends the run after its last flush: the logs to sync before it is answered.
    pub(crate) fn finish(mut self) -> Vec<Arc<Log>> {
        std::mem::take(&mut self.touched)
    }

    /// Whether [`Self::flush`] must come before a command about this key.
    pub(crate) fn must_flush(&self, key: &[u8]) -> bool {
        self.writer.gathered.len() >= GATHER_BYTES
            || self.writer.hashes.contains(&self.namespace.hasher.hash(key))
    }

    /// Sets a key. An empty key asks a sequence for its next id.
    pub(crate) fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        timestamp: u32,
    ) -> Result<SetDone, ZdbError> {
        let (mode, worm, size_max) = {
            let settings = self.namespace.settings();
            (settings.mode, settings.worm, settings.size_max)
        };
        if key.len() > KEY_BYTES_MAX {
            return Err(ZdbError::KeyTooLong);
        }
        let id = self.writer.next_id;
        let id_bytes = id.to_le_bytes();
        let (key, is_new_id) = match mode {
            Mode::User if key.is_empty() => {
                return Err(ZdbError::Argument { want: "a key of 1 to 255 bytes" });
            }
            Mode::Sequence if key.is_empty() => (&id_bytes[..], true),
            _ => (key, false),
        };
        let hash = self.namespace.hasher.hash(key);
        let found = if is_new_id { None } else { self.find(hash, key)? };
        if mode == Mode::Sequence && !is_new_id && found.is_none() {
            return Err(ZdbError::NoSequenceKey);
        }
        let value_crc = crc32c(value);
        let value_bytes = u32::try_from(value.len()).expect("requests are shorter");
        if let Some(found) = &found {
            if is_same(found, value, value_crc) {
                // the one who set it may not know yet whether it is durable
                touch(&mut self.touched, &found.log);
                return Ok(SetDone::Same);
            }
            if worm {
                return Err(ZdbError::Worm);
            }
        }
        self.check_room(size_max, value_bytes, found.as_ref())?;
        let header = RecordHeader {
            kind: Kind::Value,
            key_bytes: u8::try_from(key.len()).expect("keys are at most 255 bytes"),
            value_bytes,
            timestamp,
            value_crc,
            origin: 0,
            before: 0,
            previous: found.as_ref().map(|found| found.log.at(found.head.header.origin)),
        };
        self.append(hash, header, key, value, found.as_ref().map(Old::of))?;
        if is_new_id {
            self.writer.next_id += 1;
            return Ok(SetDone::StoredAs(id));
        }
        Ok(SetDone::Stored)
    }

    /// Deletes a key.
    pub(crate) fn delete(&mut self, key: &[u8], timestamp: u32) -> Result<(), ZdbError> {
        if self.namespace.settings().worm {
            return Err(ZdbError::WormDelete);
        }
        let hash = self.namespace.hasher.hash(key);
        let found = self.find(hash, key)?.ok_or(ZdbError::NoKey)?;
        let header = RecordHeader {
            kind: Kind::Tombstone,
            key_bytes: found.head.header.key_bytes,
            value_bytes: 0,
            timestamp,
            value_crc: 0,
            origin: 0,
            before: 0,
            previous: Some(found.log.at(found.head.header.origin)),
        };
        self.append(hash, header, key, &[], Some(Old::of(&found)))
    }

    fn find(&self, hash: u64, key: &[u8]) -> Result<Option<Found>, Damaged> {
        debug_assert!(!self.writer.hashes.contains(&hash), "flushed before");
        self.namespace.find_hashed(hash, key, Log::head_only)
    }

    fn check_room(
        &self,
        size_max: u64,
        value_bytes: u32,
        found: Option<&Found>,
    ) -> Result<(), ZdbError> {
        let old_bytes = found.map_or(0, |found| found.head.header.value_bytes);
        if size_max > 0 {
            let staged: u64 =
                self.writer.staged.iter().map(Staged::growth).fold(0, u64::wrapping_add);
            let used = self.namespace.state().value_bytes.wrapping_add(staged);
            if used + u64::from(value_bytes) > size_max.saturating_add(u64::from(old_bytes)) {
                return Err(ZdbError::NamespaceFull);
            }
        }
        let budget = &self.namespace.budget;
        let keys = budget.keys() + self.writer.staged.len() as u64;
        if found.is_none() && keys >= budget.keys_max {
            return Err(ZdbError::TooManyKeys { keys_max: budget.keys_max });
        }
        let gathered = self.writer.gathered.len() as u64;
        let free_bytes = budget.free();
        if gathered + u64::from(value_bytes) + 512 > free_bytes {
            return Err(ZdbError::NodeFull { free_bytes });
        }
        Ok(())
    }

    fn append(
        &mut self,
        hash: u64,
        mut header: RecordHeader,
        key: &[u8],
        value: &[u8],
        old: Option<Old>,
    ) -> Result<(), ZdbError> {
        let extent = extent_bytes(header.key_bytes, header.value_bytes);
        let log = self.active(extent)?;
        let unit = self.writer.tail;
        (header.origin, header.before) = (unit, self.writer.last);
        let writer = &mut *self.writer;
        header.put(&log.header.mark, log.at(unit), key, &mut writer.gathered);
        if value.len() < LARGE_VALUE_BYTES {
            writer.gathered.extend_from_slice(value);
            header.put_padding(&mut writer.gathered);
        } else {
            // written at once: what gathered goes before it, and its padding is left to be a hole
            let offset = u64::from(unit) * UNIT_BYTES + header.head_bytes() as u64;
            let start = offset - writer.gathered.len() as u64;
            let written = log
                .file
                .write_all_at(&writer.gathered, start)
                .and_then(|()| log.file.write_all_at(value, offset))
                .and_then(|()| {
                    let padding = [0; 16];
                    let end = offset + u64::from(header.value_bytes);
                    log.file.write_all_at(&padding[..header.padding_bytes()], end)
                });
            if let Err(e) = written {
                let failed = ZdbError::disk("write data")(e);
                self.give_up();
                return Err(failed);
            }
            writer.gathered.clear();
        }
        writer.tail += header.units();
        writer.last = unit;
        writer.hashes.insert(hash);
        writer.staged.push(Staged { hash, unit, header, old });
        if header.value_len() >= LARGE_VALUE_BYTES {
            self.apply();
        }
        Ok(())
    }

    /// The log that a record of this size goes to; a new one where it must be.
    fn active(&mut self, extent: u64) -> Result<Arc<Log>, ZdbError> {
        if let Some(active) = &self.writer.active {
            let end = u64::from(self.writer.tail) * UNIT_BYTES + extent;
            let fits = self.writer.tail == FIRST_UNIT || end <= self.namespace.budget.log_bytes;
            if fits && !active.is_poisoned() {
                return Ok(Arc::clone(active));
            }
            self.flush()?;
        }
        self.begin_log()
    }

    /// Closes the active log, and begins the next one.
    pub(crate) fn begin_log(&mut self) -> Result<Arc<Log>, ZdbError> {
        debug_assert!(self.writer.staged.is_empty() && self.writer.gathered.is_empty());
        let namespace = self.namespace;
        let number = self.writer.next_log;
        let mark = namespace.mark(number, Position::default());
        let next_id = self.writer.next_id;
        let clean_through = Position::default();
        let header = LogHeader { number, mark, next_id, clean_through };
        let path = Log::path(&namespace.dir, namespace.id, number);
        let log = Log::create(&*namespace.disk, path, header)
            .and_then(|log| namespace.disk.sync_dir(&namespace.dir).map(|()| Arc::new(log)))
            .map_err(ZdbError::disk("begin a log"))?;
        let writer = &mut *self.writer;
        writer.next_log += 1;
        (writer.tail, writer.last) = (FIRST_UNIT, 0);
        writer.active = Some(Arc::clone(&log));
        let held = Held {
            log: Arc::clone(&log),
            end: FIRST_UNIT,
            last: 0,
            dead_bytes: 0,
            kept_bytes: 0,
            damaged: false,
        };
        namespace.budget.add_bytes(held.bytes());
        let mut state = namespace.state_mut();
        state.dirty.insert(number);
        state.logs.insert(number, held);
        Ok(log)
    }

    /// Writes what has gathered, and shows it to readers.
    ///
    /// # Errors
    /// Those of the disk: nothing since the last flush counts then.
    pub(crate) fn flush(&mut self) -> Result<(), ZdbError> {
        let writer = &mut *self.writer;
        if writer.staged.is_empty() {
            return Ok(());
        }
        let log = writer.active.as_ref().expect("records were appended to it");
        let end = u64::from(writer.tail) * UNIT_BYTES;
        let start = end - writer.gathered.len() as u64;
        match log.file.write_all_at(&writer.gathered, start) {
            Ok(()) => {
                self.apply();
                Ok(())
            }
            Err(e) => {
                self.give_up();
                Err(ZdbError::disk("write data")(e))
            }
        }
    }

    /// What has gathered is written: brings the index up to date.
    fn apply(&mut self) {
        let writer = &mut *self.writer;
        let active = writer.active.as_ref().expect("records were appended to it");
        let number = active.number();
        let mut state = self.namespace.state_mut();
        let held = state.logs.get_mut(&number).expect("the active log is held");
        let grown = u64::from(writer.tail - held.end) * UNIT_BYTES;
        (held.end, held.last) = (writer.tail, writer.last);
        self.namespace.budget.add_bytes(grown);
        let keys_before = state.index.len();
        for staged in writer.staged.drain(..) {
            staged.apply(number, &mut state);
        }
        state.dirty.insert(number);
        let keys = state.index.len();
        drop(state);
        self.namespace.budget.add_keys(keys.saturating_sub(keys_before));
        self.namespace.budget.sub_keys(keys_before.saturating_sub(keys));
        writer.gathered.clear();
        writer.hashes.clear();
        touch(&mut self.touched, active);
        self.id_before = writer.next_id;
    }

    /// Nothing that has gathered counts.
    fn give_up(&mut self) {
        self.lost = true;
        let writer = &mut *self.writer;
        let active = writer.active.as_ref().expect("records were appended to it");
        let held = self.namespace.state().logs.get(&active.number()).cloned();
        let held = held.expect("the active log is held");
        (writer.tail, writer.last) = (held.end, held.last);
        writer.next_id = self.id_before;
        writer.gathered.clear();
        writer.staged.clear();
        writer.hashes.clear();
        // what is there in part must not be taken for records that come behind those written next
        if let Err(e) = active.file.set_len(held.bytes()) {
            tracing::warn!(log = %active.path.display(), error = %e, "cannot cut what was written in part");
            writer.active = None;
        }
    }
}

impl Drop for WriteRun<'_> {
    fn drop(&mut self) {
        debug_assert!(
            self.writer.staged.is_empty() || std::thread::panicking(),
            "a run is flushed"
        );
    }
}

impl Staged {
    /// By how much the values grow, wrapping below zero.
    fn growth(&self) -> u64 {
        let old = self.old.map_or(0, |old| old.value_bytes);
        u64::from(self.header.value_bytes).wrapping_sub(u64::from(old))
    }

    fn apply(&self, log: u32, state: &mut State) {
        let place = Place { log, unit: self.unit };
        state.value_bytes = state.value_bytes.wrapping_add(self.growth());
        match (self.old, self.header.kind) {
            (None, Kind::Value) => state.index.insert(self.hash, place),
            (Some(old), Kind::Value) => _ = state.index.replace(self.hash, old.place, place),
            (Some(old), Kind::Tombstone) => state.index.remove(self.hash, old.place),
            (None, Kind::Tombstone) | (_, Kind::Void) => {}
        }
        if let Some(old) = self.old
            && let Some(held) = state.logs.get_mut(&old.place.log)
        {
            held.dead_bytes += old.extent_bytes;
        }
        if self.header.kind == Kind::Tombstone
            && let Some(held) = state.logs.get_mut(&log)
        {
            held.dead_bytes += self.header.extent_bytes();
        }
    }
}

fn touch(touched: &mut Vec<Arc<Log>>, log: &Arc<Log>) {
    if !touched.iter().any(|known| Arc::ptr_eq(known, log)) {
        touched.push(Arc::clone(log));
    }
}

/// Whether a key has this value already.
fn is_same(found: &Found, value: &[u8], value_crc: u32) -> bool {
    let header = found.head.header;
    if header.value_crc != value_crc || header.value_len() != value.len() {
        return false;
    }
    let mut stored = vec![0; value.len()];
    // a damaged value is not the same: it is written anew
    found.log.value(&found.head, &mut stored).is_ok() && stored == value
}

//! The write path: puts are appended to the active container in groups, one fdatasync for each.
//!
//! ```text
//! append -> open group -- it or the container is full --> full group --> leader: fdatasync, directory, index
//!           encoded, hashed and written in steps that     at most one    one group at a time
//!           stay in the processor's cache
//! ```
//! The bytes of a group go to the file while it grows, so that a leader has little but the sync to do, and appending
//! overlaps with syncing at half of the work each. What is in the file counts when a sync covers it, not before.
//!
//! Whoever waits for durability first becomes the leader: it takes a group, writes and syncs it without the lock, and
//! wakes the others; what arrives meanwhile is the next group. So a lone writer waits for one sync and for nobody else,
//! many writers share one. The [`Flusher`]'s thread leads where a group is full or [`Options::group_age`] old and nobody
//! waits, so appending and syncing overlap. An append waits while one group is being synced, one is full, and its own
//! would be the third: that bounds the memory.
//!
//! A failed write or sync ends the writer: a sync is never tried again, what was acknowledged stays.

mod flusher;
mod group;

pub(crate) use flusher::Flusher;

use crate::{
    error::{At, Error},
    local::{Active, Directory, Hash, Kind, LocalFiles, file_offset},
    options::{Options, RESERVE_BYTES, SEAL_AGE_BYTES_MIN},
};
use group::Group;
use prunedb_core::{LakeId, TableId, units::CONTAINER_BYTES_MAX};
use prunedb_disk::File;
use prunedb_format::container::{
    FooterBuilder, HEADER_BYTES, TableKind, TableName, encode_record, record_bytes,
};
use prunedb_index::Location;
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Room that a container keeps for tables and trailer.
const FOOTER_ALLOWANCE_BYTES: usize = 64 << 10;

/// A record to be put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put<'a> {
    pub(crate) table: TableId,
    pub(crate) kind: TableKind,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// Where a put ends: durable once the writer has synced up to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    container: u32,
    end: u64,
}

impl Position {
    /// Behind every record.
    pub(crate) const END: Self = Self { container: u32::MAX, end: u64::MAX };

    /// Right before a record.
    pub(crate) fn before(at: Location) -> Self {
        Self { container: at.container, end: at.offset.into() }
    }

    /// Whether a record lies before it.
    pub(crate) fn is_behind(self, at: Location) -> bool {
        Self::before(at) < self
    }

    /// Where the last record of a put is that ends here and takes so many bytes.
    pub(crate) fn last_record(self, record_bytes: usize) -> Option<Location> {
        let offset = u32::try_from(self.end.checked_sub(record_bytes as u64)?).ok()?;
        Some(Location { container: self.container, offset })
    }
}

/// A record that became durable, for the index.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    pub(crate) table: TableId,
    pub(crate) kind: TableKind,
    pub(crate) key: &'a [u8],
    pub(crate) at: Location,
}

/// What the writer tells the rest of the database.
pub(crate) trait Observer: Send + Sync {
    /// Records are durable and may be found from now on.
    fn written(&self, records: &mut dyn Iterator<Item = Written<'_>>);
    /// A container is sealed.
    fn sealed(&self, number: u32);
    /// Name and kind of a table that has records.
    fn table(&self, id: TableId) -> TableName;
}

pub(crate) struct Writer {
    files: Arc<LocalFiles>,
    lake: LakeId,
    observer: Arc<dyn Observer>,
    seal_bytes: u64,
    group_bytes: usize,
    group_age: Duration,
    state: Mutex<State>,
    /// a group became durable, or the writer died
    synced: Condvar,
    /// the flusher has something to do
    work: Condvar,
}

struct State {
    /// the container that puts go to
    number: u32,
    /// whether it exists
    open: bool,
    /// its bytes with those of the groups
    end: u64,
    records: u64,
    /// what the directory of its records takes
    directory_bytes: u64,
    opened_at: Instant,
    /// its file
    file: Option<Arc<dyn File>>,
    /// over its bytes in the file
    hasher: blake3::Hasher,
    /// what an earlier process put there is still to be hashed
    unhashed: Option<Hash>,
    group: Group,
    /// the group before the open one, until a leader takes it
    full: Option<Group>,
    spare: Vec<Group>,
    /// the container that groups are written to: `None` while a leader has it, and where none exists
    active: Option<Active>,
    /// its records
    directory: Option<(u32, Arc<Directory>)>,
    leading: bool,
    durable: Position,
    poison: Option<String>,
    /// whether a thread leads where nobody waits
    flushed: bool,
    /// whether that thread has to be woken for a group that is not full
    asleep: bool,
    stop: bool,
}

impl Writer {
    /// A writer that goes on with `active`, or starts container `next`.
    pub(crate) fn new(
        files: Arc<LocalFiles>,
        lake: LakeId,
        options: &Options,
        observer: Arc<dyn Observer>,
        active: Option<Active>,
        next: u32,
    ) -> Self {
        let number = active.as_ref().map_or(next, |a| a.id.number);
        let durable = active.as_ref().map_or(0, |a| a.durable);
        let directory = active.as_ref().map(|a| Arc::clone(&a.directory));
        let file = active.as_ref().map(|a| Arc::clone(&a.file));
        let (records, directory_bytes) = directory.as_ref().map_or((0, 0), |d| {
            let footer = d.lock();
            (footer.record_count().into(), footer.directory_bytes())
        });
        let state = State {
            number,
            open: active.is_some(),
            end: durable,
            records,
            directory_bytes,
            opened_at: Instant::now(),
            file,
            hasher: blake3::Hasher::new(),
            unhashed: active.as_ref().map(Active::hash),
            group: Group::at(number, durable),
            full: None,
            spare: Vec::new(),
            active,
            directory: directory.map(|directory| (number, directory)),
            leading: false,
            durable: Position { container: number, end: durable },
            poison: None,
            flushed: false,
            asleep: false,
            stop: false,
        };
        Self {
            files,
            lake,
            observer,
            seal_bytes: options.seal_bytes(),
            group_bytes: options.group_bytes,
            group_age: options.group_age,
            state: Mutex::new(state),
            synced: Condvar::new(),
            work: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends one put; all of its records or none are there after a crash. Durable after [`Self::wait`].
    ///
    /// # Errors
    /// [`Error::PutTooLarge`], [`Error::DiskFull`] (nothing was changed), [`Error::Poisoned`].
    pub(crate) fn append<'a>(
        &self,
        puts: impl ExactSizeIterator<Item = Put<'a>> + Clone,
    ) -> Result<Position, Error> {
        let (mut bytes, mut directory_bytes) = (0, 0);
        for put in puts.clone() {
            bytes += record_bytes(put.key.len(), put.value.len());
            directory_bytes += FooterBuilder::entry_bytes(put.key.len());
        }
        let whole = HEADER_BYTES + bytes + directory_bytes + FOOTER_ALLOWANCE_BYTES;
        if whole > CONTAINER_BYTES_MAX {
            return Err(Error::PutTooLarge { bytes, bytes_max: CONTAINER_BYTES_MAX });
        }
        let mut state = self.lock();
        state.hash_earlier()?;
        loop {
            state.check()?;
            // decided by the records alone, so that the same puts make the same containers everywhere
            let end = state.end
                + state.directory_bytes
                + (bytes + directory_bytes + FOOTER_ALLOWANCE_BYTES) as u64;
            let seals = state.open && state.records > 0 && end > self.seal_bytes;
            if !seals && state.end - state.group.start < self.group_bytes as u64 {
                break;
            }
            if state.full.is_none() {
                self.write_early(&mut state, true)?;
                state.close_group(seals);
                self.work.notify_one();
            } else if state.flushed {
                state = self.wait_change(state);
            } else {
                state = self.sync_group(state)?;
            }
        }
        // before the put is encoded: it is not there at all where this fails
        self.write_early(&mut state, false)?;
        if state.group.is_empty() {
            self.check_space(bytes as u64 + state.directory_bytes + directory_bytes as u64)?;
        }
        if !state.open {
            let active = Active::create(&self.files, self.lake, state.number)?;
            state.begin(active.hash().run()?, Arc::clone(&active.file));
            state.group.begins = Some(active);
        }
        if state.group.is_empty() {
            state.group.since = Some(Instant::now());
            if state.asleep {
                self.work.notify_one();
            }
        }
        let state = &mut *state;
        let count = puts.len();
        for (i, put) in puts.enumerate() {
            let offset = u32::try_from(state.end).expect("containers are below 256 MiB");
            let before = state.group.bytes.len();
            let last = i + 1 == count;
            encode_record(&mut state.group.bytes, put.table, put.key, put.value, last);
            state.end += (state.group.bytes.len() - before) as u64;
            state.group.note(&put, offset);
        }
        state.directory_bytes += directory_bytes as u64;
        state.records += count as u64;
        Ok(Position { container: state.number, end: state.end })
    }

    /// Hashes and writes the open group's whole steps, once they are enough, or `all` that it has. A failure ends the writer.
    fn write_early(&self, state: &mut State, all: bool) -> Result<(), Error> {
        let State { group, hasher, file: Some(file), .. } = state else { return Ok(()) };
        let bytes = if all { group.bytes.len() } else { group.whole_steps() };
        if bytes == 0 {
            return Ok(());
        }
        hasher.update(&group.bytes[..bytes]);
        let written = file.write_all_at(&group.bytes[..bytes], file_offset(group.bytes_at));
        group.pass_on(bytes);
        written.at(&self.files.path(group.container, Kind::Active)).inspect_err(|error| {
            state.poison = Some(error.to_string());
            self.synced.notify_all();
            self.work.notify_all();
        })
    }

    /// Waits until everything up to `position` is durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`], and the failure itself for the one that met it.
    pub(crate) fn wait(&self, position: Position) -> Result<(), Error> {
        self.wait_locked(self.lock(), position).map(drop)
    }

    fn wait_locked<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        position: Position,
    ) -> Result<MutexGuard<'a, State>, Error> {
        while state.durable < position {
            state.check()?;
            state = self.sync_group(state)?;
        }
        Ok(state)
    }

    /// The position behind everything appended so far.
    pub(crate) fn position(&self) -> Position {
        let state = self.lock();
        Position { container: state.number, end: state.end }
    }

    /// The position up to which everything is durable, and may be read.
    pub(crate) fn durable(&self) -> Position {
        self.lock().durable
    }

    /// Seals what was put so far; the number of the container that this closed, where it had records.
    pub(crate) fn seal(&self) -> Result<Option<u32>, Error> {
        let mut state = self.lock();
        state.check()?;
        state.hash_earlier()?;
        let number = state.number;
        while state.full.is_some() {
            state.check()?;
            state = self.sync_group(state)?;
        }
        // somebody else may have sealed it meanwhile
        let seals = state.number == number && state.open && state.records > 0;
        if seals {
            state.close_group(true);
        }
        let sealed = Position { container: state.number, end: 0 };
        drop(self.wait_locked(state, sealed)?);
        Ok(seals.then_some(number))
    }

    /// Syncs once more, for a clean stop, so that the watermark covers everything: damage is then never taken for a
    /// torn tail.
    pub(crate) fn rest(&self) -> Result<(), Error> {
        self.wait(self.position())?;
        let mut state = self.lock();
        while state.leading {
            state = self.wait_change(state);
        }
        state.check()?;
        let Some(Err(error)) = state.active.as_mut().map(Active::sync) else { return Ok(()) };
        // clones of the database may live on: nobody syncs this file again
        state.poison = Some(error.to_string());
        self.synced.notify_all();
        Err(error)
    }

    /// Seals the active container where it is old and large enough.
    pub(crate) fn seal_if_old(&self, age: Duration) -> Result<Option<u32>, Error> {
        let due = {
            let state = self.lock();
            state.open && state.end >= SEAL_AGE_BYTES_MIN && state.opened_at.elapsed() >= age
        };
        if due { self.seal() } else { Ok(None) }
    }

    /// The lowest number that is not sealed.
    pub(crate) fn first_unsealed(&self) -> u32 {
        self.lock().durable.container
    }

    /// Number, bytes and records of the containers that are not sealed: the active one, and before it the one that gets its
    /// last records just now (of these, what is durable or about to be).
    pub(crate) fn unsealed(&self) -> Vec<(u32, u64, u64)> {
        let state = self.lock();
        let mut out = Vec::new();
        if let Some((number, directory)) = &state.directory
            && (state.durable.container..state.number).contains(number)
        {
            let records = directory.lock().record_count();
            out.push((*number, state.durable.end, records.into()));
        }
        if state.open {
            out.push((state.number, state.end, state.records));
        }
        out
    }

    /// One past the highest number in use.
    pub(crate) fn next_number(&self) -> u32 {
        self.lock().next_number()
    }

    /// Where a container that is not sealed has durable records of a table; `None` where it is sealed.
    pub(crate) fn active_offsets(&self, number: u32, table: TableId) -> Option<Vec<u32>> {
        let records = self.active_records(number, |of| of == table)?;
        Some(records.into_iter().map(|(_, offset)| offset).collect())
    }

    /// Table and place of durable records of a container that is not sealed, of some tables; `None` where it is sealed.
    pub(crate) fn active_records(
        &self,
        number: u32,
        is_wanted: impl Fn(TableId) -> bool,
    ) -> Option<Vec<(TableId, u32)>> {
        let (directory, durable) = {
            let state = self.lock();
            if number < state.durable.container {
                return None;
            }
            match &state.directory {
                Some((of, directory)) if *of == number && number == state.durable.container => {
                    (Arc::clone(directory), state.durable.end)
                }
                _ => return Some(Vec::new()),
            }
        };
        let footer = directory.lock();
        let durable = footer.entries().take_while(|e| u64::from(e.offset) < durable);
        let wanted = durable.filter(|e| is_wanted(e.table));
        Some(wanted.map(|e| (e.table, e.offset)).collect())
    }

    /// Tables of the active container and how many records each has.
    pub(crate) fn active_tables(&self) -> Vec<(TableId, u64)> {
        let state = self.lock();
        let directory = state.directory.as_ref().filter(|(n, _)| *n == state.durable.container);
        let directory = directory.map(|(_, directory)| Arc::clone(directory));
        drop(state);
        directory.map_or_else(Vec::new, |d| d.lock().table_records().collect())
    }

    fn wait_change<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.synced.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes and syncs the oldest group, or waits for the leader that does one.
    fn sync_group<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, Error> {
        if state.leading {
            return Ok(self.wait_change(state));
        }
        let Some(mut group) = state.take_group() else { return Ok(state) };
        if let Some(active) = group.begins.take() {
            state.directory = Some((active.id.number, Arc::clone(&active.directory)));
            state.active = Some(active);
        }
        let mut active = state.active.take().expect("the group's container was begun");
        state.leading = true;
        drop(state);
        let done = self.write_out(&mut group, &mut active);
        let mut state = self.lock();
        state.leading = false;
        let result = match done {
            Ok(durable) => {
                state.durable = durable;
                state.recycle(group, self.group_bytes);
                Ok(())
            }
            Err(e) => {
                state.poison = Some(e.to_string());
                Err(e)
            }
        };
        if state.durable.container <= active.id.number {
            state.active = Some(active);
        }
        self.synced.notify_all();
        result.map(|()| state)
    }

    /// Makes a group durable, with the footer where it is the container's last one; what is durable then.
    fn write_out(&self, group: &mut Group, active: &mut Active) -> Result<Position, Error> {
        let container = active.id.number;
        {
            let mut footer = active.directory.lock();
            for (record, key) in group.keys() {
                footer.add(record.table, record.offset.into(), key);
            }
        }
        active.write_at(group.bytes_at, &group.bytes)?;
        let seals = group.seals.take();
        let sealed = seals.is_some();
        if let Some(hasher) = seals {
            active.write_footer(hasher, |id| self.observer.table(id))?;
        }
        active.sync()?;
        self.observer.written(&mut group.keys().map(|(record, key)| Written {
            table: record.table,
            kind: record.kind,
            key,
            at: Location { container, offset: record.offset },
        }));
        if !sealed {
            return Ok(Position { container, end: active.durable });
        }
        self.files.seal(container)?;
        self.observer.sealed(container);
        Ok(Position { container: container + 1, end: 0 })
    }

    /// Refuses a put, with the directory that sealing writes, that would leave the disk without its reserve.
    fn check_space(&self, bytes: u64) -> Result<(), Error> {
        let dir = self.files.dir();
        let free_bytes = self.files.disk().free_bytes(dir).at(dir)?;
        let needed_bytes = RESERVE_BYTES + bytes + self.group_bytes as u64;
        if free_bytes < needed_bytes {
            return Err(Error::DiskFull { path: dir.into(), needed_bytes, free_bytes });
        }
        Ok(())
    }
}

impl State {
    fn check(&self) -> Result<(), Error> {
        match &self.poison {
            None => Ok(()),
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
        }
    }

    const fn next_number(&self) -> u32 {
        if self.open { self.number + 1 } else { self.number }
    }

    /// Hashes what an earlier process put into the open container: when it is to be gone on with, not when it is opened.
    fn hash_earlier(&mut self) -> Result<(), Error> {
        if let Some(earlier) = &self.unhashed {
            self.hasher = earlier.run()?;
            self.unhashed = None;
        }
        Ok(())
    }

    /// The container that puts go to exists from now on.
    fn begin(&mut self, hasher: blake3::Hasher, file: Arc<dyn File>) {
        self.open = true;
        self.end = HEADER_BYTES as u64;
        (self.group.start, self.group.bytes_at) = (self.end, self.end);
        (self.hasher, self.file) = (hasher, Some(file));
        self.opened_at = Instant::now();
    }

    /// Closes the open group, and with `seals` its container; there must be no full one.
    fn close_group(&mut self, seals: bool) {
        self.hasher.update(&self.group.bytes);
        if seals {
            self.group.seals = Some(std::mem::take(&mut self.hasher));
            self.number += 1;
            (self.open, self.file) = (false, None);
            (self.end, self.records, self.directory_bytes) = (0, 0, 0);
        }
        let mut next = self.spare.pop().unwrap_or_default();
        (next.container, next.start, next.bytes_at) = (self.number, self.end, self.end);
        if self.group.bytes.is_empty() {
            // memory that is in the processor's cache
            std::mem::swap(&mut next.bytes, &mut self.group.bytes);
        }
        let full = std::mem::replace(&mut self.group, next);
        assert!(self.full.replace(full).is_none(), "groups stay in order");
    }

    /// The group to be written next, if any.
    fn take_group(&mut self) -> Option<Group> {
        if self.full.is_none() && !self.group.is_empty() {
            self.close_group(false);
        }
        self.full.take()
    }

    /// Keeps a group's memory for another one, unless an exceptional put made it large.
    fn recycle(&mut self, mut group: Group, group_bytes: usize) {
        if self.spare.len() < 2 && group.memory_bytes() <= 4 * group_bytes {
            group.clear();
            self.spare.push(group);
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("position", &self.position()).finish_non_exhaustive()
    }
}

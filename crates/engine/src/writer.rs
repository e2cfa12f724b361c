//! The write path: puts are appended to the active container in groups, one fdatasync for each.
//!
//! A put goes into the open group's buffer. Whoever waits for durability first becomes the leader: it takes the
//! buffer, writes and syncs it without the lock, and wakes the others; what arrives meanwhile is the next group. So a
//! lone writer waits for one sync, many writers share one. A failed write or sync ends the writer: a sync is never
//! tried again, what was acknowledged stays.

use crate::{
    error::{At, Error},
    local::{Active, LocalFiles},
    options::{Options, RESERVE_BYTES, SEAL_AGE_BYTES_MIN},
};
use prunedb_core::{
    LakeId, TableId,
    units::{CONTAINER_BYTES_MAX, RECORD_ALIGN},
};
use prunedb_format::container::{
    FooterBuilder, HEADER_BYTES, TableKind, TableName, encode_record, record_bytes,
};
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
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

/// A record that became durable, for the index.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    pub(crate) table: TableId,
    pub(crate) kind: TableKind,
    pub(crate) key: &'a [u8],
    pub(crate) container: u32,
    pub(crate) offset: u32,
}

/// What the writer tells the rest of the database.
pub(crate) trait Observer: Send + Sync {
    /// A record is durable and may be found from now on.
    fn written(&self, record: Written<'_>);
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
    state: Mutex<State>,
    synced: Condvar,
}

struct State {
    /// `None` while a leader has it, and before the first put
    active: Option<Active>,
    /// the container that the group belongs to
    number: u32,
    /// whether that container exists
    open: bool,
    group: Group,
    /// container bytes with the group's
    end: u64,
    durable: u64,
    records: u64,
    /// what the directory of the records so far takes
    directory_bytes: u64,
    opened_at: Duration,
    leading: bool,
    poison: Option<String>,
}

#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    /// of each record: table, kind, offset in the container, length of the key
    records: Vec<(TableId, TableKind, u32, u16)>,
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
        let durable = active.as_ref().map_or(0, |a| a.durable);
        let records = active.as_ref().map_or(0, |a| a.footer.record_count().into());
        let directory_bytes = active.as_ref().map_or(0, |a| a.footer.directory_bytes());
        let state = State {
            number: active.as_ref().map_or(next, |a| a.id.number),
            open: active.is_some(),
            active,
            group: Group::default(),
            end: durable,
            durable,
            records,
            directory_bytes,
            opened_at: Duration::ZERO,
            leading: false,
            poison: None,
        };
        Self {
            files,
            lake,
            observer,
            seal_bytes: options.seal_bytes(),
            group_bytes: options.group_bytes,
            state: Mutex::new(state),
            synced: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends one put; all of its records or none are there after a crash. Durable after [`Self::wait`].
    ///
    /// # Errors
    /// [`Error::PutTooLarge`], [`Error::DiskFull`] (nothing was changed), [`Error::Poisoned`].
    pub(crate) fn append(&self, puts: &[Put<'_>], now: Duration) -> Result<Position, Error> {
        let bytes: usize = puts.iter().map(|p| record_bytes(p.key.len(), p.value.len())).sum();
        let directory_bytes: usize =
            puts.iter().map(|p| FooterBuilder::entry_bytes(p.key.len())).sum();
        let whole = HEADER_BYTES + bytes + directory_bytes + FOOTER_ALLOWANCE_BYTES;
        if whole > CONTAINER_BYTES_MAX {
            return Err(Error::PutTooLarge { bytes, bytes_max: CONTAINER_BYTES_MAX });
        }
        let mut state = self.lock();
        loop {
            state.check()?;
            if state.group.bytes.len() >= self.group_bytes {
                state = self.sync_group(state)?;
                continue;
            }
            // decided by the records alone, so that the same puts make the same containers everywhere
            let end = state.end
                + state.directory_bytes
                + (bytes + directory_bytes + FOOTER_ALLOWANCE_BYTES) as u64;
            if state.open && state.records > 0 && end > self.seal_bytes {
                state = self.seal_locked(state)?;
                continue;
            }
            if state.group.bytes.is_empty() {
                self.check_space(bytes as u64 + state.directory_bytes + directory_bytes as u64)?;
            }
            break;
        }
        if !state.open {
            let active = Active::create(&self.files, self.lake, state.number)?;
            state.active = Some(active);
            state.open = true;
            state.end = HEADER_BYTES as u64;
            state.durable = HEADER_BYTES as u64;
            state.opened_at = now;
        }
        let state = &mut *state;
        for (i, put) in puts.iter().enumerate() {
            let offset = u32::try_from(state.end).expect("containers are below 256 MiB");
            let before = state.group.bytes.len();
            encode_record(
                &mut state.group.bytes,
                put.table,
                put.key,
                put.value,
                i + 1 == puts.len(),
            );
            state.end += (state.group.bytes.len() - before) as u64;
            let key_bytes = u16::try_from(put.key.len()).expect("keys are at most 1 KiB");
            state.group.records.push((put.table, put.kind, offset, key_bytes));
        }
        state.directory_bytes += directory_bytes as u64;
        state.records += puts.len() as u64;
        Ok(Position { container: state.number, end: state.end })
    }

    /// Waits until everything up to `position` is durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`], and the failure itself for the one that met it.
    pub(crate) fn wait(&self, position: Position) -> Result<(), Error> {
        let mut state = self.lock();
        while state.number == position.container && state.durable < position.end {
            state.check()?;
            state = self.sync_group(state)?;
        }
        Ok(())
    }

    /// The position behind everything appended so far.
    pub(crate) fn position(&self) -> Position {
        let state = self.lock();
        Position { container: state.number, end: state.end }
    }

    /// Seals the active container where it has records; its number.
    pub(crate) fn seal(&self) -> Result<Option<u32>, Error> {
        let mut state = self.lock();
        while state.active.is_none() && state.open {
            state.check()?;
            state = self.wait_change(state);
        }
        state.check()?;
        if !state.open || state.records == 0 {
            return Ok(None);
        }
        let number = state.number;
        drop(self.seal_locked(state)?);
        Ok(Some(number))
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
    pub(crate) fn seal_if_old(&self, now: Duration, age: Duration) -> Result<Option<u32>, Error> {
        let due = {
            let state = self.lock();
            state.open
                && state.end >= SEAL_AGE_BYTES_MIN
                && now.saturating_sub(state.opened_at) >= age
        };
        if due { self.seal() } else { Ok(None) }
    }

    /// Number, bytes and records of the active container.
    pub(crate) fn active(&self) -> Option<(u32, u64, u64)> {
        let state = self.lock();
        state.open.then_some((state.number, state.end, state.records))
    }

    /// The lowest number that is not sealed: the active container's, or the one that the next put starts.
    pub(crate) fn first_unsealed(&self) -> u32 {
        self.lock().number
    }

    /// One past the highest number in use.
    pub(crate) fn next_number(&self) -> u32 {
        let state = self.lock();
        if state.open { state.number + 1 } else { state.number }
    }

    /// Where the active container has durable records of a table; `None` where `number` is not the active one.
    pub(crate) fn active_offsets(&self, number: u32, table: TableId) -> Option<Vec<u32>> {
        let state = self.quiet(number)?;
        let active = state.active.as_ref()?;
        Some(active.footer.entries().filter(|e| e.table == table).map(|e| e.offset).collect())
    }

    /// Tables of the active container and how many durable records each has.
    pub(crate) fn active_tables(&self) -> Vec<(TableId, u64)> {
        let Some((number, ..)) = self.active() else { return Vec::new() };
        let Some(state) = self.quiet(number) else { return Vec::new() };
        state.active.as_ref().map_or_else(Vec::new, |a| a.footer.table_records().collect())
    }

    /// The state while no leader has the active container `number`.
    fn quiet(&self, number: u32) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        while state.leading {
            state = self.wait_change(state);
        }
        (state.open && state.number == number).then_some(state)
    }

    fn wait_change<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.synced.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes and syncs the group, or waits for the leader that does.
    fn sync_group<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, Error> {
        let Some(mut active) = (if state.leading { None } else { state.active.take() }) else {
            return Ok(self.wait_change(state));
        };
        if state.group.bytes.is_empty() {
            state.active = Some(active);
            return Ok(state);
        }
        state.leading = true;
        let group = std::mem::take(&mut state.group);
        let start = state.end - group.bytes.len() as u64;
        drop(state);
        let done = active.write(&group.bytes).and_then(|()| active.sync());
        if done.is_ok() {
            self.publish(&group, active.id.number, start, &mut active);
        }
        let mut state = self.lock();
        state.leading = false;
        let result = match done {
            Ok(()) => {
                state.durable = active.durable;
                Ok(())
            }
            Err(e) => {
                state.poison = Some(e.to_string());
                Err(e)
            }
        };
        state.active = Some(active);
        self.synced.notify_all();
        result.map(|()| state)
    }

    /// Tells footer and index of a durable group.
    fn publish(&self, group: &Group, container: u32, start: u64, active: &mut Active) {
        for &(table, kind, offset, key_bytes) in &group.records {
            let at = usize::try_from(u64::from(offset) - start).expect("within the group");
            let key_at = at + RECORD_ALIGN;
            let key = &group.bytes[key_at..key_at + usize::from(key_bytes)];
            active.footer.add(table, offset.into(), key);
            self.observer.written(Written { table, kind, key, container, offset });
        }
    }

    /// Writes what is left of the group and the footer; the container is closed.
    fn seal_locked<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, Error> {
        let number = state.number;
        while !state.group.bytes.is_empty() || state.leading {
            state.check()?;
            state = self.sync_group(state)?;
            if state.number != number {
                return Ok(state); // somebody else sealed it; the next one is not full
            }
        }
        let Some(active) = state.active.take() else { return Ok(state) };
        let observer = Arc::clone(&self.observer);
        match active.seal(&self.files, |id| observer.table(id)) {
            Ok(number) => {
                state.number = number + 1;
                state.open = false;
                state.records = 0;
                state.directory_bytes = 0;
                state.end = 0;
                state.durable = 0;
                self.synced.notify_all();
                self.observer.sealed(number);
                Ok(state)
            }
            Err(e) => {
                state.poison = Some(e.to_string());
                self.synced.notify_all();
                Err(e)
            }
        }
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
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("position", &self.position()).finish_non_exhaustive()
    }
}

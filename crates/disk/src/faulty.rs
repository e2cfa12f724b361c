//! A disk in memory that fails like a real one, for tests.
//!
//! ```text
//! write ─> live bytes (what reads see) + pending changes ──sync──> durable bytes (what a crash leaves)
//! name  ─> live names                  + pending changes ──sync_dir──> durable names
//! ```
//! - [`FaultyDisk::crashed`] is what a loss of power leaves: each pending write by itself is kept, lost, cut at a byte, or
//!   kept in some sectors; pending changes of names are kept in any order, but in their own for one name. A rename is
//!   one change: it happened or not.
//! - [`FaultyDisk::killed`] is what the end of the process alone leaves: everything, synced or not.
//! - A sync that fails drops what was pending, as Linux does: some of it reached the medium, later syncs succeed without
//!   it, and reads may show it until the page is dropped from memory ([`File::drop_cached`]), or not even that long.
//! - Full, read-only, dead, refusing reads or writes now and then: [`Faults`]; bits that rot: [`FaultyDisk::flip`].
//!
//! Everything is decided by the seed and the order of the calls, so a run on one thread can be repeated;
//! [`FaultyDisk::trace`] tells the last operations. Cost: a copy of each byte that is written, twice with the sync.

mod chance;
mod content;
mod names;
mod trace;

pub use chance::Chance;

use crate::{Disk, File, Lock, Open};
use content::{Change, Content};
use names::{NameChange, Names};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use trace::{Step, Trace};

/// What a disk holds before it is told otherwise.
const CAPACITY_BYTES: u64 = 1 << 40;

/// A disk in memory. Clones are the same disk; see the module's text.
#[derive(Debug, Clone)]
pub struct FaultyDisk(Arc<Mutex<State>>);

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// nothing
    Lost,
    /// everything
    Kept,
    /// any of it, torn, as this seed says
    Torn(u64),
}

/// What fails from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// one in so many reads fails; 0: none
    pub reads_one_in: u64,
    /// one in so many writes fails, part of it done; 0: none
    pub writes_one_in: u64,
    /// one in so many syncs of files fails; 0: none
    pub syncs_one_in: u64,
    /// one in so many creations, renames, removals and syncs of folders fails; 0: none
    pub names_one_in: u64,
    /// syncs of files that fail before the next one succeeds
    pub syncs: u64,
    /// writes that are done before the disk is full
    pub writes_left: u64,
    /// whether every change is refused
    pub read_only: bool,
}

impl Default for Faults {
    /// None.
    fn default() -> Self {
        Self {
            reads_one_in: 0,
            writes_one_in: 0,
            syncs_one_in: 0,
            names_one_in: 0,
            syncs: 0,
            writes_left: u64::MAX,
            read_only: false,
        }
    }
}

#[derive(Debug, Clone)]
struct State {
    files: BTreeMap<u64, Content>,
    next_file: u64,
    live: Names,
    synced: Names,
    since: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    capacity_bytes: u64,
    faults: Faults,
    chance: Chance,
    /// that change something, so far
    operations: u64,
    dies_at: u64,
    fails_at: Option<u64>,
    bytes_read: u64,
    trace: Trace,
}

/// What becomes of an operation.
enum Fate {
    Done,
    /// the disk dies while it is under way: the crash decides
    UnderWay,
    Fails(io::Error),
}

#[derive(Debug)]
struct Handle {
    disk: FaultyDisk,
    file: u64,
    path: PathBuf,
    writable: bool,
}

#[derive(Debug)]
struct Held {
    disk: FaultyDisk,
    path: PathBuf,
}

impl Default for FaultyDisk {
    fn default() -> Self {
        Self::new(0)
    }
}

impl FaultyDisk {
    /// An empty disk without faults. The seed decides what chance decides.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: BTreeMap::new(),
            next_file: 0,
            live: Names::default(),
            synced: Names::default(),
            since: Vec::new(),
            locks: BTreeSet::new(),
            capacity_bytes: CAPACITY_BYTES,
            faults: Faults::default(),
            chance: Chance::new(seed),
            operations: 0,
            dies_at: u64::MAX,
            fails_at: None,
            bytes_read: 0,
            trace: Trace::default(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what fails from now on.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
    }

    /// From now on the changing operation after `count` more, and all behind it, fail. That one is under way: a crash
    /// may have done it.
    pub fn die_after(&self, count: u64) {
        let mut state = self.state();
        state.dies_at = state.operations.saturating_add(count);
    }

    /// Whether it died.
    pub fn is_dead(&self) -> bool {
        let state = self.state();
        state.operations > state.dies_at
    }

    /// The changing operation after `count` more fails; those behind it do not.
    pub fn fail_once_after(&self, count: u64) {
        let mut state = self.state();
        state.fails_at = Some(state.operations + count);
    }

    /// From now on so many more bytes fit.
    pub fn set_free_bytes(&self, bytes: u64) {
        let mut state = self.state();
        state.capacity_bytes = state.used_bytes() + bytes;
    }

    /// Operations that change something, so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Bytes that were asked for by reads, so far.
    pub fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    /// What a loss of power leaves: another disk without faults; this one stays as it is.
    #[must_use]
    pub fn crashed(&self, unsynced: Unsynced) -> Self {
        let state = self.state();
        let mut chance = match unsynced {
            Unsynced::Torn(seed) => Chance::new(seed),
            _ => state.chance.clone(),
        };
        let names = names::crashed(&state.synced, &state.since, unsynced, &mut chance);
        let files = names
            .files()
            .map(|file| (file, state.files[&file].crashed(unsynced, &mut chance)))
            .collect();
        Self(Arc::new(Mutex::new(State {
            files,
            live: names.clone(),
            synced: names,
            since: Vec::new(),
            chance,
            ..state.healthy()
        })))
    }

    /// What the end of the process alone leaves: another disk without faults; this one stays as it is.
    #[must_use]
    pub fn killed(&self) -> Self {
        let state = self.state();
        Self(Arc::new(Mutex::new(state.healthy())))
    }

    /// The last operations, one a line.
    pub fn trace(&self) -> String {
        self.state().trace.to_string()
    }

    /// A number that two runs share where they did the same operations.
    pub fn trace_digest(&self) -> u64 {
        self.state().trace.digest()
    }

    /// Whether a file is there.
    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.state().live.file(path.as_ref()).is_some()
    }

    /// Paths of all files, rising.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().live.paths()
    }

    /// A file's bytes.
    ///
    /// # Panics
    /// Where there is none.
    pub fn file(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let state = self.state();
        let file = state.live.file(path.as_ref()).expect("no such file");
        state.files[&file].live().to_vec()
    }

    /// Puts a file there, durably, with the folders above it.
    pub fn put_file(&self, path: impl AsRef<Path>, bytes: Vec<u8>) {
        let mut state = self.state();
        let path = path.as_ref();
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, Content::durable(bytes));
        let mut changes: Vec<NameChange> = path
            .ancestors()
            .skip(1)
            .filter(|folder| !state.live.has_folder(folder))
            .map(|folder| NameChange::Folder(folder.into()))
            .collect();
        changes.reverse();
        changes.push(NameChange::Add(path.into(), file));
        for change in &changes {
            state.live.apply(change);
            state.synced.apply(change);
        }
    }

    /// Flips bits of a byte at rest, in memory and on the medium.
    ///
    /// # Panics
    /// Where there is no such file or byte.
    pub fn flip(&self, path: impl AsRef<Path>, at: usize, bits: u8) {
        let mut state = self.state();
        let file = state.live.file(path.as_ref()).expect("no such file");
        state.files.get_mut(&file).expect("named files are there").flip(at, bits);
    }
}

impl State {
    /// The same without faults, locks and counts.
    fn healthy(&self) -> Self {
        Self {
            locks: BTreeSet::new(),
            capacity_bytes: CAPACITY_BYTES,
            faults: Faults::default(),
            operations: 0,
            dies_at: u64::MAX,
            fails_at: None,
            bytes_read: 0,
            ..self.clone()
        }
    }

    fn used_bytes(&self) -> u64 {
        self.live.files().map(|file| self.files[&file].allocated_bytes()).sum()
    }

    fn free_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes())
    }

    fn alive(&self) -> io::Result<()> {
        if self.operations > self.dies_at {
            return Err(io::Error::other("the disk is dead"));
        }
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        self.live.file(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Counts and notes an operation that changes something, and says what becomes of it.
    ///
    /// # Errors
    /// Where the disk is dead already.
    fn begin(&mut self, step: Step) -> io::Result<Fate> {
        self.alive()?;
        self.operations += 1;
        let fate = self.fate(step.kind());
        self.trace.note(step, !matches!(fate, Fate::Done));
        Ok(fate)
    }

    fn fate(&mut self, kind: trace::Kind) -> Fate {
        if self.operations > self.dies_at {
            return Fate::UnderWay;
        }
        if self.faults.read_only {
            return Fate::Fails(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if self.fails_at.is_some_and(|at| at < self.operations) {
            self.fails_at = None;
            return Fate::Fails(io::Error::other("the disk failed once"));
        }
        let one_in = match kind {
            trace::Kind::Write => self.faults.writes_one_in,
            trace::Kind::Sync => self.faults.syncs_one_in,
            trace::Kind::Name => self.faults.names_one_in,
        };
        if self.chance.one_in(one_in) {
            return Fate::Fails(io::Error::other("the disk failed by chance"));
        }
        if kind == trace::Kind::Sync && self.faults.syncs > 0 {
            self.faults.syncs -= 1;
            return Fate::Fails(io::Error::other("the disk forgot"));
        }
        Fate::Done
    }

    /// Does a change of names as its fate wants.
    fn rename_or(&mut self, step: Step, changes: Vec<NameChange>) -> io::Result<()> {
        let fate = self.begin(step)?;
        if !matches!(fate, Fate::Fails(_)) {
            changes.iter().for_each(|change| self.live.apply(change));
            self.since.extend(changes);
        }
        fate.result()
    }

    /// Does a change of a file as its fate wants.
    fn change(&mut self, file: u64, path: &Path, change: Change) -> io::Result<()> {
        let mut fate = self.begin(Step::Change(path.into(), change.shape()))?;
        let mut part = change;
        if matches!(fate, Fate::Done) && part.is_write() {
            let fits = match self.faults.writes_left {
                0 => part.bytes() / 2,
                _ => self.files[&file].fitting(&part, self.free_bytes()),
            };
            self.faults.writes_left = self.faults.writes_left.saturating_sub(1);
            if fits < part.bytes() {
                // a full disk takes what fits
                part = part.cut(fits);
                fate = Fate::Fails(io::ErrorKind::StorageFull.into());
            }
        } else if matches!(fate, Fate::Fails(_)) && part.is_write() && !self.faults.read_only {
            let done = self.chance.below(part.bytes() + 1);
            part = part.cut(done);
        } else if matches!(fate, Fate::Fails(_)) {
            return fate.result();
        }
        self.files.get_mut(&file).expect("open files are there").change(part);
        fate.result()
    }
}

impl Fate {
    fn result(self) -> io::Result<()> {
        match self {
            Self::Done => Ok(()),
            Self::UnderWay => Err(io::Error::other("the disk died")),
            Self::Fails(error) => Err(error),
        }
    }
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.alive()?;
        let file = if how == Open::CreateNew {
            if state.live.file(path).is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if !path.parent().is_some_and(|folder| state.live.has_folder(folder)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let file = state.next_file;
            state.next_file += 1;
            state.files.insert(file, Content::default());
            state.rename_or(Step::Create(path.into()), vec![NameChange::Add(path.into(), file)])?;
            file
        } else {
            let file = state.find(path)?;
            if how == Open::ReadWrite && state.faults.read_only {
                return Err(io::ErrorKind::ReadOnlyFilesystem.into());
            }
            file
        };
        let (disk, path) = (self.clone(), path.into());
        Ok(Arc::new(Handle { disk, file, path, writable: how != Open::Read }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.find(from)?;
        let change = NameChange::Rename(from.into(), to.into());
        state.rename_or(Step::Rename(from.into(), to.into()), vec![change])
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.find(path)?;
        state.rename_or(Step::Remove(path.into()), vec![NameChange::Remove(path.into())])
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let missing: Vec<&Path> =
            path.ancestors().filter(|folder| !state.live.has_folder(folder)).collect();
        for folder in missing.into_iter().rev() {
            state
                .rename_or(Step::Folder(folder.into()), vec![NameChange::Folder(folder.into())])?;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        if !state.live.has_folder(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(state.live.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Step::SyncFolder(dir.into()))?.result()?;
        let (synced, since) =
            std::mem::take(&mut state.since).into_iter().partition(|change| change.is_in(dir));
        state.since = since;
        Vec::into_iter(synced).for_each(|change| state.synced.apply(&change));
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        state.alive()?;
        Ok(state.live.file(path).is_some() || state.live.has_folder(path))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state();
        state.alive()?;
        Ok(state.free_bytes())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut state = self.state();
        state.alive()?;
        if state.faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if !state.locks.insert(path.into()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held { disk: self.clone(), path: path.into() })))
    }
}

impl Handle {
    fn change(&self, change: Change) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.state().change(self.file, &self.path, change)
    }
}

impl File for Handle {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.alive()?;
        state.bytes_read += buf.len() as u64;
        let one_in = state.faults.reads_one_in;
        if state.chance.one_in(one_in) {
            state.trace.note(Step::Read(self.path.clone(), offset, buf.len() as u64), true);
            return Err(io::Error::other("the disk does not answer"));
        }
        Ok(state.files[&self.file].read(buf, offset))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write(offset, bytes.to_vec()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.begin(Step::Sync(self.path.clone()))?;
        let State { files, chance, faults, .. } = &mut *state;
        let file = files.get_mut(&self.file).expect("open files are there");
        match fate {
            Fate::Done => file.sync(),
            Fate::Fails(_) if !faults.read_only => file.fail_sync(chance),
            _ => {}
        }
        fate.result()
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.alive()?;
        Ok(state.files[&self.file].live().len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.change(Change::Length(bytes))
    }

    fn punch_hole(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.change(Change::Hole(offset, bytes))
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.alive()?;
        Ok(state.files[&self.file].allocated_bytes())
    }

    fn drop_cached(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.alive()?;
        state.files.get_mut(&self.file).expect("open files are there").drop_cached();
        Ok(())
    }
}

#[cfg(test)]
mod tests;

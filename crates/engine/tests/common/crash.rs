//! A disk in memory that dies at a given operation and forgets what was not synced.
//!
//! Contents: each file has the bytes that a sync covers and the writes since; each folder the entries that a sync
//! covers and the changes since. [`CrashDisk::crash`] keeps what was synced, and of the rest nothing, everything, or
//! (as a real disk would) any of the writes and the first few of the folder changes.

use prunedb_disk::{Disk, File, Lock, Open};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

#[derive(Debug, Clone)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
    Hole(u64, u64),
}

#[derive(Debug, Default)]
struct Content {
    live: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<Write>,
}

type Inode = Arc<Mutex<Content>>;

#[derive(Debug, Clone)]
enum Change {
    Add(PathBuf, Inode),
    Folder(PathBuf),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Default, Clone)]
struct Names {
    files: BTreeMap<PathBuf, Inode>,
    folders: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct State {
    live: Names,
    synced: Names,
    since: Vec<Change>,
    locked: bool,
    operations: u64,
    dies_at: u64,
    fails_at: Option<u64>,
    bytes_read: u64,
}

/// See the module's text. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct CrashDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct Handle {
    disk: CrashDisk,
    inode: Inode,
}

#[derive(Debug)]
struct Held(CrashDisk);

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    Lost,
    Kept,
    Some(u64),
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>) {
        let size = |n: u64| usize::try_from(n).unwrap();
        match self {
            Self::Bytes(offset, bytes) => {
                let (start, end) = (size(*offset), size(*offset) + bytes.len());
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[start..end].copy_from_slice(bytes);
            }
            Self::Length(bytes) => to.resize(size(*bytes), 0),
            Self::Hole(offset, bytes) => {
                let end = size(offset + bytes).min(to.len());
                to[size(*offset).min(end)..end].fill(0);
            }
        }
    }
}

impl Names {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Add(path, inode) => _ = self.files.insert(path.clone(), Arc::clone(inode)),
            Change::Folder(path) => _ = self.folders.insert(path.clone()),
            Change::Remove(path) => _ = self.files.remove(path),
            Change::Rename(from, to) => {
                if let Some(inode) = self.files.remove(from) {
                    self.files.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl Change {
    fn folder(&self) -> &Path {
        let (Self::Add(path, _) | Self::Folder(path) | Self::Remove(path) | Self::Rename(path, _)) =
            self;
        path.parent().unwrap()
    }
}

/// Bits that look random.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

impl CrashDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// From now on the operation after `count` more, and all behind it, fail.
    pub(crate) fn die_after(&self, count: u64) {
        let mut state = self.lock();
        state.dies_at = state.operations.saturating_add(count);
    }

    /// The operation after `count` more fails, as where the disk is full; those behind it do not.
    pub(crate) fn fail_once_after(&self, count: u64) {
        let mut state = self.lock();
        state.fails_at = Some(state.operations + count);
    }

    /// Operations that change something, so far.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.lock().bytes_read
    }

    /// What is there when the machine comes up again: another disk, the old one stays dead.
    pub(crate) fn crash(&self, unsynced: Unsynced) -> Self {
        self.die_after(0);
        let state = self.lock();
        let mut random = match unsynced {
            Unsynced::Some(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            _ => 1,
        };
        let changes = match unsynced {
            Unsynced::Lost => 0,
            Unsynced::Kept => state.since.len(),
            Unsynced::Some(_) => {
                usize::try_from(next(&mut random) % (state.since.len() as u64 + 1)).unwrap()
            }
        };
        let mut names = state.synced.clone();
        state.since.iter().take(changes).for_each(|c| names.apply(c));
        // what lies in a folder that is gone is gone
        let folders = names.folders.clone();
        let reachable =
            |p: &Path| p.ancestors().skip(1).all(|a| a == Path::new("/") || folders.contains(a));
        names.files.retain(|path, _| reachable(path));
        names.folders.retain(|path| reachable(path));
        for inode in names.files.values_mut() {
            let (mut bytes, since) = {
                let content = inode.lock().unwrap();
                (content.synced.clone(), content.since.clone())
            };
            for write in &since {
                let kept = match unsynced {
                    Unsynced::Lost => false,
                    Unsynced::Kept => true,
                    Unsynced::Some(_) => next(&mut random).is_multiple_of(2),
                };
                if kept {
                    write.apply(&mut bytes);
                }
            }
            let content = Content { live: bytes.clone(), synced: bytes, since: Vec::new() };
            *inode = Arc::new(Mutex::new(content));
        }
        let state =
            State { live: names.clone(), synced: names, dies_at: u64::MAX, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.operations >= state.dies_at {
            return Err(io::Error::other("the disk is dead"));
        }
        Ok(state)
    }

    /// Counts an operation that changes something.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.alive()?;
        state.operations += 1;
        if state.fails_at.is_some_and(|at| at < state.operations) {
            state.fails_at = None;
            return Err(io::Error::other("the disk failed once"));
        }
        Ok(state)
    }
}

impl State {
    fn note(&mut self, change: Change) {
        self.live.apply(&change);
        self.since.push(change);
    }

    fn find(&self, path: &Path) -> io::Result<Inode> {
        self.live.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().locked = false;
    }
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let inode = if how == Open::CreateNew {
            let mut state = self.change()?;
            if state.live.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let inode = Inode::default();
            state.note(Change::Add(path.into(), Arc::clone(&inode)));
            inode
        } else {
            self.alive()?.find(path)?
        };
        Ok(Arc::new(Handle { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        state.find(from)?;
        state.note(Change::Rename(from.into(), to.into()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        state.find(path)?;
        state.note(Change::Remove(path.into()));
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<_> = {
            let state = self.alive()?;
            let there = |p: &Path| p == Path::new("/") || state.live.folders.contains(p);
            path.ancestors().filter(|p| !there(p)).map(Path::to_path_buf).collect()
        };
        for path in missing.into_iter().rev() {
            self.change()?.note(Change::Folder(path));
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.alive()?;
        let paths = state.live.files.keys().chain(&state.live.folders);
        let names = paths.filter(|p| p.parent() == Some(dir)).filter_map(|p| p.file_name());
        let mut names: Vec<String> = names.map(|n| n.to_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let (synced, since) =
            std::mem::take(&mut state.since).into_iter().partition(|c: &Change| c.folder() == dir);
        state.since = since;
        Vec::into_iter(synced).for_each(|c| state.synced.apply(&c));
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.alive()?;
        Ok(state.live.files.contains_key(path) || state.live.folders.contains(path))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        self.alive().map(|_| 1 << 40)
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut state = self.alive()?;
        if std::mem::replace(&mut state.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held(self.clone()))))
    }
}

impl Handle {
    fn write(&self, write: Write) -> io::Result<()> {
        drop(self.disk.change()?);
        let mut content = self.inode.lock().unwrap();
        write.apply(&mut content.live);
        content.since.push(write);
        Ok(())
    }
}

impl File for Handle {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.alive()?.bytes_read += buf.len() as u64;
        let content = self.inode.lock().unwrap();
        let start = usize::try_from(offset).unwrap().min(content.live.len());
        let count = buf.len().min(content.live.len() - start);
        buf[..count].copy_from_slice(&content.live[start..start + count]);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(Write::Bytes(offset, bytes.to_vec()))
    }

    fn sync_data(&self) -> io::Result<()> {
        drop(self.disk.change()?);
        let mut content = self.inode.lock().unwrap();
        let content = &mut *content;
        content.since.drain(..).for_each(|w| w.apply(&mut content.synced));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        drop(self.disk.alive()?);
        Ok(self.inode.lock().unwrap().live.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.write(Write::Length(bytes))
    }

    fn punch_hole(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.write(Write::Hole(offset, bytes))
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.len()
    }
}

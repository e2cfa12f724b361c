//! A disk in memory that crashes like a real one: what was not synced is there in part, in any order, by sectors.

use prunedb_disk::{Disk, File, Lock, Open};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>>,
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
    pub(crate) faults: Arc<Faults>,
}

/// What fails from now on.
#[derive(Debug)]
pub(crate) struct Faults {
    /// the next sync of a file fails, and what it should have written is never written
    pub(crate) sync: AtomicBool,
    /// every read fails
    pub(crate) read: AtomicBool,
    /// writes that still succeed; afterwards the disk is full
    pub(crate) writes: AtomicI64,
    /// bytes that the disk says are free
    pub(crate) free: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            sync: AtomicBool::new(false),
            read: AtomicBool::new(false),
            writes: AtomicI64::new(i64::MAX),
            free: AtomicU64::new(1 << 40),
        }
    }
}

#[derive(Debug)]
struct MemoryFile {
    content: Mutex<Content>,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
    Hole(usize, usize),
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, data) => {
            if bytes.len() < at + data.len() {
                bytes.resize(at + data.len(), 0);
            }
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
        Change::Length(length) => bytes.resize(*length, 0),
        Change::Hole(at, length) => {
            let end = bytes.len().min(at + length);
            if *at < end {
                bytes[*at..end].fill(0);
            }
        }
    }
}

/// A small generator: tests need repeatable chance, not good chance.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

impl MemoryDisk {
    /// The disk as a loss of power might leave it; this one stays as it is.
    pub(crate) fn crashed(&self, seed: u64) -> Self {
        let mut chance = Chance(seed);
        // some crashes lose everything, some nothing, most a part
        let keep_of_four = chance.next() % 5;
        let after = Self::default();
        for (path, file) in self.files.lock().unwrap().iter() {
            let content = file.content.lock().unwrap();
            let mut bytes = content.durable.clone();
            for change in &content.pending {
                match change {
                    Change::Write(at, data) => {
                        let mut done = 0;
                        while done < data.len() {
                            let here = at + done;
                            let end = data.len().min(done + SECTOR - here % SECTOR);
                            if chance.next() % 4 < keep_of_four {
                                apply(&mut bytes, &Change::Write(here, data[done..end].to_vec()));
                            }
                            done = end;
                        }
                    }
                    other if chance.next() % 4 < keep_of_four => apply(&mut bytes, other),
                    _ => {}
                }
            }
            after.put_file(path, bytes);
        }
        after
    }

    /// The disk as the end of the process alone leaves it.
    pub(crate) fn killed(&self) -> Self {
        let after = Self::default();
        for (path, file) in self.files.lock().unwrap().iter() {
            after.put_file(path, file.content.lock().unwrap().now.clone());
        }
        after
    }

    pub(crate) fn put_file(&self, path: &Path, bytes: Vec<u8>) {
        let content = Content { now: bytes.clone(), durable: bytes, pending: Vec::new() };
        let file = MemoryFile { content: Mutex::new(content), faults: Arc::clone(&self.faults) };
        self.files.lock().unwrap().insert(path.into(), Arc::new(file));
    }

    pub(crate) fn file(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let files = self.files.lock().unwrap();
        let file = files.get(path.as_ref()).expect("no such file");
        file.content.lock().unwrap().now.clone()
    }

    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.files.lock().unwrap().contains_key(path.as_ref())
    }

    /// Flips bits of a byte, durably.
    pub(crate) fn flip(&self, path: impl AsRef<Path>, at: usize, bits: u8) {
        let mut bytes = self.file(&path);
        bytes[at] ^= bits;
        self.put_file(path.as_ref(), bytes);
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut files = self.files.lock().unwrap();
        match (files.get(path), how) {
            (Some(_), Open::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => Ok(Arc::clone(file) as Arc<dyn File>),
            (None, Open::CreateNew) => {
                let file =
                    MemoryFile { content: Mutex::default(), faults: Arc::clone(&self.faults) };
                let file = Arc::new(file);
                files.insert(path.into(), Arc::clone(&file));
                Ok(file)
            }
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.into(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.files.lock().unwrap().remove(path);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let files = self.files.lock().unwrap();
        let here = files.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.map(|path| path.file_name().unwrap().to_str().unwrap().into()).collect())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.has(path))
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.faults.free.load(Ordering::SeqCst))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let taken = self.locks.lock().unwrap().insert(path.into());
        let lock = MemoryLock { locks: Arc::clone(&self.locks), path: path.into() };
        if taken {
            Ok(Some(Box::new(lock)))
        } else {
            std::mem::forget(lock);
            Ok(None)
        }
    }
}

#[derive(Debug)]
struct MemoryLock {
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
    path: PathBuf,
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.locks.lock().unwrap().remove(&self.path);
    }
}

impl MemoryFile {
    fn change(&self, change: Change) {
        let mut content = self.content.lock().unwrap();
        apply(&mut content.now, &change);
        content.pending.push(change);
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.faults.read.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk does not answer"));
        }
        let content = self.content.lock().unwrap();
        let from = content.now.len().min(index(offset));
        let count = buf.len().min(content.now.len() - from);
        buf[..count].copy_from_slice(&content.now[from..from + count]);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.faults.writes.fetch_sub(1, Ordering::SeqCst) <= 0 {
            // a full disk takes what fits
            self.change(Change::Write(index(offset), bytes[..bytes.len() / 2].to_vec()));
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(Change::Write(index(offset), bytes.to_vec()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = self.content.lock().unwrap();
        let pending = std::mem::take(&mut content.pending);
        if self.faults.sync.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("the disk forgot"));
        }
        pending.iter().for_each(|change| apply(&mut content.durable, change));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().now.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.change(Change::Length(index(bytes)));
        Ok(())
    }

    fn punch_hole(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.change(Change::Hole(index(offset), index(bytes)));
        Ok(())
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.len()
    }
}

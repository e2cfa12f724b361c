//! The file system as a [`Disk`].

use crate::{Disk, File, Lock, Open};
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use std::{
    fs::{self, OpenOptions, TryLockError},
    io,
    num::NonZeroU64,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

/// The operating system's files. New files are readable by their owner only.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(fs::File);

#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl Lock for RealLock {}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        match how {
            Open::Read => {}
            Open::ReadWrite => _ = options.write(true),
            Open::CreateNew => _ = options.write(true).create_new(true),
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .mode(0o600)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn punch_hole(&self, offset: u64, bytes: u64) -> io::Result<()> {
        Ok(fallocate(
            &self.0,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            offset,
            bytes,
        )?)
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.blocks() * 512)
    }

    fn read_ahead(&self, offset: u64, bytes: u64) {
        // what fails here, the read itself meets
        let _ = fadvise(&self.0, offset, NonZeroU64::new(bytes), Advice::WillNeed);
    }

    fn drop_cached(&self) -> io::Result<()> {
        Ok(fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read_all, write_atomic};

    #[test]
    fn files_hold_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk;
        let path = dir.path().join("a");
        assert_eq!(disk.open(&path, Open::Read).unwrap_err().kind(), io::ErrorKind::NotFound);
        let file = disk.open(&path, Open::CreateNew).unwrap();
        assert_eq!(
            disk.open(&path, Open::CreateNew).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        file.write_all_at(&[7; 10_000], 5).unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.len().unwrap(), 10_005);
        let mut buf = [1; 8];
        file.read_exact_at(&mut buf, 0).unwrap();
        assert_eq!(buf, [0, 0, 0, 0, 0, 7, 7, 7]);
        assert_eq!(
            file.read_exact_at(&mut buf, 10_000).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        file.punch_hole(0, 8192).unwrap();
        file.read_exact_at(&mut buf, 100).unwrap();
        assert_eq!((buf, file.len().unwrap()), ([0; 8], 10_005));
        assert_eq!(disk.list(dir.path()).unwrap(), ["a"]);
    }

    #[test]
    fn a_lock_excludes_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = RealDisk.lock(&path).unwrap();
        assert!(held.is_some());
        assert!(RealDisk.lock(&path).unwrap().is_none());
        drop(held);
        assert!(RealDisk.lock(&path).unwrap().is_some());
    }

    #[test]
    fn small_files_are_replaced_whole_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("small");
        write_atomic(&RealDisk, &path, b"one").unwrap();
        write_atomic(&RealDisk, &path, b"three").unwrap();
        assert_eq!(read_all(&RealDisk, &path, 5).unwrap(), b"three");
        assert_eq!(read_all(&RealDisk, &path, 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["small"]);
    }
}

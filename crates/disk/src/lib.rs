//! The small synchronous door to files.
//!
//! Everything at rest goes through [`Disk`], so that tests can put a disk in its place that tears, loses and flips
//! bytes ([`faulty`]). [`RealDisk`] is the file system. Paths are the caller's; no method follows or creates links.
//!
//! Durability: `write_all_at` promises nothing until [`File::sync_data`] returned; `rename` and `create` promise
//! nothing until [`Disk::sync_dir`] returned. After a failed sync the file's state is unknown: the caller gives the
//! handle up and never syncs it again.

pub mod faulty;
mod real;

pub use real::RealDisk;

use std::{fmt::Debug, io, path::Path, sync::Arc};

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A new file, for reading and writing; an error where it exists.
    CreateNew,
}

/// Files and folders. Cheap to clone behind an [`Arc`]; every method may be called from any thread.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// Renames a file, replacing what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates a folder and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names of the entries of a folder, sorted. Names that are not UTF-8 are left out: none of ours is such.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes creations, renames and removals in this folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether the file or folder is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Bytes that can still be written to the file system of this folder.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes the exclusive lock on a file, creating it; `None` where another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
}

/// An open file, read and written at offsets.
pub trait File: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the bytes written so far durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros) to a length.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Gives the space of a range back; it reads as zeros, the length stays.
    fn punch_hole(&self, offset: u64, bytes: u64) -> io::Result<()>;
    /// Bytes of disk that the file takes up, holes not counted.
    fn allocated_bytes(&self) -> io::Result<u64>;
    /// Says that these bytes are read soon, so that the system may begin; a hint, which may do nothing.
    fn read_ahead(&self, _offset: u64, _bytes: u64) {}
    /// Drops what memory keeps of synced bytes, as far as the system does: reads then see what the medium has. After a
    /// sync that failed, in this process or an earlier one, memory may show bytes that were never written.
    fn drop_cached(&self) -> io::Result<()>;

    /// Fills `buf`.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self.read_at(buf, offset)? {
            n if n == buf.len() => Ok(()),
            n => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{n} of {} bytes at offset {offset}", buf.len()),
            )),
        }
    }

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Held while the lock is; released by dropping it, or by the end of the process.
pub trait Lock: Send + Sync + Debug {}

/// Creates a folder and those above it, so that a crash does not take them away with all that is synced inside. Those
/// that were there are synced, too, where that is allowed: whoever made them may have died before.
///
/// # Errors
/// Those of the disk.
pub fn create_dir_durable(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let mut folders = Vec::new();
    for folder in dir.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        folders.push((folder, disk.exists(folder)?));
    }
    disk.create_dir_all(dir)?;
    for (folder, was_there) in folders {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        match disk.sync_dir(parent.unwrap_or(Path::new("."))) {
            Err(error) if !was_there => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Writes a small file whole: beside, synced, renamed into place. Afterwards the old or the new content is there.
///
/// # Errors
/// Those of the disk; the file then has its old content, or does not exist.
pub fn write_atomic(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
    let beside = path.with_extension("tmp");
    if disk.exists(&beside)? {
        disk.remove(&beside)?;
    }
    let file = disk.open(&beside, Open::CreateNew)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&beside, path)?;
    disk.sync_dir(dir)
}

/// Reads a small file whole.
///
/// # Errors
/// Those of the disk; `InvalidData` where it is longer than `bytes_max`.
pub fn read_all(disk: &dyn Disk, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let bytes = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} bytes where at most {bytes_max} belong", bytes),
        ));
    }
    let mut out = vec![0; bytes];
    file.read_exact_at(&mut out, 0)?;
    Ok(out)
}

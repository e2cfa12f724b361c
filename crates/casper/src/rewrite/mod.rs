//! A new file in the place of a node's: some rows of the old one, and others.
//!
//! ```text
//! storage.lmdb ----rows that stay----> storage.lmdb.new --read back, compared--> durable --swap--> storage.lmdb
//!                  rows that come back ---^                                                        storage.lmdb.old
//! ```
//! The old file is only read, and keeps its place until the new one is whole, verified and durable; then it gets another name, and nobody but its
//! owner removes it. The node's lock is held all the time.

pub(crate) mod limits;
pub(crate) mod prune;
pub(crate) mod restore;
pub(crate) mod same;

use crate::{
    database::{Database, Row},
    error::CasperError,
    lmdb::{lock::lock_path, write::NewLmdb},
    source::NodeFile,
};
use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// A path with more at the end of its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> CasperError + '_ {
    move |error| CasperError::Io { path: path.into(), error }
}

fn remove(path: &Path) -> Result<(), CasperError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}

/// Where the new file lies until it is swapped in.
#[derive(Debug)]
struct Beside {
    target: PathBuf,
    new: PathBuf,
}

impl Beside {
    /// Starts a file beside `target`; what an interrupted run left of one goes.
    fn create(target: &Path, end: &str, map_bytes: u64) -> Result<(Self, NewLmdb), CasperError> {
        let new = beside(target, end);
        remove(&new)?;
        remove(&lock_path(&new))?;
        let file = NewLmdb::create(&new, map_bytes).map_err(io_error(&new))?;
        Ok((Self { target: target.into(), new }, file))
    }

    /// The same owner and rights as the old file has.
    fn like(&self, old: &Path) -> Result<(), CasperError> {
        let of = std::fs::metadata(old).map_err(io_error(old))?;
        let failed = io_error(&self.new);
        std::fs::set_permissions(&self.new, of.permissions()).map_err(&failed)?;
        let mine = std::fs::metadata(&self.new).map_err(&failed)?;
        if (mine.uid(), mine.gid()) != (of.uid(), of.gid()) {
            std::os::unix::fs::chown(&self.new, Some(of.uid()), Some(of.gid())).map_err(&failed)?;
        }
        Ok(())
    }

    /// Makes the file whole: durable, its lock file gone.
    fn seal(&self, file: NewLmdb) -> Result<u64, CasperError> {
        let rows = file.finish().map_err(io_error(&self.new))?;
        File::open(&self.new).and_then(|file| file.sync_all()).map_err(io_error(&self.new))?;
        remove(&lock_path(&self.new))?;
        Ok(rows)
    }

    /// Puts the new file in the old one's place. There is a file of that name at every moment.
    fn swap(&self) -> Result<Option<PathBuf>, CasperError> {
        let old = beside(&self.target, ".old");
        let kept = self.target.exists();
        if kept {
            std::fs::hard_link(&self.target, &old).map_err(io_error(&old))?;
        }
        std::fs::rename(&self.new, &self.target).map_err(io_error(&self.target))?;
        // the lock file names readers of the old one
        remove(&lock_path(&self.target))?;
        let folder = match self.target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder))?;
        Ok(kept.then_some(old))
    }

    /// Refuses to begin where an old file of an earlier swap is in the way.
    fn check_old(target: &Path) -> Result<(), CasperError> {
        let old = beside(target, ".old");
        if !old.exists() {
            return Ok(());
        }
        let text = "it is there from an earlier time: remove it, or move it away, once the node runs well without it";
        let error = io::Error::new(io::ErrorKind::AlreadyExists, text);
        Err(CasperError::Io { path: old, error })
    }
}

/// Bytes that a file takes up on its disk.
fn disk_bytes(path: &Path) -> Result<u64, CasperError> {
    Ok(std::fs::metadata(path).map_err(io_error(path))?.blocks() * 512)
}

/// Copies the rows of which `keep` says so; gives how many stay and how many do not.
fn copy(
    from: &mut NodeFile,
    into: &mut NewLmdb,
    into_path: &Path,
    keep: &mut dyn FnMut(&Row<'_>) -> Result<bool, CasperError>,
) -> Result<(u64, u64), CasperError> {
    let (mut kept, mut dropped) = (0, 0);
    for database in Database::all() {
        from.each(database, &mut |key, value| {
            let row = Row { database, key, value };
            if keep(&row)? {
                kept += 1;
                into.append(row).map_err(io_error(into_path))?;
            } else {
                dropped += 1;
            }
            Ok(true)
        })?;
    }
    Ok((kept, dropped))
}

//! Whether a node has the file open, and keeping it out while we have.
//!
//! liblmdb takes a POSIX lock on `<file>-lock` for as long as it has the file open. We ask for the same one: who does not get it is told
//! so, and a node that starts meanwhile waits.

use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
};
use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// Keeps liblmdb from opening the file; ends when dropped.
#[derive(Debug)]
pub(crate) struct NodeLock {
    _file: Option<File>,
}

/// The lock file of an LMDB file.
pub(crate) fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-lock");
    name.into()
}

impl NodeLock {
    /// Takes the lock; `None` if the file is in use. Without a lock file nobody has opened it since it was copied; where
    /// nothing can be written, no node runs.
    pub(crate) fn take(path: &Path) -> io::Result<Option<Self>> {
        let lock = lock_path(path);
        let file = match File::options().read(true).write(true).open(&lock) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(Self { _file: None })),
            Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                return Ok(Some(Self { _file: None }));
            }
            Err(e) => {
                let text =
                    format!("whether a node has it open cannot be seen: {}: {e}", lock.display());
                return Err(io::Error::new(e.kind(), text));
            }
        };
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: Some(file) })),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

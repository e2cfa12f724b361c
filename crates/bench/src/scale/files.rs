//! The benchmark's files: a folder that goes when it ends, and the file cache of the operating system.

use super::{Error, at};
use rustix::fs::{Advice, fadvise};
use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};

/// A folder of our own; removed when dropped.
#[derive(Debug)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    /// A new one in `dir`.
    pub(super) fn new(dir: &Path, name: &str) -> Result<Self, Error> {
        let path = dir.join(format!("prunedb-bench-scale-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(at(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // what stays is seen by its name
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// All files below a folder.
pub(super) fn all(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        if path.is_dir() { out.append(&mut all(&path)?) } else { out.push(path) }
    }
    Ok(out)
}

/// Bytes of files.
pub(super) fn bytes(files: &[PathBuf]) -> Result<u64, Error> {
    files.iter().map(|path| Ok(std::fs::metadata(path).map_err(at(path))?.len())).sum()
}

/// Takes files out of the file cache. What is not on the disk yet stays, so they are synced first.
pub(super) fn make_cold(files: &[PathBuf]) -> Result<(), Error> {
    for path in files {
        let file = File::open(path).map_err(at(path))?;
        file.sync_data().map_err(at(path))?;
        fadvise(&file, 0, None, Advice::DontNeed).map_err(|e| at(path)(e.into()))?;
    }
    Ok(())
}

/// Reads files into the file cache.
pub(super) fn make_warm(files: &[PathBuf]) -> Result<(), Error> {
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let mut file = File::open(path).map_err(at(path))?;
        while file.read(&mut buffer).map_err(at(path))? > 0 {}
    }
    Ok(())
}

/// Microseconds of each of some reads of 4 KiB from a file, that begin where `random` says.
pub(super) fn preads(
    path: &Path,
    count: u64,
    random: impl Fn(u64) -> u64,
) -> Result<Vec<f64>, Error> {
    let file = File::open(path).map_err(at(path))?;
    let pages = (file.metadata().map_err(at(path))?.len() / 4096).max(1);
    let mut buffer = [0; 4096];
    (0..count)
        .map(|i| {
            let start = Instant::now();
            file.read_at(&mut buffer, random(i) % pages * 4096).map_err(at(path))?;
            Ok(start.elapsed().as_secs_f64() * 1e6)
        })
        .collect()
}

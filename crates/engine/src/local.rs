//! Container files on the local disk.
//!
//! ```text
//! d0000000012.active   being written: 4 KiB local header, then container bytes
//! d0000000012.sealed   whole: the same, with its footer
//! d0000000012.cache    sparse: frames that were fetched again; the bitmap in the local header says which
//! ```
//! At most one of the three exists for a container at a time, but for a crash between the steps of a change; the
//! fuller one counts then.

mod active;
mod cache;
mod files;

pub(crate) use active::Active;
pub(crate) use cache::CacheFile;
pub(crate) use files::{Kind, LocalFiles, container_files, read_footer};

use crate::error::{At, Error};
use prunedb_disk::Disk;
use prunedb_format::local::LOCAL_HEADER_BYTES;
use std::path::Path;

/// Where a container byte is in its local file.
pub(crate) const fn file_offset(container_offset: u64) -> u64 {
    LOCAL_HEADER_BYTES as u64 + container_offset
}

/// Creates a folder and those above it so that a crash does not take them away with all that is synced inside.
pub(crate) fn create_folder(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    let mut missing = Vec::new();
    for folder in dir.ancestors().filter(|f| !f.as_os_str().is_empty()) {
        if disk.exists(folder).at(folder)? {
            break;
        }
        missing.push(folder);
    }
    disk.create_dir_all(dir).at(dir)?;
    for folder in missing {
        let parent = folder.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        disk.sync_dir(parent).at(parent)?;
    }
    Ok(())
}

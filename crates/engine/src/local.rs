//! Container files on the local disk.
//!
//! ```text
//! d0000000012.active   being written: 4 KiB local header, then container bytes
//! d0000000012.sealed   whole: the same, with its footer
//! d0000000012.cache    sparse: frames that were fetched again; the bitmap in the local header says which
//! ```
//! One is active, two for the moment in which the older one gets its last records. At most one of the three files exists for a container at a time, but for a crash between the steps of a change; the
//! fuller one counts then.

mod active;
mod cache;
mod files;
mod order;

pub(crate) use active::{Active, Directory, Hash, resume};
pub(crate) use cache::CacheFile;
pub(crate) use files::{Kind, LocalFiles, container_files, read_footer};
pub(crate) use order::FrameOrder;

use prunedb_format::local::LOCAL_HEADER_BYTES;

/// Where a container byte is in its local file.
pub(crate) const fn file_offset(container_offset: u64) -> u64 {
    LOCAL_HEADER_BYTES as u64 + container_offset
}

//! One segment file: writes anywhere in it, syncs shared by all who wait, and poison.
//!
//! Once a sync has failed the segment is poisoned: what it holds stays readable, and nothing more is committed or
//! deleted in it.

use crate::{
    NodeError,
    block::Place,
    group_sync::{GroupSync, SyncError},
    layout::{
        DROP_OFFSET, Mark, PAGE_BYTES, SEGMENT_HEADER_BYTES, SEGMENT_VERSION, SegmentHeader,
        drop_mark, extent_bytes,
    },
};
use prunedb_disk::{Disk, File, Open};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) mark: Mark,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    syncs: GroupSync,
}

impl Segment {
    /// Name of the segment's file.
    pub(crate) fn file_name(number: u32) -> String {
        format!("{number:08}.seg")
    }

    /// The number that a file name stands for.
    pub(crate) fn parse_file_name(name: &str) -> Option<u32> {
        let digits = name.strip_suffix(".seg")?;
        let number = digits.parse().ok()?;
        (Self::file_name(number) == name).then_some(number)
    }

    pub(crate) fn new(number: u32, mark: Mark, path: PathBuf, file: Arc<dyn File>) -> Self {
        Self { number, mark, path, file, syncs: GroupSync::default() }
    }

    /// Creates the file, durably.
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, number: u32, mark: Mark) -> io::Result<Self> {
        let path = dir.join(Self::file_name(number));
        let file = disk.open(&path, Open::CreateNew)?;
        let header = SegmentHeader { version: SEGMENT_VERSION, number, mark };
        let ready = file
            .write_all_at(&header.to_bytes(), 0)
            .and_then(|()| file.sync_data())
            .and_then(|()| disk.sync_dir(dir));
        match ready {
            Ok(()) => Ok(Self::new(number, mark, path, file)),
            Err(e) => {
                // best effort: what is left is found empty, and removed, at the next start
                _ = disk.remove(&path);
                Err(e)
            }
        }
    }

    /// Opens the file of a segment. A damaged header is no hindrance, as all that is read is checked; the header of another
    /// segment is: what is dropped here would be that one's.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        number: u32,
        mark: Mark,
        how: Open,
    ) -> io::Result<Self> {
        let path = dir.join(Self::file_name(number));
        let file = disk.open(&path, how)?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_exact_at(&mut header, 0);
        let header = read.ok().and_then(|()| SegmentHeader::from_bytes(&header));
        if let Some(SegmentHeader { number, .. }) = header.filter(|header| header.mark != mark) {
            let what =
                format!("{} is another file: its header is of segment {number}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self::new(number, mark, path, file))
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.syncs.is_poisoned()
    }

    /// Makes all that was written before this call durable.
    pub(crate) fn sync(&self) -> Result<(), NodeError> {
        self.syncs.sync(&*self.file).map_err(|e| match e {
            SyncError::Poisoned => NodeError::Poisoned { segment: self.number },
            SyncError::Failed(e) => {
                tracing::error!(segment = self.number, error = %e, "a sync failed: segment poisoned");
                NodeError::disk("sync a segment", e)
            }
        })
    }

    /// Writes a record's drop mark; not durable before the next sync.
    pub(crate) fn mark_dropped(&self, place: Place) -> Result<(), NodeError> {
        // a mark that cannot be made durable might still take effect at the next start
        if self.is_poisoned() {
            return Err(NodeError::Poisoned { segment: self.number });
        }
        let mark = drop_mark(&self.mark, place.id, place.offset);
        self.file
            .write_all_at(&mark, place.offset + DROP_OFFSET)
            .map_err(|e| NodeError::disk("write a drop mark", e))
    }

    /// Gives the space of a record back, all but its first page.
    pub(crate) fn punch(&self, place: Place) {
        let bytes = extent_bytes(place.shard_bytes) - PAGE_BYTES;
        if bytes == 0 {
            return;
        }
        if let Err(e) = self.file.punch_hole(place.offset + PAGE_BYTES, bytes) {
            tracing::warn!(segment = self.number, offset = place.offset, error = %e, "no hole");
        }
    }
}

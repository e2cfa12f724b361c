//! One segment file: writes anywhere in it, syncs shared by all who wait, and poison.
//!
//! Once a sync has failed the segment is poisoned: what it holds stays readable, and nothing more is committed or
//! deleted in it.

use crate::{
    NodeError,
    block::Place,
    group_sync::{GroupSync, SyncError},
    layout::{
        DROP_OFFSET, HEADER_BYTES, Mark, PAGE_BYTES, RecordHeader, SEGMENT_HEADER_BYTES,
        SEGMENT_VERSION, SegmentHeader, drop_mark, extent_bytes,
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

    /// Opens the file of a segment. Whose it is shows when something is read from it, or dropped in it.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        number: u32,
        mark: Mark,
        how: Open,
    ) -> io::Result<Self> {
        let path = dir.join(Self::file_name(number));
        let file = disk.open(&path, how)?;
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
        self.check_own(place).map_err(|e| NodeError::disk("drop a record", e))?;
        let mark = drop_mark(&self.mark, place.id, place.offset);
        self.file
            .write_all_at(&mark, place.offset + DROP_OFFSET)
            .map_err(|e| NodeError::disk("write a drop mark", e))
    }

    /// What is dropped in a file that is another segment's would be that one's. A damaged header is no hindrance.
    fn check_own(&self, place: Place) -> io::Result<()> {
        let mut header = [0; HEADER_BYTES];
        let read = self.file.read_exact_at(&mut header, place.offset);
        let record = read.ok().and_then(|()| RecordHeader::from_bytes(&header));
        if record
            .is_some_and(|it| (it.mark, it.id, it.offset) == (self.mark, place.id, place.offset))
        {
            return Ok(());
        }
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let read = self.file.read_exact_at(&mut header, 0);
        match read.ok().and_then(|()| SegmentHeader::from_bytes(&header)) {
            Some(header) if header.mark != self.mark => {
                let (path, number) = (self.path.display(), header.number);
                let what = format!("{path} is another file, by its header of segment {number}");
                Err(io::Error::new(io::ErrorKind::InvalidData, what))
            }
            _ => Ok(()),
        }
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

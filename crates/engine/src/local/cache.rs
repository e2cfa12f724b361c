//! Frames of one container that were fetched again: a sparse file and a bitmap.
//!
//! A frame is written before its bit; both are only a cache, so nothing is synced: after a crash a bit may be set
//! without its bytes, and the frame's checksum finds that out when it is read.

use super::{file_offset, files::frame_count};
use crate::error::{At, Error};
use prunedb_core::{ContainerId, LakeId, units::FRAME_BYTES};
use prunedb_disk::{Disk, File, Open};
use prunedb_format::local::{BITMAP_BYTES_MAX, BITMAP_OFFSET, LocalSlot};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Debug)]
pub(crate) struct CacheFile {
    file: Arc<dyn File>,
    path: PathBuf,
    container_bytes: u64,
    bitmap: Mutex<[u8; BITMAP_BYTES_MAX]>,
}

impl CacheFile {
    pub(crate) fn create(
        disk: &dyn Disk,
        path: &Path,
        lake: LakeId,
        id: ContainerId,
        container_bytes: u64,
    ) -> Result<Self, Error> {
        let file = disk.open(path, Open::CreateNew).at(path)?;
        file.set_len(file_offset(container_bytes)).at(path)?;
        let slot = LocalSlot { sequence: 0, durable_bytes: 0, lake, id };
        file.write_all_at(&slot.encode(), slot.file_offset()).at(path)?;
        Ok(Self {
            file,
            path: path.into(),
            container_bytes,
            bitmap: Mutex::new([0; BITMAP_BYTES_MAX]),
        })
    }

    pub(crate) fn open(disk: &dyn Disk, path: &Path, container_bytes: u64) -> Result<Self, Error> {
        let file = disk.open(path, Open::ReadWrite).at(path)?;
        let mut bitmap = [0; BITMAP_BYTES_MAX];
        // a file that a crash left shorter has no frames worth keeping
        if file.len().at(path)? == file_offset(container_bytes) {
            file.read_exact_at(&mut bitmap, BITMAP_OFFSET as u64).at(path)?;
        } else {
            file.set_len(file_offset(container_bytes)).at(path)?;
        }
        Ok(Self { file, path: path.into(), container_bytes, bitmap: Mutex::new(bitmap) })
    }

    pub(crate) fn has(&self, frame: u64) -> bool {
        let (byte, bit) = place(frame);
        self.bitmap.lock().unwrap_or_else(PoisonError::into_inner)[byte] & bit != 0
    }

    /// Frames that are here, rising.
    pub(crate) fn frames(&self) -> Vec<u64> {
        (0..frame_count(self.container_bytes)).filter(|&f| self.has(f)).collect()
    }

    /// Reads a frame; the caller checks it.
    pub(crate) fn read(&self, frame: u64) -> Result<Vec<u8>, Error> {
        let start = frame * FRAME_BYTES as u64;
        let bytes = (self.container_bytes - start).min(FRAME_BYTES as u64);
        let mut buf = vec![0; usize::try_from(bytes).expect("at most a frame")];
        self.file.read_exact_at(&mut buf, file_offset(start)).at(&self.path)?;
        Ok(buf)
    }

    pub(crate) fn write(&self, frame: u64, bytes: &[u8]) -> Result<(), Error> {
        let start = frame * FRAME_BYTES as u64;
        self.file.write_all_at(bytes, file_offset(start)).at(&self.path)?;
        self.set(frame, true)
    }

    /// Gives a frame's space back.
    pub(crate) fn evict(&self, frame: u64) -> Result<(), Error> {
        self.set(frame, false)?;
        let start = file_offset(frame * FRAME_BYTES as u64);
        self.file.punch_hole(start, FRAME_BYTES as u64).at(&self.path)
    }

    fn set(&self, frame: u64, here: bool) -> Result<(), Error> {
        let (byte, bit) = place(frame);
        let mut bitmap = self.bitmap.lock().unwrap_or_else(PoisonError::into_inner);
        if here {
            bitmap[byte] |= bit;
        } else {
            bitmap[byte] &= !bit;
        }
        let value = bitmap[byte];
        self.file.write_all_at(&[value], (BITMAP_OFFSET + byte) as u64).at(&self.path)
    }
}

/// Byte and bit of a frame in the bitmap.
fn place(frame: u64) -> (usize, u8) {
    let byte = usize::try_from(frame / 8).expect("a container has at most 2,048 frames");
    (byte, 1 << (frame % 8))
}

//! One value log: an open file whose records are read at offsets, each checked.

use super::layout::{
    HEADER_BYTES, KEY_BYTES_MAX, Kind, LOG_HEADER_BYTES, LogHeader, Position, RecordHeader,
    SECOND_HEADER_OFFSET, UNIT_BYTES,
};
use crate::{
    group_sync::{GroupSync, SyncError},
    layout::crc32c,
};
use prunedb_disk::{Disk, File, Open};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) header: LogHeader,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    /// what a rewritten log's records say of where they were: units are no longer origins
    pub(crate) rewritten: bool,
    syncs: GroupSync,
}

/// Bytes of a log that are not as they were written, or cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("log {log} is damaged at unit {unit}")]
pub(crate) struct Damaged {
    log: u32,
    unit: u32,
    /// the disk's error; `None` where a check was wrong
    source: Option<io::Error>,
}

/// Header, key and the first bytes behind it, as one read finds them: a value of 4 KiB is among them.
const FIRST_READ_BYTES: usize = 4608;
const _: () = assert!(FIRST_READ_BYTES >= HEADER_BYTES + KEY_BYTES_MAX);

/// A record's header and key, and as much of its value as came with them.
#[derive(Debug)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    pub(crate) header: RecordHeader,
    unit: u32,
}

impl Head {
    pub(crate) fn unit(&self) -> u32 {
        self.unit
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..self.header.head_bytes()]
    }
}

impl Log {
    pub(crate) fn new(header: LogHeader, path: PathBuf, file: Arc<dyn File>) -> Self {
        let rewritten = header.clean_through != Position::default();
        Self { header, path, file, rewritten, syncs: GroupSync::default() }
    }

    /// Makes a log durably, under a name that it does not have yet.
    pub(crate) fn create(disk: &dyn Disk, path: PathBuf, header: LogHeader) -> io::Result<Self> {
        let file = disk.open(&path, Open::CreateNew)?;
        let log = Self::new(header, path, file);
        let bytes = header.to_bytes();
        let written = log
            .file
            .write_all_at(&bytes, 0)
            .and_then(|()| log.file.write_all_at(&bytes, SECOND_HEADER_OFFSET))
            // records count on it: it must not be lost with them
            .and_then(|()| log.file.sync_data());
        match written {
            Ok(()) => Ok(log),
            Err(e) => {
                // best effort: without a record it is found empty, and removed, at the next start
                _ = disk.remove(&log.path);
                Err(e)
            }
        }
    }

    /// The header of a file, from one of its two copies; `None` where both are bad.
    pub(crate) fn read_log_header(file: &dyn File) -> io::Result<Option<LogHeader>> {
        for offset in [0, SECOND_HEADER_OFFSET] {
            let mut bytes = [0; LOG_HEADER_BYTES];
            file.read_at(&mut bytes, offset)?;
            if let Some(header) = LogHeader::from_bytes(&bytes) {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Name of a log's file.
    pub(crate) fn path(dir: &Path, namespace: u32, number: u32) -> PathBuf {
        dir.join(format!("{namespace:08}-{number:08}.log"))
    }

    /// Namespace and number that a file name stands for.
    pub(crate) fn parse_file_name(name: &str) -> Option<(u32, u32)> {
        let (namespace, number) = name.strip_suffix(".log")?.split_once('-')?;
        Some((namespace.parse().ok()?, number.parse().ok()?))
    }

    pub(crate) fn number(&self) -> u32 {
        self.header.number
    }

    pub(crate) fn at(&self, unit: u32) -> Position {
        Position { log: self.header.number, unit }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.syncs.is_poisoned()
    }

    /// Makes all that was written before this call durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.syncs.sync(&*self.file).map_err(|e| match e {
            SyncError::Poisoned => io::Error::other("a sync of this log failed before"),
            SyncError::Failed(e) => {
                tracing::error!(log = %self.path.display(), error = %e, "a sync failed: log poisoned");
                e
            }
        })
    }

    pub(crate) fn damaged(&self, unit: u32, source: Option<io::Error>) -> Damaged {
        Damaged { log: self.header.number, unit, source }
    }

    /// Reads the record at a unit; its value follows with [`Self::value`].
    pub(crate) fn head(&self, unit: u32) -> Result<Head, Damaged> {
        self.head_of(unit, FIRST_READ_BYTES)
    }

    /// The same without hope for the value.
    pub(crate) fn head_only(&self, unit: u32) -> Result<Head, Damaged> {
        self.head_of(unit, HEADER_BYTES + KEY_BYTES_MAX)
    }

    fn head_of(&self, unit: u32, read_bytes: usize) -> Result<Head, Damaged> {
        let mut bytes = vec![0; read_bytes];
        let read = self.file.read_at(&mut bytes, u64::from(unit) * UNIT_BYTES);
        let read = read.map_err(|e| self.damaged(unit, Some(e)))?;
        bytes.truncate(read);
        match RecordHeader::parse(&self.header.mark, self.at(unit), &bytes) {
            Some((header, _)) => Ok(Head { bytes, header, unit }),
            None => Err(self.damaged(unit, None)),
        }
    }

    /// Fills `value` with a record's value, and checks it.
    pub(crate) fn value(&self, head: &Head, value: &mut [u8]) -> Result<(), Damaged> {
        debug_assert_eq!(value.len(), head.header.value_len());
        let start = head.header.head_bytes();
        let here = value.len().min(head.bytes.len() - start);
        value[..here].copy_from_slice(&head.bytes[start..start + here]);
        if here < value.len() {
            let offset = u64::from(head.unit) * UNIT_BYTES + (start + here) as u64;
            self.file
                .read_exact_at(&mut value[here..], offset)
                .map_err(|e| self.damaged(head.unit, Some(e)))?;
        }
        if crc32c(value) == head.header.value_crc {
            Ok(())
        } else {
            Err(self.damaged(head.unit, None))
        }
    }

    /// Puts void records over a range in which a crash left nothing that counts; the unit of the last of them.
    pub(crate) fn void(&self, from: u32, to: u32, before: u32) -> io::Result<u32> {
        let (mut at, mut before) = (from, before);
        while at < to {
            let units = (to - at).min(VOID_UNITS_MAX);
            // one byte of key, and no rest that is too short for a record
            let units = if (1..3).contains(&(to - at - units)) { units - 3 } else { units };
            let bytes = u32::try_from(u64::from(units) * UNIT_BYTES).expect("at most 8 MiB");
            let header = RecordHeader {
                kind: Kind::Void,
                key_bytes: 1,
                value_bytes: bytes.saturating_sub(VOID_HEAD_BYTES),
                timestamp: 0,
                value_crc: 0,
                origin: at,
                before,
                previous: None,
            };
            let mut out = Vec::new();
            header.put(&self.header.mark, self.at(at), &[0], &mut out);
            self.file.write_all_at(&out, u64::from(at) * UNIT_BYTES)?;
            before = at;
            at += header.units();
        }
        Ok(before)
    }
}

/// Header and key of a void record.
const VOID_HEAD_BYTES: u32 = 41;
/// Longest void record.
const VOID_UNITS_MAX: u32 = 1 << 19;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zdb::walk::Walk;
    use prunedb_disk::RealDisk;

    #[test]
    fn void_records_fill_any_range() {
        let dir = tempfile::tempdir().unwrap();
        let header =
            LogHeader { number: 0, mark: [1; 16], next_id: 0, clean_through: Position::default() };
        let log = Log::create(&RealDisk, Log::path(dir.path(), 0, 0), header).unwrap();
        let log = Arc::new(log);
        let max = VOID_UNITS_MAX;
        for units in [3, 4, 5, 100, max, max + 1, max + 2, max + 3, 2 * max + 1] {
            let mut last = log.void(64, 64 + units, 0).unwrap();
            let mut walk = Walk::new(Arc::clone(&log), 64, 64 + units);
            let mut seen = Vec::new();
            while let Some(record) = walk.next().unwrap() {
                seen.push(record);
            }
            assert_eq!(walk.at, 64 + units);
            for record in seen.iter().rev() {
                assert_eq!((record.unit, record.header.kind), (last, Kind::Void));
                last = record.header.before;
            }
            assert_eq!(last, 0);
        }
    }
}

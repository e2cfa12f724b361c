//! What a plain file can do.

use super::records::Records;
use prunedb_disk::{Disk, File, Open, RealDisk};
use std::{io, ops::Range, path::Path, sync::Arc};

/// Bytes of one read of the whole file.
const SCAN_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Raw {
    file: Arc<dyn File>,
    group: Vec<u8>,
    group_bytes: usize,
    end: u64,
}

impl Raw {
    pub(super) fn create(path: &Path, group_bytes: usize) -> io::Result<Self> {
        let file = RealDisk.open(path, Open::CreateNew)?;
        Ok(Self { file, group: Vec::with_capacity(group_bytes), group_bytes, end: 0 })
    }

    /// Appends records, each group durable before the next one begins.
    pub(super) fn append(&mut self, records: &Records, range: Range<u64>) -> io::Result<()> {
        for record in range {
            self.group.extend_from_slice(&records.key(record));
            self.group.extend_from_slice(records.value(record));
            if self.group.len() >= self.group_bytes {
                self.sync()?;
            }
        }
        self.sync()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.group, self.end)?;
        self.file.sync_data()?;
        self.end += self.group.len() as u64;
        self.group.clear();
        Ok(())
    }

    /// Reads a record's value.
    pub(super) fn read(&self, records: &Records, record: u64, value: &mut [u8]) -> io::Result<()> {
        let value_at = (record + 1) * records.record_bytes() as u64 - value.len() as u64;
        self.file.read_exact_at(value, value_at)
    }

    /// Reads the page in which a record begins.
    pub(super) fn read_page_of(
        &self,
        records: &Records,
        record: u64,
        page: &mut [u8],
    ) -> io::Result<()> {
        let at = record * records.record_bytes() as u64;
        self.file.read_at(page, at / page.len() as u64 * page.len() as u64).map(drop)
    }

    /// Reads all records; how many bytes they have.
    pub(super) fn read_all(&self, records: &Records, count: u64) -> io::Result<u64> {
        let bytes = count * records.record_bytes() as u64;
        let (mut at, mut buffer) = (0, vec![0; SCAN_BYTES]);
        while at < bytes {
            match self.file.read_at(&mut buffer, at)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => at += n as u64,
            }
        }
        Ok(bytes)
    }

    pub(super) fn drop_cached(&self) -> io::Result<()> {
        self.file.drop_cached()
    }
}

//! Where a coded stream waits to be encoded: in memory, or in a file where it may be long.

use crate::{
    error::{At, Error},
    options::Options,
};
use prunedb_codec::{MemorySpool, ReadAt, Spool};
use prunedb_disk::{Disk, File, Open};
use std::{io, ops::Range, sync::Arc};

const FILE: &str = "spool.tmp";

/// A spool of either kind.
pub(super) enum AnySpool {
    Memory(MemorySpool),
    File { file: Arc<dyn File>, end: u64 },
}

impl AnySpool {
    /// A spool for a container of that length, in the memory of the one before where there is one. The file is overwritten by the next one: offloads come one by one.
    pub(super) fn new(
        options: &Options,
        disk: &dyn Disk,
        container_bytes: u64,
        spare: Option<MemorySpool>,
    ) -> Result<Self, Error> {
        if container_bytes <= options.spool_memory_bytes {
            if let Some(mut spare) = spare {
                spare.clear();
                return Ok(Self::Memory(spare));
            }
            let bytes =
                usize::try_from(container_bytes).expect("below a limit that fits in memory");
            return Ok(Self::Memory(MemorySpool::with_capacity(bytes)));
        }
        let path = options.data_dir.join(FILE);
        if disk.exists(&path).at(&path)? {
            disk.remove(&path).at(&path)?;
        }
        let file = disk.open(&path, Open::CreateNew).at(&path)?;
        disk.remove(&path).at(&path)?; // lives as long as it is open
        Ok(Self::File { file, end: 0 })
    }
}

impl From<AnySpool> for Option<MemorySpool> {
    fn from(spool: AnySpool) -> Self {
        match spool {
            AnySpool::Memory(memory) => Some(memory),
            AnySpool::File { .. } => None,
        }
    }
}

impl ReadAt for AnySpool {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Memory(memory) => memory.read_exact_at(buffer, offset),
            Self::File { file, .. } => file.read_exact_at(buffer, offset),
        }
    }

    fn in_memory(&self, range: Range<u64>) -> Option<&[u8]> {
        match self {
            Self::Memory(memory) => memory.in_memory(range),
            Self::File { .. } => None,
        }
    }
}

impl Spool for AnySpool {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(memory) => memory.append(bytes),
            Self::File { file, end } => {
                file.write_all_at(bytes, *end)?;
                *end += bytes.len() as u64;
                Ok(())
            }
        }
    }
}

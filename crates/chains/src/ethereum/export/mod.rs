//! The store's history back into files.
//!
//! Each block is verified again on its way out: hash chain, all roots, total difficulty; then the accumulator, and at the
//! end the SHA-256 of the whole file against that of the imported one. Memory: what [`crate::parallel::in_order`] has in flight.

mod era1;
mod ere;

pub use era1::{era1_epochs, export_era1, write_era1};
pub use ere::{EreEpoch, ere_epochs, ere_name, export_ere, write_ere};

use super::{
    error::{EthereumError, Fault},
    hash::Hash32,
    import::{CheckedBlock, Progress, Stage, finish},
    tables::{ORIGINAL_CHUNK_BYTES, Tables, original_key},
    uint::U256,
};
use crate::{archive::Archive, parallel::Lot};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
};

/// Blocks read from the store at a time.
const BATCH_BLOCKS: u64 = 32;

/// What an export made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ExportReport {
    /// The file's name.
    pub file: String,
    /// Its SHA-256: that of the imported file, where there was one.
    pub sha256: Hash32,
    /// Its size.
    pub file_bytes: u64,
    /// Heights of its first and last block.
    pub heights: (u64, u64),
    /// Whether it comes from the original bytes instead of the blocks.
    pub from_original: bool,
}

/// Has a file of `folder` written; an older one of that name is replaced.
///
/// It appears under its name only when it is whole, verified and durable; until then it is `.<name>.part`.
fn to_file(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut File) -> Result<ExportReport, EthereumError>,
) -> Result<(PathBuf, ExportReport), EthereumError> {
    let (path, part) = (folder.join(name), folder.join(format!(".{name}.part")));
    let io = || EthereumError::io(&part);
    let made = || {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&part)
            .map_err(io())?;
        let report = write(&mut file)?;
        file.sync_all().map_err(io())?;
        std::fs::rename(&part, &path).map_err(EthereumError::io(&path))?;
        // the rename itself must last, too
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(EthereumError::io(folder))?;
        Ok(report)
    };
    match made() {
        Ok(report) => Ok((path, report)),
        Err(error) => {
            // what is left of it is of no use, and the first error is the one that matters
            let _ = std::fs::remove_file(&part);
            Err(error)
        }
    }
}

/// Hashes and counts what is written.
struct Sink<'a, W> {
    out: &'a mut W,
    file: &'a str,
    hasher: Sha256,
    bytes: u64,
}

impl<'a, W: Write> Sink<'a, W> {
    fn new(out: &'a mut W, file: &'a str) -> Self {
        Self { out, file, hasher: Sha256::new(), bytes: 0 }
    }

    /// How many there were.
    const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), EthereumError> {
        self.out.write_all(bytes).map_err(EthereumError::io(self.file))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn report(&self, bytes_total: u64, blocks_done: u64, progress: &mut dyn FnMut(&Progress)) {
        let bytes_done = self.bytes;
        progress(&Progress { stage: Stage::Exporting, bytes_done, bytes_total, blocks_done });
    }

    /// The digest and size of what was written.
    fn finish(self) -> Result<(Hash32, u64), EthereumError> {
        self.out.flush().map_err(EthereumError::io(self.file))?;
        Ok((finish(&self.hasher), self.bytes))
    }
}

/// Writes a file whose own bytes were kept.
fn copy_original<A: Archive + ?Sized, W: Write>(
    archive: &A,
    tables: &Tables,
    sha256: &Hash32,
    file_bytes: u64,
    sink: &mut Sink<'_, W>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(), EthereumError> {
    for chunk in 0.. {
        let left = file_bytes - sink.bytes();
        if left == 0 {
            break;
        }
        let name = || format!("{sha256} chunk {chunk}");
        let key = original_key(sha256, chunk);
        let bytes = archive
            .get(&tables.era1_original, &key)?
            .ok_or_else(|| EthereumError::stored(&tables.era1_original, name(), Fault::Missing))?;
        let expected = left.min(ORIGINAL_CHUNK_BYTES as u64);
        if bytes.len() as u64 != expected {
            let fault = Fault::RecordLength { expected, found: bytes.len() as u64 };
            return Err(EthereumError::stored(&tables.era1_original, name(), fault));
        }
        sink.write(&bytes)?;
        sink.report(file_bytes, 0, progress);
    }
    Ok(())
}

/// Blocks of consecutive heights as `read` gives them, [`BATCH_BLOCKS`] a lot; a lot that cannot be read is the last one.
fn batches<T>(
    heights: Range<u64>,
    read: impl Fn(u64, u64) -> Result<Vec<T>, EthereumError>,
    bytes_of: impl Fn(&T) -> usize,
) -> impl FnMut() -> Option<Lot<Result<Vec<T>, EthereumError>>> {
    let mut from = heights.start;
    move || {
        let count = BATCH_BLOCKS.min(heights.end - from);
        if count == 0 {
            return None;
        }
        let items = read(from, count);
        from = if items.is_ok() { from + count } else { heights.end };
        let bytes = items.iter().flatten().map(&bytes_of).sum();
        Some(Lot { items, bytes })
    }
}

/// Records of consecutive heights, all of them.
fn rows<A: Archive + ?Sized>(
    archive: &A,
    table: &str,
    start: u64,
    count: u64,
) -> Result<Vec<(u64, Vec<u8>)>, EthereumError> {
    let limit = usize::try_from(count).expect("a batch");
    let rows = archive.range(table, start, limit)?;
    let gap = (start..start + count)
        .zip(rows.iter().map(|&(height, _)| Some(height)).chain(std::iter::repeat(None)))
        .find(|&(expected, found)| found != Some(expected));
    match gap {
        Some((height, _)) => Err(EthereumError::stored(table, height, Fault::Missing)),
        None => Ok(rows),
    }
}

/// A stored total difficulty.
fn total_of(tables: &Tables, height: u64, value: &[u8]) -> Result<U256, EthereumError> {
    U256::from_be_slice(value).ok_or_else(|| {
        let fault = Fault::RecordLength { expected: 32, found: value.len() as u64 };
        EthereumError::stored(&tables.total_difficulty, height, fault)
    })
}

/// Whether a block follows its parent, of which hash and total difficulty are given.
fn follows(
    block: &CheckedBlock,
    total: Option<U256>,
    parent: Option<(Hash32, Option<U256>)>,
) -> Result<(), Fault> {
    let Some((expected, before)) = parent else { return Ok(()) };
    if block.parent_hash != expected {
        let parent_height = block.height - 1;
        return Err(Fault::Parent { parent_height, expected, found: block.parent_hash });
    }
    let (Some(found), Some(before)) = (total, before) else { return Ok(()) };
    match before.checked_add(block.difficulty) {
        Some(expected) if expected == found => Ok(()),
        expected => Err(Fault::TotalDifficulty { expected: expected.unwrap_or_default(), found }),
    }
}

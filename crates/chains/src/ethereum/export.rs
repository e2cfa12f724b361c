//! The store's history back into `.era1` files, bit for bit.
//!
//! Each block is verified again on its way out: hash chain, all roots, total difficulty; then the accumulator, and at the
//! end the SHA-256 of the whole file against that of the imported one. Memory: 32 blocks.

use super::{
    accumulator::Accumulator,
    era1::{Era1Name, VERSION_RECORD, write_tail, write_tuple},
    error::{EthereumError, Fault},
    hash::Hash32,
    import::{
        CheckedBlock, ImportOptions, Progress, Scratch, Stage, era1_record, finish, verify_era1,
    },
    network::Network,
    tables::{Era1Record, ORIGINAL_CHUNK_BYTES, Tables, original_key},
    uint::U256,
};
use crate::{archive::Archive, ethereum::block::Block, parallel};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::Write,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// Blocks read from the store at a time.
const BATCH_BLOCKS: u64 = 32;

/// What an export made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ExportReport {
    /// The file's name: `<network>-<epoch>-<root>.era1`.
    pub file: String,
    /// Its SHA-256: that of the imported file.
    pub sha256: Hash32,
    /// Its size.
    pub file_bytes: u64,
    /// Heights of its first and last block.
    pub heights: (u64, u64),
    /// Whether it comes from the original bytes instead of the blocks.
    pub from_original: bool,
}

/// The epochs of a network that can be exported, and what is known of each file; in order.
///
/// # Errors
/// When the store cannot read, or a record is damaged.
pub fn era1_epochs<A: Archive + ?Sized>(
    archive: &A,
    network: &Network,
) -> Result<Vec<(u64, Era1Record)>, EthereumError> {
    let tables = Tables::of(network);
    let (mut epochs, mut from) = (Vec::new(), Some(0u64));
    while let Some(start) = from {
        let page = archive.range(&tables.era1, start, 1024)?;
        from = page.last().and_then(|&(last, _)| last.checked_add(1));
        for (epoch, value) in page {
            epochs.push((epoch, decode_record(&tables, epoch, &value)?));
        }
    }
    Ok(epochs)
}

/// Makes an epoch's file in `folder` and gives its path; an older file of that name is replaced.
///
/// The file appears under its name only when it is whole, verified and durable; until then it is `.<name>.part`.
///
/// # Errors
/// See [`EthereumError`]; then there is no file of that name, or the old one.
pub fn export_era1<A: Archive + ?Sized>(
    archive: &A,
    network: &Network,
    epoch: u64,
    folder: &Path,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(PathBuf, ExportReport), EthereumError> {
    let record = record_of(archive, network, epoch)?;
    let name = Era1Name::of(network, epoch, &record.accumulator);
    let (path, part) = (folder.join(&name), folder.join(format!(".{name}.part")));
    let made =
        export_to_part(archive, network, epoch, &part, threads, progress).and_then(|report| {
            std::fs::rename(&part, &path).map_err(EthereumError::io(&path))?;
            // the rename itself must last, too
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(EthereumError::io(folder))?;
            Ok(report)
        });
    match made {
        Ok(report) => Ok((path, report)),
        Err(error) => {
            // what is left of it is of no use, and the first error is the one that matters
            let _ = std::fs::remove_file(&part);
            Err(error)
        }
    }
}

fn export_to_part<A: Archive + ?Sized>(
    archive: &A,
    network: &Network,
    epoch: u64,
    part: &Path,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ExportReport, EthereumError> {
    let io = || EthereumError::io(part);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(part)
        .map_err(io())?;
    let report = write_era1(archive, network, epoch, &mut file, threads, progress)?;
    if report.from_original {
        // these bytes were not made from verified blocks: verify them as an import does
        let options = ImportOptions { threads, ..ImportOptions::default() };
        verify_era1(&mut file, &report.file, &options, &mut |_| ())?;
    }
    file.sync_all().map_err(io())?;
    Ok(report)
}

/// Writes an epoch's file to `out`. Of a kept original only the SHA-256 is checked: verify what was written.
///
/// # Errors
/// See [`EthereumError`]; then what was written is not to be used.
pub fn write_era1<A: Archive + ?Sized, W: Write>(
    archive: &A,
    network: &Network,
    epoch: u64,
    out: &mut W,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ExportReport, EthereumError> {
    let (tables, record) = (Tables::of(network), record_of(archive, network, epoch)?);
    let file = Era1Name::of(network, epoch, &record.accumulator);
    let mut sink = Sink { out, file: &file, hasher: Sha256::new(), bytes: 0 };
    if record.original_kept {
        copy_original(archive, &tables, &record, &mut sink, progress)?;
    } else {
        encode_blocks(archive, &tables, network, &record, &mut sink, threads, progress)?;
    }
    sink.out.flush().map_err(EthereumError::io(&file))?;
    let (sha256, file_bytes) = (finish(&sink.hasher), sink.bytes);
    if sha256 != record.sha256 {
        return Err(EthereumError::ExportDiffers { file, expected: record.sha256, found: sha256 });
    }
    let heights = (record.start_height, record.start_height + u64::from(record.block_count) - 1);
    Ok(ExportReport { file, sha256, file_bytes, heights, from_original: record.original_kept })
}

fn record_of<A: Archive + ?Sized>(
    archive: &A,
    network: &Network,
    epoch: u64,
) -> Result<Era1Record, EthereumError> {
    era1_record(archive, &Tables::of(network), epoch)?.ok_or_else(|| EthereumError::NotStored {
        network: network.name().into(),
        what: format!("epoch {epoch}"),
    })
}

fn decode_record(tables: &Tables, epoch: u64, value: &[u8]) -> Result<Era1Record, EthereumError> {
    Era1Record::from_bytes(value).ok_or_else(|| {
        let (expected, found) = (Era1Record::BYTES as u64, value.len() as u64);
        EthereumError::stored(&tables.era1, epoch, Fault::RecordLength { expected, found })
    })
}

/// Hashes and counts what is written.
struct Sink<'a, W> {
    out: &'a mut W,
    file: &'a str,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write> Sink<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EthereumError> {
        self.out.write_all(bytes).map_err(EthereumError::io(self.file))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn copy_original<A: Archive + ?Sized, W: Write>(
    archive: &A,
    tables: &Tables,
    record: &Era1Record,
    sink: &mut Sink<'_, W>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(), EthereumError> {
    for chunk in 0.. {
        let left = record.file_bytes - sink.bytes;
        if left == 0 {
            break;
        }
        let name = || format!("{} chunk {chunk}", record.sha256);
        let key = original_key(&record.sha256, chunk);
        let bytes = archive
            .get(&tables.era1_original, &key)?
            .ok_or_else(|| EthereumError::stored(&tables.era1_original, name(), Fault::Missing))?;
        let expected = left.min(ORIGINAL_CHUNK_BYTES as u64);
        if bytes.len() as u64 != expected {
            let fault = Fault::RecordLength { expected, found: bytes.len() as u64 };
            return Err(EthereumError::stored(&tables.era1_original, name(), fault));
        }
        sink.write(&bytes)?;
        report(sink, record, 0, progress);
    }
    Ok(())
}

fn report<W>(
    sink: &Sink<'_, W>,
    record: &Era1Record,
    blocks_done: u64,
    progress: &mut dyn FnMut(&Progress),
) {
    let (bytes_done, bytes_total) = (sink.bytes, record.file_bytes);
    progress(&Progress { stage: Stage::Exporting, bytes_done, bytes_total, blocks_done });
}

/// One block as it lies in the store.
struct StoredBlock {
    height: u64,
    block: Vec<u8>,
    receipts: Vec<u8>,
    total: U256,
}

fn encode_blocks<A: Archive + ?Sized, W: Write>(
    archive: &A,
    tables: &Tables,
    network: &Network,
    record: &Era1Record,
    sink: &mut Sink<'_, W>,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(), EthereumError> {
    let mut scratches = Scratch::of_threads(threads);
    let mut accumulator = Accumulator::default();
    let (mut offsets, mut parent) = (Vec::new(), None);
    let end = record.start_height + u64::from(record.block_count);
    sink.write(&VERSION_RECORD)?;
    let mut start = record.start_height;
    while start < end {
        let count = BATCH_BLOCKS.min(end - start);
        let stored = read_blocks(archive, tables, start, count)?;
        let encoded = parallel::map(&mut scratches, &stored, |scratch, stored| {
            encode(stored, network.chain_id(), scratch)
        });
        for (stored, encoded) in stored.iter().zip(encoded) {
            let damaged = |fault| EthereumError::stored(&tables.block, stored.height, fault);
            let (checked, bytes) = encoded.map_err(damaged)?;
            follows(&checked, stored.total, parent).map_err(damaged)?;
            parent = Some((checked.hash, stored.total));
            accumulator.push(checked.hash, stored.total);
            offsets.push(sink.bytes);
            sink.write(&bytes)?;
        }
        start += count;
        report(sink, record, start - record.start_height, progress);
    }
    let root = accumulator.root();
    if root != record.accumulator {
        let fault = Fault::Accumulator { expected: root, found: record.accumulator };
        return Err(EthereumError::stored(&tables.era1, record.start_height / 8192, fault));
    }
    let tail = write_tail(&root, record.start_height, &offsets, sink.bytes);
    sink.write(&tail)
}

fn read_blocks<A: Archive + ?Sized>(
    archive: &A,
    tables: &Tables,
    start: u64,
    count: u64,
) -> Result<Vec<StoredBlock>, EthereumError> {
    let limit = usize::try_from(count).expect("a batch");
    let column = |table: &str| {
        let rows = archive.range(table, start, limit)?;
        let gap = (start..start + count)
            .zip(rows.iter().map(|&(height, _)| Some(height)).chain(std::iter::repeat(None)))
            .find(|&(expected, found)| found != Some(expected));
        match gap {
            Some((height, _)) => Err(EthereumError::stored(table, height, Fault::Missing)),
            None => Ok(rows),
        }
    };
    let totals = column(&tables.total_difficulty)?;
    let rows = column(&tables.block)?.into_iter().zip(column(&tables.receipts)?).zip(totals);
    rows.map(|(((height, block), (_, receipts)), (_, total))| {
        let total = U256::from_be_slice(&total).ok_or_else(|| {
            let fault = Fault::RecordLength { expected: 32, found: total.len() as u64 };
            EthereumError::stored(&tables.total_difficulty, height, fault)
        })?;
        Ok(StoredBlock { height, block, receipts, total })
    })
    .collect()
}

fn encode(
    stored: &StoredBlock,
    chain_id: Option<u64>,
    scratch: &mut Scratch,
) -> Result<(CheckedBlock, Vec<u8>), Fault> {
    let block = Block::from_rlp(&stored.block)?;
    let found = block.header().number;
    if found != stored.height {
        return Err(Fault::Height { expected: stored.height, found });
    }
    let checked = CheckedBlock::verify(&block, Some(&stored.receipts), chain_id)
        .map_err(|(_, fault)| fault)?;
    scratch.body.clear();
    block.write_body(&mut scratch.body);
    let mut out = Vec::with_capacity(stored.block.len() / 2);
    let header = block.header().raw;
    write_tuple(
        &mut scratch.encoder,
        header,
        &scratch.body,
        &stored.receipts,
        stored.total,
        &mut out,
    );
    Ok((checked, out))
}

fn follows(block: &CheckedBlock, total: U256, parent: Option<(Hash32, U256)>) -> Result<(), Fault> {
    let Some((expected, before)) = parent else { return Ok(()) };
    if block.parent_hash != expected {
        let parent_height = block.height - 1;
        return Err(Fault::Parent { parent_height, expected, found: block.parent_hash });
    }
    match before.checked_add(block.difficulty) {
        Some(expected) if expected == total => Ok(()),
        expected => {
            Err(Fault::TotalDifficulty { expected: expected.unwrap_or_default(), found: total })
        }
    }
}

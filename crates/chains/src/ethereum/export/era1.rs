//! `.era1` files, as they were imported.

use super::{ExportReport, Sink, batches, copy_original, follows, rows, to_file, total_of};
use crate::{
    archive::Archive,
    ethereum::{
        accumulator::Accumulator,
        block::Block,
        era1::{Era1Name, VERSION_RECORD, write_tail, write_tuple},
        error::{EthereumError, Fault},
        import::{CheckedBlock, ImportOptions, Progress, Scratch, era1_record, verify_era1},
        network::Network,
        tables::{Era1Record, Tables},
        uint::U256,
    },
    parallel,
};
use std::{
    io::Write,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

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
            epochs.push((epoch, Era1Record::decode(&tables, epoch, &value)?));
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
pub fn export_era1<A: Archive + Sync + ?Sized>(
    archive: &A,
    network: &Network,
    epoch: u64,
    folder: &Path,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(PathBuf, ExportReport), EthereumError> {
    let record = record_of(archive, network, epoch)?;
    let name = Era1Name::of(network, epoch, &record.accumulator);
    to_file(folder, &name, |file| {
        let report = write_era1(archive, network, epoch, file, threads, progress)?;
        if report.from_original {
            // these bytes were not made from verified blocks: verify them as an import does
            let options = ImportOptions { threads, ..ImportOptions::default() };
            verify_era1(file, &report.file, &options, &mut |_| ())?;
        }
        Ok(report)
    })
}

/// Writes an epoch's file to `out`. Of a kept original only the SHA-256 is checked: verify what was written.
///
/// # Errors
/// See [`EthereumError`]; then what was written is not to be used.
pub fn write_era1<A: Archive + Sync + ?Sized, W: Write>(
    archive: &A,
    network: &Network,
    epoch: u64,
    out: &mut W,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ExportReport, EthereumError> {
    let (tables, record) = (Tables::of(network), record_of(archive, network, epoch)?);
    let file = Era1Name::of(network, epoch, &record.accumulator);
    let mut sink = Sink::new(out, &file);
    if record.original_kept {
        copy_original(archive, &tables, &record.sha256, record.file_bytes, &mut sink, progress)?;
    } else {
        encode_blocks(archive, &tables, network, &record, &mut sink, threads, progress)?;
    }
    let (sha256, file_bytes) = sink.finish()?;
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

/// One block as it lies in the store.
struct StoredBlock {
    height: u64,
    block: Vec<u8>,
    receipts: Vec<u8>,
    total: U256,
}

fn encode_blocks<A: Archive + Sync + ?Sized, W: Write>(
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
    let read = |start, count| read_blocks(archive, tables, start, count);
    let bytes_of = |stored: &StoredBlock| stored.block.len() + stored.receipts.len();
    parallel::in_order(
        &mut scratches,
        batches(record.start_height..end, read, bytes_of),
        |scratch, _, stored| {
            let encode = |stored: StoredBlock| {
                (stored.height, stored.total, encode(&stored, network.chain_id(), scratch))
            };
            stored.map(|stored| stored.into_iter().map(encode).collect::<Vec<_>>())
        },
        |encoded| {
            for (height, total, encoded) in encoded? {
                let damaged = |fault| EthereumError::stored(&tables.block, height, fault);
                let (checked, bytes) = encoded.map_err(damaged)?;
                follows(&checked, Some(total), parent).map_err(damaged)?;
                parent = Some((checked.hash, Some(total)));
                accumulator.push(checked.hash, total);
                offsets.push(sink.bytes());
                sink.write(&bytes)?;
            }
            sink.report(record.file_bytes, offsets.len() as u64, progress);
            Ok::<(), EthereumError>(())
        },
    )?;
    let root = accumulator.root();
    if root != record.accumulator {
        let fault = Fault::Accumulator { expected: root, found: record.accumulator };
        return Err(EthereumError::stored(&tables.era1, record.start_height / 8192, fault));
    }
    let tail = write_tail(&root, record.start_height, &offsets, sink.bytes());
    sink.write(&tail)
}

fn read_blocks<A: Archive + ?Sized>(
    archive: &A,
    tables: &Tables,
    start: u64,
    count: u64,
) -> Result<Vec<StoredBlock>, EthereumError> {
    let rows = |table: &str| rows(archive, table, start, count);
    let totals = rows(&tables.total_difficulty)?;
    let blocks = rows(&tables.block)?.into_iter().zip(rows(&tables.receipts)?).zip(totals);
    blocks
        .map(|(((height, block), (_, receipts)), (_, total))| {
            let total = total_of(tables, height, &total)?;
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

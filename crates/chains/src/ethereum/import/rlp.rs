//! Plain RLP files into the store: one block after another, heights rising, gaps allowed.

use super::{
    CheckedBlock, ImportOptions, ImportReport, Marks, Progress, Scratch, Stage, file::or_changed,
    finish, link::Linker, put::Putter,
};
use crate::{
    archive::Archive,
    ethereum::{
        block::Block,
        e2store::read_up_to,
        error::{EthereumError, Fault, Part, Place},
        network::Network,
        rlp::{PREFIX_BYTES_MAX, RlpError, prefix},
        tables::{NewBlocks, Tables},
        tuple::PART_BYTES_MAX,
    },
    parallel::{self, LOT_BYTES, Lot},
};
use sha2::{Digest as _, Sha256};
use std::{
    io::{BufReader, Read, Seek, SeekFrom},
    ops::Range,
};

/// Takes a file of RLP blocks in: verifies all of it, then stores its blocks. Importing it again stores nothing.
///
/// The network is `options.network`, or mainnet. Records are durable when this returns.
///
/// # Errors
/// See [`EthereumError`]. Unless it is the store that fails (or the file changes in between), nothing was put.
pub fn import_rlp<A: Archive + ?Sized, R: Read + Seek + Send>(
    archive: &mut A,
    mut input: R,
    file: &str,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ImportReport, EthereumError> {
    let network = options.network.clone().unwrap_or_else(Network::mainnet);
    let tables = Tables::of(&network);
    let mut scratches = Scratch::of_threads(options.threads);
    let verified =
        verify(archive, &tables, &network, &mut input, file, options, &mut scratches, progress)?;
    let mut report = verified.report;
    store(
        archive,
        &tables,
        &mut input,
        file,
        &verified.marks,
        &mut scratches,
        &mut report,
        progress,
    )?;
    archive.commit()?;
    Ok(report)
}

struct Verified {
    report: ImportReport,
    marks: Marks,
}

#[expect(clippy::too_many_arguments, reason = "one caller; a struct would only rename them")]
fn verify<A: Archive + ?Sized, R: Read + Seek + Send>(
    archive: &A,
    tables: &Tables,
    network: &Network,
    input: &mut R,
    file: &str,
    options: &ImportOptions,
    scratches: &mut [Scratch],
    progress: &mut dyn FnMut(&Progress),
) -> Result<Verified, EthereumError> {
    let mut reader = RlpReader::open(input, file)?;
    let mut linker = Linker::new(archive, tables, network, file);
    let (mut hasher, mut marks) = (Sha256::new(), Marks::default());
    let (mut blocks, mut transactions, mut heights) = (0, 0, None);
    let (chain_id, bytes_total) = (network.chain_id(), reader.file_bytes);
    parallel::in_order(
        scratches,
        || {
            let lot = reader.next_lot()?;
            hasher.update(&lot.items.0.bytes);
            Some(lot)
        },
        |_, _, (batch, after)| {
            let verify = |range: &Range<usize>| {
                let block = Block::from_rlp(&batch.bytes[range.clone()])
                    .map_err(|fault| (Part::Block, fault, None))?;
                CheckedBlock::verify(&block, None, chain_id)
                    .map_err(|(part, fault)| (part, fault, Some(block.header().number)))
            };
            let checked: Vec<_> = batch.blocks.iter().map(verify).collect();
            let mark = blake3::hash(&batch.bytes);
            (batch, mark, checked, after)
        },
        |(batch, mark, checked, after)| -> Result<(), EthereumError> {
            for ((record, range), checked) in (batch.first_record..).zip(&batch.blocks).zip(checked)
            {
                let offset = batch.offset + range.start as u64;
                let place =
                    |part, height| Place { file: file.into(), record, offset, part, height };
                let block =
                    checked.map_err(|bad| EthereumError::damaged(place(bad.0, bad.2), bad.1))?;
                linker.push(&block, None, |part| place(part, Some(block.height)))?;
                blocks += 1;
                transactions += block.transactions;
                heights = Some((heights.map_or(block.height, |(first, _)| first), block.height));
            }
            marks.push(mark);
            after?; // what was wrong after these blocks
            let (bytes_done, blocks_done) = (batch.end(), blocks);
            progress(&Progress { stage: Stage::Verifying, bytes_done, bytes_total, blocks_done });
            Ok(())
        },
    )?;
    let Some(heights) = heights else {
        return Err(EthereumError::damaged(reader.place(Part::File), Fault::Empty));
    };
    let gaps = linker.finish()?;
    let sha256 = finish(&hasher);
    if let Some(expected) = options.sha256.filter(|&expected| expected != sha256) {
        return Err(EthereumError::Checksum { file: file.into(), expected, found: sha256 });
    }
    let report = ImportReport {
        file: file.into(),
        network: network.clone(),
        epoch: None,
        sha256,
        file_bytes: reader.file_bytes,
        decoded_bytes: reader.file_bytes,
        heights,
        blocks,
        blocks_stored: 0,
        transactions,
        bytes_stored: 0,
        gaps,
        skipped: false,
        original_bytes_kept: None,
        first_file: None,
    };
    Ok(Verified { report, marks })
}

#[expect(clippy::too_many_arguments, reason = "one caller; a struct would only rename them")]
fn store<A: Archive + ?Sized, R: Read + Seek + Send>(
    archive: &mut A,
    tables: &Tables,
    input: &mut R,
    file: &str,
    marks: &Marks,
    scratches: &mut [Scratch],
    report: &mut ImportReport,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(), EthereumError> {
    let mut reader = RlpReader::open(input, file)?;
    let (mut stored, bytes_total) = (Putter::new(tables), reader.file_bytes);
    let (mut blocks_done, mut runs, mut end) = (0, 0, 0);
    let changed = |offset| EthereumError::Changed { file: file.into(), offset };
    parallel::in_order(
        scratches,
        || reader.next_lot(),
        |_, run, (batch, after)| {
            after.map_err(|error| or_changed(error, changed(batch.offset)))?;
            if !marks.matches(run, &batch.bytes) {
                return Err(changed(batch.offset));
            }
            let mut new = NewBlocks::default();
            for range in &batch.blocks {
                Block::from_rlp(&batch.bytes[range.clone()])
                    .and_then(|block| new.push(&block, None, None, None))
                    .map_err(|_| changed(batch.offset + range.start as u64))?;
            }
            Ok((batch.end(), new))
        },
        |decoded| -> Result<(), EthereumError> {
            let (bytes_done, new) = decoded?;
            (runs, end, blocks_done) = (runs + 1, bytes_done, blocks_done + new.len() as u64);
            new.iter().try_for_each(|new| stored.put(archive, new))?;
            stored.pause(archive)?;
            progress(&Progress { stage: Stage::Storing, bytes_done, bytes_total, blocks_done });
            Ok(())
        },
    )?;
    if runs < marks.len() {
        return Err(changed(end));
    }
    (report.blocks_stored, report.bytes_stored) = (stored.blocks, stored.bytes);
    Ok(())
}

/// A run of whole blocks.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    offset: u64,
    first_record: u64,
    blocks: Vec<Range<usize>>,
}

impl Batch {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

struct RlpReader<'a, R> {
    input: BufReader<R>,
    file: &'a str,
    file_bytes: u64,
    offset: u64,
    record: u64,
    ended: bool,
}

impl<'a, R: Read + Seek> RlpReader<'a, R> {
    fn open(input: R, file: &'a str) -> Result<Self, EthereumError> {
        let mut input = BufReader::with_capacity(1 << 16, input);
        let file_bytes = input.seek(SeekFrom::End(0)).map_err(EthereumError::io(file))?;
        input.rewind().map_err(EthereumError::io(file))?;
        Ok(Self { input, file, file_bytes, offset: 0, record: 0, ended: false })
    }

    fn place(&self, part: Part) -> Place {
        let (record, offset) = (self.record, self.offset);
        Place { file: self.file.into(), record, offset, part, height: None }
    }

    /// The next blocks, and what is wrong after them. `None` after the last ones, and after an error.
    fn next_lot(&mut self) -> Option<Lot<(Batch, Result<(), EthereumError>)>> {
        if self.ended {
            return None;
        }
        let (offset, first_record) = (self.offset, self.record);
        let mut batch = Batch { offset, first_record, ..Batch::default() };
        let after = self.read_blocks(&mut batch);
        self.ended = after.is_err() || self.offset == self.file_bytes;
        Some(Lot { bytes: batch.bytes.len(), items: (batch, after) })
    }

    fn read_blocks(&mut self, batch: &mut Batch) -> Result<(), EthereumError> {
        while batch.bytes.len() < LOT_BYTES && self.offset < self.file_bytes {
            let start = batch.bytes.len();
            self.block(&mut batch.bytes)?;
            batch.blocks.push(start..batch.bytes.len());
        }
        Ok(())
    }

    fn block(&mut self, out: &mut Vec<u8>) -> Result<(), EthereumError> {
        let damaged =
            |reader: &Self, fault| EthereumError::damaged(reader.place(Part::Block), fault);
        let start = out.len();
        let io = || EthereumError::io(self.file);
        // a block has hundreds of bytes: its prefix may be read at once
        let head = read_up_to(&mut self.input, PREFIX_BYTES_MAX as u64, out).map_err(io())?;
        let prefix = match prefix(&out[start..]) {
            Ok(Some(prefix)) if prefix.list => prefix,
            Ok(_) => return Err(damaged(self, Fault::rlp("block")(RlpError::ExpectedList))),
            Err(source) => return Err(damaged(self, Fault::rlp("block")(source))),
        };
        let needed = prefix.bytes as u64 + prefix.payload_bytes;
        if needed > PART_BYTES_MAX as u64 {
            let fault = Fault::TooLong { bytes_max: PART_BYTES_MAX as u64, found: needed };
            return Err(damaged(self, fault));
        }
        let missing = needed.checked_sub(head).ok_or_else(|| {
            // shorter than the longest prefix: no block, whatever follows
            damaged(self, Fault::Rlp { field: "header", source: RlpError::Missing })
        })?;
        let read = read_up_to(&mut self.input, missing, out).map_err(io())?;
        if read < missing {
            return Err(damaged(self, Fault::Truncated { needed, available: head + read }));
        }
        self.offset += needed;
        self.record += 1;
        Ok(())
    }
}

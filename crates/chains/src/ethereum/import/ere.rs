//! `.ere` files into the store.
//!
//! Their records lie by component, so a run of blocks is read from several places. The digest of the whole file is taken in both
//! passes, beside the blocks: what is recorded as imported was the same all the time.

use super::{
    CheckedBlock, ImportOptions, ImportReport, Marks, Progress, Scratch, Stage,
    file::{check_epoch, check_prefix, check_sha256, hash_file, network_of, or_changed},
    link::Linker,
    original::Original,
    put::Putter,
    tuple::{Surroundings, verify_tuple},
};
use crate::{
    archive::{Archive, MemoryArchive, Record},
    ethereum::{
        accumulator::{Accumulator, EPOCH_BLOCKS},
        ere::{EreName, EreProfile, EreReader, Offsets, write_tail},
        error::{EthereumError, Fault, Part},
        hash::Hash32,
        network::Network,
        tables::{EreRecord, ORIGINAL_CHUNK_BYTES, Tables},
        uint::U256,
    },
    parallel,
};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Seek};

/// Takes an `.ere` file in: verifies all of it, then stores its blocks. Importing it again is a no-op.
///
/// `file` is the file's name: it appears in messages, and what it says is checked against the content. Records are durable
/// when this returns.
///
/// # Errors
/// See [`EthereumError`]. Unless it is the store that fails (or the file changes in between), nothing was put.
pub fn import_ere<A: Archive + ?Sized, R: Read + Seek + Send>(
    archive: &mut A,
    mut input: R,
    file: &str,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ImportReport, EthereumError> {
    let pass = FilePass::of(file, options)?;
    let tables = Tables::of(&pass.network);
    if let Some(name) = &pass.name
        && let Some(record) = ere_record(archive, &tables, name.epoch)?
    {
        let sha256 = hash_file(&mut input, file, progress)?;
        check_sha256(file, options, sha256)?;
        if sha256 == record.sha256 {
            return Ok(pass.report_of(&record, true));
        }
    }
    let mut scratches = Scratch::of_threads(options.threads);
    let mut verified = pass.verify(archive, &tables, &mut input, &mut scratches, progress)?;
    let sha256 = verified.record.sha256;
    check_sha256(file, options, sha256)?;
    let known = ere_record(archive, &tables, verified.epoch)?;
    if let Some(record) = known.filter(|record| record.sha256 == sha256) {
        return Ok(pass.report_of(&record, true)); // under another name
    }
    let stored = pass.store(archive, &tables, &mut input, &verified, &mut scratches, progress)?;
    let (blocks_stored, mut bytes_stored) = (stored.blocks, stored.bytes);
    verified.record.original_kept |= stored.proofs_differ;
    // another encoding of an epoch that is there already: its blocks are compared, its form is not kept
    let keep_original = known.is_none() && verified.record.original_kept;
    if keep_original {
        let (kept, bytes) = keep(archive, &tables, &mut input, file, &sha256)?;
        bytes_stored += bytes;
        if kept != sha256 {
            return Err(EthereumError::Changed { file: file.into(), offset: 0 });
        }
    }
    if known.is_none() {
        let value = verified.record.to_bytes();
        archive.put(&[Record::sequence(&tables.ere, verified.epoch, &value[..])])?;
    }
    archive.commit()?;
    let mut report = pass.report_of(&verified.record, false);
    report.transactions = verified.transactions;
    (report.blocks_stored, report.bytes_stored) = (blocks_stored, bytes_stored);
    report.original_bytes_kept = keep_original.then_some(verified.record.file_bytes);
    report.first_file = known.map(|record| record.sha256);
    Ok(report)
}

/// Verifies an `.ere` file by itself, without a store.
///
/// # Errors
/// See [`EthereumError`].
pub fn verify_ere<R: Read + Seek + Send>(
    mut input: R,
    file: &str,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ImportReport, EthereumError> {
    let pass = FilePass::of(file, options)?;
    let (nothing, tables) = (MemoryArchive::default(), Tables::of(&pass.network));
    let mut scratches = Scratch::of_threads(options.threads);
    let verified = pass.verify(&nothing, &tables, &mut input, &mut scratches, progress)?;
    let sha256 = verified.record.sha256;
    check_sha256(file, options, sha256)?;
    if hash_file(&mut input, file, progress)? != sha256 {
        return Err(EthereumError::Changed { file: file.into(), offset: 0 });
    }
    let mut report = pass.report_of(&verified.record, false);
    report.transactions = verified.transactions;
    Ok(report)
}

/// The record of an epoch's file.
pub(crate) fn ere_record<A: Archive + ?Sized>(
    archive: &A,
    tables: &Tables,
    epoch: u64,
) -> Result<Option<EreRecord>, EthereumError> {
    let value = archive.get(&tables.ere, &epoch.to_be_bytes())?;
    value.map(|value| EreRecord::decode(tables, epoch, &value)).transpose()
}

/// Puts the file itself; gives its digest, and how many bytes were put.
fn keep<A: Archive + ?Sized, R: Read + Seek>(
    archive: &mut A,
    tables: &Tables,
    input: &mut R,
    file: &str,
    sha256: &Hash32,
) -> Result<(Hash32, u64), EthereumError> {
    let (mut original, mut bytes) = (Original::new(sha256, tables), 0);
    let (mut hasher, mut chunk) = (Sha256::new(), Vec::new());
    input.rewind().map_err(EthereumError::io(file))?;
    loop {
        chunk.clear();
        let read = input.by_ref().take(ORIGINAL_CHUNK_BYTES as u64).read_to_end(&mut chunk);
        if read.map_err(EthereumError::io(file))? == 0 {
            break;
        }
        hasher.update(&chunk);
        bytes += original.push(archive, &chunk)?;
    }
    bytes += original.finish(archive)?;
    Ok((super::finish(&hasher), bytes))
}

/// What the first pass found.
struct Verified {
    epoch: u64,
    record: EreRecord,
    transactions: u64,
    marks: Marks,
}

/// Both passes over one file.
struct FilePass<'a> {
    file: &'a str,
    network: Network,
    name: Option<EreName>,
}

impl<'a> FilePass<'a> {
    fn of(file: &'a str, options: &ImportOptions) -> Result<Self, EthereumError> {
        let name = EreName::parse(file);
        let network = network_of(file, name.as_ref().map(|name| &name.network), options)?;
        Ok(Self { file, network, name })
    }

    fn report_of(&self, record: &EreRecord, skipped: bool) -> ImportReport {
        let blocks = u64::from(record.block_count);
        ImportReport {
            file: self.file.into(),
            network: self.network.clone(),
            epoch: Some(record.start_height / EPOCH_BLOCKS as u64),
            sha256: record.sha256,
            file_bytes: record.file_bytes,
            decoded_bytes: record.decoded_bytes,
            heights: (record.start_height, record.start_height + blocks - 1),
            blocks,
            blocks_stored: 0,
            transactions: 0,
            bytes_stored: 0,
            gaps: 0,
            skipped,
            original_bytes_kept: record.original_kept.then_some(record.file_bytes),
            first_file: None,
        }
    }

    fn verify<A: Archive + ?Sized, R: Read + Seek + Send>(
        &self,
        archive: &A,
        tables: &Tables,
        input: &mut R,
        scratches: &mut [Scratch],
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Verified, EthereumError> {
        let file = self.file;
        let mut reader = EreReader::open(input, file)?;
        let (start_height, count) = (reader.start_height(), reader.count());
        let profile =
            EreProfile { receipts: reader.has(Part::Receipts), proofs: reader.has(Part::Proof) };
        let epoch = start_height / EPOCH_BLOCKS as u64;
        if let Some(name) = &self.name {
            check_epoch(file, name.epoch, epoch)?;
            check_profile(file, name.profile, profile)?;
        }
        if reader.has(Part::TotalDifficulty) != reader.accumulator().is_some() {
            let place = reader.tail_place(Part::Accumulator);
            return Err(EthereumError::damaged(place, Fault::AccumulatorAlone));
        }
        let around =
            Surroundings { chain_id: self.network.chain_id(), accumulator: reader.accumulator() };
        let mut linker = Linker::new(archive, tables, &self.network, file);
        let (mut merge, mut marks) = (Merge::default(), Marks::default());
        let (mut decoded_bytes, mut transactions, mut identical) = (0, 0, true);
        let (mut last_hash, mut blocks_done) = (Hash32::default(), 0);
        let bytes_total = reader.file_bytes();
        parallel::in_order(
            scratches,
            || reader.next_lot(),
            |scratch, _, batch| -> Result<_, EthereumError> {
                let batch = batch?;
                let verify = |tuple| verify_tuple(&batch.bytes, tuple, around, scratch);
                let checked: Vec<_> = batch.tuples.iter().map(verify).collect();
                Ok((blake3::hash(&batch.bytes), batch.tuples, checked))
            },
            |verified| -> Result<(), EthereumError> {
                let (mark, tuples, checked) = verified?;
                for (tuple, checked) in tuples.iter().zip(checked) {
                    let place = |part| tuple.place(file, part);
                    let damaged = |part, fault| EthereumError::damaged(place(part), fault);
                    let block = checked.map_err(|(part, fault)| damaged(part, fault))?;
                    linker.push(&block, tuple.total(), place)?;
                    merge
                        .push(&block, tuple.total())
                        .map_err(|fault| damaged(Part::Header, fault))?;
                    decoded_bytes += block.decoded_bytes;
                    transactions += block.transactions;
                    identical &= block.identical;
                    last_hash = block.hash;
                }
                marks.push(mark);
                blocks_done += tuples.len() as u64;
                let bytes_done = share(bytes_total, blocks_done, count);
                progress(&Progress {
                    stage: Stage::Verifying,
                    bytes_done,
                    bytes_total,
                    blocks_done,
                });
                Ok(())
            },
        )?;
        if let Some(found) = reader.accumulator() {
            let expected = merge.accumulator.root();
            if found != expected {
                let place = reader.tail_place(Part::Accumulator);
                return Err(EthereumError::damaged(place, Fault::Accumulator { expected, found }));
            }
        }
        linker.finish()?;
        if let Some(name) = &self.name {
            check_prefix(file, "the last block's hash", name.last_hash, last_hash)?;
        }
        // export writes total difficulties where there are blocks before the merge, and only there
        let starts_before_merge = merge.first_is_before == Some(true);
        identical &= reader.has(Part::TotalDifficulty) == starts_before_merge;
        identical &= is_laid_out_as_written(&mut reader)?;
        let record = EreRecord {
            start_height,
            block_count: u32::try_from(count).expect("at most 8192"),
            file_bytes: reader.file_bytes(),
            decoded_bytes,
            sha256: reader.sha256()?,
            last_hash,
            profile,
            original_kept: !identical,
        };
        Ok(Verified { epoch, record, transactions, marks })
    }

    fn store<'t, A: Archive + ?Sized, R: Read + Seek + Send>(
        &self,
        archive: &mut A,
        tables: &'t Tables,
        input: &mut R,
        verified: &Verified,
        scratches: &mut [Scratch],
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Putter<'t>, EthereumError> {
        let file = self.file;
        let changed = |offset| EthereumError::Changed { file: file.into(), offset };
        // what was verified reads well, unless it changed
        let mut reader =
            EreReader::open(input, file).map_err(|error| or_changed(error, changed(0)))?;
        let (bytes_total, count) = (reader.file_bytes(), reader.count());
        let (mut stored, mut blocks_done, mut runs) = (Putter::new(tables), 0, 0);
        parallel::in_order(
            scratches,
            || reader.next_lot(),
            |scratch, run, batch| {
                let batch = batch.map_err(|error| or_changed(error, changed(0)))?;
                verified.marks.decode(file, run, &batch, scratch)
            },
            |new| -> Result<(), EthereumError> {
                let new = new?;
                blocks_done += new.len() as u64;
                new.iter().try_for_each(|new| stored.put(archive, new))?;
                stored.pause(archive)?;
                runs += 1;
                let bytes_done = share(bytes_total, blocks_done, count);
                progress(&Progress { stage: Stage::Storing, bytes_done, bytes_total, blocks_done });
                Ok(())
            },
        )?;
        if runs < verified.marks.len() || reader.sha256()? != verified.record.sha256 {
            return Err(changed(0));
        }
        Ok(stored)
    }
}

/// How far a file is whose blocks are read from several places.
fn share(bytes_total: u64, blocks_done: u64, count: usize) -> u64 {
    bytes_total / count as u64 * blocks_done
        + bytes_total % count as u64 * blocks_done / count as u64
}

fn check_profile(file: &str, by_name: EreProfile, found: EreProfile) -> Result<(), EthereumError> {
    let words = |has: bool| if has { "yes" } else { "no" }.to_owned();
    for (field, by_name, found) in
        [("receipts", by_name.receipts, found.receipts), ("proofs", by_name.proofs, found.proofs)]
    {
        if by_name != found {
            let (file, expected, found) = (file.into(), words(by_name), words(found));
            return Err(EthereumError::Name { file, field, expected, found });
        }
    }
    Ok(())
}

/// The blocks before the merge, and that none comes after it.
#[derive(Default)]
struct Merge {
    accumulator: Accumulator,
    /// whether the first block is before the merge
    first_is_before: Option<bool>,
    merged: bool,
}

impl Merge {
    fn push(&mut self, block: &CheckedBlock, total: Option<U256>) -> Result<(), Fault> {
        let difficulty = block.difficulty;
        self.merged |= difficulty == U256::default();
        self.first_is_before.get_or_insert(!self.merged);
        if self.merged && difficulty != U256::default() {
            return Err(Fault::DifficultyAfterMerge { difficulty });
        }
        if let Some(total) = total.filter(|_| !self.merged) {
            self.accumulator.push(block.hash, total);
        }
        Ok(())
    }
}

/// Whether sections, accumulator and index are as export writes them.
fn is_laid_out_as_written<R: Read + Seek>(
    reader: &mut EreReader<'_, R>,
) -> Result<bool, EthereumError> {
    let mut offsets = Offsets::default();
    let mut order = Vec::new();
    for (part, starts) in reader.sections() {
        let (rank, column) = match part {
            Part::Header => (0, &mut offsets.headers),
            Part::Body => (1, &mut offsets.bodies),
            Part::Receipts => (2, &mut offsets.receipts),
            Part::Proof => (3, &mut offsets.proofs),
            _ => (4, &mut offsets.totals),
        };
        order.push(rank);
        column.extend_from_slice(starts);
    }
    let (start_height, accumulator) = (reader.start_height(), reader.accumulator());
    let tail_offset = reader.tail_offset();
    let tail = write_tail(start_height, &offsets, accumulator.as_ref(), tail_offset);
    Ok(order.is_sorted() && reader.tail()? == tail)
}

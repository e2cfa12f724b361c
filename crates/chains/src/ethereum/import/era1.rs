//! `.era1` files into the store.

use super::{
    ImportOptions, ImportReport, Marks, Progress, Scratch, Stage,
    file::{check_epoch, check_prefix, check_sha256, hash_file, network_of, or_changed},
    finish,
    link::Linker,
    original::Original,
    put::Putter,
    tuple::{Surroundings, verify_tuple},
};
use crate::{
    archive::{Archive, MemoryArchive, Record},
    ethereum::{
        accumulator::{Accumulator, EPOCH_BLOCKS},
        era1::{Era1Name, Era1Reader, Tail, VERSION_RECORD, index_entries, write_tail},
        error::{EthereumError, Fault},
        hash::Hash32,
        network::Network,
        tables::{Era1Record, Tables},
    },
    parallel,
};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Seek};

/// Takes an `.era1` file in: verifies all of it, then stores its blocks. Importing it again is a no-op.
///
/// `file` is the file's name: it appears in messages, and `<network>-<epoch>-<root>.era1` is checked against the content.
/// Records are durable when this returns.
///
/// # Errors
/// See [`EthereumError`]. Unless it is the store that fails (or the file changes in between), nothing was put.
pub fn import_era1<A: Archive + ?Sized, R: Read + Seek + Send>(
    archive: &mut A,
    mut input: R,
    file: &str,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ImportReport, EthereumError> {
    let name = Era1Name::parse(file);
    let network = network_of(file, name.as_ref().map(|name| &name.network), options)?;
    let tables = Tables::of(&network);
    if let Some(name) = &name
        && let Some(record) = era1_record(archive, &tables, name.epoch)?
    {
        let sha256 = hash_file(&mut input, file, progress)?;
        check_sha256(file, options, sha256)?;
        if sha256 == record.sha256 {
            return Ok(skipped(file, network, name.epoch, &record));
        }
    }
    let mut scratches = Scratch::of_threads(options.threads);
    let pass = FilePass { file, network: &network, name: name.as_ref(), options };
    let verified = pass.verify(archive, &tables, &mut input, &mut scratches, progress)?;
    let record = era1_record(archive, &tables, verified.epoch)?;
    if let Some(record) = record.filter(|record| record.sha256 == verified.record.sha256) {
        return Ok(skipped(file, network, verified.epoch, &record)); // under another name
    }
    // another encoding of an epoch that is there already: its blocks are compared, its form is not kept
    let keep_original = record.is_none() && verified.record.original_kept;
    let stored = pass.store(
        archive,
        &tables,
        &mut input,
        &verified,
        keep_original,
        &mut scratches,
        progress,
    )?;
    if record.is_none() {
        let value = verified.record.to_bytes();
        archive.put(&[Record::sequence(&tables.era1, verified.epoch, &value[..])])?;
    }
    archive.commit()?;
    let mut report = verified.report(file, network);
    report.blocks_stored = stored.blocks;
    report.bytes_stored = stored.bytes;
    report.original_bytes_kept = keep_original.then_some(verified.record.file_bytes);
    report.first_file = record.map(|record| record.sha256);
    Ok(report)
}

/// Verifies an `.era1` file by itself, without a store.
///
/// # Errors
/// See [`EthereumError`].
pub fn verify_era1<R: Read + Seek + Send>(
    mut input: R,
    file: &str,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ImportReport, EthereumError> {
    let name = Era1Name::parse(file);
    let network = network_of(file, name.as_ref().map(|name| &name.network), options)?;
    let pass = FilePass { file, network: &network, name: name.as_ref(), options };
    let (nothing, tables) = (MemoryArchive::default(), Tables::of(&network));
    let mut scratches = Scratch::of_threads(options.threads);
    let verified = pass.verify(&nothing, &tables, &mut input, &mut scratches, progress)?;
    Ok(verified.report(file, network))
}

/// The record of an epoch's file.
pub(crate) fn era1_record<A: Archive + ?Sized>(
    archive: &A,
    tables: &Tables,
    epoch: u64,
) -> Result<Option<Era1Record>, EthereumError> {
    let value = archive.get(&tables.era1, &epoch.to_be_bytes())?;
    value.map(|value| Era1Record::decode(tables, epoch, &value)).transpose()
}

fn skipped(file: &str, network: Network, epoch: u64, record: &Era1Record) -> ImportReport {
    let verified = Verified { epoch, record: *record, transactions: 0, marks: Marks::default() };
    ImportReport { skipped: true, ..verified.report(file, network) }
}

/// What the first pass found.
struct Verified {
    epoch: u64,
    record: Era1Record,
    transactions: u64,
    marks: Marks,
}

impl Verified {
    fn report(&self, file: &str, network: Network) -> ImportReport {
        let record = &self.record;
        let blocks = u64::from(record.block_count);
        ImportReport {
            file: file.into(),
            network,
            epoch: Some(self.epoch),
            sha256: record.sha256,
            file_bytes: record.file_bytes,
            decoded_bytes: record.decoded_bytes,
            heights: (record.start_height, record.start_height + blocks - 1),
            blocks,
            blocks_stored: 0,
            transactions: self.transactions,
            bytes_stored: 0,
            gaps: 0,
            skipped: false,
            original_bytes_kept: record.original_kept.then_some(record.file_bytes),
            first_file: None,
        }
    }
}

/// Both passes over one file.
struct FilePass<'a> {
    file: &'a str,
    network: &'a Network,
    name: Option<&'a Era1Name>,
    options: &'a ImportOptions,
}

impl FilePass<'_> {
    fn verify<A: Archive + ?Sized, R: Read + Seek + Send>(
        &self,
        archive: &A,
        tables: &Tables,
        input: &mut R,
        scratches: &mut [Scratch],
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Verified, EthereumError> {
        let (file, network) = (self.file, self.network);
        let mut reader = Era1Reader::open(input, file)?;
        let (start_height, file_bytes) = (reader.start_height(), reader.file_bytes());
        let epoch = start_height / EPOCH_BLOCKS as u64;
        if let Some(name) = self.name {
            check_epoch(file, name.epoch, epoch)?;
        }
        let mut hasher = Sha256::new_with_prefix(VERSION_RECORD);
        let mut marks = Marks::default();
        let mut linker = Linker::new(archive, tables, network, file);
        let mut accumulator = Accumulator::default();
        let around = Surroundings { chain_id: network.chain_id(), accumulator: None };
        let (mut offsets, mut end) = (Vec::new(), None);
        let (mut decoded_bytes, mut transactions, mut identical) = (0, 0, true);
        parallel::in_order(
            scratches,
            || {
                let lot = reader.next_lot()?;
                hasher.update(&lot.items.0.bytes);
                Some(lot)
            },
            |scratch, _, (batch, after)| {
                let verify = |tuple| verify_tuple(&batch.bytes, tuple, around, scratch);
                let checked: Vec<_> = batch.tuples.iter().map(verify).collect();
                let mark = blake3::hash(&batch.bytes);
                (batch, mark, checked, after)
            },
            |(batch, mark, checked, after)| -> Result<(), EthereumError> {
                for (tuple, checked) in batch.tuples.iter().zip(checked) {
                    let place = |part| tuple.place(file, part);
                    let damaged = |(part, fault)| EthereumError::damaged(place(part), fault);
                    let block = checked.map_err(damaged)?;
                    linker.push(&block, tuple.total(), place)?;
                    accumulator.push(block.hash, tuple.total().unwrap_or_default());
                    offsets.push(tuple.header.offset);
                    decoded_bytes += block.decoded_bytes;
                    transactions += block.transactions;
                    identical &= block.identical;
                }
                marks.push(mark);
                end = after?; // what was wrong after these blocks
                progress(&Progress {
                    stage: Stage::Verifying,
                    bytes_done: batch.end(),
                    bytes_total: file_bytes,
                    blocks_done: offsets.len() as u64,
                });
                Ok(())
            },
        )?;
        let tail = end.expect("the reader gives the tail last, or an error");
        self.check_tail(&tail, accumulator.root(), start_height, &offsets)?;
        let tail_offset = tail.accumulator_place.offset;
        identical &=
            write_tail(&tail.accumulator, start_height, &offsets, tail_offset) == tail.bytes;
        hasher.update(&tail.bytes);
        marks.push(blake3::hash(&tail.bytes));
        linker.finish()?;
        let sha256 = finish(&hasher);
        check_sha256(file, self.options, sha256)?;
        let record = Era1Record {
            start_height,
            block_count: u32::try_from(offsets.len()).expect("at most 8192"),
            file_bytes,
            decoded_bytes,
            sha256,
            accumulator: tail.accumulator,
            original_kept: !identical,
        };
        Ok(Verified { epoch, record, transactions, marks })
    }

    fn check_tail(
        &self,
        tail: &Tail,
        root: Hash32,
        start_height: u64,
        offsets: &[u64],
    ) -> Result<(), EthereumError> {
        if tail.accumulator != root {
            let fault = Fault::Accumulator { expected: root, found: tail.accumulator };
            return Err(EthereumError::damaged(tail.accumulator_place.clone(), fault));
        }
        let expected = index_entries(start_height, offsets, tail.index_place.offset);
        for (entry, (&expected, &found)) in (0..).zip(expected.iter().zip(&tail.index)) {
            if expected != found {
                let fault = Fault::Index { entry, expected, found };
                return Err(EthereumError::damaged(tail.index_place.clone(), fault));
            }
        }
        self.name
            .map_or(Ok(()), |name| check_prefix(self.file, "accumulator root", name.root, root))
    }

    #[expect(clippy::too_many_arguments, reason = "one caller; a struct would only rename them")]
    fn store<'a, A: Archive + ?Sized, R: Read + Seek + Send>(
        &self,
        archive: &mut A,
        tables: &'a Tables,
        input: &mut R,
        verified: &Verified,
        keep_original: bool,
        scratches: &mut [Scratch],
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Putter<'a>, EthereumError> {
        let file = self.file;
        let changed = |offset| EthereumError::Changed { file: file.into(), offset };
        // what was verified reads well, unless it changed
        let mut reader =
            Era1Reader::open(input, file).map_err(|error| or_changed(error, changed(0)))?;
        let mut original = keep_original.then(|| Original::new(&verified.record.sha256, tables));
        if let Some(original) = &mut original {
            original.push(archive, &VERSION_RECORD)?;
        }
        let (bytes_total, marks) = (reader.file_bytes(), &verified.marks);
        let (mut stored, mut blocks_done) = (Putter::new(tables), 0);
        parallel::in_order(
            scratches,
            || reader.next_lot(),
            |scratch, run, (batch, after)| {
                let after = after.map_err(|error| or_changed(error, changed(batch.offset)))?;
                let new = marks.decode(file, run, &batch, scratch)?;
                if let Some(tail) = &after
                    && (!marks.matches(run + 1, &tail.bytes) || marks.len() != run + 2)
                {
                    return Err(changed(tail.accumulator_place.offset));
                }
                Ok((batch, new, after))
            },
            |ready| -> Result<(), EthereumError> {
                let (batch, new, tail) = ready?;
                new.iter().try_for_each(|new| stored.put(archive, new))?;
                if let Some(original) = &mut original {
                    stored.bytes += original.push(archive, &batch.bytes)?;
                    if let Some(tail) = tail {
                        stored.bytes += original.push(archive, &tail.bytes)?;
                    }
                }
                stored.pause(archive)?;
                blocks_done += batch.tuples.len() as u64;
                let bytes_done = batch.end();
                progress(&Progress { stage: Stage::Storing, bytes_done, bytes_total, blocks_done });
                Ok(())
            },
        )?;
        if let Some(original) = original {
            stored.bytes += original.finish(archive)?;
        }
        Ok(stored)
    }
}

//! `.ere` files: as they were imported, or of any whole epoch that is stored with its receipts, however it came.
//!
//! The file lies by component, so the store is read once for headers, once for bodies, once for receipts. Each section is verified while it
//! is written: headers link, bodies and receipts have the roots of those headers. Memory: what [`parallel::in_order`] has in flight, and
//! 300 bytes for each block.

use super::{
    BATCH_BLOCKS, ExportReport, Sink, batches, copy_original, follows, rows, to_file, total_of,
};
use crate::{
    archive::Archive,
    ethereum::{
        accumulator::{Accumulator, EPOCH_BLOCKS},
        block::{Block, verify_receipts},
        e2store::{kind, write_record},
        era1::VERSION_RECORD,
        ere::{EreName, EreProfile, Offsets, slim, write_tail},
        error::{EthereumError, Fault},
        hash::Hash32,
        import::{CheckedBlock, ImportOptions, Progress, Scratch, ere_record, verify_ere},
        network::Network,
        tables::{EreRecord, Tables},
        uint::U256,
    },
    parallel,
};
use std::{
    io::Write,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// An epoch of which there may be an `.ere` file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EreEpoch {
    /// Its number.
    pub epoch: u64,
    /// What is known of the imported file, if there was one.
    pub record: Option<EreRecord>,
}

/// The epochs of a network that were imported from `.ere` files, or of which the first and the last block are stored; in order.
///
/// # Errors
/// When the store cannot read, or a record is damaged.
pub fn ere_epochs<A: Archive + ?Sized>(
    archive: &A,
    network: &Network,
) -> Result<Vec<EreEpoch>, EthereumError> {
    let tables = Tables::of(network);
    let (mut epochs, mut from) = (Vec::new(), Some(0));
    while let Some(epoch) = from {
        let start = epoch * EPOCH_BLOCKS as u64;
        let Some((height, _)) = archive.range(&tables.block, start, 1)?.pop() else { break };
        let epoch = height / EPOCH_BLOCKS as u64;
        let record = ere_record(archive, &tables, epoch)?;
        let first = epoch * EPOCH_BLOCKS as u64;
        let last = (first + EPOCH_BLOCKS as u64 - 1).to_be_bytes();
        let ends = || Ok::<_, EthereumError>(archive.get(&tables.block, &last)?.is_some());
        if record.is_some() || (height == first && ends()?) {
            epochs.push(EreEpoch { epoch, record });
        }
        from = epoch.checked_add(1).filter(|epoch| *epoch <= u64::MAX / EPOCH_BLOCKS as u64);
    }
    Ok(epochs)
}

/// The name that an epoch's file has, or would have.
///
/// # Errors
/// When the store cannot read, a record is damaged, or the epoch's last block is not stored.
pub fn ere_name<A: Archive + ?Sized>(
    archive: &A,
    network: &Network,
    epoch: u64,
) -> Result<String, EthereumError> {
    Ok(Contents::of(archive, network, epoch)?.name(network, epoch))
}

/// Makes an epoch's file in `folder` and gives its path; an older file of that name is replaced.
///
/// The file appears under its name only when it is whole, verified and durable; until then it is `.<name>.part`.
///
/// # Errors
/// See [`EthereumError`]; then there is no file of that name, or the old one. An epoch that is not stored whole is
/// [`EthereumError::NotStored`].
pub fn export_ere<A: Archive + Sync + ?Sized>(
    archive: &A,
    network: &Network,
    epoch: u64,
    folder: &Path,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(PathBuf, ExportReport), EthereumError> {
    let contents = Contents::of(archive, network, epoch)?;
    to_file(folder, &contents.name(network, epoch), |file| {
        let report = write(archive, network, epoch, &contents, file, threads, progress)?;
        if report.from_original {
            // these bytes were not made from verified blocks: verify them as an import does
            let options = ImportOptions { threads, ..ImportOptions::default() };
            verify_ere(file, &report.file, &options, &mut |_| ())?;
        }
        Ok(report)
    })
}

/// Writes an epoch's file to `out`. Of a kept original only the SHA-256 is checked: verify what was written.
///
/// # Errors
/// See [`EthereumError`]; then what was written is not to be used.
pub fn write_ere<A: Archive + Sync + ?Sized, W: Write>(
    archive: &A,
    network: &Network,
    epoch: u64,
    out: &mut W,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ExportReport, EthereumError> {
    let contents = Contents::of(archive, network, epoch)?;
    write(archive, network, epoch, &contents, out, threads, progress)
}

/// What a file is to have.
struct Contents {
    record: Option<EreRecord>,
    start: u64,
    count: u64,
    profile: EreProfile,
    last_hash: Hash32,
}

impl Contents {
    fn of<A: Archive + ?Sized>(
        archive: &A,
        network: &Network,
        epoch: u64,
    ) -> Result<Self, EthereumError> {
        let tables = Tables::of(network);
        if let Some(record) = ere_record(archive, &tables, epoch)? {
            return Ok(Self {
                record: Some(record),
                start: record.start_height,
                count: record.block_count.into(),
                profile: record.profile,
                last_hash: record.last_hash,
            });
        }
        let count = EPOCH_BLOCKS as u64;
        let not_stored = |what| EthereumError::NotStored { network: network.name().into(), what };
        let start = epoch.checked_mul(count).filter(|start| *start <= u64::MAX / 2);
        let start = start.ok_or_else(|| not_stored(format!("epoch {epoch}")))?;
        let last = start + count - 1;
        let rlp = archive.get(&tables.block, &last.to_be_bytes())?;
        let rlp =
            rlp.ok_or_else(|| not_stored(format!("block {last}, the last one of epoch {epoch},")))?;
        let damaged = |fault| EthereumError::stored(&tables.block, last, fault);
        let last_hash = Block::from_rlp(&rlp).map_err(damaged)?.header().hash;
        let profile = EreProfile { receipts: true, proofs: false };
        Ok(Self { record: None, start, count, profile, last_hash })
    }

    fn name(&self, network: &Network, epoch: u64) -> String {
        EreName::of(network, epoch, &self.last_hash, self.profile)
    }

    /// Records of consecutive heights. Of an epoch that was never imported as a file, one that is missing is no damage.
    fn rows<A: Archive + ?Sized>(
        &self,
        archive: &A,
        network: &Network,
        table: &str,
        start: u64,
        count: u64,
    ) -> Result<Vec<(u64, Vec<u8>)>, EthereumError> {
        rows(archive, table, start, count).map_err(|error| match error {
            EthereumError::Stored { key, fault, .. }
                if self.record.is_none() && *fault == Fault::Missing =>
            {
                let part = table.rsplit('/').next().unwrap_or(table);
                let what = format!("what an .ere file needs, {part} of block {key},");
                EthereumError::NotStored { network: network.name().into(), what }
            }
            error => error,
        })
    }
}

fn write<A: Archive + Sync + ?Sized, W: Write>(
    archive: &A,
    network: &Network,
    epoch: u64,
    contents: &Contents,
    out: &mut W,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ExportReport, EthereumError> {
    let (tables, file) = (Tables::of(network), contents.name(network, epoch));
    let mut sink = Sink::new(out, &file);
    let original = contents.record.filter(|record| record.original_kept);
    if let Some(record) = original {
        copy_original(archive, &tables, &record.sha256, record.file_bytes, &mut sink, progress)?;
    } else {
        let scratches = Scratch::of_threads(threads);
        let bytes_total = contents.record.map_or(0, |record| record.file_bytes);
        let mut writer = Writer {
            archive,
            tables: &tables,
            network,
            contents,
            sink: &mut sink,
            scratches,
            progress,
            bytes_total,
        };
        writer.run()?;
    }
    let (sha256, file_bytes) = sink.finish()?;
    if let Some(record) = contents.record.filter(|record| record.sha256 != sha256) {
        return Err(EthereumError::ExportDiffers { file, expected: record.sha256, found: sha256 });
    }
    let heights = (contents.start, contents.start + contents.count - 1);
    Ok(ExportReport { file, sha256, file_bytes, heights, from_original: original.is_some() })
}

/// What a header says that other sections are verified against.
struct Fact {
    header: CheckedBlock,
    receipts_root: Hash32,
    /// `None` where the file has none
    total: Option<U256>,
}

impl Fact {
    /// Reads a block's header, and appends it to `out`.
    fn of(height: u64, rlp: &[u8], out: &mut Vec<u8>) -> Result<Self, Fault> {
        let block = Block::from_rlp(rlp)?;
        let header = block.header();
        if header.number != height {
            return Err(Fault::Height { expected: height, found: header.number });
        }
        out.extend_from_slice(header.raw);
        let transactions = block.transactions().items().map_err(Fault::rlp("transactions"))?;
        let checked = CheckedBlock {
            height,
            hash: header.hash,
            parent_hash: header.parent_hash,
            difficulty: header.difficulty,
            transactions: transactions.count() as u64,
            decoded_bytes: 0,
            identical: true,
        };
        Ok(Self { header: checked, receipts_root: header.receipts_root, total: None })
    }

    fn is_merged(&self) -> bool {
        self.header.difficulty == U256::default()
    }
}

/// Writes the sections from the store's blocks.
struct Writer<'a, 's, A: ?Sized, W> {
    archive: &'a A,
    tables: &'a Tables,
    network: &'a Network,
    contents: &'a Contents,
    sink: &'a mut Sink<'s, W>,
    scratches: Vec<Scratch>,
    progress: &'a mut dyn FnMut(&Progress),
    bytes_total: u64,
}

impl<A: Archive + Sync + ?Sized, W: Write> Writer<'_, '_, A, W> {
    fn run(&mut self) -> Result<(), EthereumError> {
        let (tables, start, chain_id) = (self.tables, self.contents.start, self.network.chain_id());
        let mut offsets = Offsets::default();
        self.sink.write(&VERSION_RECORD)?;
        let (starts, mut facts) = self.section(kind::HEADER, &tables.block, Fact::of)?;
        offsets.headers = starts;
        self.link(&mut facts)?;
        let fact = |height: u64| &facts[usize::try_from(height - start).expect("of this file")];
        let body = |height, rlp: &[u8], out: &mut Vec<u8>| {
            let block = Block::from_rlp(rlp)?;
            let (expected, found) = (fact(height).header.hash, block.header().hash);
            if expected != found {
                return Err(Fault::Root { what: "block hash", expected, found });
            }
            block.verify_body(chain_id)?;
            block.write_body(out);
            Ok(())
        };
        (offsets.bodies, _) = self.section(kind::BODY, &tables.block, body)?;
        if self.contents.profile.receipts {
            let receipts = |height, rlp: &[u8], out: &mut Vec<u8>| {
                let fact = fact(height);
                verify_receipts(rlp, fact.receipts_root, fact.header.transactions)?;
                slim::shrink(rlp, out)
            };
            (offsets.receipts, _) =
                self.section(kind::SLIM_RECEIPTS, &tables.receipts, receipts)?;
        }
        if self.contents.profile.proofs {
            let proof = |_, rlp: &[u8], out: &mut Vec<u8>| {
                out.extend_from_slice(rlp);
                Ok(())
            };
            (offsets.proofs, _) = self.section(kind::PROOF, &tables.proof, proof)?;
        }
        let root = self.totals(&facts, &mut offsets)?;
        let tail = write_tail(start, &offsets, root.as_ref(), self.sink.bytes());
        self.sink.write(&tail)
    }

    /// Writes one component of all blocks, made by `plain` of each record of `table`; gives where each starts, and what `plain`
    /// gave.
    fn section<T: Send>(
        &mut self,
        kind: u16,
        table: &str,
        plain: impl Fn(u64, &[u8], &mut Vec<u8>) -> Result<T, Fault> + Sync,
    ) -> Result<(Vec<u64>, Vec<T>), EthereumError> {
        let (mut starts, mut given) = (Vec::new(), Vec::new());
        let Self { archive, network, contents, sink, scratches, progress, bytes_total, .. } = self;
        let (archive, network) = (*archive, *network);
        let heights = contents.start..contents.start + contents.count;
        let read = |start, count| contents.rows(archive, network, table, start, count);
        let bytes_of = |(_, row): &(u64, Vec<u8>)| row.len();
        parallel::in_order(
            scratches,
            batches(heights, read, bytes_of),
            |scratch, _, rows| {
                let make = |(height, row): (u64, Vec<u8>)| {
                    scratch.body.clear();
                    let made = plain(height, &row, &mut scratch.body).map(|given| {
                        let mut out = Vec::with_capacity(scratch.body.len() / 2);
                        let Scratch { body, encoder, .. } = &mut *scratch;
                        write_record(&mut out, kind, |out| encoder.encode(body, out));
                        (out, given)
                    });
                    (height, made)
                };
                rows.map(|rows| rows.into_iter().map(make).collect::<Vec<_>>())
            },
            |made| {
                for (height, made) in made? {
                    let (bytes, one) =
                        made.map_err(|fault| EthereumError::stored(table, height, fault))?;
                    starts.push(sink.bytes());
                    sink.write(&bytes)?;
                    given.push(one);
                }
                sink.report(*bytes_total, starts.len() as u64, *progress);
                Ok::<(), EthereumError>(())
            },
        )?;
        Ok((starts, given))
    }

    /// Checks that the headers are a chain, and finds the total difficulties that the file has: all, unless the first block is
    /// after the merge.
    fn link(&self, facts: &mut [Fact]) -> Result<(), EthereumError> {
        let tables = self.tables;
        let premerge = facts.iter().take_while(|fact| !fact.is_merged()).count();
        let (mut stored, mut from) = (Vec::with_capacity(premerge), 0);
        while from < premerge as u64 {
            let count = BATCH_BLOCKS.min(premerge as u64 - from);
            let start = self.contents.start + from;
            let table = &tables.total_difficulty;
            stored.extend(self.contents.rows(self.archive, self.network, table, start, count)?);
            from += count;
        }
        let mut parent = None;
        let mut stored = stored.into_iter();
        for fact in facts {
            let height = fact.header.height;
            let damaged = |fault| EthereumError::stored(&tables.block, height, fault);
            let total = match stored.next() {
                Some((height, value)) => Some(total_of(tables, height, &value)?),
                None if !fact.is_merged() => {
                    let difficulty = fact.header.difficulty;
                    return Err(damaged(Fault::DifficultyAfterMerge { difficulty }));
                }
                // what it was at the merge
                None => parent.and_then(|(_, total)| total),
            };
            follows(&fact.header, total, parent).map_err(damaged)?;
            fact.total = total;
            parent = Some((fact.header.hash, total));
        }
        Ok(())
    }

    /// Writes the total difficulties, if there are any; gives the root over the blocks before the merge.
    fn totals(
        &mut self,
        facts: &[Fact],
        offsets: &mut Offsets,
    ) -> Result<Option<Hash32>, EthereumError> {
        let mut accumulator = Accumulator::default();
        let mut record = Vec::new();
        for fact in facts {
            let Some(total) = fact.total else { return Ok(None) };
            offsets.totals.push(self.sink.bytes());
            record.clear();
            write_record(&mut record, kind::TOTAL_DIFFICULTY, |out| {
                out.extend_from_slice(&total.to_le_bytes());
            });
            self.sink.write(&record)?;
            if !fact.is_merged() {
                accumulator.push(fact.header.hash, total);
            }
        }
        Ok(Some(accumulator.root()))
    }
}

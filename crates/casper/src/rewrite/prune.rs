//! A node's file without the history that the archive has.
//!
//! What stays, so that the node starts, answers and validates again at once: every header of a switch block; every block from
//! `keep_from` on; bodies and transactions that such a block names, too; whatever belongs to no pruned block. The node's note of complete blocks is
//! cut at `keep_from`.

use super::{Beside, disk_bytes, io_error, limits::PruneLimits};
use crate::{
    block::{body::Body, header::Header},
    database::{Database, Kind, Row, Rows},
    error::CasperError,
    lmdb::Cursor,
    source::{CasperSource, NodeFile},
    state::Completed,
    verify::{BLOCK, CasperVerifier, HEADER, TRANSACTIONS},
};
use prunedb_chains::{
    archive::Archive,
    contract::{
        ChainError, ChainVerifier as _, Hash, ImportOptions, Level, Progress, RawBlock, Stored,
        verify_source,
    },
};
use std::{
    collections::{BTreeSet, HashSet},
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// What is kept where nobody says how much.
const DAY_MS: u64 = 86_400_000;

/// Why a node's file must not be pruned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] CasperError),
    /// The archive cannot be read, or what was written does not verify.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Not a whole node's file.
    #[error("{}: the node has noted no complete block", .0.display())]
    NothingComplete(PathBuf),
    /// Too few blocks: the node would not validate.
    #[error(
        "the node has blocks {lowest} to {tip} complete: that is not `max_ttl` ({max_ttl_s} s) and a whole era before it; \
         let it sync first"
    )]
    TooFew {
        /// lowest complete block below the tip
        lowest: u64,
        /// highest complete block
        tip: u64,
        /// the longest time that a transaction waits, in seconds
        max_ttl_s: u64,
    },
    /// The file may grow larger than the node's configuration lets it.
    #[error(
        "the file's map size is {found}, the node's configuration allows {expected}: is it another node's?"
    )]
    MapSize {
        /// by the configuration
        expected: u64,
        /// the file's
        found: u64,
    },
    /// Blocks that would be lost.
    #[error(
        "{blocks} of the blocks to prune are not archived whole, the first is {first}: `prunedb import casper` first"
    )]
    NotArchived {
        /// how many
        blocks: u64,
        /// the first one's height
        first: u64,
    },
    /// A row that the archive has otherwise.
    #[error("block {height}: a row of {database} is another one than the archived one")]
    Differs {
        /// the block's height
        height: u64,
        /// the row's database
        database: &'static str,
    },
    /// The new file is not what it must be.
    #[error("the new file has not the row that it must have after {rows} rows of {database}")]
    Written {
        /// rows that were right
        rows: u64,
        /// the database
        database: &'static str,
    },
}

/// Which blocks of a file go and which stay.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PrunePlan {
    /// The highest complete block.
    pub tip: u64,
    /// The lowest block that stays whole.
    pub keep_from: u64,
    /// Blocks to prune: complete and below it, by ranges, the lowest first.
    pub ranges: Vec<(u64, u64)>,
}

impl PrunePlan {
    /// How many blocks go.
    pub fn blocks(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| last - first + 1).sum()
    }

    fn prunes(&self, height: u64) -> bool {
        self.ranges.iter().any(|&(first, last)| (first..=last).contains(&height))
    }
}

/// What comparing with the archive found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ArchivedReport {
    /// Blocks that the archive has.
    pub blocks: u64,
    /// Blocks that got signatures after they were archived: the archive keeps the earlier ones.
    pub late_signatures: u64,
}

/// What pruning made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PruneReport {
    /// Rows that stay.
    pub rows_kept: u64,
    /// Rows that go.
    pub rows_dropped: u64,
    /// What the file took up on its disk.
    pub disk_bytes_before: u64,
    /// What the new one takes up.
    pub disk_bytes: u64,
    /// Where the new file is.
    pub file: PathBuf,
    /// Where the old one is, if they were swapped.
    pub old: Option<PathBuf>,
}

/// A stopped node's file on its way to a smaller one; the node cannot start meanwhile.
#[derive(Debug)]
pub struct Pruning {
    source: CasperSource,
    path: PathBuf,
    limits: PruneLimits,
    completed: Completed,
    plan: PrunePlan,
    /// filled by comparing with the archive
    dropped: Option<Dropped>,
}

/// What belongs to pruned blocks and to no other.
#[derive(Debug, Default)]
struct Dropped {
    blocks: HashSet<Hash>,
    bodies: HashSet<Hash>,
    kept_bodies: HashSet<Hash>,
    /// first bytes only: there may be many
    transactions: Vec<u64>,
    /// looked at first, so that nobody can make a hash that begins like a pruned one
    kept_transactions: HashSet<Hash>,
}

impl Pruning {
    /// Opens a stopped node's file and works out what may go: at least `max_ttl` and the era before it stay, and `keep_last` blocks, or
    /// a day where that is not said.
    ///
    /// # Errors
    /// See [`PruneError`].
    pub fn open(
        path: &Path,
        limits: &PruneLimits,
        keep_last: Option<u64>,
    ) -> Result<Self, PruneError> {
        let source = CasperSource::open(path, 0..=u64::MAX, Some(&limits.network))?;
        let found = source.file.lmdb.map_bytes();
        if found > limits.map_bytes {
            return Err(PruneError::MapSize { expected: limits.map_bytes, found });
        }
        let completed = source.completed.clone().unwrap_or_default();
        let mut pruning = Self {
            source,
            path: path.into(),
            limits: limits.clone(),
            completed,
            plan: PrunePlan { tip: 0, keep_from: 0, ranges: Vec::new() },
            dropped: None,
        };
        pruning.plan = pruning.make_plan(keep_last)?;
        Ok(pruning)
    }

    /// What goes and what stays.
    pub const fn plan(&self) -> &PrunePlan {
        &self.plan
    }

    fn make_plan(&mut self, keep_last: Option<u64>) -> Result<PrunePlan, PruneError> {
        let Some(highest) = self.completed.ranges().first().cloned() else {
            return Err(PruneError::NothingComplete(self.path.clone()));
        };
        // (height, time, era), of the highest range
        let mut blocks: Vec<(u64, u64, u64)> = Vec::new();
        // whether it begins with an era
        let mut begins = *highest.start() == 0;
        self.source.file.headers(&mut |_, header| {
            begins |= header.is_switch && header.height.checked_add(1) == Some(*highest.start());
            if highest.contains(&header.height) {
                blocks.push((header.height, header.timestamp_ms, header.era));
            }
            Ok(())
        })?;
        blocks.sort_unstable();
        blocks.dedup();
        let missing =
            blocks.iter().zip(highest.clone()).find(|((found, ..), height)| found != height);
        if let Some((_, height)) = missing {
            let (file, what) = (self.path.clone(), "header");
            return Err(CasperError::Incomplete { file, height, what }.into());
        }
        let (Some(&(lowest, _, lowest_era)), Some(&(tip, tip_ms, _))) =
            (blocks.first(), blocks.last())
        else {
            return Err(PruneError::NothingComplete(self.path.clone()));
        };
        let since = |ms: u64| {
            let within = blocks.partition_point(|&(_, time, _)| time < tip_ms.saturating_sub(ms));
            blocks[within.min(blocks.len() - 1)]
        };
        let (_, _, era) = since(self.limits.max_ttl_ms);
        // the era before is whole if there is one below it, or it is the lowest and whole itself
        let before = era.saturating_sub(1);
        if lowest_era > before || (lowest_era == before && !begins) {
            let max_ttl_s = self.limits.max_ttl_ms / 1000;
            return Err(PruneError::TooFew { lowest, tip, max_ttl_s });
        }
        let with_era = blocks.partition_point(|&(.., e)| e < before);
        let needed = blocks[with_era].0;
        let wanted = match keep_last {
            Some(count) => tip.saturating_sub(count.saturating_sub(1)),
            None => since(DAY_MS).0,
        };
        let keep_from = needed.min(wanted);
        let mut ranges: Vec<(u64, u64)> = self
            .completed
            .ranges()
            .iter()
            .filter(|range| *range.start() < keep_from)
            .map(|range| (*range.start(), keep_from.saturating_sub(1).min(*range.end())))
            .collect();
        ranges.reverse();
        Ok(PrunePlan { tip, keep_from, ranges })
    }

    /// Compares every block that is to go with the archived one, row by row.
    ///
    /// # Errors
    /// When one is not archived whole, or not as it is here.
    pub fn compare<A: Archive + ?Sized>(
        &mut self,
        archive: &A,
        verifier: &CasperVerifier,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<ArchivedReport, PruneError> {
        let stored = Stored::new(archive, verifier);
        let (mut report, mut dropped) = (ArchivedReport::default(), Dropped::default());
        let (mut missing, mut first) = (0, None);
        let all = self.source.blocks.clone();
        for &(height, hash) in &all {
            let block = self.source.block(height, &hash)?;
            let (body, transactions) = names(&block)?;
            if !self.plan.prunes(height) {
                dropped.kept_bodies.extend(body);
                dropped.kept_transactions.extend(transactions);
                continue;
            }
            dropped.blocks.insert(hash);
            dropped.bodies.extend(body);
            dropped.transactions.extend(transactions.iter().map(first_bytes));
            match stored.raw(height)? {
                Some(archived) if archived.part(TRANSACTIONS).is_some() => {
                    stored.check(&archived)?;
                    report.late_signatures += u64::from(same_rows(&block, &archived)?);
                    report.blocks += 1;
                }
                _ => {
                    missing += 1;
                    first.get_or_insert(height);
                }
            }
            progress(report.blocks, self.plan.blocks());
        }
        if let Some(first) = first {
            return Err(PruneError::NotArchived { blocks: missing, first });
        }
        dropped.transactions.sort_unstable();
        self.dropped = Some(dropped);
        Ok(report)
    }

    /// Writes the smaller file beside and verifies it: every row that stays is there, none else, and every block from `keep_from` on
    /// verifies. With `swap` it takes the old one's place, which is kept as `<name>.old`; else it stays beside as `<name>.slim`.
    ///
    /// # Errors
    /// See [`PruneError`]; then the node's file is as it was.
    ///
    /// # Panics
    /// When [`Pruning::compare`] was not called before, or failed.
    pub fn write(
        mut self,
        verifier: &CasperVerifier,
        swap: bool,
        threads: NonZeroUsize,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<PruneReport, PruneError> {
        let dropped = self.dropped.take().expect("compared with the archive before");
        if swap {
            Beside::check_old(&self.path)?;
        }
        let disk_bytes_before = disk_bytes(&self.path)?;
        let map_bytes = self.source.file.lmdb.map_bytes();
        let (beside, mut file) = Beside::create(&self.path, ".slim", map_bytes)?;
        let note = self.completed.from(self.plan.keep_from).to_bytes();
        let mut keep = |row: &Row<'_>| keeps(row, &self.plan, &dropped);
        let (rows_kept, rows_dropped) =
            super::copy(&mut self.source.file, &mut file, &beside.new, &mut keep)?;
        let row = Row { database: Database::STATE, key: Completed::KEY, value: &note };
        file.put(row).map_err(io_error(&beside.new))?;
        beside.seal(file)?;
        beside.like(&self.path)?;
        compare_files(&mut self.source.file, &beside.new, &note, &mut keep)?;
        self.check_blocks(&beside.new, verifier, threads, progress)?;
        let disk_bytes = disk_bytes(&beside.new)?;
        let (file, old) = match swap {
            true => (self.path.clone(), beside.swap()?),
            false => (beside.new.clone(), None),
        };
        let rows_dropped = rows_dropped - 1; // the note, which was put anew
        let rows_kept = rows_kept + 1;
        Ok(PruneReport { rows_kept, rows_dropped, disk_bytes_before, disk_bytes, file, old })
    }

    /// Every block that stays whole, by a reader that knows nothing of this one.
    fn check_blocks(
        &self,
        path: &Path,
        verifier: &CasperVerifier,
        threads: NonZeroUsize,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), PruneError> {
        let heights: RangeInclusive<u64> = self.plan.keep_from..=self.plan.tip;
        let mut source = CasperSource::open(path, heights, Some(verifier.network()))?;
        let options = ImportOptions::new(Level::Hashes, threads);
        let report = verify_source(&mut source, verifier, &options, progress)?;
        let expected = self.plan.tip - self.plan.keep_from + 1;
        if report.blocks != expected || source.counts().whole != expected {
            let (file, height) = (path.into(), self.plan.keep_from);
            return Err(CasperError::Incomplete { file, height, what: "block" }.into());
        }
        Ok(())
    }
}

fn first_bytes(hash: &Hash) -> u64 {
    u64::from_le_bytes(hash[..8].try_into().expect("8 bytes"))
}

/// The body and the transactions that a block names, as far as they are there.
fn names(block: &RawBlock) -> Result<(Option<Hash>, Vec<Hash>), CasperError> {
    let Some(rows) = block.part(BLOCK) else { return Ok((None, Vec::new())) };
    let rows = Rows::read(rows).expect("made of rows by the source");
    let row = rows.iter().find(|row| row.database.kind() == Kind::Body).expect("read with it");
    let body = Body::of_row(row).expect("read by the source");
    let key = row.key.try_into().expect("found by its hash");
    Ok((Some(key), body.transactions.iter().map(|id| id.hash).collect()))
}

/// Whether a block's rows are the archived ones; `true` where only signatures came later.
fn same_rows(block: &RawBlock, archived: &RawBlock) -> Result<bool, PruneError> {
    let mut late = false;
    for part in [HEADER, BLOCK, TRANSACTIONS] {
        let rows = |block: &RawBlock| -> BTreeSet<(Database, Vec<u8>, Vec<u8>)> {
            let rows =
                block.part(part).and_then(|bytes| Rows::read(bytes).ok()).unwrap_or_default();
            let owned = rows.iter().map(|row| (row.database, row.key.to_vec(), row.value.to_vec()));
            owned.collect()
        };
        let (here, there) = (rows(block), rows(archived));
        for (database, ..) in here.symmetric_difference(&there) {
            match database.kind() {
                Kind::Signatures | Kind::FinalizedApprovals => late = true,
                _ => {
                    let (height, database) = (block.height, database.name());
                    return Err(PruneError::Differs { height, database });
                }
            }
        }
    }
    Ok(late)
}

/// Whether a row stays.
fn keeps(row: &Row<'_>, plan: &PrunePlan, dropped: &Dropped) -> Result<bool, CasperError> {
    let hash: Option<Hash> = match row.key.len() {
        32 => row.key.try_into().ok(),
        33 => row.key[1..].try_into().ok(),
        _ => None,
    };
    let Some(hash) = hash else { return Ok(row.key != Completed::KEY) };
    Ok(match row.database.kind() {
        Kind::Header => {
            !dropped.blocks.contains(&hash)
                || Header::of_row(row)
                    .is_ok_and(|header| header.is_switch || !plan.prunes(header.height))
        }
        Kind::Body => dropped.kept_bodies.contains(&hash) || !dropped.bodies.contains(&hash),
        Kind::Signatures | Kind::Transfers | Kind::ApprovalsHashes => {
            !dropped.blocks.contains(&hash)
        }
        Kind::Transaction | Kind::Execution | Kind::FinalizedApprovals => {
            dropped.kept_transactions.contains(&hash)
                || dropped.transactions.binary_search(&first_bytes(&hash)).is_err()
        }
        Kind::State => true,
    })
}

/// Whether the new file has exactly the rows that stay, and the node's new note.
fn compare_files(
    source: &mut NodeFile,
    path: &Path,
    note: &[u8],
    keep: &mut dyn FnMut(&Row<'_>) -> Result<bool, CasperError>,
) -> Result<(), PruneError> {
    let mut new = NodeFile::open(path)?;
    if new.get(Database::STATE, Completed::KEY)?.as_deref() != Some(note) {
        return Err(PruneError::Written { rows: 0, database: Database::STATE.name() });
    }
    for database in Database::all() {
        let mut cursor = Cursor::new(database.name(), new.tree(database));
        let (mut rows, mut same) = (0, true);
        let mut next = |new: &mut NodeFile| loop {
            match cursor.next(&mut new.lmdb).map_err(|error| new.failed(error)) {
                Ok(Some((key, _))) if key == Completed::KEY => {}
                other => return other,
            }
        };
        source.each(database, &mut |key, value| {
            if keep(&Row { database, key, value })? {
                same = next(&mut new)?.is_some_and(|row| row.0 == key && row.1 == value);
                rows += u64::from(same);
            }
            Ok(same)
        })?;
        if !same || next(&mut new)?.is_some() {
            return Err(PruneError::Written { rows, database: database.name() });
        }
    }
    Ok(())
}

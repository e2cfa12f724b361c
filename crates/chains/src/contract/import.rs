//! A source's blocks into the store: verified as a whole first, then put block by block.
//!
//! Two passes: the first verifies everything and stores nothing, the second reads again, verifies by hashes, sees that it meets
//! the same blocks, and stores. So a bad source leaves no trace. In both, blocks are verified on all threads; linking and putting is the
//! caller's. Memory: a few lots for each thread, of 64 blocks or 256 KiB, and 32 bytes a block for what the first pass found.

use super::{
    BadBlock, ChainError, ChainSource, ChainVerifier, CheckedBlock, Hash, Level, Progress,
    RawBlock, Stage, Stored, stored::Tables, verified::each_verified,
};
use crate::archive::{Archive, MemoryArchive};
use std::num::NonZeroUsize;

/// Bytes put between two commits.
const COMMIT_BYTES: u64 = 64 << 20;

/// How to import.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// What is checked.
    pub level: Level,
    /// Threads that verify.
    pub threads: NonZeroUsize,
}

impl ImportOptions {
    /// At this level, with these threads.
    pub const fn new(level: Level, threads: NonZeroUsize) -> Self {
        Self { level, threads }
    }
}

/// What an import did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ImportReport {
    /// Blocks of the source.
    pub blocks: u64,
    /// Blocks of which a part was stored now.
    pub blocks_stored: u64,
    /// Blocks of which another form was stored before, and is kept.
    pub blocks_kept: u64,
    /// Lowest and highest height.
    pub heights: Option<(u64, u64)>,
    /// Stretches of heights that are missing in between: first and last, at most 1,000.
    pub gaps: Vec<(u64, u64)>,
    /// How many there are.
    pub gap_count: u64,
    /// Transactions in the blocks.
    pub transactions: u64,
    /// Signatures verified.
    pub signatures: u64,
    /// Bytes of the blocks' parts.
    pub bytes: u64,
    /// Bytes put.
    pub bytes_stored: u64,
}

/// Most gaps that a report lists.
pub(super) const GAPS_MAX: usize = 1000;

/// Takes a source's blocks in: all are verified before the first is stored. What is stored already is compared: the same block in
/// another form stays as it is, another block of the same height is an error. Records are durable when this returns.
///
/// # Errors
/// See [`ChainError`].
pub fn import<A, S, V>(
    archive: &mut A,
    source: &mut S,
    verifier: &V,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ImportReport, ChainError>
where
    A: Archive + ?Sized,
    S: ChainSource + Send + ?Sized,
    V: ChainVerifier,
{
    let (mut report, hashes) = first_pass(&*archive, source, verifier, options, progress)?;
    source.rewind().map_err(|e| ChainError::Source(e.into()))?;
    let (tables, mut at, mut since_commit, mut bytes_done) = (Tables::of(verifier), 0, 0, 0);
    let all = source.blocks();
    each_lot(source, verifier, Level::Hashes, options.threads, |blocks, checked| {
        for (block, checked) in blocks.iter().zip(&checked) {
            if hashes.get(at) != Some(&checked.hash) {
                return Err(ChainError::Changed { height: block.height });
            }
            at += 1;
            let stored = Stored::new(&*archive, verifier).raw(block.height)?;
            let known = known_parts(stored.as_ref());
            if stored.as_ref().is_some_and(|stored| differs(stored, block)) {
                report.blocks_kept += 1;
            }
            let put = tables.put(archive, block, checked, &known, verifier.transactions_part())?;
            report.blocks_stored += u64::from(put > 0);
            report.bytes_stored += put;
            bytes_done += block.bytes();
            since_commit += put;
            if since_commit >= COMMIT_BYTES {
                archive.commit()?;
                since_commit = 0;
            }
        }
        let blocks_done = at as u64;
        progress(&Progress { stage: Stage::Storing, blocks_done, blocks_total: all, bytes_done });
        Ok(())
    })?;
    archive.commit()?;
    match hashes.len() == at {
        true => Ok(report),
        // it ended before it did in the first pass
        false => Err(ChainError::Changed { height: report.heights.map_or(0, |(_, last)| last) }),
    }
}

/// Verifies all blocks of a source and the links between them, and stores nothing.
///
/// # Errors
/// See [`ChainError`].
pub fn verify_source<S: ChainSource + Send + ?Sized, V: ChainVerifier>(
    source: &mut S,
    verifier: &V,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ImportReport, ChainError> {
    let nothing_stored = MemoryArchive::default();
    first_pass(&nothing_stored, source, verifier, options, progress).map(|(report, _)| report)
}

/// Verifies a source, against what is stored too; gives the blocks' hashes.
fn first_pass<A, S, V>(
    archive: &A,
    source: &mut S,
    verifier: &V,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(ImportReport, Vec<Hash>), ChainError>
where
    A: Archive + ?Sized,
    S: ChainSource + Send + ?Sized,
    V: ChainVerifier,
{
    let all = source.blocks();
    let (mut report, mut hashes) = (ImportReport::default(), Vec::new());
    let mut linker = Linker::new(Stored::new(archive, verifier));
    each_lot(source, verifier, options.level, options.threads, |blocks, checked| {
        for (block, checked) in blocks.iter().zip(&checked) {
            linker.push(block, checked, &mut report)?;
            hashes.push(checked.hash);
            report.count(block, checked);
        }
        progress(&report.progress(Stage::Verifying, all));
        Ok(())
    })?;
    linker.finish()?;
    Ok((report, hashes))
}

fn known_parts(stored: Option<&RawBlock>) -> Vec<&'static str> {
    stored.map_or_else(Vec::new, |stored| stored.parts.iter().map(|part| part.table).collect())
}

/// Whether a part that both have is not the same.
fn differs(stored: &RawBlock, block: &RawBlock) -> bool {
    stored.parts.iter().any(|part| block.part(part.table).is_some_and(|bytes| bytes != part.bytes))
}

impl ImportReport {
    fn count(&mut self, block: &RawBlock, checked: &CheckedBlock) {
        let first = self.heights.map_or(block.height, |(first, _)| first);
        self.heights = Some((first, block.height));
        self.blocks += 1;
        self.bytes += block.bytes();
        self.transactions += checked.transactions.len() as u64;
        self.signatures += checked.signatures;
    }

    fn progress(&self, stage: Stage, blocks_total: u64) -> Progress {
        Progress { stage, blocks_done: self.blocks, blocks_total, bytes_done: self.bytes }
    }
}

/// Reads a source to its end, verifies it on all threads, hands it on.
fn each_lot<S: ChainSource + Send + ?Sized, V: ChainVerifier>(
    source: &mut S,
    verifier: &V,
    level: Level,
    threads: NonZeroUsize,
    mut take: impl FnMut(&[RawBlock], Vec<CheckedBlock>) -> Result<(), ChainError>,
) -> Result<(), ChainError> {
    let mut previous: Option<u64> = None;
    let next = || {
        let next = source.next_block().map_err(|e| ChainError::Source(e.into()))?;
        let Some(block) = next else { return Ok(None) };
        if let Some(previous) = previous.filter(|&previous| previous >= block.height) {
            return Err(ChainError::NotRising { height: block.height, previous });
        }
        previous = Some(block.height);
        Ok(Some(block))
    };
    let bad = |BadBlock { height, fault }: BadBlock<V::Fault>| ChainError::Block {
        height,
        fault: fault.into(),
    };
    each_verified(next, verifier, level, threads, bad, &mut |blocks, checked| {
        take(blocks, checked).map(|()| true)
    })
    .map(|_| ())
}

/// Checks each block against its neighbours, in the source and in the store.
pub(super) struct Linker<'a, A: ?Sized, V> {
    stored: Stored<'a, A, V>,
    /// height and hash
    previous: Option<(u64, Hash)>,
}

impl<'a, A: Archive + ?Sized, V: ChainVerifier> Linker<'a, A, V> {
    const fn new(stored: Stored<'a, A, V>) -> Self {
        Self { stored, previous: None }
    }

    fn push(
        &mut self,
        block: &RawBlock,
        checked: &CheckedBlock,
        report: &mut ImportReport,
    ) -> Result<(), ChainError> {
        let height = block.height;
        match self.previous {
            Some((below, hash)) if below + 1 == height => links(below, hash, height, checked)?,
            previous => {
                if let Some((below, _)) = previous {
                    self.above(below)?;
                    report.gap_count += 1;
                    if report.gaps.len() < GAPS_MAX {
                        report.gaps.push((below + 1, height - 1));
                    }
                }
                if let Some(below) = height.checked_sub(1)
                    && let Some(stored) = self.stored.checked(below)?
                {
                    links(below, stored.hash, height, checked)?;
                }
            }
        }
        if let Some(stored) = self.stored.raw(height)?
            && stored != *block
        {
            let stored = self.stored.check(&stored)?.hash;
            if stored != checked.hash {
                return Err(ChainError::Contradicts { height, stored, found: checked.hash });
            }
        }
        self.previous = Some((height, checked.hash));
        Ok(())
    }

    /// The stored block above the last one links to it, too.
    fn above(&self, below: u64) -> Result<(), ChainError> {
        let Some((at, hash)) = self.previous.filter(|&(at, _)| at == below) else { return Ok(()) };
        let Some(height) = at.checked_add(1) else { return Ok(()) };
        match self.stored.checked(height)? {
            Some(stored) => links(at, hash, height, &stored),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<(), ChainError> {
        self.previous.map_or(Ok(()), |(below, _)| self.above(below))
    }
}

/// Whether a block names the one below it.
pub(super) fn links(
    below: u64,
    expected: Hash,
    height: u64,
    checked: &CheckedBlock,
) -> Result<(), ChainError> {
    if checked.parent == expected {
        return Ok(());
    }
    Err(ChainError::Unlinked { height, below, expected, found: checked.parent })
}

//! Blocks out of the store: verified again, block by block and link by link, before the sink sees them.

use super::{
    ChainError, ChainSink, ChainVerifier, Hash, Level, Progress, RawBlock, Stage, Stored,
    import::{links, verify_all},
};
use crate::archive::Archive;
use std::{num::NonZeroUsize, ops::RangeInclusive};

/// Blocks read at a time, and their bytes.
const WAVE_BLOCKS: usize = 128;
const WAVE_BYTES: u64 = 4 << 20;

/// What was verified.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Blocks verified.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Signatures verified.
    pub signatures: u64,
    /// Bytes of their parts.
    pub bytes: u64,
    /// Blocks that lack a part, by the first part that is missing: header, but no transactions.
    pub partial: u64,
    /// Stretches of heights that are not stored: first and last, at most 1,000.
    pub gaps: Vec<(u64, u64)>,
    /// How many there are.
    pub gap_count: u64,
    /// Where to go on after an interruption: the height above the last one verified.
    pub next: u64,
}

/// What an export gave.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ExportReport {
    /// Blocks given.
    pub blocks: u64,
    /// Bytes of their parts.
    pub bytes: u64,
}

/// Verifies the stored blocks of a range and the links between them. `progress` may stop it by giving `false`; then the report
/// says where to go on.
///
/// # Errors
/// The first damaged block; or the store cannot read.
pub fn verify_range<A: Archive + ?Sized, V: ChainVerifier>(
    archive: &A,
    verifier: &V,
    heights: RangeInclusive<u64>,
    level: Level,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<VerifyReport, ChainError> {
    let mut report = VerifyReport { next: *heights.start(), ..VerifyReport::default() };
    let (stored, last) = (Stored::new(archive, verifier), *heights.end());
    let mut previous: Option<(u64, Hash)> = None;
    let complete = verifier.parts().len();
    each_wave(&stored, heights, &mut |wave| {
        let damaged =
            |height, fault: Box<_>| ChainError::Stored { table: stored.name(), height, fault };
        let checked = verify_all(verifier, wave, level, threads)
            .map_err(|bad| damaged(bad.height, bad.fault.into()))?;
        for (block, checked) in wave.iter().zip(checked) {
            if let Some((below, hash)) = previous.filter(|&(below, _)| below + 1 == block.height) {
                links(below, hash, block.height, &checked)
                    .map_err(|unlinked| damaged(block.height, unlinked.into()))?;
            }
            previous = Some((block.height, checked.hash));
            report.gap_before(block.height);
            report.blocks += 1;
            report.partial += u64::from(block.parts.len() < complete);
            report.bytes += block.bytes();
            report.transactions += checked.transactions.len() as u64;
            report.signatures += checked.signatures;
            report.next = block.height.saturating_add(1);
        }
        Ok(progress(&Progress {
            stage: Stage::Verifying,
            blocks_done: report.blocks,
            blocks_total: report.blocks,
            bytes_done: report.bytes,
        }))
    })
    .map(|whole| {
        // behind the last block of an open range nothing is missing
        if whole && report.next <= last && last != u64::MAX {
            report.gap_before(last.saturating_add(1));
        }
        report
    })
}

impl VerifyReport {
    /// Notes what is missing between the last block and this height.
    fn gap_before(&mut self, height: u64) {
        if self.next < height {
            self.gap_count += 1;
            if self.gaps.len() < super::import::GAPS_MAX {
                self.gaps.push((self.next, height - 1));
            }
        }
    }
}

/// Gives every block of a range to a sink, verified. A block of the range that is not stored is an error, before anything is
/// given.
///
/// # Errors
/// See [`ChainError`].
pub fn export<A, V, S>(
    archive: &A,
    verifier: &V,
    heights: RangeInclusive<u64>,
    threads: NonZeroUsize,
    sink: &mut S,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ExportReport, ChainError>
where
    A: Archive + ?Sized,
    V: ChainVerifier,
    S: ChainSink + ?Sized,
{
    let stored = Stored::new(archive, verifier);
    let blocks_total = heights.end().saturating_sub(*heights.start()).saturating_add(1);
    let (mut report, mut previous) = (ExportReport::default(), None);
    let (mut expected, last) = (*heights.start(), *heights.end());
    let sink_error = |e: S::Error| ChainError::Sink(e.into());
    each_wave(&stored, heights, &mut |wave| {
        let checked = verify_all(verifier, wave, Level::Hashes, threads).map_err(|bad| {
            ChainError::Stored { table: stored.name(), height: bad.height, fault: bad.fault.into() }
        })?;
        for (block, checked) in wave.iter().zip(checked) {
            if block.height != expected {
                return Err(missing(&stored, expected, Some(block.height)));
            }
            expected = expected.saturating_add(1);
            if let Some(hash) = previous {
                links(block.height - 1, hash, block.height, &checked)?;
            }
            previous = Some(checked.hash);
            sink.put_block(block).map_err(sink_error)?;
            report.blocks += 1;
            report.bytes += block.bytes();
        }
        progress(&Progress {
            stage: Stage::Exporting,
            blocks_done: report.blocks,
            blocks_total,
            bytes_done: report.bytes,
        });
        Ok(true)
    })?;
    if report.blocks < blocks_total {
        return Err(missing(&stored, expected, stored.next_height(last)?));
    }
    sink.finish().map_err(sink_error)?;
    Ok(report)
}

fn missing<A: Archive + ?Sized, V: ChainVerifier>(
    stored: &Stored<'_, A, V>,
    height: u64,
    next: Option<u64>,
) -> ChainError {
    ChainError::NotStored { network: stored.name(), height, next }
}

/// Reads what is stored of a range, a wave at a time, while `wave` says `true`; whether it came to the end.
fn each_wave<A: Archive + ?Sized, V: ChainVerifier>(
    stored: &Stored<'_, A, V>,
    heights: RangeInclusive<u64>,
    wave: &mut dyn FnMut(&[RawBlock]) -> Result<bool, ChainError>,
) -> Result<bool, ChainError> {
    let mut from = Some(*heights.start());
    loop {
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        while blocks.len() < WAVE_BLOCKS
            && bytes < WAVE_BYTES
            && let Some(at) = from
        {
            let block = match stored.raw(at)? {
                Some(block) => Some(block),
                None => match stored.next_height(at)? {
                    Some(next) if next <= *heights.end() => stored.raw(next)?,
                    _ => None,
                },
            };
            let block = block.filter(|block| block.height <= *heights.end());
            from = block.as_ref().and_then(|block| block.height.checked_add(1));
            from = from.filter(|from| from <= heights.end());
            bytes += block.as_ref().map_or(0, RawBlock::bytes);
            blocks.extend(block);
        }
        if blocks.is_empty() {
            return Ok(true);
        }
        if !wave(&blocks)? {
            return Ok(false);
        }
    }
}

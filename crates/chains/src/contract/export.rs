//! Blocks out of the store: verified again, block by block and link by link, before the sink sees them.

use super::{
    BadBlock, ChainError, ChainSink, ChainVerifier, Hash, Level, Progress, RawBlock, Stage, Stored,
    import::links, verified::each_verified,
};
use crate::archive::Archive;
use std::{num::NonZeroUsize, ops::RangeInclusive};

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
pub fn verify_range<A: Archive + Sync + ?Sized, V: ChainVerifier>(
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
    let damaged =
        |height, fault: Box<_>| ChainError::Stored { table: stored.name(), height, fault };
    let bad = |block: BadBlock<V::Fault>| damaged(block.height, block.fault.into());
    let blocks = blocks_of(&stored, heights);
    each_verified(blocks, verifier, level, threads, bad, &mut |blocks, checked| {
        for (block, checked) in blocks.iter().zip(checked) {
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
    A: Archive + Sync + ?Sized,
    V: ChainVerifier,
    S: ChainSink + ?Sized,
{
    let stored = Stored::new(archive, verifier);
    let blocks_total = heights.end().saturating_sub(*heights.start()).saturating_add(1);
    let (mut report, mut previous) = (ExportReport::default(), None);
    let (mut expected, last) = (*heights.start(), *heights.end());
    let sink_error = |e: S::Error| ChainError::Sink(e.into());
    let bad = |BadBlock { height, fault }: BadBlock<V::Fault>| ChainError::Stored {
        table: stored.name(),
        height,
        fault: fault.into(),
    };
    let blocks = blocks_of(&stored, heights);
    each_verified(blocks, verifier, Level::Hashes, threads, bad, &mut |blocks, checked| {
        for (block, checked) in blocks.iter().zip(checked) {
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

/// The stored blocks of a range, lowest first.
fn blocks_of<'a, A: Archive + ?Sized, V: ChainVerifier>(
    stored: &'a Stored<'_, A, V>,
    heights: RangeInclusive<u64>,
) -> impl FnMut() -> Result<Option<RawBlock>, ChainError> + use<'a, A, V> {
    let last = *heights.end();
    let mut from = Some(*heights.start());
    move || {
        let Some(at) = from.filter(|&from| from <= last) else { return Ok(None) };
        let block = match stored.raw(at)? {
            Some(block) => Some(block),
            None => match stored.next_height(at)? {
                Some(next) if next <= last => stored.raw(next)?,
                _ => None,
            },
        };
        from = block.as_ref().and_then(|block| block.height.checked_add(1));
        Ok(block)
    }
}

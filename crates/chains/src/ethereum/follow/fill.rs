//! Blocks that are missing below stored ones, from a node.
//!
//! From the top down: the stored block above a gap names the hash of the one below it, that one the next. So every block is known to be of the
//! archived chain before it is put, and a node of another chain leaves nothing behind.

use super::{BATCH_BLOCKS, FollowError, FollowReport, Follower, Rebuilt};
use crate::{
    archive::Archive,
    ethereum::{
        block::Block, error::EthereumError, hash::Hash32, import::CheckedBlock, uint::U256,
    },
};

/// What the block above says of the one below it.
#[derive(Clone, Copy)]
struct Above {
    hash: Hash32,
    total: Option<U256>,
}

impl Follower<'_> {
    /// Archives blocks of heights that are missing: ranges, each with a stored block above it. What is stored of them already is left alone.
    /// They are durable when this returns.
    ///
    /// # Errors
    /// See [`FollowError`]. What was put before stays: the next fill goes on below it.
    pub fn fill<A: Archive + ?Sized>(
        &self,
        archive: &mut A,
        missing: &[(u64, u64)],
        progress: &mut dyn FnMut(&FollowReport),
    ) -> Result<FollowReport, FollowError> {
        let mut report = FollowReport::default();
        for &(first, last) in missing.iter().rev() {
            self.fill_range(archive, first, last, &mut report, progress)?;
        }
        Ok(report)
    }

    fn fill_range<A: Archive + ?Sized>(
        &self,
        archive: &mut A,
        first: u64,
        last: u64,
        report: &mut FollowReport,
        progress: &mut dyn FnMut(&FollowReport),
    ) -> Result<(), FollowError> {
        let Some(mut above) = self.said_by(archive, last.saturating_add(1))? else {
            return Ok(()); // nothing above it: that is what following is for
        };
        let (mut next, mut batch_blocks) = (Some(last), BATCH_BLOCKS);
        while let Some(top) = next.filter(|top| *top >= first) {
            if let Some(said) = self.said_by(archive, top)? {
                above = said;
                next = top.checked_sub(1);
                continue;
            }
            let bottom = first.max(top.saturating_sub(batch_blocks - 1));
            let Some(blocks) = self.fetch_or_less(bottom, top, &mut batch_blocks)? else {
                continue;
            };
            let checked = self.check_down(bottom, &blocks, &mut above)?;
            if let Some(below) = bottom.checked_sub(1)
                && let Some(stored) = self.stored_hash(archive, below)?
                && stored != above.hash
            {
                return Err(FollowError::Reorganised {
                    node: self.node.upstream().to_string(),
                    height: bottom,
                    stored,
                    found: above.hash,
                    confirmations: self.options.confirmations,
                });
            }
            for (rebuilt, (block, checked, total)) in blocks.iter().zip(&checked) {
                if self.stored_hash(archive, checked.height)?.is_none() {
                    report.bytes += self.put(archive, block, rebuilt, *total)?;
                    report.blocks += 1;
                    report.transactions += checked.transactions;
                }
            }
            archive.commit()?;
            let highest = report.heights.map_or(top, |(_, highest)| highest);
            report.heights = Some((bottom, highest));
            progress(report);
            next = bottom.checked_sub(1);
        }
        Ok(())
    }

    /// Checks consecutive blocks against the one above the last of them, and gives them lowest first, with their total difficulties where that
    /// of the one above is known. `above` is then what the first of them says.
    fn check_down<'r>(
        &self,
        bottom: u64,
        blocks: &'r [Rebuilt],
        above: &mut Above,
    ) -> Result<Vec<(Block<'r>, CheckedBlock, Option<U256>)>, FollowError> {
        let mut all = Vec::with_capacity(blocks.len());
        for (height, rebuilt) in (bottom..).zip(blocks).collect::<Vec<_>>().into_iter().rev() {
            let (block, checked) = self.check(height, rebuilt)?;
            if checked.hash != above.hash {
                return Err(FollowError::NotBelow {
                    node: self.node.upstream().to_string(),
                    height,
                    expected: above.hash,
                    found: checked.hash,
                });
            }
            let total = above.total;
            *above = Above {
                hash: checked.parent_hash,
                total: total.and_then(|total| total.checked_sub(checked.difficulty)),
            };
            all.push((block, checked, total));
        }
        all.reverse();
        Ok(all)
    }

    /// What a stored block says of the one below it.
    fn said_by<A: Archive + ?Sized>(
        &self,
        archive: &A,
        height: u64,
    ) -> Result<Option<Above>, FollowError> {
        let (table, key) = (&self.tables.block, height.to_be_bytes());
        let Some(rlp) = archive.get(table, &key)? else { return Ok(None) };
        let block =
            Block::from_rlp(&rlp).map_err(|fault| EthereumError::stored(table, height, fault))?;
        let total = archive.get(&self.tables.total_difficulty, &key)?;
        let total = total.and_then(|bytes| U256::from_be_slice(&bytes));
        let total = total.and_then(|total| total.checked_sub(block.header().difficulty));
        Ok(Some(Above { hash: block.header().parent_hash, total }))
    }
}

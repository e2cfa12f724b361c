//! What a validator gives to those who are behind.

use crate::{
    message::{Answer, PART_BYTES_MAX},
    snapshot,
    validator::Shared,
};
use prunedb_consensus::{OrderError, SITTING_HEIGHTS};
use prunedb_disk::Open;
use std::io;

fn refused(reason: impl ToString) -> Answer {
    Answer::Refused { reason: reason.to_string() }
}

/// A part of a snapshot.
pub(crate) fn snapshot(shared: &Shared, height: Option<u64>, offset: u64) -> Answer {
    let part = || -> io::Result<Option<Answer>> {
        let (disk, dir) = &shared.snapshots;
        // the blocks of a sitting are behind it, and its root is in one of them
        let agreed = shared.applied.borrow().saturating_sub(SITTING_HEIGHTS);
        let known = || {
            Ok::<_, io::Error>(
                snapshot::heights(&**disk, dir)?.into_iter().filter(|&h| h <= agreed).max(),
            )
        };
        let Some(height) = height.map_or_else(known, |height| Ok(Some(height)))? else {
            return Ok(None);
        };
        let file = disk.open(&snapshot::path(dir, height), Open::Read)?;
        let total = file.len()?;
        let left = usize::try_from(total.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(PART_BYTES_MAX)];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(Some(Answer::Snapshot { height, total, bytes }))
    };
    match part() {
        Ok(Some(part)) => part,
        Ok(None) => refused("this validator has no snapshot yet whose root was agreed on"),
        Err(error) => refused(format!("this validator has that snapshot no more: {error}")),
    }
}

/// Blocks from a height on.
pub(crate) fn blocks(shared: &Shared, from: u64) -> Answer {
    let orderer = &shared.orderer;
    let collect = || -> Result<Answer, OrderError> {
        let mut blocks = Vec::new();
        let mut bytes = 0;
        for height in from..from.saturating_add(SITTING_HEIGHTS) {
            let (Some(block), Some(proof)) = (orderer.block(height)?, orderer.proof(height)?)
            else {
                break;
            };
            let block = block.to_bytes();
            bytes += block.len() + proof.len();
            blocks.push((block, proof));
            if bytes >= PART_BYTES_MAX {
                break;
            }
        }
        Ok(Answer::Blocks { blocks })
    };
    collect().unwrap_or_else(refused)
}

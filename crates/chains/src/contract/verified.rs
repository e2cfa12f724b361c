//! Blocks one after another, verified on all threads, handed on in order: what import, export and verification share.

use super::{BadBlock, ChainError, ChainVerifier, CheckedBlock, Level, RawBlock};
use crate::parallel;
use std::num::NonZeroUsize;

/// A lot ends with the block that reaches this, or with 64 of them: signatures are cheaper by the batch.
const LOT_BYTES: usize = 4 * parallel::LOT_BYTES;

/// Takes some verified blocks; says whether to go on.
pub(super) type Take<'a> =
    dyn FnMut(&[RawBlock], Vec<CheckedBlock>) -> Result<bool, ChainError> + 'a;

/// Verifies the blocks that `next` gives, and hands them to `take`, some at a time; whether it came to the end.
///
/// `bad` makes the error of a bad block; of several errors the first in the order of blocks comes out.
pub(super) fn each_verified<V: ChainVerifier>(
    next: impl FnMut() -> Result<Option<RawBlock>, ChainError> + Send,
    verifier: &V,
    level: Level,
    threads: NonZeroUsize,
    bad: impl Fn(BadBlock<V::Fault>) -> ChainError,
    take: &mut Take<'_>,
) -> Result<bool, ChainError> {
    let bytes_of = |block: &RawBlock| usize::try_from(block.bytes()).unwrap_or(usize::MAX);
    let done = parallel::in_order(
        &mut vec![(); threads.get()],
        parallel::lots(next, bytes_of, LOT_BYTES),
        |(), _, (blocks, after)| (verifier.verify(&blocks, level), blocks, after),
        |(checked, blocks, after)| {
            let checked = checked.map_err(|block| Some(bad(block)))?;
            let go_on = take(&blocks, checked).map_err(Some)?;
            after.map_err(Some)?;
            if go_on { Ok(()) } else { Err(None) }
        },
    );
    match done {
        Ok(()) => Ok(true),
        Err(None) => Ok(false),
        Err(Some(error)) => Err(error),
    }
}

//! A file's records on all threads: read one after another, worked on side by side, taken in order.

use super::super::{
    error::BitcoinError,
    files::{Piece, Records},
};
use crate::parallel;
use std::num::NonZeroUsize;

/// A piece of a file, and where it is among the others.
pub(super) struct NumberedPiece {
    /// from 0
    pub(super) number: usize,
    /// where it ends in the file
    pub(super) end: u64,
    pub(super) piece: Piece,
}

/// Reads a file to its end; gives the reader back. Of several errors the first in the order of the file comes out.
pub(super) fn each_piece<R: Send>(
    mut records: Records,
    threads: NonZeroUsize,
    work: impl Fn(NumberedPiece) -> Result<R, BitcoinError> + Sync,
    mut take: impl FnMut(R) -> Result<(), BitcoinError>,
) -> Result<Records, BitcoinError> {
    let mut numbers = 0..;
    let next = || {
        let piece = records.next()?;
        let number =
            |piece| Some(NumberedPiece { number: numbers.next()?, end: records.at(), piece });
        Ok::<_, BitcoinError>(piece.and_then(number))
    };
    parallel::in_order(
        &mut vec![(); threads.get()],
        parallel::lots(
            next,
            |numbered: &NumberedPiece| numbered.piece.bytes(),
            parallel::LOT_BYTES,
        ),
        |(), _, (pieces, after)| {
            let done: Vec<_> = pieces.into_iter().map(&work).collect();
            (done, after)
        },
        |(done, after): (Vec<_>, _)| {
            done.into_iter().try_for_each(|done| take(done?))?;
            after
        },
    )?;
    Ok(records)
}

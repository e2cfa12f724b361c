//! One block's records in a history file, and runs of them: what readers of files give to those who verify and store.

use super::{
    error::{Part, Place},
    uint::U256,
};
use prunedb_core::units::VALUE_BYTES_MAX;
use std::ops::Range;

/// Most bytes of a body or receipts, so that a stored block fits into a value.
pub(crate) const PART_BYTES_MAX: usize = VALUE_BYTES_MAX - 2 * HEADER_RLP_BYTES_MAX;
/// Most bytes of a header: real ones have about 600.
pub(crate) const HEADER_RLP_BYTES_MAX: usize = 16 << 10;
/// Most bytes of a compressed record: stored chunks add an 8,000th.
pub(crate) const RECORD_BYTES_MAX: u64 = (PART_BYTES_MAX + PART_BYTES_MAX / 1000) as u64;

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// its data, within the batch
    pub(crate) data: Range<usize>,
    /// its number in the file
    pub(crate) record: u64,
    /// where it starts in the file
    pub(crate) offset: u64,
}

/// A block's receipts, as its file has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ReceiptsPiece {
    /// `.era1`: as in the receipts trie
    Full(Piece),
    /// `.ere`: without blooms
    Slim(Piece),
}

impl ReceiptsPiece {
    pub(crate) const fn piece(&self) -> &Piece {
        match self {
            Self::Full(piece) | Self::Slim(piece) => piece,
        }
    }
}

/// One block's records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tuple {
    /// by its place in the file; the header may say otherwise
    pub(crate) height: u64,
    pub(crate) header: Piece,
    pub(crate) body: Piece,
    pub(crate) receipts: Option<ReceiptsPiece>,
    pub(crate) proof: Option<Piece>,
    pub(crate) total: Option<(U256, Piece)>,
}

impl Tuple {
    /// Where a part is; of one that it has not, where the block is.
    pub(crate) fn place(&self, file: &str, part: Part) -> Place {
        let piece = match part {
            Part::Body => Some(&self.body),
            Part::Receipts => self.receipts.as_ref().map(ReceiptsPiece::piece),
            Part::Proof => self.proof.as_ref(),
            Part::TotalDifficulty => self.total.as_ref().map(|(_, piece)| piece),
            _ => None,
        };
        let &Piece { record, offset, .. } = piece.unwrap_or(&self.header);
        Place { file: file.into(), record, offset, part, height: Some(self.height) }
    }

    /// The sum of difficulties, if the file has it.
    pub(crate) fn total(&self) -> Option<U256> {
        self.total.as_ref().map(|&(total, _)| total)
    }
}

/// A run of whole blocks.
#[derive(Default)]
pub(crate) struct Batch {
    /// bytes of the file that their records lie in
    pub(crate) bytes: Vec<u8>,
    /// where in the file it begins
    pub(crate) offset: u64,
    pub(crate) tuples: Vec<Tuple>,
}

impl Batch {
    /// Where it ends in a file that has its blocks one after another.
    pub(crate) const fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

//! What was agreed on: the transactions of a height, and now and then the root that they led to.

use prunedb_core::Digest;
use prunedb_format::{
    FormatError,
    bytes::{Reader, put_long},
};

/// Heights from one checkpoint to the next: the roots of the states between them are not looked at.
pub const CHECKPOINT_HEIGHTS: u64 = 16;
/// Heights of a sitting, in which the same validators vote: a change of them takes effect within so many blocks.
pub const SITTING_HEIGHTS: u64 = 4 * CHECKPOINT_HEIGHTS;
/// Most bytes of a block's transactions, each with its length.
pub const BLOCK_BYTES_MAX: usize = 2 << 20;

/// The root of the state after a height that [`CHECKPOINT_HEIGHTS`] divides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// which height
    pub height: u64,
    /// the root
    pub root: Digest,
}

/// A block that will never change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Finalized {
    /// 1 for the first one, then one more each
    pub height: u64,
    /// what the state had been after an earlier height, as the block's validators agreed
    pub checkpoint: Option<Checkpoint>,
    /// in their order; nobody has looked into them
    pub txs: Vec<Vec<u8>>,
}

impl Finalized {
    /// Appends the block's bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.height.to_le_bytes());
        out.push(u8::from(self.checkpoint.is_some()));
        if let Some(checkpoint) = &self.checkpoint {
            out.extend_from_slice(&checkpoint.height.to_le_bytes());
            out.extend_from_slice(&checkpoint.root.0);
        }
        out.extend_from_slice(&prunedb_format::bytes::count_u32(self.txs.len()));
        self.txs.iter().for_each(|tx| put_long(out, tx));
    }

    /// The block's bytes, as they travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        bytes
    }

    /// Reads a block's bytes, all of them.
    ///
    /// # Errors
    /// [`FormatError`] for bytes that [`Self::to_bytes`] would not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut from = Reader::new("block", bytes);
        let block = Self::get(&mut from)?;
        from.end().map(|()| block)
    }

    /// Reads a block.
    ///
    /// # Errors
    /// [`FormatError`] for bytes that [`Self::put`] would not write for a block that may be.
    pub(crate) fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        let height = from.u64()?;
        let checkpoint = match from.u8()? {
            0 => None,
            1 => Some(Checkpoint { height: from.u64()?, root: from.digest()? }),
            found => {
                return Err(FormatError::Value { what: "block: checkpoint", found: found.into() });
            }
        };
        if let Some(impossible) = checkpoint
            .map(|c| c.height)
            .filter(|&h| h == 0 || h >= height || !h.is_multiple_of(CHECKPOINT_HEIGHTS))
        {
            return Err(FormatError::Value { what: "block: checkpoint", found: impossible });
        }
        let mut txs = Vec::new();
        let mut room = BLOCK_BYTES_MAX;
        for _ in 0..from.u32()? {
            let tx = from.long_bytes()?;
            let excess = |bytes| FormatError::Excess { what: "block: transactions", bytes };
            let left = room.checked_sub(tx_cost(tx));
            room = left.ok_or_else(|| excess((tx_cost(tx) - room) as u64))?;
            txs.push(tx.to_vec());
        }
        Ok(Self { height, checkpoint, txs })
    }
}

/// What a transaction takes up of a block.
pub(crate) const fn tx_cost(tx: &[u8]) -> usize {
    4 + tx.len()
}

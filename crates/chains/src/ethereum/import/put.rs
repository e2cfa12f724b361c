//! Verified blocks into the store: what is there already is left alone.

use super::{file::COMMIT_BYTES, link::Cursor};
use crate::{
    archive::Archive,
    ethereum::{
        error::EthereumError,
        tables::{NewBlock, StoredParts, Tables},
    },
};

/// Puts blocks of rising height.
pub(super) struct Putter<'a> {
    tables: &'a Tables,
    block: Cursor,
    receipts: Cursor,
    total: Cursor,
    proof: Cursor,
    uncommitted: u64,
    /// blocks of which something was put
    pub(super) blocks: u64,
    /// bytes of values put
    pub(super) bytes: u64,
    /// whether a proof is stored that is not the file's: an import of another file did not end
    pub(super) proofs_differ: bool,
}

impl<'a> Putter<'a> {
    pub(super) const fn new(tables: &'a Tables) -> Self {
        Self {
            tables,
            block: Cursor::new(),
            receipts: Cursor::new(),
            total: Cursor::new(),
            proof: Cursor::new(),
            uncommitted: 0,
            blocks: 0,
            bytes: 0,
            proofs_differ: false,
        }
    }

    /// Puts the parts of a block that are not stored yet.
    pub(super) fn put<A: Archive + ?Sized>(
        &mut self,
        archive: &mut A,
        new: NewBlock<'_>,
    ) -> Result<(), EthereumError> {
        let (tables, height) = (self.tables, new.height);
        let proof = match new.proof {
            Some(_) => self.proof.at(archive, &tables.proof, height)?,
            None => None,
        };
        self.proofs_differ |= proof.is_some_and(|stored| Some(stored) != new.proof);
        let stored = StoredParts {
            block: self.block.at(archive, &tables.block, height)?.is_some(),
            receipts: new.receipts.is_some()
                && self.receipts.at(archive, &tables.receipts, height)?.is_some(),
            total: new.total.is_some()
                && self.total.at(archive, &tables.total_difficulty, height)?.is_some(),
            proof: proof.is_some(),
        };
        if new.adds_to(stored) {
            let bytes = new.put(archive, tables, stored)?;
            self.blocks += 1;
            self.bytes += bytes;
            self.uncommitted += bytes;
        }
        Ok(())
    }

    /// Between two batches: commits where enough was put.
    pub(super) fn pause<A: Archive + ?Sized>(
        &mut self,
        archive: &mut A,
    ) -> Result<(), EthereumError> {
        if self.uncommitted >= COMMIT_BYTES {
            archive.commit()?;
            self.uncommitted = 0;
        }
        Ok(())
    }
}

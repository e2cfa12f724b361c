//! Archived blocks and their rows, found as a node finds them: by height, by the block's hash, by a transaction's.
//!
//! A block is verified by its hashes each time it is read. Bodies cannot be found by their own hash: nothing in the archive is keyed by it.

use crate::{
    database::{Database, Kind, Row, Rows},
    verify::{BLOCK, CasperVerifier, HEADER, TRANSACTIONS},
};
use prunedb_chains::{
    archive::Archive,
    contract::{ChainError, Hash, RawBlock, Stored},
};

/// One network's blocks in an archive.
#[derive(Debug)]
pub struct ArchivedBlocks<'a, A: ?Sized> {
    stored: Stored<'a, A, CasperVerifier>,
}

impl<'a, A: Archive + ?Sized> ArchivedBlocks<'a, A> {
    /// The blocks of the verifier's network.
    pub fn new(archive: &'a A, verifier: &'a CasperVerifier) -> Self {
        Self { stored: Stored::new(archive, verifier) }
    }

    /// The block of a height.
    ///
    /// # Errors
    /// When it is damaged, or the store cannot read.
    pub fn at(&self, height: u64) -> Result<Option<ArchivedBlock>, ChainError> {
        let Some(raw) = self.stored.raw(height)? else { return Ok(None) };
        let hash = self.stored.check(&raw)?.hash;
        Ok(Some(ArchivedBlock { hash, raw }))
    }

    /// The height of the block with this hash.
    ///
    /// # Errors
    /// When the store cannot read.
    pub fn height_of(&self, block: &Hash) -> Result<Option<u64>, ChainError> {
        self.stored.height_of(block)
    }

    /// The height of the block that has this transaction.
    ///
    /// # Errors
    /// When the store cannot read.
    pub fn height_with(&self, transaction: &Hash) -> Result<Option<u64>, ChainError> {
        Ok(self.stored.place_of(transaction)?.map(|place| place.height))
    }
}

/// A block of the archive, verified by its hashes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchivedBlock {
    hash: Hash,
    raw: RawBlock,
}

impl ArchivedBlock {
    /// Its hash.
    pub const fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Its height.
    pub const fn height(&self) -> u64 {
        self.raw.height
    }

    /// Its row of a kind. Where it is there in both generations it is that of 2.x, which nodes look at first.
    pub fn row(&self, kind: Kind) -> Option<Row<'_>> {
        let part = match kind {
            Kind::Header => HEADER,
            Kind::Body | Kind::Signatures | Kind::ApprovalsHashes | Kind::Transfers => BLOCK,
            _ => return None,
        };
        self.find(part, kind, &|_| true)
    }

    /// The row of a kind of one of its transactions.
    pub fn row_of(&self, transaction: &Hash, kind: Kind) -> Option<Row<'_>> {
        self.find(TRANSACTIONS, kind, &|row| row.key.ends_with(transaction))
    }

    fn find(&self, part: &str, kind: Kind, is_meant: &dyn Fn(&Row<'_>) -> bool) -> Option<Row<'_>> {
        let rows = Rows::read(self.raw.part(part)?).ok()?;
        let of = |database| move |row: &&Row<'_>| row.database == database && is_meant(row);
        Database::of(kind).find_map(|database| rows.iter().find(of(database)).copied())
    }
}

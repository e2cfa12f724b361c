//! Where a chain's blocks lie in the store.

use super::{ChainError, ChainVerifier, CheckedBlock, Hash, Level, RawBlock, RawPart};
use crate::archive::{Archive, Record};

/// Where a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionPlace {
    /// Its block.
    pub height: u64,
    /// Its place in the block, from 0.
    pub index: u32,
}

impl TransactionPlace {
    /// The stored form.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [&self.height.to_be_bytes()[..], &self.index.to_be_bytes()].concat()
    }

    /// Reads the stored form.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (height, index) = bytes.split_first_chunk()?;
        let index = u32::from_be_bytes(index.try_into().ok()?);
        Some(Self { height: u64::from_be_bytes(*height), index })
    }
}

/// A value of the store that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("the value has {0} bytes, which is not a place")]
struct NotAPlace(usize);

/// One network's blocks in the store.
#[derive(Debug)]
pub struct Stored<'a, A: ?Sized, V> {
    archive: &'a A,
    verifier: &'a V,
    tables: Tables,
}

/// Names of one network's tables.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    /// (the part, its table)
    pub(super) parts: Vec<(&'static str, String)>,
    block_hash: String,
    tx_hash: String,
}

impl Tables {
    pub(super) fn of(verifier: &impl ChainVerifier) -> Self {
        let name = |word: &str| format!("{}/{}/{word}", verifier.chain(), verifier.network());
        Self {
            parts: verifier.parts().iter().map(|part| (*part, name(part))).collect(),
            block_hash: name("block-hash"),
            tx_hash: name("tx-hash"),
        }
    }

    /// Puts the parts of a block that are not stored yet, as one put; gives the bytes put.
    pub(super) fn put<A: Archive + ?Sized>(
        &self,
        archive: &mut A,
        block: &RawBlock,
        checked: &CheckedBlock,
        stored: &[&'static str],
        transactions_part: &str,
    ) -> Result<u64, ChainError> {
        let mut records = Vec::with_capacity(2 + block.parts.len() + checked.transactions.len());
        for (part, table) in &self.parts {
            if let Some(bytes) = block.part(part)
                && !stored.contains(part)
            {
                records.push(Record::sequence(table, block.height, bytes));
            }
        }
        let bytes = records.iter().map(|record| record.value.len() as u64).sum();
        if stored.is_empty() {
            let height = block.height.to_be_bytes().to_vec();
            records.push(Record::keyed(&self.block_hash, &checked.hash[..], height));
        }
        if !stored.contains(&transactions_part) {
            for (index, hash) in (0..).zip(&checked.transactions) {
                let place = TransactionPlace { height: block.height, index }.to_bytes();
                records.push(Record::keyed(&self.tx_hash, &hash[..], place));
            }
        }
        if !records.is_empty() {
            archive.put(&records)?;
        }
        Ok(bytes)
    }
}

impl<'a, A: Archive + ?Sized, V: ChainVerifier> Stored<'a, A, V> {
    /// The blocks of the verifier's network.
    pub fn new(archive: &'a A, verifier: &'a V) -> Self {
        Self { archive, verifier, tables: Tables::of(verifier) }
    }

    /// The network's name with its chain's, for messages and table names.
    pub fn name(&self) -> String {
        format!("{}/{}", self.verifier.chain(), self.verifier.network())
    }

    /// What is stored of a block; `None` if nothing is.
    ///
    /// # Errors
    /// When the store cannot read.
    pub fn raw(&self, height: u64) -> Result<Option<RawBlock>, ChainError> {
        let mut parts = Vec::with_capacity(self.tables.parts.len());
        for (part, table) in &self.tables.parts {
            match self.archive.get(table, &height.to_be_bytes())? {
                Some(bytes) => parts.push(RawPart { table: part, bytes }),
                // without the first part there is nothing to hold on to
                None if parts.is_empty() => return Ok(None),
                None => {}
            }
        }
        Ok(Some(RawBlock { height, parts }))
    }

    /// The first height from `from` on that is stored.
    ///
    /// # Errors
    /// When the store cannot read.
    pub fn next_height(&self, from: u64) -> Result<Option<u64>, ChainError> {
        let (_, table) = &self.tables.parts[0];
        Ok(self.archive.range(table, from, 1)?.first().map(|&(height, _)| height))
    }

    /// The highest height that is stored.
    ///
    /// Cost: 64 look-ups.
    ///
    /// # Errors
    /// When the store cannot read.
    pub fn last_height(&self) -> Result<Option<u64>, ChainError> {
        let Some(mut last) = self.next_height(0)? else { return Ok(None) };
        let mut nothing_from = u64::MAX;
        if let Some(highest) = self.next_height(u64::MAX)? {
            return Ok(Some(highest));
        }
        while last.saturating_add(1) < nothing_from {
            let middle = u64::midpoint(last, nothing_from);
            match self.next_height(middle)? {
                Some(found) => last = found,
                None => nothing_from = middle,
            }
        }
        Ok(Some(last))
    }

    /// Verifies a stored block by its hashes.
    ///
    /// # Errors
    /// When it is damaged, or the store cannot read.
    pub fn check(&self, block: &RawBlock) -> Result<CheckedBlock, ChainError> {
        let checked = self.verifier.verify(std::slice::from_ref(block), Level::Hashes);
        match checked {
            Ok(mut checked) => Ok(checked.pop().expect("one block in, one out")),
            Err(bad) => Err(ChainError::Stored {
                table: self.name(),
                height: bad.height,
                fault: bad.fault.into(),
            }),
        }
    }

    /// The hashes of a stored block, verified.
    ///
    /// # Errors
    /// When it is damaged, or the store cannot read.
    pub fn checked(&self, height: u64) -> Result<Option<CheckedBlock>, ChainError> {
        self.raw(height)?.map(|block| self.check(&block)).transpose()
    }

    /// The height of the block with this hash.
    ///
    /// # Errors
    /// When the store cannot read, or the value is damaged.
    pub fn height_of(&self, hash: &Hash) -> Result<Option<u64>, ChainError> {
        let table = &self.tables.block_hash;
        let Some(value) = self.archive.get(table, hash)? else { return Ok(None) };
        match value[..].try_into() {
            Ok(bytes) => Ok(Some(u64::from_be_bytes(bytes))),
            Err(_) => Err(damaged(table, &value)),
        }
    }

    /// Where the transaction with this hash is.
    ///
    /// # Errors
    /// When the store cannot read, or the value is damaged.
    pub fn place_of(&self, transaction: &Hash) -> Result<Option<TransactionPlace>, ChainError> {
        let table = &self.tables.tx_hash;
        let Some(value) = self.archive.get(table, transaction)? else { return Ok(None) };
        TransactionPlace::from_bytes(&value).map(Some).ok_or_else(|| damaged(table, &value))
    }
}

fn damaged(table: &str, value: &[u8]) -> ChainError {
    let fault = NotAPlace(value.len()).into();
    ChainError::Stored { table: table.into(), height: 0, fault }
}

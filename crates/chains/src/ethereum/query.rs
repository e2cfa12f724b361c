//! Questions about stored history: by height, block hash or transaction hash.
//!
//! What is given back was verified again: the block's body against its header, the header against the hash that was asked
//! for, receipts against the header.

use super::{
    block::{Block, envelopes},
    error::{EthereumError, Fault},
    hash::{Hash32, keccak256},
    json::{BlockJson, ReceiptJson, TransactionJson, senders},
    network::Network,
    sender::sender,
    tables::Tables,
    transaction::Transaction,
    uint::U256,
};
use crate::{archive::Archive, contract::TransactionPlace};
use std::{fmt, str::FromStr};

/// Names a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BlockId {
    /// By height.
    Height(u64),
    /// By hash.
    Hash(Hash32),
}

/// A string that names no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a block: write a height (4370000, 0x42ae50) or a hash (0x and 64 hex digits)"
)]
pub struct BlockIdError(String);

impl FromStr for BlockId {
    type Err = BlockIdError;

    fn from_str(text: &str) -> Result<Self, BlockIdError> {
        let refuse = || BlockIdError(text.into());
        let number = |digits: &str, radix: u32| {
            // no sign: `from_str_radix` would take one
            let plain = digits.chars().all(|digit| digit.is_digit(radix));
            plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
        };
        match text.strip_prefix("0x") {
            Some(digits) if digits.len() == 64 => {
                text.parse().map(Self::Hash).map_err(|_| refuse())
            }
            Some(digits) => number(digits, 16).map(Self::Height).ok_or_else(refuse),
            None => number(text, 10).map(Self::Height).ok_or_else(refuse),
        }
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Height(height) => height.fmt(f),
            Self::Hash(hash) => hash.fmt(f),
        }
    }
}

/// One network's history in a store.
#[derive(Debug)]
pub struct History<'a, A: ?Sized> {
    archive: &'a A,
    network: &'a Network,
    tables: Tables,
}

impl<'a, A: Archive + ?Sized> History<'a, A> {
    /// The history of `network` in `archive`.
    pub fn new(archive: &'a A, network: &'a Network) -> Self {
        Self { archive, network, tables: Tables::of(network) }
    }

    /// The height of a block: known only if it is stored.
    ///
    /// # Errors
    /// When the store cannot read, or a record is damaged.
    pub fn height(&self, block: BlockId) -> Result<Option<u64>, EthereumError> {
        let hash = match block {
            BlockId::Height(height) => return Ok(Some(height)),
            BlockId::Hash(hash) => hash,
        };
        let table = &self.tables.block_hash;
        let Some(value) = self.archive.get(table, &hash.0)? else { return Ok(None) };
        let height = value[..].try_into().map_err(|_| {
            let fault = Fault::RecordLength { expected: 8, found: value.len() as u64 };
            EthereumError::stored(table, hash, fault)
        })?;
        Ok(Some(u64::from_be_bytes(height)))
    }

    /// A block, or `None` if it is not stored.
    ///
    /// # Errors
    /// When the store cannot read, or what it gives does not verify.
    pub fn block(&self, block: BlockId) -> Result<Option<StoredBlock>, EthereumError> {
        let Some(height) = self.height(block)? else { return Ok(None) };
        let table = &self.tables.block;
        let Some(rlp) = self.archive.get(table, &height.to_be_bytes())? else { return Ok(None) };
        self.check(&rlp, height, block)
            .map_err(|fault| EthereumError::stored(table, height, fault))?;
        let total = self.archive.get(&self.tables.total_difficulty, &height.to_be_bytes())?;
        let total_difficulty = total.and_then(|bytes| U256::from_be_slice(&bytes));
        Ok(Some(StoredBlock { rlp, total_difficulty }))
    }

    fn check(&self, rlp: &[u8], height: u64, asked: BlockId) -> Result<(), Fault> {
        let block = Block::from_rlp(rlp)?;
        let (found, number) = (block.header().hash, block.header().number);
        if number != height {
            return Err(Fault::Height { expected: height, found: number });
        }
        if let BlockId::Hash(expected) = asked
            && expected != found
        {
            return Err(Fault::Root { what: "block hash", expected, found });
        }
        block.verify_body(self.network.chain_id())?;
        Ok(())
    }

    /// A block's receipts, with the block; `None` if either is not stored.
    ///
    /// # Errors
    /// When the store cannot read, or what it gives does not verify.
    pub fn receipts(&self, block: BlockId) -> Result<Option<StoredReceipts>, EthereumError> {
        let Some(block) = self.block(block)? else { return Ok(None) };
        let (table, height) = (&self.tables.receipts, block.block().header().number);
        let Some(rlp) = self.archive.get(table, &height.to_be_bytes())? else { return Ok(None) };
        block
            .block()
            .verify_receipts(&rlp)
            .map_err(|fault| EthereumError::stored(table, height, fault))?;
        Ok(Some(StoredReceipts { block, rlp }))
    }

    /// Where a transaction is, or `None` if it is not stored.
    ///
    /// # Errors
    /// When the store cannot read, or a record is damaged.
    pub fn locate(&self, transaction: Hash32) -> Result<Option<TransactionPlace>, EthereumError> {
        let table = &self.tables.tx_hash;
        let Some(value) = self.archive.get(table, &transaction.0)? else { return Ok(None) };
        let location = TransactionPlace::from_bytes(&value).ok_or_else(|| {
            let fault = Fault::RecordLength { expected: 12, found: value.len() as u64 };
            EthereumError::stored(table, transaction, fault)
        })?;
        Ok(Some(location))
    }

    /// A transaction, with its block; `None` if it is not stored.
    ///
    /// # Errors
    /// When the store cannot read, or what it gives does not verify.
    pub fn transaction(&self, hash: Hash32) -> Result<Option<StoredTransaction>, EthereumError> {
        let Some(location) = self.locate(hash)? else { return Ok(None) };
        let damaged = |fault| EthereumError::stored(&self.tables.tx_hash, hash, fault);
        // the table says that there is one: that the block is missing is damage, not absence
        let block = self.block(BlockId::Height(location.height))?;
        let block = block.ok_or_else(|| damaged(Fault::Missing))?;
        let transactions = block.block();
        let transactions =
            envelopes(transactions.transactions(), "transactions").map_err(damaged)?;
        let raw = usize::try_from(location.index).ok().and_then(|index| transactions.get(index));
        let raw = raw.ok_or_else(|| damaged(Fault::Missing))?.to_vec();
        let found = keccak256(&raw);
        if found != hash {
            return Err(damaged(Fault::Root { what: "transaction hash", expected: hash, found }));
        }
        Ok(Some(StoredTransaction { block, index: location.index, raw }))
    }
}

/// A block out of the store, verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredBlock {
    rlp: Vec<u8>,
    total_difficulty: Option<U256>,
}

impl StoredBlock {
    /// Its RLP.
    pub fn rlp(&self) -> &[u8] {
        &self.rlp
    }

    /// Header and body.
    pub fn block(&self) -> Block<'_> {
        Block::from_rlp(&self.rlp).expect("verified when it was read")
    }

    /// The sum of difficulties up to it, if it was imported with one.
    pub const fn total_difficulty(&self) -> Option<U256> {
        self.total_difficulty
    }

    /// As of `eth_getBlockByNumber`.
    ///
    /// # Errors
    /// When a transaction has not the shape of its type.
    pub fn json(&self, full_transactions: bool) -> Result<BlockJson<'_>, Fault> {
        let block = self.block();
        let senders = full_transactions.then(|| senders(&block)).transpose()?;
        BlockJson::of(&block, self.total_difficulty, senders.as_deref())
    }
}

/// A block's receipts out of the store, verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredReceipts {
    block: StoredBlock,
    rlp: Vec<u8>,
}

impl StoredReceipts {
    /// Their RLP.
    pub fn rlp(&self) -> &[u8] {
        &self.rlp
    }

    /// The block.
    pub const fn block(&self) -> &StoredBlock {
        &self.block
    }

    /// As of `eth_getBlockReceipts`.
    ///
    /// # Errors
    /// When one has not its shape.
    pub fn json(&self) -> Result<Vec<ReceiptJson<'_>>, Fault> {
        let block = self.block.block();
        ReceiptJson::all_of(&block, &self.rlp, &senders(&block)?)
    }
}

/// A transaction out of the store, verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredTransaction {
    block: StoredBlock,
    index: u32,
    raw: Vec<u8>,
}

impl StoredTransaction {
    /// Its bytes, as of `eth_getRawTransactionByHash`.
    pub fn rlp(&self) -> &[u8] {
        &self.raw
    }

    /// Its block.
    pub const fn block(&self) -> &StoredBlock {
        &self.block
    }

    /// Its place in the block.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// As of `eth_getTransactionByHash`.
    ///
    /// # Errors
    /// When it has not the shape of its type.
    pub fn json(&self) -> Result<TransactionJson<'_>, Fault> {
        let from = sender(&Transaction::decode(self.rlp())?);
        TransactionJson::of(self.block.block().header(), self.index.into(), self.rlp(), from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_ids() {
        assert_eq!("4370000".parse(), Ok(BlockId::Height(4_370_000)));
        assert_eq!("0x42ae50".parse(), Ok(BlockId::Height(4_370_000)));
        let hash = Hash32([0xab; 32]);
        assert_eq!(hash.to_string().parse(), Ok(BlockId::Hash(hash)));
        for text in ["", "0x", "-1", "+1", "1.5", "latest", "0x+1", "18446744073709551616"] {
            assert!(text.parse::<BlockId>().is_err(), "{text}");
        }
    }
}

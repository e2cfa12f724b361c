//! Blocks, undo data and transactions out of the store, checked against their keys.

use super::{
    block::{Block, HEADER_BYTES, Header},
    coin::{Coin, read_coins},
    error::{BitcoinError, Fault},
    files::FileName,
    hash::{Hash, sha256d},
    network::Network,
    tables::{FileRecord, Tables, VERSIONS_MAX},
};
use crate::{archive::Archive, contract::TransactionPlace};
use std::{borrow::Cow, str::FromStr};

/// Files asked for at once.
const PAGE: usize = 256;

/// A block by its height or its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockId {
    /// its place in the chain
    Height(u64),
    /// its hash
    Hash(Hash),
}

/// A string that is neither.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is neither a height nor a block hash of 64 hex digits")]
pub struct BlockIdError(String);

impl FromStr for BlockId {
    type Err = BlockIdError;

    fn from_str(text: &str) -> Result<Self, BlockIdError> {
        let hash = || text.parse().map(Self::Hash).ok();
        let height = text.parse().map(Self::Height).ok();
        height.or_else(hash).ok_or_else(|| BlockIdError(text.into()))
    }
}

/// A stored block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredBlock {
    /// its place, where it has one
    pub height: Option<u64>,
    /// its header
    pub header: Header,
    /// all of it, as the node stores and sends it
    pub bytes: Vec<u8>,
}

/// A stored transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredTransaction {
    /// its height, and its index in the block
    pub place: TransactionPlace,
    /// its block
    pub block: Hash,
    /// all of it, with witnesses
    pub bytes: Vec<u8>,
}

/// The history of one network in a store.
#[derive(Debug)]
pub struct History<'a, A: ?Sized> {
    archive: &'a A,
    network: Network,
    tables: Cow<'a, Tables>,
}

impl<'a, A: Archive + ?Sized> History<'a, A> {
    /// What is stored of a network.
    pub fn new(archive: &'a A, network: Network) -> Self {
        Self { archive, network, tables: Cow::Owned(Tables::of(network)) }
    }

    pub(crate) fn of(archive: &'a A, network: Network, tables: &'a Tables) -> Self {
        Self { archive, network, tables: Cow::Borrowed(tables) }
    }

    /// The header of the block at a height.
    ///
    /// # Errors
    /// Those of the store, and a record that is none.
    pub fn header(&self, height: u64) -> Result<Option<Header>, BitcoinError> {
        let table = &self.tables.header;
        let stored = self.archive.get(table, &height.to_be_bytes())?;
        stored.map(|bytes| header(table, height, &bytes)).transpose()
    }

    /// Headers from a height on, as they are sent: 80 bytes each, until one is missing or there are `limit`.
    ///
    /// # Errors
    /// Those of the store, and a record that is none.
    pub fn headers(&self, from: u64, limit: usize) -> Result<Vec<[u8; 80]>, BitcoinError> {
        let table = &self.tables.header;
        let rows = self.archive.range(table, from, limit)?;
        let rows = (from..).zip(rows).take_while(|(expected, (height, _))| expected == height);
        rows.map(|(_, (height, bytes))| {
            header(table, height, &bytes)?;
            Ok(bytes.try_into().expect("it was a header"))
        })
        .collect()
    }

    /// The highest block that has a height. Costs a look at 64 places.
    ///
    /// # Errors
    /// Those of the store.
    pub fn tip(&self) -> Result<Option<u64>, BitcoinError> {
        let next = |from| -> Result<_, BitcoinError> {
            let rows = self.archive.range(&self.tables.header, from, 1)?;
            Ok(rows.first().map(|&(height, _)| height))
        };
        let Some(mut tip) = next(0)? else { return Ok(None) };
        let mut beyond = u64::MAX;
        while tip + 1 < beyond {
            let middle = tip + (beyond - tip) / 2;
            match next(middle)? {
                Some(height) => tip = height,
                None => beyond = middle,
            }
        }
        Ok(Some(tip))
    }

    /// The height of a block of the chain.
    ///
    /// # Errors
    /// Those of the store, and a record that is none.
    pub fn height(&self, hash: Hash) -> Result<Option<u64>, BitcoinError> {
        stored_height(self.archive, &self.tables, hash)
    }

    /// A block, also one of an abandoned branch if it is asked for by its hash.
    ///
    /// # Errors
    /// Those of the store, and a record that is not what its key says.
    pub fn block(&self, id: BlockId) -> Result<Option<StoredBlock>, BitcoinError> {
        match id {
            BlockId::Height(height) => self.block_at(height, None),
            BlockId::Hash(hash) => match stored_height(self.archive, &self.tables, hash)? {
                Some(height) => self.block_at(height, Some(hash)),
                None => {
                    let table = &self.tables.side_block;
                    let bytes = self.archive.get(table, &hash.0)?;
                    bytes.map(|bytes| checked(table, hash, None, bytes, Some(hash))).transpose()
                }
            },
        }
    }

    fn block_at(
        &self,
        height: u64,
        hash: Option<Hash>,
    ) -> Result<Option<StoredBlock>, BitcoinError> {
        let table = &self.tables.block;
        let bytes = self.archive.get(table, &height.to_be_bytes())?;
        bytes.map(|bytes| checked(table, height, Some(height), bytes, hash)).transpose()
    }

    /// The undo data of a block, without its checksum.
    ///
    /// # Errors
    /// Those of the store.
    pub fn undo(&self, block: &StoredBlock) -> Result<Option<Vec<u8>>, BitcoinError> {
        if let Some(height) = block.height
            && let Some(undo) = self.archive.get(&self.tables.undo, &height.to_be_bytes())?
        {
            return Ok(Some(undo));
        }
        // it may have come before its block had a height
        Ok(self.archive.get(&self.tables.side_undo, &block.header.hash.0)?)
    }

    /// What a block's transactions but the coinbase spend, by its undo data.
    ///
    /// # Errors
    /// Undo data that is damaged, or of another block.
    pub fn spent(&self, block: &StoredBlock, undo: &[u8]) -> Result<Vec<Vec<Coin>>, BitcoinError> {
        let damaged = |fault| BitcoinError::stored(&self.tables.undo, block.header.hash, fault);
        let spent = read_coins(undo).map_err(damaged)?;
        let walked = self.walked(block)?;
        let inputs = walked.transactions.iter().skip(1).map(|each| each.inputs as usize);
        if inputs.eq(spent.iter().map(Vec::len)) { Ok(spent) } else { Err(damaged(Fault::Undo)) }
    }

    /// A stored block with its transactions, verified.
    ///
    /// # Errors
    /// A block that is damaged.
    pub fn walked(&self, block: &StoredBlock) -> Result<Block, BitcoinError> {
        let verified = Block::verified(&block.bytes, self.network);
        verified.map_err(|fault| BitcoinError::stored(&self.tables.block, block.header.hash, fault))
    }

    /// Where a transaction of the chain is.
    ///
    /// # Errors
    /// Those of the store, and a record that is none.
    pub fn place(&self, txid: Hash) -> Result<Option<TransactionPlace>, BitcoinError> {
        let table = &self.tables.tx_hash;
        let Some(value) = self.archive.get(table, &txid.0)? else { return Ok(None) };
        let form = Fault::Form { bytes: value.len() as u64 };
        let place = TransactionPlace::from_bytes(&value);
        place.map(Some).ok_or_else(|| BitcoinError::stored(table, txid, form))
    }

    /// A transaction of the chain: where it is, its block, and its bytes.
    ///
    /// # Errors
    /// Those of the store, and a block that is damaged or has another transaction there.
    pub fn transaction(&self, txid: Hash) -> Result<Option<StoredTransaction>, BitcoinError> {
        let Some(place) = self.place(txid)? else { return Ok(None) };
        let damaged = |fault| BitcoinError::stored(&self.tables.tx_hash, txid, fault);
        let block = self.block_at(place.height, None)?.ok_or_else(|| damaged(Fault::Missing))?;
        let walked = self.walked(&block)?;
        let listed = walked.transactions.get(place.index as usize);
        let found = listed.map(|transaction| transaction.txid).unwrap_or_default();
        match listed.filter(|_| found == txid) {
            Some(transaction) => {
                let bytes = block.bytes[transaction.bytes.clone()].to_vec();
                Ok(Some(StoredTransaction { place, block: block.header.hash, bytes }))
            }
            None => Err(damaged(Fault::Hash { expected: txid, found })),
        }
    }

    /// Imported files, each with its newest record.
    ///
    /// # Errors
    /// Those of the store, and a record that is none.
    pub fn files(&self) -> Result<Vec<(FileName, FileRecord)>, BitcoinError> {
        let mut files: Vec<(FileName, FileRecord)> = Vec::new();
        for kind in super::files::FileKind::ALL {
            let (table, mut from) = (self.tables.files(kind), 0);
            loop {
                let rows = self.archive.range(table, from, PAGE)?;
                let Some(&(last, _)) = rows.last() else { break };
                from = last + 1;
                for (key, value) in rows {
                    let record = file_record(table, key, &value)?;
                    let number = u32::try_from(key / VERSIONS_MAX).map_err(|_| {
                        let fault = Fault::Form { bytes: value.len() as u64 };
                        BitcoinError::stored(table, key, fault)
                    })?;
                    let name = FileName { kind, number };
                    files.pop_if(|(before, _)| *before == name);
                    files.push((name, record));
                }
            }
        }
        Ok(files)
    }
}

fn header(table: &str, height: u64, bytes: &[u8]) -> Result<Header, BitcoinError> {
    let fault = Fault::Form { bytes: bytes.len() as u64 };
    let header = bytes.try_into().map_err(|_| BitcoinError::stored(table, height, fault))?;
    Ok(Header::read(header))
}

/// A block that must be the one of its key.
fn checked(
    table: &str,
    key: impl std::fmt::Display,
    height: Option<u64>,
    bytes: Vec<u8>,
    expected: Option<Hash>,
) -> Result<StoredBlock, BitcoinError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        let fault = Fault::Form { bytes: bytes.len() as u64 };
        return Err(BitcoinError::stored(table, key, fault));
    };
    let header = Header::read(header);
    match expected {
        Some(expected) if expected != header.hash => {
            let fault = Fault::Hash { expected, found: sha256d(&[&bytes[..HEADER_BYTES]]) };
            Err(BitcoinError::stored(table, key, fault))
        }
        _ => Ok(StoredBlock { height, header, bytes }),
    }
}

/// The height of a stored block.
pub(crate) fn stored_height<A: Archive + ?Sized>(
    archive: &A,
    tables: &Tables,
    hash: Hash,
) -> Result<Option<u64>, BitcoinError> {
    let Some(value) = archive.get(&tables.block_hash, &hash.0)? else { return Ok(None) };
    let height = value[..].try_into().map(u64::from_be_bytes).map_err(|_| {
        BitcoinError::stored(&tables.block_hash, hash, Fault::Form { bytes: value.len() as u64 })
    })?;
    Ok(Some(height))
}

/// The newest version of an imported file.
pub(crate) fn latest<A: Archive + ?Sized>(
    archive: &A,
    tables: &Tables,
    name: FileName,
) -> Result<Option<(u64, FileRecord)>, BitcoinError> {
    let table = tables.files(name.kind);
    let first = u64::from(name.number) * VERSIONS_MAX;
    let (mut from, mut newest) = (first, None);
    loop {
        let rows = archive.range(table, from, PAGE)?;
        let count = rows.len();
        for (key, value) in rows {
            if key >= first + VERSIONS_MAX {
                return Ok(newest);
            }
            newest = Some((key - first, file_record(table, key, &value)?));
            from = key + 1;
        }
        if count < PAGE {
            return Ok(newest);
        }
    }
}

fn file_record(table: &str, key: u64, value: &[u8]) -> Result<FileRecord, BitcoinError> {
    FileRecord::from_bytes(value)
        .ok_or_else(|| BitcoinError::stored(table, key, Fault::Form { bytes: value.len() as u64 }))
}

//! Blocks, transactions and receipts as JSON, in the words of Ethereum's JSON-RPC.
//!
//! Numbers are hex quantities (`0x0`, `0x1f`), bytes are hex data. What the archive cannot say by itself is left out, not
//! guessed: `from` and `contractAddress` where nobody can have signed the transaction, `blobGasPrice` where the fork that
//! decides about it is not known here, and `totalDifficulty` where it was not imported.

mod blob;
mod receipt;
mod transaction;

pub use receipt::{LogJson, ReceiptJson};
pub use transaction::{AccessListEntryJson, AuthorizationJson, FieldsJson, TransactionJson};

use super::{
    block::{Block, Header, envelopes},
    error::Fault,
    hash::{Address, Hash32, Hex, keccak256},
    rlp::{Item, RlpError, list_prefix},
    sender::sender,
    transaction::Transaction,
    uint::U256,
};
use serde::{Serialize, Serializer};
use std::fmt::{self, Display};

/// A number, as `0x1f`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quantity(pub u64);

/// Bytes, as `0x001f`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Data<'a>(pub &'a [u8]);

impl Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Display for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(self.0).fmt(f)
    }
}

macro_rules! serialize_as_shown {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
serialize_as_shown!(Quantity, Data<'_>, Hash32, Address, U256);

/// A block's header, as of `eth_getHeaderByNumber`.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct HeaderJson<'a> {
    pub number: Quantity,
    pub hash: Hash32,
    pub parent_hash: Hash32,
    pub nonce: Data<'a>,
    pub sha3_uncles: Hash32,
    pub logs_bloom: Data<'a>,
    pub transactions_root: Hash32,
    pub state_root: Hash32,
    pub receipts_root: Hash32,
    pub miner: Address,
    pub mix_hash: Hash32,
    pub difficulty: U256,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_difficulty: Option<U256>,
    pub extra_data: Data<'a>,
    pub gas_limit: Quantity,
    pub gas_used: Quantity,
    pub timestamp: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_fee_per_gas: Option<U256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawals_root: Option<Hash32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_gas_used: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess_blob_gas: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_beacon_block_root: Option<Hash32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_hash: Option<Hash32>,
}

/// A block, as of `eth_getBlockByNumber`.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct BlockJson<'a> {
    #[serde(flatten)]
    pub header: HeaderJson<'a>,
    pub size: Quantity,
    pub transactions: TransactionsJson<'a>,
    pub uncles: Vec<Hash32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawals: Option<Vec<WithdrawalJson>>,
}

/// Who sent each transaction of a block, where that can be said.
pub type Senders = [Option<Address>];

/// Recovers who sent the transactions of a block.
///
/// # Errors
/// When a transaction has not the shape of its type.
pub fn senders(block: &Block<'_>) -> Result<Vec<Option<Address>>, Fault> {
    let raw = envelopes(block.transactions(), "transactions")?;
    raw.into_iter().map(|raw| Ok(sender(&Transaction::decode(raw)?))).collect()
}

/// A block's transactions: whole, or their hashes.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum TransactionsJson<'a> {
    /// Whole.
    Full(Vec<TransactionJson<'a>>),
    /// Their hashes.
    Hashes(Vec<Hash32>),
}

/// A withdrawal of a validator's stake.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct WithdrawalJson {
    pub index: Quantity,
    pub validator_index: Quantity,
    pub address: Address,
    pub amount: Quantity,
}

impl<'a> HeaderJson<'a> {
    /// Renders a header.
    pub const fn of(header: &Header<'a>, total_difficulty: Option<U256>) -> Self {
        const fn quantity(number: Option<u64>) -> Option<Quantity> {
            match number {
                Some(number) => Some(Quantity(number)),
                None => None,
            }
        }
        Self {
            number: Quantity(header.number),
            hash: header.hash,
            parent_hash: header.parent_hash,
            nonce: Data(header.nonce),
            sha3_uncles: header.ommers_hash,
            logs_bloom: Data(header.logs_bloom),
            transactions_root: header.transactions_root,
            state_root: header.state_root,
            receipts_root: header.receipts_root,
            miner: header.beneficiary,
            mix_hash: header.mix_hash,
            difficulty: header.difficulty,
            total_difficulty,
            extra_data: Data(header.extra_data),
            gas_limit: Quantity(header.gas_limit),
            gas_used: Quantity(header.gas_used),
            timestamp: Quantity(header.timestamp),
            base_fee_per_gas: header.base_fee_per_gas,
            withdrawals_root: header.withdrawals_root,
            blob_gas_used: quantity(header.blob_gas_used),
            excess_blob_gas: quantity(header.excess_blob_gas),
            parent_beacon_block_root: header.parent_beacon_block_root,
            requests_hash: header.requests_hash,
        }
    }
}

impl<'a> BlockJson<'a> {
    /// Renders a block; with its transactions whole where their senders are given.
    ///
    /// # Errors
    /// When a transaction or withdrawal has not the shape of its type.
    pub fn of(
        block: &Block<'a>,
        total_difficulty: Option<U256>,
        senders: Option<&Senders>,
    ) -> Result<Self, Fault> {
        let header = block.header();
        let raw = envelopes(block.transactions(), "transactions")?;
        let transactions = match senders {
            Some(senders) => {
                let from = senders.iter().copied().chain(std::iter::repeat(None));
                let each = (0..).zip(raw.into_iter().zip(from));
                let each =
                    each.map(|(index, (raw, from))| TransactionJson::of(header, index, raw, from));
                TransactionsJson::Full(each.collect::<Result<_, _>>()?)
            }
            None => TransactionsJson::Hashes(raw.into_iter().map(keccak256).collect()),
        };
        let uncles = block.ommers().items().and_then(|ommers| {
            ommers.map(|ommer| Ok(keccak256(ommer?.raw()))).collect::<Result<_, RlpError>>()
        });
        Ok(Self {
            header: HeaderJson::of(header, total_difficulty),
            size: Quantity(block.rlp_bytes()),
            transactions,
            uncles: uncles.map_err(Fault::rlp("ommers"))?,
            withdrawals: block.withdrawals().map(withdrawals).transpose()?,
        })
    }

    /// Renders an ommer, which is a header without a body.
    ///
    /// # Errors
    /// When it is no header.
    pub fn of_ommer(ommer: Item<'a>) -> Result<Self, Fault> {
        let header = Header::decode(ommer)?;
        // as a block of this header and empty lists
        let empty_body = 2;
        let payload = ommer.raw().len() + empty_body;
        Ok(Self {
            header: HeaderJson::of(&header, None),
            size: Quantity((list_prefix(payload).len() + payload) as u64),
            transactions: TransactionsJson::Hashes(Vec::new()),
            uncles: Vec::new(),
            withdrawals: None,
        })
    }
}

fn withdrawals(list: Item<'_>) -> Result<Vec<WithdrawalJson>, Fault> {
    let one = |item: Item<'_>| {
        let mut items = item.items()?;
        let withdrawal = WithdrawalJson {
            index: Quantity(items.item()?.u64()?),
            validator_index: Quantity(items.item()?.u64()?),
            address: Address(*items.item()?.array()?),
            amount: Quantity(items.item()?.u64()?),
        };
        items.end()?;
        Ok(withdrawal)
    };
    list.items()
        .and_then(|items| items.map(|item| one(item?)).collect())
        .map_err(Fault::rlp("withdrawals"))
}

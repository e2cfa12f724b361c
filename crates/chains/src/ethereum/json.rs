//! Blocks, transactions and receipts as JSON, in the words of Ethereum's JSON-RPC.
//!
//! Numbers are hex quantities (`0x0`, `0x1f`), bytes are hex data. What the archive cannot say by itself is left out, not
//! guessed: `from` and `contractAddress` (they need the sender, which is recovered from the signature), `blobGasPrice`
//! (its formula changes with forks), and `totalDifficulty` where it was not imported.

use super::{
    block::{Block, Header, envelopes},
    error::Fault,
    hash::{Address, Hash32, Hex, keccak256},
    receipt::{Log, Outcome, Receipt},
    rlp::{Item, RlpError},
    transaction::{AccessListEntry, Authorization, Transaction},
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

/// A block, as of `eth_getBlockByNumber`.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct BlockJson<'a> {
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
    pub size: Quantity,
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
    pub transactions: TransactionsJson<'a>,
    pub uncles: Vec<Hash32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawals: Option<Vec<WithdrawalJson>>,
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

/// A transaction, as of `eth_getTransactionByHash`, without `from`.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct TransactionJson<'a> {
    pub block_hash: Hash32,
    pub block_number: Quantity,
    pub transaction_index: Quantity,
    pub hash: Hash32,
    #[serde(rename = "type")]
    pub kind: Quantity,
    /// Only of a type that is not known here: the whole transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<Data<'a>>,
    #[serde(flatten)]
    pub fields: Option<FieldsJson<'a>>,
}

/// What is in a transaction of a known type.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct FieldsJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<Quantity>,
    pub nonce: Quantity,
    pub gas: Quantity,
    /// Of a block's base fee, where the transaction only says what it would pay at most.
    pub gas_price: Option<U256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fee_per_gas: Option<U256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_priority_fee_per_gas: Option<U256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fee_per_blob_gas: Option<U256>,
    pub to: Option<Address>,
    pub value: U256,
    pub input: Data<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_list: Option<Vec<AccessListEntryJson>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_versioned_hashes: Option<Vec<Hash32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_list: Option<Vec<AuthorizationJson>>,
    pub v: Quantity,
    pub r: U256,
    pub s: U256,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y_parity: Option<Quantity>,
}

/// An entry of an access list.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct AccessListEntryJson {
    pub address: Address,
    pub storage_keys: Vec<Hash32>,
}

/// An entry of an authorization list.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct AuthorizationJson {
    pub chain_id: U256,
    pub address: Address,
    pub nonce: Quantity,
    pub y_parity: Quantity,
    pub r: U256,
    pub s: U256,
}

/// A receipt, as of `eth_getBlockReceipts`, without `from` and `contractAddress`.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct ReceiptJson<'a> {
    pub block_hash: Hash32,
    pub block_number: Quantity,
    pub transaction_hash: Hash32,
    pub transaction_index: Quantity,
    #[serde(rename = "type")]
    pub kind: Quantity,
    pub to: Option<Address>,
    pub cumulative_gas_used: Quantity,
    pub gas_used: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_gas_price: Option<U256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_gas_used: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Hash32>,
    pub logs_bloom: Data<'a>,
    pub logs: Vec<LogJson<'a>>,
}

/// A log entry.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct LogJson<'a> {
    pub address: Address,
    pub topics: Vec<Hash32>,
    pub data: Data<'a>,
    pub block_hash: Hash32,
    pub block_number: Quantity,
    pub transaction_hash: Hash32,
    pub transaction_index: Quantity,
    pub log_index: Quantity,
    pub removed: bool,
}

/// Gas of one blob.
const GAS_PER_BLOB: u64 = 1 << 17;

impl<'a> BlockJson<'a> {
    /// Renders a block.
    ///
    /// # Errors
    /// When a transaction or withdrawal has not the shape of its type.
    pub fn of(
        block: &Block<'a>,
        total_difficulty: Option<U256>,
        full_transactions: bool,
    ) -> Result<Self, Fault> {
        let header = *block.header();
        let raw = envelopes(block.transactions(), "transactions")?;
        let transactions = if full_transactions {
            let each = (0..).zip(raw).map(|(index, raw)| TransactionJson::of(&header, index, raw));
            TransactionsJson::Full(each.collect::<Result<_, _>>()?)
        } else {
            TransactionsJson::Hashes(raw.into_iter().map(keccak256).collect())
        };
        let uncles = block.ommers().items().and_then(|ommers| {
            ommers.map(|ommer| Ok(keccak256(ommer?.raw()))).collect::<Result<_, RlpError>>()
        });
        let mut rlp = Vec::new();
        block.write_rlp(&mut rlp);
        Ok(Self {
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
            size: Quantity(rlp.len() as u64),
            gas_limit: Quantity(header.gas_limit),
            gas_used: Quantity(header.gas_used),
            timestamp: Quantity(header.timestamp),
            base_fee_per_gas: header.base_fee_per_gas,
            withdrawals_root: header.withdrawals_root,
            blob_gas_used: header.blob_gas_used.map(Quantity),
            excess_blob_gas: header.excess_blob_gas.map(Quantity),
            parent_beacon_block_root: header.parent_beacon_block_root,
            requests_hash: header.requests_hash,
            transactions,
            uncles: uncles.map_err(Fault::rlp("ommers"))?,
            withdrawals: block.withdrawals().map(withdrawals).transpose()?,
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

impl<'a> TransactionJson<'a> {
    /// Renders the transaction at `index` of a block.
    ///
    /// # Errors
    /// When it has not the shape of its type.
    pub fn of(header: &Header<'_>, index: u64, raw: &'a [u8]) -> Result<Self, Fault> {
        let transaction = Transaction::decode(raw)?;
        let gas_price = transaction.effective_gas_price(header.base_fee_per_gas);
        let kind = transaction.kind;
        let fields = transaction.fields.map(|fields| FieldsJson {
            chain_id: fields.chain_id.map(Quantity),
            nonce: Quantity(fields.nonce),
            gas: Quantity(fields.gas_limit),
            gas_price,
            max_fee_per_gas: fields.max_fee_per_gas,
            max_priority_fee_per_gas: fields.max_priority_fee_per_gas,
            max_fee_per_blob_gas: fields.max_fee_per_blob_gas,
            to: fields.to,
            value: fields.value,
            input: Data(fields.input),
            access_list: fields.access_list.map(|list| list.into_iter().map(entry).collect()),
            blob_versioned_hashes: fields.blob_versioned_hashes,
            authorization_list: fields
                .authorization_list
                .map(|list| list.into_iter().map(authorization).collect()),
            v: Quantity(fields.v),
            r: fields.r,
            s: fields.s,
            y_parity: (kind > 0).then_some(Quantity(fields.v)),
        });
        Ok(Self {
            block_hash: header.hash,
            block_number: Quantity(header.number),
            transaction_index: Quantity(index),
            hash: transaction.hash,
            kind: Quantity(kind.into()),
            raw: fields.is_none().then_some(Data(raw)),
            fields,
        })
    }
}

fn entry(entry: AccessListEntry) -> AccessListEntryJson {
    AccessListEntryJson { address: entry.address, storage_keys: entry.storage_keys }
}

fn authorization(authorization: Authorization) -> AuthorizationJson {
    let Authorization { chain_id, address, nonce, y_parity, r, s } = authorization;
    let (nonce, y_parity) = (Quantity(nonce), Quantity(y_parity));
    AuthorizationJson { chain_id, address, nonce, y_parity, r, s }
}

impl<'a> ReceiptJson<'a> {
    /// Renders all receipts of a block, which are known to be its own.
    ///
    /// # Errors
    /// When a receipt or transaction has not its shape.
    pub fn all_of(block: &Block<'_>, receipts: &'a [u8]) -> Result<Vec<Self>, Fault> {
        let header = block.header();
        let transactions = envelopes(block.transactions(), "transactions")?;
        let list = Item::exact(receipts).map_err(Fault::rlp("receipts"))?;
        let receipts = envelopes(list, "receipts")?;
        let (mut log_index, mut gas_before) = (0, 0);
        let each = (0..).zip(transactions.into_iter().zip(receipts));
        each.map(|(index, (transaction, receipt))| {
            let (receipt, transaction) =
                (Receipt::decode(receipt)?, Transaction::decode(transaction)?);
            let rendered = Self::of(header, index, &transaction, &receipt, gas_before, log_index);
            gas_before = receipt.cumulative_gas_used;
            log_index += receipt.logs.len() as u64;
            Ok(rendered)
        })
        .collect()
    }

    fn of(
        header: &Header<'_>,
        index: u64,
        transaction: &Transaction<'_>,
        receipt: &Receipt<'a>,
        gas_before: u64,
        log_index: u64,
    ) -> Self {
        let fields = transaction.fields.as_ref();
        let blobs = fields.and_then(|fields| fields.blob_versioned_hashes.as_ref());
        let log = |(log_index, log): (u64, &Log<'a>)| LogJson {
            address: log.address,
            topics: log.topics.clone(),
            data: Data(log.data),
            block_hash: header.hash,
            block_number: Quantity(header.number),
            transaction_hash: transaction.hash,
            transaction_index: Quantity(index),
            log_index: Quantity(log_index),
            removed: false,
        };
        let (status, root) = match receipt.outcome {
            Outcome::Status(success) => (Some(Quantity(success.into())), None),
            Outcome::StateRoot(root) => (None, Some(root)),
        };
        Self {
            block_hash: header.hash,
            block_number: Quantity(header.number),
            transaction_hash: transaction.hash,
            transaction_index: Quantity(index),
            kind: Quantity(receipt.kind.into()),
            to: fields.and_then(|fields| fields.to),
            cumulative_gas_used: Quantity(receipt.cumulative_gas_used),
            gas_used: Quantity(receipt.cumulative_gas_used.saturating_sub(gas_before)),
            effective_gas_price: transaction.effective_gas_price(header.base_fee_per_gas),
            blob_gas_used: blobs
                .map(|blobs| Quantity(GAS_PER_BLOB.saturating_mul(blobs.len() as u64))),
            status,
            root,
            logs_bloom: Data(receipt.logs_bloom),
            logs: (log_index..).zip(&receipt.logs).map(log).collect(),
        }
    }
}

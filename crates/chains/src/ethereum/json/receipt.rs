//! A receipt as JSON, with what follows from the block and its other receipts.

use super::{Data, Quantity, Senders, blob::blob_gas_price};
use crate::ethereum::{
    block::{Block, Header, envelopes},
    error::Fault,
    hash::{Address, Hash32},
    receipt::{Log, Outcome, Receipt},
    rlp::Item,
    sender::created_contract,
    transaction::Transaction,
    uint::U256,
};
use serde::Serialize;

/// A receipt, as of `eth_getBlockReceipts`.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    pub to: Option<Address>,
    /// Left out where it made one and its sender is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract_address: Option<Option<Address>>,
    pub cumulative_gas_used: Quantity,
    pub gas_used: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_gas_price: Option<U256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_gas_used: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_gas_price: Option<Quantity>,
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
    pub block_timestamp: Quantity,
    pub transaction_hash: Hash32,
    pub transaction_index: Quantity,
    pub log_index: Quantity,
    pub removed: bool,
}

/// Gas of one blob.
const GAS_PER_BLOB: u64 = 1 << 17;

impl<'a> ReceiptJson<'a> {
    /// Renders all receipts of a block, which are known to be its own.
    ///
    /// # Errors
    /// When a receipt or transaction has not its shape.
    pub fn all_of(
        block: &Block<'_>,
        receipts: &'a [u8],
        senders: &Senders,
    ) -> Result<Vec<Self>, Fault> {
        let header = block.header();
        let transactions = envelopes(block.transactions(), "transactions")?;
        let list = Item::exact(receipts).map_err(Fault::rlp("receipts"))?;
        let receipts = envelopes(list, "receipts")?;
        let (mut log_index, mut gas_before) = (0, 0);
        let from = senders.iter().copied().chain(std::iter::repeat(None));
        let each = (0..).zip(transactions.into_iter().zip(receipts)).zip(from);
        each.map(|((index, (transaction, receipt)), from)| {
            let (receipt, transaction) =
                (Receipt::decode(receipt)?, Transaction::decode(transaction)?);
            let mut rendered =
                Self::of(header, index, &transaction, &receipt, gas_before, log_index);
            rendered.set_sender(&transaction, from);
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
        let log = |(log_index, log): (u64, &Log<'a>)| {
            LogJson::of(header, transaction.hash, index, log_index, log)
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
            from: None,
            to: fields.and_then(|fields| fields.to),
            contract_address: None,
            cumulative_gas_used: Quantity(receipt.cumulative_gas_used),
            gas_used: Quantity(receipt.cumulative_gas_used.saturating_sub(gas_before)),
            effective_gas_price: transaction.effective_gas_price(header.base_fee_per_gas),
            blob_gas_used: blobs
                .map(|blobs| Quantity(GAS_PER_BLOB.saturating_mul(blobs.len() as u64))),
            blob_gas_price: blobs
                .and_then(|_| blob_gas_price(header, fields.and_then(|fields| fields.chain_id))),
            status,
            root,
            logs_bloom: Data(receipt.logs_bloom),
            logs: (log_index..).zip(&receipt.logs).map(log).collect(),
        }
    }

    /// What follows from who sent the transaction.
    fn set_sender(&mut self, transaction: &Transaction<'_>, from: Option<Address>) {
        self.from = from;
        let Some(fields) = &transaction.fields else { return };
        self.contract_address = match (fields.to, from) {
            (Some(_), _) => Some(None),
            (None, Some(from)) => Some(Some(created_contract(from, fields.nonce))),
            (None, None) => None,
        };
    }
}

impl<'a> LogJson<'a> {
    /// Renders a log entry; `log_index` counts those of the whole block.
    pub(crate) fn of(
        header: &Header<'_>,
        transaction_hash: Hash32,
        transaction_index: u64,
        log_index: u64,
        log: &Log<'a>,
    ) -> Self {
        Self {
            address: log.address,
            topics: log.topics.clone(),
            data: Data(log.data),
            block_hash: header.hash,
            block_number: Quantity(header.number),
            block_timestamp: Quantity(header.timestamp),
            transaction_hash,
            transaction_index: Quantity(transaction_index),
            log_index: Quantity(log_index),
            removed: false,
        }
    }
}

//! A transaction as JSON.

use super::{Data, Quantity};
use crate::ethereum::{
    block::Header,
    error::Fault,
    hash::{Address, Hash32},
    transaction::{AccessListEntry, Authorization, Transaction},
    uint::U256,
};
use serde::Serialize;

/// A transaction, as of `eth_getTransactionByHash`.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the JSON-RPC")]
pub struct TransactionJson<'a> {
    pub block_hash: Hash32,
    pub block_number: Quantity,
    pub block_timestamp: Quantity,
    pub transaction_index: Quantity,
    pub hash: Hash32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
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

impl<'a> TransactionJson<'a> {
    /// Renders the transaction at `index` of a block; who sent it was recovered before.
    ///
    /// # Errors
    /// When it has not the shape of its type.
    pub fn of(
        header: &Header<'_>,
        index: u64,
        raw: &'a [u8],
        from: Option<Address>,
    ) -> Result<Self, Fault> {
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
            block_timestamp: Quantity(header.timestamp),
            transaction_index: Quantity(index),
            hash: transaction.hash,
            from,
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

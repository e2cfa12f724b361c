//! RLP from the JSON of a node: the bytes that were hashed when the block was made.
//!
//! What a field means is nobody's business here; that the right ones are in their places is what the hashes prove.

use super::hex::{Bytes, Fixed, Number};
use crate::ethereum::{
    hash::Hash32,
    rlp::{write_list, write_string},
    uint::U256,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// JSON that is not a block's or a receipt's.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct RebuildError {
    reason: String,
}

impl RebuildError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    fn json(what: &'static str) -> impl Fn(serde_json::Error) -> Self {
        move |error| Self::new(format!("{what}: {error}"))
    }
}

/// A block and its receipts as they were hashed, and what the node says of them.
#[derive(Debug)]
pub(super) struct Rebuilt {
    pub(super) block: Vec<u8>,
    pub(super) receipts: Vec<u8>,
    pub(super) hash: Hash32,
    pub(super) total_difficulty: Option<U256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeaderIn {
    hash: Fixed<32>,
    parent_hash: Fixed<32>,
    sha3_uncles: Fixed<32>,
    miner: Fixed<20>,
    state_root: Fixed<32>,
    transactions_root: Fixed<32>,
    receipts_root: Fixed<32>,
    logs_bloom: Fixed<256>,
    difficulty: Number,
    number: Number,
    gas_limit: Number,
    gas_used: Number,
    timestamp: Number,
    extra_data: Bytes,
    mix_hash: Fixed<32>,
    nonce: Fixed<8>,
    base_fee_per_gas: Option<Number>,
    withdrawals_root: Option<Fixed<32>>,
    blob_gas_used: Option<Number>,
    excess_blob_gas: Option<Number>,
    parent_beacon_block_root: Option<Fixed<32>>,
    requests_hash: Option<Fixed<32>>,
    total_difficulty: Option<Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BodyIn {
    transactions: Vec<TransactionIn>,
    withdrawals: Option<Vec<WithdrawalIn>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransactionIn {
    #[serde(rename = "type", default)]
    kind: Number,
    chain_id: Option<Number>,
    nonce: Number,
    gas_price: Option<Number>,
    max_fee_per_gas: Option<Number>,
    max_priority_fee_per_gas: Option<Number>,
    max_fee_per_blob_gas: Option<Number>,
    gas: Number,
    to: Option<Fixed<20>>,
    value: Number,
    input: Bytes,
    access_list: Option<Vec<AccessIn>>,
    blob_versioned_hashes: Option<Vec<Fixed<32>>>,
    authorization_list: Option<Vec<AuthorizationIn>>,
    y_parity: Option<Number>,
    v: Option<Number>,
    r: Number,
    s: Number,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessIn {
    address: Fixed<20>,
    storage_keys: Vec<Fixed<32>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationIn {
    chain_id: Number,
    address: Fixed<20>,
    nonce: Number,
    y_parity: Number,
    r: Number,
    s: Number,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithdrawalIn {
    index: Number,
    validator_index: Number,
    address: Fixed<20>,
    amount: Number,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptIn {
    #[serde(rename = "type", default)]
    kind: Number,
    status: Option<Number>,
    root: Option<Fixed<32>>,
    cumulative_gas_used: Number,
    logs_bloom: Fixed<256>,
    logs: Vec<LogIn>,
}

#[derive(Deserialize)]
struct LogIn {
    address: Fixed<20>,
    topics: Vec<Fixed<32>>,
    data: Bytes,
}

/// How many ommers a block has.
pub(super) fn uncle_count(block: &RawValue) -> Result<usize, RebuildError> {
    #[derive(Deserialize)]
    struct Named {
        uncles: Vec<Fixed<32>>,
    }
    let named: Named = serde_json::from_str(block.get()).map_err(RebuildError::json("ommers"))?;
    Ok(named.uncles.len())
}

/// The hash that a block is said to have.
pub(super) fn claimed_hash(block: &RawValue) -> Result<Hash32, RebuildError> {
    #[derive(Deserialize)]
    struct Named {
        hash: Fixed<32>,
    }
    let named: Named = serde_json::from_str(block.get()).map_err(RebuildError::json("hash"))?;
    Ok(named.hash.hash())
}

/// Encodes a block with its receipts.
pub(super) fn rebuild(
    block: &RawValue,
    receipts: &RawValue,
    uncles: &[Box<RawValue>],
) -> Result<Rebuilt, RebuildError> {
    let header: HeaderIn =
        serde_json::from_str(block.get()).map_err(RebuildError::json("header"))?;
    let body: BodyIn = serde_json::from_str(block.get()).map_err(RebuildError::json("body"))?;
    let receipts: Vec<ReceiptIn> =
        serde_json::from_str(receipts.get()).map_err(RebuildError::json("receipts"))?;
    let ommers = uncles.iter().map(|uncle| {
        let header: HeaderIn =
            serde_json::from_str(uncle.get()).map_err(RebuildError::json("ommer"))?;
        Ok(header.encode())
    });
    let ommers = ommers.collect::<Result<Vec<_>, RebuildError>>()?;
    let transactions = body.transactions.iter().map(TransactionIn::encode);
    let transactions = transactions.collect::<Result<Vec<_>, _>>()?;
    let mut parts = vec![header.encode(), list(&items(transactions)), list(&ommers)];
    if let Some(withdrawals) = &body.withdrawals {
        parts.push(list(&withdrawals.iter().map(WithdrawalIn::encode).collect::<Vec<_>>()));
    }
    let receipts = receipts.iter().map(ReceiptIn::encode).collect::<Result<Vec<_>, _>>()?;
    Ok(Rebuilt {
        block: list(&parts),
        receipts: list(&items(receipts)),
        hash: header.hash.hash(),
        total_difficulty: header.total_difficulty.map(|number| number.0),
    })
}

impl HeaderIn {
    fn encode(&self) -> Vec<u8> {
        let mut fields = vec![
            data(&self.parent_hash.0),
            data(&self.sha3_uncles.0),
            data(&self.miner.0),
            data(&self.state_root.0),
            data(&self.transactions_root.0),
            data(&self.receipts_root.0),
            data(&self.logs_bloom.0),
            number(&self.difficulty),
            number(&self.number),
            number(&self.gas_limit),
            number(&self.gas_used),
            number(&self.timestamp),
            data(&self.extra_data.0),
            data(&self.mix_hash.0),
            data(&self.nonce.0),
        ];
        let hash = |hash: &Fixed<32>| data(&hash.0);
        fields.extend(self.base_fee_per_gas.as_ref().map(number));
        fields.extend(self.withdrawals_root.as_ref().map(hash));
        fields.extend(self.blob_gas_used.as_ref().map(number));
        fields.extend(self.excess_blob_gas.as_ref().map(number));
        fields.extend(self.parent_beacon_block_root.as_ref().map(hash));
        fields.extend(self.requests_hash.as_ref().map(hash));
        list(&fields)
    }
}

impl TransactionIn {
    /// The envelope.
    fn encode(&self) -> Result<Vec<u8>, RebuildError> {
        let kind = kind(&self.kind)?;
        let mut fields = Vec::with_capacity(14);
        let price = |price: &Option<Number>, name: &str| needed(price.as_ref().map(number), name);
        if kind > 0 {
            fields.push(price(&self.chain_id, "chainId")?);
        }
        fields.push(number(&self.nonce));
        if kind < 2 {
            fields.push(price(&self.gas_price, "gasPrice")?);
        } else {
            fields.push(price(&self.max_priority_fee_per_gas, "maxPriorityFeePerGas")?);
            fields.push(price(&self.max_fee_per_gas, "maxFeePerGas")?);
        }
        fields.push(number(&self.gas));
        fields.push(data(self.to.as_ref().map_or(&[], |to| &to.0[..])));
        fields.push(number(&self.value));
        fields.push(data(&self.input.0));
        if kind > 0 {
            let entries = needed(self.access_list.as_ref(), "accessList")?;
            fields.push(list(&entries.iter().map(AccessIn::encode).collect::<Vec<_>>()));
        }
        if kind == 3 {
            fields.push(price(&self.max_fee_per_blob_gas, "maxFeePerBlobGas")?);
            let hashes = needed(self.blob_versioned_hashes.as_ref(), "blobVersionedHashes")?;
            fields.push(hash_list(hashes));
        }
        if kind == 4 {
            let all = needed(self.authorization_list.as_ref(), "authorizationList")?;
            fields.push(list(&all.iter().map(AuthorizationIn::encode).collect::<Vec<_>>()));
        }
        let parity = if kind > 0 { self.y_parity.or(self.v) } else { self.v };
        fields.push(price(&parity, if kind > 0 { "yParity" } else { "v" })?);
        fields.extend([number(&self.r), number(&self.s)]);
        Ok(envelope(kind, &fields))
    }
}

impl AccessIn {
    fn encode(&self) -> Vec<u8> {
        list(&[data(&self.address.0), hash_list(&self.storage_keys)])
    }
}

impl AuthorizationIn {
    fn encode(&self) -> Vec<u8> {
        let Self { chain_id, address, nonce, y_parity, r, s } = self;
        list(&[
            number(chain_id),
            data(&address.0),
            number(nonce),
            number(y_parity),
            number(r),
            number(s),
        ])
    }
}

impl WithdrawalIn {
    fn encode(&self) -> Vec<u8> {
        let Self { index, validator_index, address, amount } = self;
        list(&[number(index), number(validator_index), data(&address.0), number(amount)])
    }
}

impl ReceiptIn {
    /// The envelope.
    fn encode(&self) -> Result<Vec<u8>, RebuildError> {
        let outcome = match (&self.status, &self.root) {
            (Some(status), None) => number(status),
            (None, Some(root)) => data(&root.0),
            _ => return Err(RebuildError::new("a receipt has a status or a root")),
        };
        let logs: Vec<_> = self.logs.iter().map(LogIn::encode).collect();
        let gas = number(&self.cumulative_gas_used);
        let fields = [outcome, gas, data(&self.logs_bloom.0), list(&logs)];
        Ok(envelope(kind(&self.kind)?, &fields))
    }
}

impl LogIn {
    fn encode(&self) -> Vec<u8> {
        list(&[data(&self.address.0), hash_list(&self.topics), data(&self.data.0)])
    }
}

/// The type of a transaction, if its fields are known.
fn kind(kind: &Number) -> Result<u8, RebuildError> {
    match kind.0.as_minimal_be() {
        [] => Ok(0),
        [kind @ 1..=4] => Ok(*kind),
        _ => Err(RebuildError::new(format!("transactions of type {} are not known here", kind.0))),
    }
}

fn needed<T>(field: Option<T>, name: &str) -> Result<T, RebuildError> {
    field.ok_or_else(|| RebuildError::new(format!("a transaction without {name}")))
}

fn data(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 5);
    write_string(&mut out, bytes);
    out
}

fn number(number: &Number) -> Vec<u8> {
    data(number.0.as_minimal_be())
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_list(&mut out, &items.iter().map(Vec::as_slice).collect::<Vec<_>>());
    out
}

fn hash_list(hashes: &[Fixed<32>]) -> Vec<u8> {
    list(&hashes.iter().map(|hash| data(&hash.0)).collect::<Vec<_>>())
}

fn envelope(kind: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    let mut out = list(fields);
    if kind > 0 {
        out.insert(0, kind);
    }
    out
}

/// Envelopes as they lie in a list: typed ones as strings.
fn items(envelopes: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let item = |envelope: Vec<u8>| if envelope[0] < 0xc0 { data(&envelope) } else { envelope };
    envelopes.into_iter().map(item).collect()
}

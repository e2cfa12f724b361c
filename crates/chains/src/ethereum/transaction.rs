//! Transactions: legacy, access list (type 1), dynamic fee (2), blob (3) and set code (4).
//!
//! ```text
//! 0  [nonce, gas price, gas, to, value, input, v, r, s]
//! 1  01 [chain, nonce, gas price, gas, to, value, input, access list, parity, r, s]
//! 2  02 [chain, nonce, tip, fee, gas, to, value, input, access list, parity, r, s]
//! 3  03 [chain, nonce, tip, fee, gas, to, value, input, access list, blob fee, blob hashes, parity, r, s]
//! 4  04 [chain, nonce, tip, fee, gas, to, value, input, access list, authorizations, parity, r, s]
//! ```
//! The sender is not in there: it is recovered from the signature (`sender`). A type that is not known is
//! kept as bytes: it hashes and verifies like any other.

use super::{
    error::Fault,
    hash::{Address, Hash32, keccak256},
    rlp::{Item, Items, RlpError},
    uint::U256,
};

/// A transaction, borrowed from its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Transaction<'a> {
    /// Keccak-256 of `raw`.
    pub hash: Hash32,
    /// Its bytes as signed and hashed: a list (legacy), or the type byte and a list.
    pub raw: &'a [u8],
    /// Its type; 0 is legacy.
    pub kind: u8,
    /// What is in it; `None` of a type that is not known here.
    pub fields: Option<TxFields<'a>>,
}

/// A transaction's fields; those that its type has not are `None`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are Ethereum's own")]
pub struct TxFields<'a> {
    pub chain_id: Option<u64>,
    pub nonce: u64,
    pub gas_price: Option<U256>,
    pub max_priority_fee_per_gas: Option<U256>,
    pub max_fee_per_gas: Option<U256>,
    pub gas_limit: u64,
    /// `None`: it creates a contract.
    pub to: Option<Address>,
    pub value: U256,
    pub input: &'a [u8],
    pub access_list: Option<Vec<AccessListEntry>>,
    pub max_fee_per_blob_gas: Option<U256>,
    pub blob_versioned_hashes: Option<Vec<Hash32>>,
    pub authorization_list: Option<Vec<Authorization>>,
    /// `v` of a legacy transaction, else the parity.
    pub v: u64,
    pub r: U256,
    pub s: U256,
}

/// An account and the slots of it that a transaction announces.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are Ethereum's own")]
pub struct AccessListEntry {
    pub address: Address,
    pub storage_keys: Vec<Hash32>,
}

/// An account's permission to run the code of another.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are Ethereum's own")]
pub struct Authorization {
    pub chain_id: U256,
    pub address: Address,
    pub nonce: u64,
    pub y_parity: u64,
    pub r: U256,
    pub s: U256,
}

impl<'a> Transaction<'a> {
    /// Reads a transaction as it is hashed: a list, or type byte and list.
    ///
    /// # Errors
    /// When it is of a known type and not of that type's shape.
    pub fn decode(raw: &'a [u8]) -> Result<Self, Fault> {
        let hash = keccak256(raw);
        let (kind, fields) = match raw {
            [] => return Err(Fault::rlp("transaction")(RlpError::Missing)),
            [0xc0..=0xff, ..] => (0, Some(legacy(raw))),
            [kind @ 1..=4, payload @ ..] => (*kind, Some(typed(*kind, payload))),
            [kind, ..] => (*kind, None),
        };
        let fields = fields.transpose().map_err(Fault::rlp("transaction"))?;
        Ok(Self { hash, raw, kind, fields })
    }

    /// What a unit of gas costs in a block with this base fee.
    pub(crate) fn effective_gas_price(&self, base_fee: Option<U256>) -> Option<U256> {
        let fields = self.fields.as_ref()?;
        let (Some(fee), Some(tip)) = (fields.max_fee_per_gas, fields.max_priority_fee_per_gas)
        else {
            return fields.gas_price;
        };
        let offered = base_fee.unwrap_or_default().checked_add(tip);
        Some(offered.map_or(fee, |offered| offered.min(fee)))
    }
}

fn legacy(raw: &[u8]) -> Result<TxFields<'_>, RlpError> {
    let mut items = Item::exact(raw)?.items()?;
    let mut fields = TxFields {
        chain_id: None,
        nonce: items.item()?.u64()?,
        gas_price: Some(items.item()?.u256()?),
        max_priority_fee_per_gas: None,
        max_fee_per_gas: None,
        gas_limit: items.item()?.u64()?,
        to: recipient(items.item()?)?,
        value: items.item()?.u256()?,
        input: items.item()?.string()?,
        access_list: None,
        max_fee_per_blob_gas: None,
        blob_versioned_hashes: None,
        authorization_list: None,
        v: items.item()?.u64()?,
        r: items.item()?.u256()?,
        s: items.item()?.u256()?,
    };
    items.end()?;
    fields.chain_id = legacy_chain_id(fields.v);
    Ok(fields)
}

fn typed(kind: u8, payload: &[u8]) -> Result<TxFields<'_>, RlpError> {
    let mut items = Item::exact(payload)?.items()?;
    let items = &mut items;
    let chain_id = Some(items.item()?.u64()?);
    let nonce = items.item()?.u64()?;
    let price = |items: &mut Items<'_>, present| {
        if present { items.item()?.u256().map(Some) } else { Ok(None) }
    };
    let fields = TxFields {
        chain_id,
        nonce,
        gas_price: price(items, kind == 1)?,
        max_priority_fee_per_gas: price(items, kind >= 2)?,
        max_fee_per_gas: price(items, kind >= 2)?,
        gas_limit: items.item()?.u64()?,
        to: recipient(items.item()?)?,
        value: items.item()?.u256()?,
        input: items.item()?.string()?,
        access_list: Some(each(items.item()?, access_list_entry)?),
        max_fee_per_blob_gas: price(items, kind == 3)?,
        blob_versioned_hashes: match kind {
            3 => Some(each(items.item()?, hash)?),
            _ => None,
        },
        authorization_list: match kind {
            4 => Some(each(items.item()?, authorization)?),
            _ => None,
        },
        v: items.item()?.u64()?,
        r: items.item()?.u256()?,
        s: items.item()?.u256()?,
    };
    items.end()?;
    Ok(fields)
}

fn each<'a, T>(
    list: Item<'a>,
    read: impl Fn(Item<'a>) -> Result<T, RlpError>,
) -> Result<Vec<T>, RlpError> {
    list.items()?.map(|item| read(item?)).collect()
}

fn hash(item: Item<'_>) -> Result<Hash32, RlpError> {
    item.array().map(|bytes| Hash32(*bytes))
}

fn recipient(item: Item<'_>) -> Result<Option<Address>, RlpError> {
    match item.string()? {
        [] => Ok(None),
        _ => item.array().map(|bytes| Some(Address(*bytes))),
    }
}

fn access_list_entry(item: Item<'_>) -> Result<AccessListEntry, RlpError> {
    let mut items = item.items()?;
    let address = Address(*items.item()?.array()?);
    let storage_keys = each(items.item()?, hash)?;
    items.end()?;
    Ok(AccessListEntry { address, storage_keys })
}

fn authorization(item: Item<'_>) -> Result<Authorization, RlpError> {
    let mut items = item.items()?;
    let authorization = Authorization {
        chain_id: items.item()?.u256()?,
        address: Address(*items.item()?.array()?),
        nonce: items.item()?.u64()?,
        y_parity: items.item()?.u64()?,
        r: items.item()?.u256()?,
        s: items.item()?.u256()?,
    };
    items.end()?;
    Ok(authorization)
}

/// The chain id that a transaction commits to: none in a legacy one from before EIP-155, or of an unknown type.
pub(crate) fn chain_id(envelope: &[u8]) -> Result<Option<u64>, RlpError> {
    match envelope {
        [1..=4, payload @ ..] => Item::exact(payload)?.items()?.item()?.u64().map(Some),
        [0xc0..=0xff, ..] => {
            let mut fields = Item::exact(envelope)?.items()?;
            for _ in 0..6 {
                fields.item()?;
            }
            Ok(legacy_chain_id(fields.item()?.u64()?))
        }
        _ => Ok(None),
    }
}

/// EIP-155: v = 35 + 2 * chain id + parity.
const fn legacy_chain_id(v: u64) -> Option<u64> {
    match v.checked_sub(35) {
        Some(rest) => Some(rest / 2),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_never_panic(mut raw in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..6) {
            let _ = Transaction::decode(&raw);
            let _ = chain_id(&raw);
            if raw.len() > 2 {
                (raw[0], raw[1]) = (kind, 0xc0 + u8::try_from(raw.len() - 2).unwrap().min(0x37));
                let _ = Transaction::decode(&raw);
                let _ = chain_id(&raw);
            }
        }
    }

    #[test]
    fn chain_ids_by_eip_155() {
        assert_eq!([27, 28, 34].map(legacy_chain_id), [None; 3]);
        assert_eq!([35, 37, 38].map(legacy_chain_id), [Some(0), Some(1), Some(1)]);
    }
}

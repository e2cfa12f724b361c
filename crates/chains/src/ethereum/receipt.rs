//! Receipts: what a transaction did.
//!
//! ```text
//! [status or state root, gas used so far, bloom, [[address, [topic, ...], data], ...]], after a type byte if typed
//! ```

use super::{
    error::Fault,
    hash::{Address, Hash32},
    rlp::{Item, RlpError},
};

/// A receipt, borrowed from its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Receipt<'a> {
    /// Its bytes as in the receipts trie: a list, or type byte and list.
    pub raw: &'a [u8],
    /// Type of the transaction; 0 is legacy.
    pub kind: u8,
    /// How it ended.
    pub outcome: Outcome,
    /// Gas used by the block up to and with this transaction.
    pub cumulative_gas_used: u64,
    /// Which addresses and topics its logs have.
    pub logs_bloom: &'a [u8; 256],
    /// What it logged.
    pub logs: Vec<Log<'a>>,
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Before the Byzantium fork: the state after it.
    StateRoot(Hash32),
    /// Since then: whether it succeeded.
    Status(bool),
}

/// One log entry.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are Ethereum's own")]
pub struct Log<'a> {
    pub address: Address,
    pub topics: Vec<Hash32>,
    pub data: &'a [u8],
}

impl<'a> Receipt<'a> {
    /// Reads a receipt; of any type, because all types have the same fields.
    ///
    /// # Errors
    /// When it has another shape.
    pub fn decode(raw: &'a [u8]) -> Result<Self, Fault> {
        decode(raw).map_err(Fault::rlp("receipt"))
    }
}

fn decode(raw: &[u8]) -> Result<Receipt<'_>, RlpError> {
    let (kind, list) = match raw {
        [kind @ 0..=0x7f, list @ ..] => (*kind, list),
        _ => (0, raw),
    };
    let mut items = Item::exact(list)?.items()?;
    let outcome = items.item()?;
    let outcome = match outcome.string()? {
        [] => Outcome::Status(false),
        [1] => Outcome::Status(true),
        _ => Outcome::StateRoot(Hash32(*outcome.array()?)),
    };
    let cumulative_gas_used = items.item()?.u64()?;
    let logs_bloom = items.item()?.array()?;
    let logs = items.item()?.items()?.map(|item| log(item?)).collect::<Result<_, _>>()?;
    items.end()?;
    Ok(Receipt { raw, kind, outcome, cumulative_gas_used, logs_bloom, logs })
}

fn log(item: Item<'_>) -> Result<Log<'_>, RlpError> {
    let mut items = item.items()?;
    let address = Address(*items.item()?.array()?);
    let topics = items.item()?.items()?.map(|item| Ok(Hash32(*item?.array()?)));
    let topics = topics.collect::<Result<_, RlpError>>()?;
    let data = items.item()?.string()?;
    items.end()?;
    Ok(Log { address, topics, data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Receipt::decode(&raw);
        }
    }
}

//! Arguments as Ethereum's JSON-RPC writes them; what is not exactly so is not understood.

use crate::ethereum::{hash::Hash32, query::BlockId};
use prunedb_rpc::Call;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A call's arguments, by position.
pub(super) struct Params<'a> {
    all: Vec<&'a RawValue>,
}

impl<'a> Params<'a> {
    pub(super) fn of(call: &'a Call) -> Self {
        Self { all: call.positional() }
    }

    fn text(&self, position: usize) -> Option<String> {
        serde_json::from_str(self.all.get(position)?.get()).ok()
    }

    /// A block by its height; tags other than `earliest` move, and are the node's.
    pub(super) fn height(&self, position: usize) -> Option<BlockId> {
        height(&self.text(position)?).map(BlockId::Height)
    }

    pub(super) fn hash(&self, position: usize) -> Option<Hash32> {
        hash(&self.text(position)?)
    }

    pub(super) fn hash_of_block(&self, position: usize) -> Option<BlockId> {
        self.hash(position).map(BlockId::Hash)
    }

    /// A block by height, hash, or an object that says which of them (EIP-1898).
    pub(super) fn block_or_hash(&self, position: usize) -> Option<BlockId> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Named {
            block_hash: Option<String>,
            block_number: Option<String>,
            #[serde(rename = "requireCanonical")]
            _canonical: Option<bool>,
        }
        if let Some(text) = self.text(position) {
            return match hash(&text) {
                Some(hash) => Some(BlockId::Hash(hash)),
                None => height(&text).map(BlockId::Height),
            };
        }
        let named: Named = serde_json::from_str(self.all.get(position)?.get()).ok()?;
        match (named.block_hash, named.block_number) {
            (Some(text), None) => hash(&text).map(BlockId::Hash),
            (None, Some(text)) => height(&text).map(BlockId::Height),
            _ => None,
        }
    }

    pub(super) fn flag(&self, position: usize) -> Option<bool> {
        serde_json::from_str(self.all.get(position)?.get()).ok()
    }

    pub(super) fn index(&self, position: usize) -> Option<usize> {
        quantity(&self.text(position)?)?.try_into().ok()
    }
}

/// A height that does not move.
pub(super) fn height(text: &str) -> Option<u64> {
    if text == "earliest" { Some(0) } else { quantity(text) }
}

/// `0x0`, `0x1f`: no leading zeros.
pub(in crate::ethereum) fn quantity(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let canonical = digits == "0" || !digits.starts_with('0');
    (plain && canonical).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// `0x` and 64 digits.
pub(super) fn hash(text: &str) -> Option<Hash32> {
    (text.starts_with("0x")).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_one_form() {
        assert_eq!(
            ["0x0", "0x1f", "0xFFFFFFFFFFFFFFFF"].map(quantity),
            [Some(0), Some(31), Some(u64::MAX)]
        );
        for text in
            ["", "0", "0x", "0x00", "0x01", "1f", "0x+1", "0xg", "0x10000000000000000", "latest"]
        {
            assert_eq!(quantity(text), None, "{text}");
        }
        assert_eq!(height("earliest"), Some(0));
        assert!(
            hash(&"ab".repeat(32)).is_none() && hash(&format!("0x{}", "ab".repeat(32))).is_some()
        );
    }
}

//! Transactions: legacy, access list (type 1), dynamic fee (2), blob (3) and set code (4).

use super::rlp::{Item, RlpError};

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

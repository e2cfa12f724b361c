//! What `.ere` files say for their headers: a path from each to something that is known of the chain.
//!
//! ```text
//! [type, SSZ]   0  to the accumulator of its epoch: 15 hashes, lowest first      verified
//!               1  to the beacon chain's historical roots (Bellatrix)            kept
//!               2  to its historical summaries (Capella)                         kept
//!               3  the same (Deneb)                                              kept
//!               4  the same (Gloas)                                              kept
//! ```
//! Types 1 to 4 lead to the beacon chain's state, which no history file has: they are kept as they are, not verified. The blocks that
//! they come with are verified by their own hashes and links in any case.

use crate::ethereum::{
    accumulator, error::Fault, hash::Hash32, import::CheckedBlock, rlp::Item, uint::U256,
};

/// Most bytes of a proof: real ones have below 1,000.
pub(crate) const BYTES_MAX: usize = 1 << 16;
/// The last type that is known.
const KIND_MAX: u64 = 4;

/// Checks that it is a proof, and where it leads to the accumulator, that it does.
///
/// # Errors
/// Another shape or type, or it leads elsewhere.
pub(crate) fn verify(
    proof: &[u8],
    block: &CheckedBlock,
    total: Option<U256>,
    root: Option<Hash32>,
) -> Result<(), Fault> {
    let read = || {
        let mut items = Item::exact(proof)?.items()?;
        let (kind, ssz) = (items.item()?.u64()?, items.item()?.string()?);
        items.end()?;
        Ok((kind, ssz))
    };
    let (kind, ssz) = read().map_err(Fault::rlp("proof"))?;
    if kind > KIND_MAX {
        return Err(Fault::ProofType(kind));
    }
    if kind > 0 {
        return Ok(());
    }
    let expected = root.ok_or(Fault::ProofOfNothing)?;
    let path = path(ssz)?;
    let total = total.ok_or(Fault::ProofOfNothing)?;
    let found = accumulator::root_by_path(block.height, block.hash, &path);
    if path[0] != total.to_le_bytes() || found != expected {
        return Err(Fault::Proof { expected, found });
    }
    Ok(())
}

fn path(ssz: &[u8]) -> Result<[[u8; 32]; accumulator::PATH_HASHES], Fault> {
    let (hashes, rest) = ssz.as_chunks::<32>();
    let path = hashes.try_into().ok().filter(|_| rest.is_empty());
    path.ok_or(Fault::RecordLength {
        expected: 32 * accumulator::PATH_HASHES as u64,
        found: ssz.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let block = CheckedBlock {
                height: 5,
                hash: Hash32::default(),
                parent_hash: Hash32::default(),
                difficulty: U256::default(),
                transactions: 0,
                decoded_bytes: 0,
                identical: true,
            };
            let _ = verify(&bytes, &block, Some(U256::default()), Some(Hash32::default()));
        }
    }
}

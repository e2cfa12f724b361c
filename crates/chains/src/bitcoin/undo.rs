//! Undo data of a block: the outputs that it spends, as Core keeps them to take a block back.
//!
//! ```text
//! undo         count of transactions but the coinbase; of each: count of inputs; of each a coin
//! coin         VARINT(height * 2 + coinbase), [00 if height > 0], VARINT(compressed amount), script
//! script       VARINT: 0, 1 and 20 bytes; 2 to 5 and 32 bytes; else 6 + length, and the script
//! checksum     SHA-256 twice over the hash of the block before, and the undo
//! ```

use super::{
    error::Fault,
    hash::{Hash, sha256d},
    wire::Reader,
};

/// Bytes behind an undo, beyond its length.
pub(crate) const CHECKSUM_BYTES: usize = 32;

/// The checksum of an undo of a block whose parent is that.
pub(crate) fn checksum(parent: &Hash, undo: &[u8]) -> Hash {
    sha256d(&[&parent.0, undo])
}

/// Walks an undo: how many coins each transaction spends, but the coinbase.
///
/// # Errors
/// [`Fault`] where it is no undo.
pub(crate) fn spent(undo: &[u8]) -> Result<Vec<u32>, Fault> {
    let mut reader = Reader::new(undo);
    let transactions = reader.count(1, "transactions of the undo")?;
    let mut spent = Vec::with_capacity(transactions);
    for _ in 0..transactions {
        // code, amount, script
        let coins = reader.count(3, "coins of the undo")?;
        for _ in 0..coins {
            let code = reader.varint("coin's height")?;
            if code > 1 {
                reader.varint("coin's version")?;
            }
            reader.varint("coin's amount")?;
            let script = match reader.varint("coin's script")? {
                0 | 1 => 20,
                2..=5 => 32,
                long => long - 6,
            };
            let script = usize::try_from(script)
                .map_err(|_| Fault::Count { what: "coin's script", value: script })?;
            reader.take(script, "coin's script")?;
        }
        spent.push(u32::try_from(coins).expect("fewer than bytes of the undo, which u32 counts"));
    }
    reader.end("undo")?;
    Ok(spent)
}

//! A real Bitcoin block as records: the block by height, its transactions by id, checked against its header.
//!
//! ```text
//! block        header (80 bytes), count, transactions
//! transaction  version, [00 01 if it has witnesses], inputs, outputs, [witnesses], lock time
//! id           SHA-256 twice over all but the brackets; the header has the Merkle root over them
//! ```

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

/// Height of the block that comes with the binary.
pub(super) const HEIGHT: u64 = 702_861;
const HEADER_BYTES: usize = 80;

/// A block, cut into its transactions.
pub(super) struct Block {
    /// as it is shown: last byte first
    pub(super) hash: String,
    pub(super) transactions: Vec<Transaction>,
}

pub(super) struct Transaction {
    /// as it is hashed; people see it reversed
    pub(super) id: [u8; 32],
    /// where it is in the block
    pub(super) bytes: std::ops::Range<usize>,
}

/// The block of mainnet at [`HEIGHT`].
pub(super) fn raw_block() -> &'static [u8] {
    bitcoin_test_data::blocks::mainnet_702861()
}

/// Cuts a block up, and checks the Merkle root that its header promises.
pub(super) fn parse(block: &[u8]) -> anyhow::Result<Block> {
    let mut cursor = Cursor { bytes: block, at: 0 };
    let header = cursor.take(HEADER_BYTES)?;
    let count = cursor.count()?;
    let mut transactions = Vec::new();
    for _ in 0..count {
        transactions.push(cursor.transaction()?);
    }
    ensure!(cursor.at == block.len(), "bytes follow the last transaction");
    let ids = transactions.iter().map(|t| t.id).collect();
    ensure!(merkle_root(ids) == header[36..68], "the Merkle root is not the header's");
    let hash = sha256d(&[header]).iter().rev().map(|byte| format!("{byte:02x}")).collect();
    Ok(Block { hash, transactions })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> anyhow::Result<&'a [u8]> {
        let end = self.at.checked_add(bytes).filter(|&end| end <= self.bytes.len());
        let end = end.context("the block is cut off")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// Bitcoin's "compact size": one byte, or a mark and 2, 4 or 8.
    fn count(&mut self) -> anyhow::Result<usize> {
        let width = match self.take(1)?[0] {
            0xfd => 2,
            0xfe => 4,
            0xff => 8,
            small => return Ok(small.into()),
        };
        let mut number = [0; 8];
        number[..width].copy_from_slice(self.take(width)?);
        Ok(usize::try_from(u64::from_le_bytes(number))?)
    }

    fn script(&mut self) -> anyhow::Result<()> {
        let bytes = self.count()?;
        self.take(bytes)?;
        Ok(())
    }

    fn transaction(&mut self) -> anyhow::Result<Transaction> {
        const OUTPOINT_BYTES: usize = 36;
        let start = self.at;
        let version = self.take(4)?;
        let with_witnesses = self.bytes.get(self.at..self.at + 2) == Some(&[0, 1]);
        if with_witnesses {
            self.take(2)?;
        }
        let middle_start = self.at;
        let inputs = self.count()?;
        for _ in 0..inputs {
            self.take(OUTPOINT_BYTES)?;
            self.script()?;
            self.take(4)?; // sequence
        }
        for _ in 0..self.count()? {
            self.take(8)?; // amount
            self.script()?;
        }
        let middle = &self.bytes[middle_start..self.at];
        if with_witnesses {
            for _ in 0..inputs {
                for _ in 0..self.count()? {
                    self.script()?;
                }
            }
        }
        let lock_time = self.take(4)?;
        Ok(Transaction { id: sha256d(&[version, middle, lock_time]), bytes: start..self.at })
    }
}

fn sha256d(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    Sha256::digest(hasher.finalize()).into()
}

/// Pairs are hashed until one is left; an odd one is paired with itself.
fn merkle_root(mut level: Vec<[u8; 32]>) -> [u8; 32] {
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| sha256d(&[&pair[0], pair.last().expect("1 or 2")]))
            .collect();
    }
    level.first().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_that_comes_with_the_binary_is_what_it_should_be() {
        let block = parse(raw_block()).unwrap();
        assert_eq!(block.hash, "000000000000000000000c835b2adcaedc20fdf6ee440009c249452c726dafae");
        assert_eq!(block.transactions.len(), 2500);
        assert_eq!(block.transactions.last().unwrap().bytes.end, raw_block().len());
    }

    #[test]
    fn a_damaged_block_is_refused() {
        let block = raw_block();
        for cut in [0, 79, 80, 81, 100, 1000, block.len() - 1] {
            assert!(parse(&block[..cut]).is_err(), "{cut}");
        }
        let mut bad = block.to_vec();
        bad[40] ^= 1;
        assert!(parse(&bad).is_err());
    }
}

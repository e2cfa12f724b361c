//! A block, walked once.
//!
//! ```text
//! block   header, count, transactions
//! header  version i32, previous hash, Merkle root, commitment, time u32, bits u32, nonce (32 bytes): 140 bytes; solution with its length, 1,344 bytes
//! ```

use super::{
    fault::Fault,
    transaction::{self, Transaction},
};
use crate::bitcoin::{Hash, Reader, Target, merkle_root, sha256d};

/// Bytes of a header without its solution.
pub(super) const HEADER_BYTES: usize = 140;
/// The longest block.
pub(super) const BLOCK_BYTES_MAX: usize = 2_000_000;
/// Version, counts of nothing, lock time.
const TRANSACTION_BYTES_MIN: usize = 10;

/// A network of Zcash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Network {
    /// `mainnet`
    Mainnet,
    /// `testnet`
    Testnet,
}

impl Network {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
        }
    }

    /// The bytes before each of its blocks in a file.
    pub const fn magic(self) -> [u8; 4] {
        match self {
            Self::Mainnet => [0x24, 0xe9, 0x27, 0x64],
            Self::Testnet => [0xfa, 0x1a, 0xf9, 0xbf],
        }
    }

    /// The first block, whose coinbase says no height.
    const fn genesis(self) -> &'static str {
        match self {
            Self::Mainnet => "00040fe8ec8471911baa1db1266ea15dd06b4a8a5c453883c000b031973dce08",
            Self::Testnet => "05a60a92d99d85997cce3b87616c089f6124d7342af37106edc76126334a2c38",
        }
    }

    /// The easiest target that a block may have.
    fn limit(self) -> Target {
        let bits = match self {
            Self::Mainnet => 0x1f07_ffff,
            Self::Testnet => 0x2007_ffff,
        };
        Target::of_bits(bits).expect("a target")
    }
}

/// What is needed of a block.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) hash: Hash,
    pub(super) parent: Hash,
    pub(super) height: Option<u64>,
    pub(super) transactions: Vec<Hash>,
    pub(super) header: &'a [u8],
    pub(super) solution: &'a [u8],
}

/// A block in two: its header with the solution, and its transactions with their count.
pub(super) fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let mut reader = Reader::new(bytes);
    reader.take(HEADER_BYTES, "header")?;
    reader.counted("solution")?;
    Ok(bytes.split_at(reader.at()))
}

impl<'a> Block<'a> {
    /// Reads a block in two, and verifies its target and Merkle root.
    pub(super) fn verified(
        head: &'a [u8],
        transactions: &[u8],
        network: Network,
    ) -> Result<Self, Fault> {
        let mut reader = Reader::new(head);
        let header = reader.take(HEADER_BYTES, "header")?;
        let solution = reader.counted("solution")?;
        reader.end("header")?;
        let hash = sha256d(&[head]);
        let bits = u32::from_le_bytes(header[104..108].try_into().expect("4 bytes"));
        let target = Target::of_bits(bits).filter(|&target| target <= network.limit());
        let target = target.ok_or(Fault::Target { bits, network: network.name() })?;
        if !target.is_met_by(hash) {
            return Err(Fault::Work { hash, bits });
        }
        let thirty_two = |at: usize| Hash(header[at..at + 32].try_into().expect("32 bytes"));
        let (mut height, transactions) = read_transactions(transactions, thirty_two(36))?;
        if hash.to_string() == network.genesis() {
            height = Some(0);
        }
        Ok(Self { hash, parent: thirty_two(4), height, transactions, header, solution })
    }
}

/// The height that the coinbase says, and the ids; `expected` is the root over them.
fn read_transactions(bytes: &[u8], expected: Hash) -> Result<(Option<u64>, Vec<Hash>), Fault> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(TRANSACTION_BYTES_MIN, "transactions")?;
    let mut transactions = Vec::with_capacity(count);
    let mut height = None;
    for index in 0..count {
        let Transaction { id, coinbase } = transaction::walk(&mut reader)?;
        if index == 0 {
            height = coinbase.and_then(height_in);
        }
        transactions.push(id);
    }
    reader.end("block")?;
    if transactions.is_empty() {
        return Err(Fault::Mutated);
    }
    let found = merkle_root(transactions.clone()).ok_or(Fault::Mutated)?;
    if found == expected {
        Ok((height, transactions))
    } else {
        Err(Fault::Root { expected, found })
    }
}

/// The height that a coinbase's script begins with.
fn height_in(script: &[u8]) -> Option<u64> {
    match script {
        // the numbers that are an instruction of their own
        [small @ 0x51..=0x60, ..] => Some(u64::from(small - 0x50)),
        [length @ 1..=5, rest @ ..] => {
            let bytes = rest.get(..usize::from(*length))?;
            let (last, _) = bytes.split_last()?;
            // the highest bit would make it negative
            (*last < 0x80)
                .then(|| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_read_from_scripts() {
        assert_eq!(height_in(&[0x51, 0]), Some(1));
        assert_eq!(height_in(&[0x60]), Some(16));
        assert_eq!(height_in(&[1, 17, 0]), Some(17));
        assert_eq!(height_in(&[2, 0x8b, 1]), Some(395));
        assert_eq!(height_in(&[3, 0x92, 0xbe, 0x19]), Some(1_687_186));
        for script in [&[][..], &[0], &[1], &[1, 0x80], &[6, 1, 1, 1, 1, 1, 1]] {
            assert_eq!(height_in(script), None);
        }
    }
}

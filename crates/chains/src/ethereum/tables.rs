//! Where Ethereum history lies in the store: the tables of one network, and their values.
//!
//! ```text
//! table (after ethereum/<network>/)   kind       key                 value
//! block                               sequence   height              RLP [header, transactions, ommers, withdrawals?]
//! receipts                            sequence   height              RLP [receipt, ...]
//! total-difficulty                    sequence   height              big-endian, without leading zeros
//! block-hash                          keyed      block hash          height, u64 big-endian
//! tx-hash                             keyed      transaction hash    height, u64 big-endian; index, u32 big-endian
//! era1                                sequence   epoch               Era1Record, below
//! era1-original                       keyed      SHA-256 of the      1 MiB of the file; the last chunk is shorter
//!                                                file; chunk, u32 BE
//! ```
//! One block is one put, in this order of tables. Blocks of plain RLP files have neither receipts nor total difficulty.

use super::{
    block::{Block, envelopes},
    error::{EthereumError, Fault},
    hash::{Hash32, keccak256},
    network::Network,
    uint::U256,
};
use crate::archive::{Archive, Record};

/// Bytes of a kept original in one record.
pub const ORIGINAL_CHUNK_BYTES: usize = 1 << 20;

/// Names of one network's tables.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the module's table says what each is")]
pub struct Tables {
    pub block: String,
    pub receipts: String,
    pub total_difficulty: String,
    pub block_hash: String,
    pub tx_hash: String,
    pub era1: String,
    pub era1_original: String,
}

impl Tables {
    /// The tables of a network.
    pub fn of(network: &Network) -> Self {
        let name = |table: &str| format!("ethereum/{network}/{table}");
        Self {
            block: name("block"),
            receipts: name("receipts"),
            total_difficulty: name("total-difficulty"),
            block_hash: name("block-hash"),
            tx_hash: name("tx-hash"),
            era1: name("era1"),
            era1_original: name("era1-original"),
        }
    }
}

/// Key of a chunk of a kept original.
pub(crate) fn original_key(sha256: &Hash32, chunk: u32) -> Vec<u8> {
    [&sha256.0[..], &chunk.to_be_bytes()].concat()
}

/// Where a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxLocation {
    /// Its block.
    pub height: u64,
    /// Its place in the block, from 0.
    pub index: u32,
}

impl TxLocation {
    fn to_bytes(self) -> Vec<u8> {
        [&self.height.to_be_bytes()[..], &self.index.to_be_bytes()].concat()
    }

    /// Reads a value of the table `tx-hash`.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (height, index) = bytes.split_first_chunk()?;
        Some(Self {
            height: u64::from_be_bytes(*height),
            index: u32::from_be_bytes(index.try_into().ok()?),
        })
    }
}

/// A block on its way into the store.
#[derive(Debug)]
pub(crate) struct NewBlock {
    pub(crate) height: u64,
    pub(crate) hash: Hash32,
    pub(crate) block: Vec<u8>,
    pub(crate) transactions: Vec<Hash32>,
    /// plain RLP files have none
    pub(crate) receipts: Option<Vec<u8>>,
    /// of `.era1` files, and of nodes that say it
    pub(crate) total: Option<U256>,
}

/// What is stored of a block already.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct StoredParts {
    pub(crate) block: bool,
    pub(crate) receipts: bool,
    pub(crate) total: bool,
}

impl StoredParts {
    pub(crate) const ALL: Self = Self { block: true, receipts: true, total: true };
}

impl NewBlock {
    /// A block, with receipts and total difficulty if there are any.
    pub(crate) fn of(
        block: &Block<'_>,
        receipts: Option<Vec<u8>>,
        total: Option<U256>,
    ) -> Result<Self, Fault> {
        let header = block.header();
        let transactions = envelopes(block.transactions(), "transactions")?;
        let mut rlp = Vec::new();
        block.write_rlp(&mut rlp);
        Ok(Self {
            height: header.number,
            hash: header.hash,
            block: rlp,
            transactions: transactions.into_iter().map(keccak256).collect(),
            receipts,
            total,
        })
    }

    /// Puts what is not there yet, as one put; gives the bytes put.
    pub(crate) fn put<A: Archive + ?Sized>(
        &self,
        archive: &mut A,
        tables: &Tables,
        stored: StoredParts,
    ) -> Result<u64, EthereumError> {
        let height = self.height;
        let mut records = Vec::with_capacity(4 + self.transactions.len());
        if !stored.block {
            records.push(Record::sequence(&tables.block, height, &self.block[..]));
        }
        if let Some(receipts) = self.receipts.as_ref().filter(|_| !stored.receipts) {
            records.push(Record::sequence(&tables.receipts, height, &receipts[..]));
        }
        if let Some(total) = self.total.filter(|_| !stored.total) {
            let total = total.as_minimal_be().to_vec();
            records.push(Record::sequence(&tables.total_difficulty, height, total));
        }
        if !stored.block {
            let at = height.to_be_bytes().to_vec();
            records.push(Record::keyed(&tables.block_hash, &self.hash.0[..], at));
            for (index, hash) in (0..).zip(&self.transactions) {
                let location = TxLocation { height, index }.to_bytes();
                records.push(Record::keyed(&tables.tx_hash, &hash.0[..], location));
            }
        }
        archive.put(&records)?;
        Ok(records.iter().map(|record| record.value.len() as u64).sum())
    }
}

/// What is remembered of an imported `.era1` file, so that it can be made again; written last, marks it complete.
///
/// ```text
/// offset  size  field
///      0     1  version          1
///      1     1  flags            bit 0: the original bytes are kept in `era1-original`; other bits 0
///      2     2  zero
///      4     4  block_count      u32, little-endian; 1..=8192
///      8     8  start_height     u64, little-endian
///     16     8  file_bytes       u64, little-endian
///     24     8  decoded_bytes    u64, little-endian: RLP of headers, bodies and receipts
///     32    32  sha256           of the file
///     64    32  accumulator      root over the blocks
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Era1Record {
    /// Height of the first block.
    pub start_height: u64,
    /// Number of blocks.
    pub block_count: u32,
    /// Size of the file.
    pub file_bytes: u64,
    /// RLP of headers, bodies and receipts.
    pub decoded_bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Hash32,
    /// Accumulator root.
    pub accumulator: Hash32,
    /// Whether the file's own bytes are kept, because encoding the blocks again gives others.
    pub original_kept: bool,
}

impl Era1Record {
    /// Size of the stored form.
    pub const BYTES: usize = 96;

    /// The stored form.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0] = 1;
        out[1] = u8::from(self.original_kept);
        out[4..8].copy_from_slice(&self.block_count.to_le_bytes());
        out[8..16].copy_from_slice(&self.start_height.to_le_bytes());
        out[16..24].copy_from_slice(&self.file_bytes.to_le_bytes());
        out[24..32].copy_from_slice(&self.decoded_bytes.to_le_bytes());
        out[32..64].copy_from_slice(&self.sha256.0);
        out[64..].copy_from_slice(&self.accumulator.0);
        out
    }

    /// Reads the stored form; `None` of anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let hash_at = |at: usize| Hash32(bytes[at..at + 32].try_into().expect("32 bytes"));
        let block_count = u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes"));
        if bytes[0] != 1 || bytes[1] > 1 || bytes[2..4] != [0, 0] {
            return None;
        }
        if !(1..=8192).contains(&block_count) || u64_at(8).checked_add(8192).is_none() {
            return None;
        }
        Some(Self {
            start_height: u64_at(8),
            block_count,
            file_bytes: u64_at(16),
            decoded_bytes: u64_at(24),
            sha256: hash_at(32),
            accumulator: hash_at(64),
            original_kept: bytes[1] == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn era1_record_has_the_bytes_of_version_1() {
        let record = Era1Record {
            start_height: 0x0102_0304_0506_0708,
            block_count: 0x1112,
            file_bytes: 0x2122_2324_2526_2728,
            decoded_bytes: 0x3132_3334_3536_3738,
            sha256: Hash32([0x41; 32]),
            accumulator: Hash32([0x51; 32]),
            original_kept: true,
        };
        let golden = include_bytes!("../../fixtures/era1-record/v1/kept.bin");
        assert_eq!(&record.to_bytes(), golden);
        assert_eq!(Era1Record::from_bytes(golden), Some(record));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 95..98),
            valid: bool,
        ) {
            if valid {
                bytes[..8].copy_from_slice(&[1, 0, 0, 0, 5, 1, 0, 0]);
            }
            if let Some(record) = Era1Record::from_bytes(&bytes) {
                prop_assert_eq!(&record.to_bytes()[..], &bytes[..]);
            }
        }
    }
}

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
//! ere                                 sequence   epoch               EreRecord, below
//! proof                               sequence   height              RLP [type, SSZ], of .ere files that have them
//! era1-original                       keyed      SHA-256 of the      1 MiB of the file, .era1 or .ere; the last chunk is
//!                                                file; chunk, u32 BE shorter
//! ```
//! One block is one put, in this order of tables. Blocks of plain RLP files have neither receipts nor total difficulty.

use super::{
    block::{Block, envelopes},
    ere::EreProfile,
    error::{EthereumError, Fault},
    hash::{Hash32, keccak256},
    network::Network,
    uint::U256,
};
use crate::{
    archive::{Archive, Record},
    contract::TransactionPlace,
};
use std::ops::Range;

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
    pub ere: String,
    pub proof: String,
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
            ere: name("ere"),
            proof: name("proof"),
            era1_original: name("era1-original"),
        }
    }
}

/// Key of a chunk of a kept original.
pub(crate) fn original_key(sha256: &Hash32, chunk: u32) -> Vec<u8> {
    [&sha256.0[..], &chunk.to_be_bytes()].concat()
}

/// Blocks on their way into the store, in few pieces of memory: the thread that puts them is not the one that made them.
#[derive(Default, Debug)]
pub(crate) struct NewBlocks {
    blocks: Vec<Ranges>,
    /// of blocks, receipts and proofs
    bytes: Vec<u8>,
    /// of transactions
    hashes: Vec<Hash32>,
}

/// Where the parts of a block are in [`NewBlocks`].
#[derive(Debug)]
struct Ranges {
    height: u64,
    hash: Hash32,
    block: Range<usize>,
    transactions: Range<usize>,
    receipts: Option<Range<usize>>,
    total: Option<U256>,
    proof: Option<Range<usize>>,
}

impl NewBlocks {
    /// Adds a block, with what there is beside it: plain RLP files have nothing.
    pub(crate) fn push(
        &mut self,
        block: &Block<'_>,
        receipts: Option<&[u8]>,
        total: Option<U256>,
        proof: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let Self { blocks, bytes, hashes } = self;
        let first = hashes.len();
        let transactions = envelopes(block.transactions(), "transactions")?;
        hashes.extend(transactions.into_iter().map(keccak256));
        let start = bytes.len();
        block.write_rlp(bytes);
        let rlp = start..bytes.len();
        let mut keep = |part: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(part);
            start..bytes.len()
        };
        blocks.push(Ranges {
            height: block.header().number,
            hash: block.header().hash,
            block: rlp,
            transactions: first..hashes.len(),
            receipts: receipts.map(&mut keep),
            total,
            proof: proof.map(&mut keep),
        });
        Ok(())
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.blocks.len()
    }

    /// One after another.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NewBlock<'_>> {
        self.blocks.iter().map(|of| NewBlock {
            height: of.height,
            hash: of.hash,
            block: &self.bytes[of.block.clone()],
            transactions: &self.hashes[of.transactions.clone()],
            receipts: of.receipts.clone().map(|range| &self.bytes[range]),
            total: of.total,
            proof: of.proof.clone().map(|range| &self.bytes[range]),
        })
    }
}

/// A block on its way into the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewBlock<'a> {
    pub(crate) height: u64,
    hash: Hash32,
    block: &'a [u8],
    transactions: &'a [Hash32],
    pub(crate) receipts: Option<&'a [u8]>,
    /// of `.era1` and `.ere` files, and of nodes that say it
    pub(crate) total: Option<U256>,
    /// of `.ere` files that have them
    pub(crate) proof: Option<&'a [u8]>,
}

/// What is stored of a block already.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct StoredParts {
    pub(crate) block: bool,
    pub(crate) receipts: bool,
    pub(crate) total: bool,
    pub(crate) proof: bool,
}

impl NewBlock<'_> {
    /// Whether it has something that is not stored.
    pub(crate) const fn adds_to(&self, stored: StoredParts) -> bool {
        !stored.block
            || (self.receipts.is_some() && !stored.receipts)
            || (self.total.is_some() && !stored.total)
            || (self.proof.is_some() && !stored.proof)
    }

    /// Puts what is not there yet, as one put; gives the bytes put.
    pub(crate) fn put<A: Archive + ?Sized>(
        &self,
        archive: &mut A,
        tables: &Tables,
        stored: StoredParts,
    ) -> Result<u64, EthereumError> {
        let height = self.height;
        let mut records = Vec::with_capacity(5 + self.transactions.len());
        if !stored.block {
            records.push(Record::sequence(&tables.block, height, self.block));
        }
        if let Some(receipts) = self.receipts.filter(|_| !stored.receipts) {
            records.push(Record::sequence(&tables.receipts, height, receipts));
        }
        if let Some(total) = self.total.filter(|_| !stored.total) {
            let total = total.as_minimal_be().to_vec();
            records.push(Record::sequence(&tables.total_difficulty, height, total));
        }
        if let Some(proof) = self.proof.filter(|_| !stored.proof) {
            records.push(Record::sequence(&tables.proof, height, proof));
        }
        if !stored.block {
            let at = height.to_be_bytes().to_vec();
            records.push(Record::keyed(&tables.block_hash, &self.hash.0[..], at));
            for (index, hash) in (0..).zip(self.transactions) {
                let place = TransactionPlace { height, index }.to_bytes();
                records.push(Record::keyed(&tables.tx_hash, &hash.0[..], place));
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
    pub const BYTES: usize = FileRecord::BYTES;

    /// The stored form.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        FileRecord {
            flags: u8::from(self.original_kept),
            block_count: self.block_count,
            start_height: self.start_height,
            file_bytes: self.file_bytes,
            decoded_bytes: self.decoded_bytes,
            sha256: self.sha256,
            hash: self.accumulator,
        }
        .to_bytes()
    }

    /// Reads the stored form; `None` of anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let record = FileRecord::from_bytes(bytes, 1)?;
        Some(Self {
            start_height: record.start_height,
            block_count: record.block_count,
            file_bytes: record.file_bytes,
            decoded_bytes: record.decoded_bytes,
            sha256: record.sha256,
            accumulator: record.hash,
            original_kept: record.flags == 1,
        })
    }

    /// Reads the record of an epoch.
    pub(crate) fn decode(tables: &Tables, epoch: u64, value: &[u8]) -> Result<Self, EthereumError> {
        Self::from_bytes(value).ok_or_else(|| wrong_length(&tables.era1, epoch, value))
    }
}

/// What is remembered of an imported `.ere` file, so that it can be made again; written last, marks it complete.
///
/// ```text
/// offset  size  field
///      0     1  version          1
///      1     1  flags            bit 0: the original bytes are kept in `era1-original`; bit 1: it has receipts;
///                                bit 2: it has proofs; other bits 0
///      2     2  zero
///      4     4  block_count      u32, little-endian; 1..=8192
///      8     8  start_height     u64, little-endian
///     16     8  file_bytes       u64, little-endian
///     24     8  decoded_bytes    u64, little-endian: RLP of headers, bodies and receipts
///     32    32  sha256           of the file
///     64    32  last_hash        hash of the last block
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EreRecord {
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
    /// Hash of the last block.
    pub last_hash: Hash32,
    /// What is in it beside headers and bodies.
    pub profile: EreProfile,
    /// Whether the file's own bytes are kept, because encoding the blocks again gives others.
    pub original_kept: bool,
}

impl EreRecord {
    /// Size of the stored form.
    pub const BYTES: usize = FileRecord::BYTES;

    /// The stored form.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let EreProfile { receipts, proofs } = self.profile;
        FileRecord {
            flags: u8::from(self.original_kept) | u8::from(receipts) << 1 | u8::from(proofs) << 2,
            block_count: self.block_count,
            start_height: self.start_height,
            file_bytes: self.file_bytes,
            decoded_bytes: self.decoded_bytes,
            sha256: self.sha256,
            hash: self.last_hash,
        }
        .to_bytes()
    }

    /// Reads the stored form; `None` of anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let record = FileRecord::from_bytes(bytes, 7)?;
        Some(Self {
            start_height: record.start_height,
            block_count: record.block_count,
            file_bytes: record.file_bytes,
            decoded_bytes: record.decoded_bytes,
            sha256: record.sha256,
            last_hash: record.hash,
            profile: EreProfile { receipts: record.flags & 2 != 0, proofs: record.flags & 4 != 0 },
            original_kept: record.flags & 1 != 0,
        })
    }

    /// Reads the record of an epoch.
    pub(crate) fn decode(tables: &Tables, epoch: u64, value: &[u8]) -> Result<Self, EthereumError> {
        Self::from_bytes(value).ok_or_else(|| wrong_length(&tables.ere, epoch, value))
    }
}

fn wrong_length(table: &str, epoch: u64, value: &[u8]) -> EthereumError {
    let (expected, found) = (FileRecord::BYTES as u64, value.len() as u64);
    EthereumError::stored(table, epoch, Fault::RecordLength { expected, found })
}

/// What both kinds of records are made of.
struct FileRecord {
    flags: u8,
    block_count: u32,
    start_height: u64,
    file_bytes: u64,
    decoded_bytes: u64,
    sha256: Hash32,
    hash: Hash32,
}

impl FileRecord {
    const BYTES: usize = 96;

    fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0] = 1;
        out[1] = self.flags;
        out[4..8].copy_from_slice(&self.block_count.to_le_bytes());
        out[8..16].copy_from_slice(&self.start_height.to_le_bytes());
        out[16..24].copy_from_slice(&self.file_bytes.to_le_bytes());
        out[24..32].copy_from_slice(&self.decoded_bytes.to_le_bytes());
        out[32..64].copy_from_slice(&self.sha256.0);
        out[64..].copy_from_slice(&self.hash.0);
        out
    }

    fn from_bytes(bytes: &[u8], flags_max: u8) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let hash_at = |at: usize| Hash32(bytes[at..at + 32].try_into().expect("32 bytes"));
        let block_count = u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes"));
        if bytes[0] != 1 || bytes[1] > flags_max || bytes[2..4] != [0, 0] {
            return None;
        }
        if !(1..=8192).contains(&block_count) || u64_at(8).checked_add(8192).is_none() {
            return None;
        }
        Some(Self {
            flags: bytes[1],
            block_count,
            start_height: u64_at(8),
            file_bytes: u64_at(16),
            decoded_bytes: u64_at(24),
            sha256: hash_at(32),
            hash: hash_at(64),
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

    #[test]
    fn ere_record_has_the_bytes_of_version_1() {
        let record = EreRecord {
            start_height: 0x0102_0304_0506_0708,
            block_count: 0x1112,
            file_bytes: 0x2122_2324_2526_2728,
            decoded_bytes: 0x3132_3334_3536_3738,
            sha256: Hash32([0x41; 32]),
            last_hash: Hash32([0x51; 32]),
            profile: EreProfile { receipts: true, proofs: false },
            original_kept: false,
        };
        let golden = include_bytes!("../../fixtures/ere-record/v1/noproofs.bin");
        assert_eq!(&record.to_bytes(), golden);
        assert_eq!(EreRecord::from_bytes(golden), Some(record));
        let all = EreRecord {
            profile: EreProfile { receipts: true, proofs: true },
            original_kept: true,
            ..record
        };
        assert_eq!(all.to_bytes()[1], 7);
        assert_eq!(EreRecord::from_bytes(&all.to_bytes()), Some(all));
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
            if let Some(record) = EreRecord::from_bytes(&bytes) {
                prop_assert_eq!(&record.to_bytes()[..], &bytes[..]);
            }
        }
    }
}

//! What can be wrong with Ethereum history, and where.

use super::{hash::Hash32, network::NetworkError, rlp::RlpError, snappy::SnappyError, uint::U256};
use crate::archive::ArchiveError;
use std::{fmt, io, path::PathBuf};

/// Which piece of a file or block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Part {
    /// The file's first record.
    Version,
    /// A whole block, header and body.
    Block,
    /// A block's header.
    Header,
    /// A block's transactions, ommers and withdrawals.
    Body,
    /// A block's receipts.
    Receipts,
    /// The sum of all difficulties up to a block.
    TotalDifficulty,
    /// The path from a block's hash to something that is known.
    Proof,
    /// The epoch's accumulator root.
    Accumulator,
    /// The table of offsets at the end.
    BlockIndex,
    /// Something after the end, or before the start.
    File,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "version",
            Self::Block => "block",
            Self::Header => "header",
            Self::Body => "body",
            Self::Receipts => "receipts",
            Self::TotalDifficulty => "total difficulty",
            Self::Proof => "proof",
            Self::Accumulator => "accumulator",
            Self::BlockIndex => "block index",
            Self::File => "file",
        })
    }
}

/// Where something is: `mainnet-00000-5ec1ffb8.era1: record 12034 at byte 1234567 (receipts of block 4011)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file's name, or the table's.
    pub file: String,
    /// The record in the file, from 0; in a plain RLP file each block is one.
    pub record: u64,
    /// Where the record starts.
    pub offset: u64,
    /// What it is.
    pub part: Part,
    /// The block's height, where it is known or can be told from its neighbours.
    pub height: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, record, offset, part, height } = self;
        write!(f, "{file}: record {record} at byte {offset} ({part}")?;
        match (height, part) {
            (Some(height), Part::Block) => write!(f, " {height})"),
            (Some(height), _) => write!(f, " of block {height})"),
            (None, _) => write!(f, ")"),
        }
    }
}

/// What is wrong with a piece.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It is not RLP of the expected shape.
    #[error("{field}: {source}")]
    Rlp {
        /// which field
        field: &'static str,
        /// what is wrong with it
        source: RlpError,
    },
    /// It does not decompress.
    #[error(transparent)]
    Snappy(#[from] SnappyError),
    /// A hash that was computed is not the one that the header promises.
    #[error("{what} is {found}, the header says {expected}")]
    Root {
        /// which hash
        what: &'static str,
        /// in the header
        expected: Hash32,
        /// computed
        found: Hash32,
    },
    /// More items than a block can have.
    #[error("more than {count_max} {field}")]
    TooMany {
        /// which list
        field: &'static str,
        /// the limit
        count_max: u64,
    },
    /// Withdrawals without a root, or a root without withdrawals.
    #[error("the header {} a withdrawals root, the body {} withdrawals", has(*.header), has(*.body))]
    Withdrawals {
        /// whether the header has a withdrawals root
        header: bool,
        /// whether the body has withdrawals
        body: bool,
    },
    /// Not one receipt per transaction.
    #[error("{receipts} receipts for {transactions} transactions")]
    ReceiptCount {
        /// transactions in the body
        transactions: u64,
        /// receipts found
        receipts: u64,
    },
    /// A transaction made for another chain.
    #[error("transaction {transaction} is for chain id {found}, this network has {expected}")]
    ChainId {
        /// its index
        transaction: u64,
        /// the network's
        expected: u64,
        /// the transaction's
        found: u64,
    },
    /// A header out of order.
    #[error("height is {found}, expected {expected}")]
    Height {
        /// expected
        expected: u64,
        /// in the header
        found: u64,
    },
    /// A height that does not rise from block to block.
    #[error("height is {found} after {previous}: heights must rise")]
    NotRising {
        /// the previous block's
        previous: u64,
        /// this block's
        found: u64,
    },
    /// A file that starts in the middle of an epoch.
    #[error("the first block is {found}: an epoch starts at a multiple of 8192")]
    NotAnEpoch {
        /// the first block's height
        found: u64,
    },
    /// A block that does not build on the one before it.
    #[error("parent hash is {found}, block {parent_height} has hash {expected}")]
    Parent {
        /// height of the block before
        parent_height: u64,
        /// its hash
        expected: Hash32,
        /// the parent hash in this header
        found: Hash32,
    },
    /// A first block that is not the network's.
    #[error("block 0 has hash {found}, the genesis of {network} is {expected}")]
    Genesis {
        /// the network's name
        network: String,
        /// its genesis
        expected: Hash32,
        /// block 0 of the file
        found: Hash32,
    },
    /// Difficulties that do not add up.
    #[error("total difficulty is {found}, expected {expected}")]
    TotalDifficulty {
        /// the sum
        expected: U256,
        /// in the file
        found: U256,
    },
    /// A total difficulty below the block's own difficulty, or one that leaves 256 bits.
    #[error("total difficulty {total} is impossible for a block of difficulty {difficulty}")]
    TotalDifficultyRange {
        /// in the file
        total: U256,
        /// the block's own
        difficulty: U256,
    },
    /// Another accumulator than the blocks have.
    #[error("accumulator root is {found}, the blocks give {expected}")]
    Accumulator {
        /// over the blocks
        expected: Hash32,
        /// in the file
        found: Hash32,
    },
    /// An index that points elsewhere.
    #[error("entry {entry} is {found}, expected {expected}")]
    Index {
        /// position in the index; 0 is the first height, the last is the count
        entry: u64,
        /// what it must be
        expected: i64,
        /// in the file
        found: i64,
    },
    /// No index where one must be.
    #[error("no block index at its end: the file is truncated, or no .ere file")]
    NoIndex,
    /// An index whose records do not lie one behind the other.
    #[error("a record is said to be at byte {offset}, where none can be")]
    IndexOrder {
        /// by the index
        offset: u64,
    },
    /// Records that no block has.
    #[error("{count} bytes of other records between the blocks and the index")]
    OtherRecords {
        /// bytes of them
        count: u64,
    },
    /// Total difficulties without the root over them, or a root without them.
    #[error("total difficulties and an accumulator belong together: the file has only one of them")]
    AccumulatorAlone,
    /// Blocks before and after the merge in the wrong order.
    #[error("difficulty is {difficulty} after the merge")]
    DifficultyAfterMerge {
        /// the block's
        difficulty: U256,
    },
    /// A proof of a later fork.
    #[error("proof type {0}: 0 to 4 are known")]
    ProofType(u64),
    /// A proof that leads to the accumulator, in a file without one.
    #[error("a proof by the accumulator in a file that has none")]
    ProofOfNothing,
    /// A proof that leads elsewhere.
    #[error("the proof leads to {found}, the accumulator is {expected}")]
    Proof {
        /// the file's accumulator
        expected: Hash32,
        /// where the path ends
        found: Hash32,
    },
    /// A record of another kind.
    #[error("record type {found:#06x} where {expected} belongs")]
    RecordType {
        /// what may follow
        expected: &'static str,
        /// in the file
        found: u16,
    },
    /// A record of the wrong size.
    #[error("{found} bytes of data where {expected} belong")]
    RecordLength {
        /// bytes expected
        expected: u64,
        /// bytes found
        found: u64,
    },
    /// A record's reserved bytes are not zero.
    #[error("the record's reserved bytes are {0:#06x}, must be 0")]
    Reserved(u16),
    /// More than can be a block.
    #[error("{found} bytes: at most {bytes_max} are possible")]
    TooLong {
        /// the limit
        bytes_max: u64,
        /// bytes found
        found: u64,
    },
    /// The file ends in the middle.
    #[error("the file is truncated: {needed} bytes belong here, {available} are there")]
    Truncated {
        /// bytes that belong here
        needed: u64,
        /// bytes left
        available: u64,
    },
    /// The file ends where something must follow.
    #[error("the file is truncated: it ends before the {0}")]
    EndsEarly(Part),
    /// The file goes on after its end.
    #[error("{count} bytes follow the end of the history")]
    Trailing {
        /// bytes after the end
        count: u64,
    },
    /// A record of the store that must be there.
    #[error("it is missing")]
    Missing,
    /// No block at all.
    #[error("there is no block in it")]
    Empty,
    /// More blocks than an epoch has.
    #[error("more than 8192 blocks in an epoch")]
    EpochTooLong,
}

impl Fault {
    /// Names the field of an RLP error.
    pub(crate) fn rlp(field: &'static str) -> impl Fn(RlpError) -> Self {
        move |source| Self::Rlp { field, source }
    }
}

fn has(it: bool) -> &'static str {
    if it { "has" } else { "has no" }
}

/// Why history could not be taken in, found or given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EthereumError {
    /// A file is damaged, or is not what it says. Nothing of it was stored. Get a sound copy.
    #[error("{place}: {fault}")]
    Damaged {
        /// where
        place: Box<Place>,
        /// what
        fault: Box<Fault>,
    },
    /// A file name that contradicts the content.
    #[error("{file}: its name says {field} {expected}, its content {found}")]
    Name {
        /// the file
        file: String,
        /// what about it
        field: &'static str,
        /// by name
        expected: String,
        /// by content
        found: String,
    },
    /// A file of another network than asked for.
    #[error("{file}: this is history of {found}, not of {expected}")]
    OtherNetwork {
        /// the file
        file: String,
        /// the network asked for
        expected: String,
        /// the file's
        found: String,
    },
    /// The network is neither given nor in the file's name.
    #[error(
        "{file}: which network? Say it (--network mainnet), or name the file as it was published (mainnet-00000-5ec1ffb8.era1)"
    )]
    NetworkUnknown {
        /// the file
        file: String,
    },
    /// A network's name that cannot be one.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A file that is no Ethereum history.
    #[error("{file}: neither an .era1 nor an .ere file, nor RLP blocks: {reason}")]
    UnknownFormat {
        /// the file
        file: String,
        /// why not
        reason: &'static str,
    },
    /// A file that does not continue the chain that is stored.
    #[error(
        "{file}: does not link to what is stored: block {child_height}'s parent hash is {parent_hash}, block {parent_height} has hash {hash} ({stored} is the stored one)"
    )]
    Unlinked {
        /// the file
        file: String,
        /// the upper block
        child_height: u64,
        /// what it says is below it
        parent_hash: Hash32,
        /// the lower block
        parent_height: u64,
        /// the lower block's hash
        hash: Hash32,
        /// which of the two is stored
        stored: u64,
    },
    /// Total difficulties that do not continue those stored.
    #[error(
        "{file}: does not link to what is stored: total difficulty of block {height} is {found}, by its stored neighbour it is {expected}"
    )]
    UnlinkedDifficulty {
        /// the file
        file: String,
        /// the block
        height: u64,
        /// by the stored neighbour
        expected: U256,
        /// by the file
        found: U256,
    },
    /// A file that contradicts a block that is stored.
    #[error(
        "{file}: contradicts what is stored: block {height} has hash {found}, the stored one {stored}"
    )]
    Contradicts {
        /// the file
        file: String,
        /// the block
        height: u64,
        /// its hash in the file
        found: Hash32,
        /// its hash in the store
        stored: Hash32,
    },
    /// The file is not the published one.
    #[error("{file}: its SHA-256 is {found}, the published one is {expected}")]
    Checksum {
        /// the file
        file: String,
        /// as published
        expected: Hash32,
        /// computed
        found: Hash32,
    },
    /// Somebody wrote to the file during the import.
    #[error("{file}: changed while it was read, near byte {offset}; import it again")]
    Changed {
        /// the file
        file: String,
        /// about where
        offset: u64,
    },
    /// The store does not hold what was asked for.
    #[error("{network}: {what} is not stored")]
    NotStored {
        /// the network
        network: String,
        /// what was asked for
        what: String,
    },
    /// What the store gave back is not what was put.
    #[error("stored record {table}/{key} is damaged: {fault}")]
    Stored {
        /// the table
        table: String,
        /// the key, or the height
        key: String,
        /// what is wrong
        fault: Box<Fault>,
    },
    /// The file made for export is not the one that was imported.
    #[error("export of {file}: SHA-256 is {found}, the imported file had {expected}")]
    ExportDiffers {
        /// the file
        file: String,
        /// of the imported file
        expected: Hash32,
        /// of the exported one
        found: Hash32,
    },
    /// The store failed.
    #[error("the store failed: {0}")]
    Archive(#[from] ArchiveError),
    /// The operating system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// the file
        path: PathBuf,
        /// what it says
        source: io::Error,
    },
}

impl EthereumError {
    /// What a user can do about it, in a sentence.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Damaged { .. } | Self::Checksum { .. } => {
                "Nothing of this file was stored. Get a sound copy of it and import that."
            }
            Self::Name { .. } | Self::NetworkUnknown { .. } => {
                "Nothing was stored. Give the file its published name, or name the network."
            }
            Self::OtherNetwork { .. } | Self::Network(_) => {
                "Nothing was stored. Name the network that the file belongs to."
            }
            Self::UnknownFormat { .. } => {
                "Nothing was stored. Give .era1 or .ere files, or RLP blocks."
            }
            Self::Unlinked { .. } | Self::UnlinkedDifficulty { .. } | Self::Contradicts { .. } => {
                "Nothing of this file was stored. It, or what was imported before it, is of another chain: compare \
                 both with a node, and import the wrong one's range into another folder."
            }
            Self::Changed { .. } => "Import the file again when nobody writes to it.",
            Self::NotStored { .. } => "Import it first.",
            Self::Stored { .. } | Self::ExportDiffers { .. } => {
                "What the store gives is not what was put: check it, and let it repair itself from the lake."
            }
            Self::Archive(_) | Self::Io { .. } => {
                "What was put before this stays. Remove the cause and start again: it goes on where it stopped."
            }
        }
    }

    pub(crate) fn damaged(place: Place, fault: Fault) -> Self {
        Self::Damaged { place: Box::new(place), fault: Box::new(fault) }
    }

    pub(crate) fn stored(table: &str, key: impl fmt::Display, fault: Fault) -> Self {
        Self::Stored { table: table.into(), key: key.to_string(), fault: Box::new(fault) }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

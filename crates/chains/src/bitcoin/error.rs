//! What can be wrong with Bitcoin history, and where.

use super::{files::FileName, hash::Hash, network::Network};
use crate::archive::ArchiveError;
use prunedb_core::Digest;
use std::{fmt, io, path::PathBuf};

/// Where something is: `blk00003.dat, record 12 at byte 34567 (block 2011)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// the file
    pub file: FileName,
    /// the record in the file, from 0
    pub record: u64,
    /// where the record starts
    pub offset: u64,
    /// the block's height, where it is known
    pub height: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, record, offset, height } = self;
        write!(f, "{file}, record {record} at byte {offset}")?;
        height.map_or(Ok(()), |height| write!(f, " (block {height})"))
    }
}

/// What is wrong with a piece.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It ends too early.
    #[error("{what}: {needed} bytes are needed, {found} are left")]
    Ends {
        /// what was read
        what: &'static str,
        /// bytes that it has
        needed: u64,
        /// bytes that are there
        found: u64,
    },
    /// A count that cannot be, or is not written in the shortest form.
    #[error("{what}: {value} cannot be their count, or it is not in its shortest form")]
    Count {
        /// of what
        what: &'static str,
        /// as it was read
        value: u64,
    },
    /// Something is left behind the end.
    #[error("{count} bytes behind the end of the {what}")]
    Trailing {
        /// behind what
        what: &'static str,
        /// how many
        count: u64,
    },
    /// Longer than any block.
    #[error("a block of {bytes} bytes, the longest has {}", super::block::BLOCK_BYTES_MAX)]
    TooLong {
        /// its length
        bytes: u64,
    },
    /// A witness flag that nobody knows.
    #[error("witness flag {flag}, expected 1")]
    WitnessFlag {
        /// as it was read
        flag: u8,
    },
    /// The target is not one, or easier than the network allows.
    #[error("bits {bits:#010x} are no target of {network}")]
    Target {
        /// in the header
        bits: u32,
        /// the network
        network: Network,
    },
    /// The hash is above the target.
    #[error(
        "hash {hash} does not meet the target of bits {bits:#010x}: the header was changed, or never had the work"
    )]
    Work {
        /// computed
        hash: Hash,
        /// in the header
        bits: u32,
    },
    /// A block without transactions.
    #[error("no transactions, expected a coinbase at least")]
    NoCoinbase,
    /// A list of transactions that repeats its end has the root of the shorter one.
    #[error("transactions repeat, so that the Merkle root says nothing (CVE-2012-2459)")]
    Mutated,
    /// A hash that was computed is not the one that is promised.
    #[error("{what} is {found}, expected {expected}")]
    Root {
        /// which hash
        what: &'static str,
        /// promised
        expected: Hash,
        /// computed
        found: Hash,
    },
    /// Witnesses that nothing commits to.
    #[error("there are witnesses, but the coinbase does not commit to them")]
    Uncommitted,
    /// No record begins here.
    #[error(
        "no record begins here: {found:02x?} where {network} has {expected:02x?}; a file of another network, a wrong \
         xor.dat, or what a crash left half overwritten"
    )]
    Magic {
        /// the network
        network: Network,
        /// its first bytes
        expected: [u8; 4],
        /// what is there
        found: [u8; 4],
    },
    /// Padding is zeros up to the end.
    #[error("padding with a byte {found:#04x} at byte {offset}, expected zeros up to the end")]
    Padding {
        /// where
        offset: u64,
        /// what is there
        found: u8,
    },
    /// Undo data that belongs to no block of the file of the same number.
    #[error(
        "undo of {transactions} transactions with checksum {checksum} fits no block of {blocks}"
    )]
    NoBlock {
        /// transactions of the undo, without the coinbase
        transactions: u64,
        /// as it was read
        checksum: Hash,
        /// where its block should be
        blocks: FileName,
    },
    /// The coinbase says another height.
    #[error("its coinbase says {}, it stands at {expected}", found.map_or("no height".into(), |found| format!("height {found}")))]
    Height {
        /// its place
        expected: u64,
        /// in the coinbase
        found: Option<u64>,
    },
    /// A coin's key that is no point of the curve.
    #[error("no point of the curve has x {x:02x?}, as a coin's key should")]
    Key {
        /// the first coordinate
        x: [u8; 32],
    },
    /// Undo data of another block.
    #[error("its undo data spends other numbers of coins than the block")]
    Undo,
    /// A record of the store is not there.
    #[error("it is missing")]
    Missing,
    /// A record of the store is not of its form.
    #[error("{bytes} bytes that are not of this table's form")]
    Form {
        /// its length
        bytes: u64,
    },
    /// The block under a key is another one.
    #[error("it is {found}, expected {expected}")]
    Hash {
        /// by its key
        expected: Hash,
        /// computed
        found: Hash,
    },
}

/// Why history was not taken in or given out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BitcoinError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// which
        path: PathBuf,
        /// why
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file is damaged.
    #[error("{place}: {fault}")]
    Damaged {
        /// where
        place: Place,
        /// what
        fault: Box<Fault>,
    },
    /// A block of a file outside of a node's folder is damaged.
    #[error("{} at byte {offset}: {fault}", path.display())]
    InFile {
        /// the file
        path: PathBuf,
        /// where the block begins
        offset: u64,
        /// what
        fault: Box<Fault>,
    },
    /// A file of another network than asked for.
    #[error("{} is of {found}, expected {expected}", path.display())]
    OtherNetworkIn {
        /// the file
        path: PathBuf,
        /// asked for
        expected: Network,
        /// in the file
        found: Network,
    },
    /// A record of the store is damaged.
    #[error("{table} {key}: {fault}")]
    Stored {
        /// its table
        table: String,
        /// its key, for people
        key: String,
        /// what
        fault: Box<Fault>,
    },
    /// No block files.
    #[error("{} is no folder with blk00000.dat or the like: name the folder `blocks` of a node", path.display())]
    NoFiles {
        /// the folder
        path: PathBuf,
    },
    /// Undo data without its blocks.
    #[error("{rev} is there, {blk} is not: the one says nothing without the other")]
    NoBlocks {
        /// the undo file
        rev: FileName,
        /// the block file that is missing
        blk: FileName,
    },
    /// `xor.dat` is no key.
    #[error("{}: {bytes} bytes, a key has 8", path.display())]
    XorKey {
        /// the file
        path: PathBuf,
        /// its length
        bytes: u64,
    },
    /// Too short to tell whose it is.
    #[error("{} has {bytes} bytes: a block file begins with a record", path.display())]
    TooShort {
        /// the file
        path: PathBuf,
        /// its length
        bytes: u64,
    },
    /// No network's records begin so.
    #[error(
        "{file} begins with {found:02x?}, as no network's records do: a wrong xor.dat, or no block file"
    )]
    UnknownNetwork {
        /// the file
        file: FileName,
        /// its first bytes, without the key
        found: [u8; 4],
    },
    /// Blocks of another network than asked for.
    #[error("{file} is of {found}, expected {expected}")]
    OtherNetwork {
        /// the file
        file: FileName,
        /// asked for
        expected: Network,
        /// in the file
        found: Network,
    },
    /// Another block has this height already.
    #[error(
        "block {height} is {stored} in the archive, these files have {found} there: the chain was reorganised below what \
         was archived, or one of them is of another chain"
    )]
    Contradicts {
        /// the height
        height: u64,
        /// in the archive
        stored: Hash,
        /// in the files
        found: Hash,
    },
    /// Another undo of this block is in the archive.
    #[error(
        "block {block} has other undo data in the archive than in these files, and a block has but one"
    )]
    OtherUndo {
        /// its hash
        block: Hash,
    },
    /// Read twice, and not the same.
    #[error("{file} changed while it was read: stop the node, or leave its newest file out")]
    Changed {
        /// the file
        file: FileName,
    },
    /// What is asked for is not stored.
    #[error("{what} is not in the archive")]
    NotStored {
        /// what
        what: String,
    },
    /// Files with two keys cannot lie in one folder.
    #[error(
        "{file} was imported with another xor.dat than the files before it: export it by itself"
    )]
    XorKeys {
        /// the first such file
        file: FileName,
    },
    /// Another file is in the way.
    #[error("{} is there already, and is another one", path.display())]
    Exists {
        /// which
        path: PathBuf,
    },
    /// A file that was made again is not what was imported.
    #[error("{file}: SHA-256 of what was written is {found}, the imported file had {expected}")]
    ExportDiffers {
        /// the file
        file: FileName,
        /// of the imported file
        expected: Digest,
        /// of what was written
        found: Digest,
    },
}

impl BitcoinError {
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(place: Place, fault: Fault) -> Self {
        Self::Damaged { place, fault: Box::new(fault) }
    }

    pub(crate) fn in_file(path: &std::path::Path, offset: u64, fault: Fault) -> Self {
        Self::InFile { path: path.to_owned(), offset, fault: Box::new(fault) }
    }

    pub(crate) fn stored(table: &str, key: impl fmt::Display, fault: Fault) -> Self {
        Self::Stored { table: table.into(), key: key.to_string(), fault: Box::new(fault) }
    }
}

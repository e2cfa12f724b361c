//! What a chain has to bring to be archived: a source, a verifier and a sink. All else is the same for every chain.
//!
//! ```text
//! ChainSource --blocks, rising--> import --> ChainVerifier (hashes | roots | signatures), link by link
//!                                   |
//!                                   v
//!                 <chain>/<network>/<part>        sequence   height             the chain's own bytes, untouched
//!                 <chain>/<network>/block-hash    keyed      block hash         height, u64 big-endian
//!                 <chain>/<network>/tx-hash       keyed      transaction hash   height, u64 big-endian; index, u32 big-endian
//!                                   |
//!                                   v
//!                                 export --> ChainVerifier --> ChainSink
//! ```
//! A block is a few *parts* of raw bytes, each in a table of its own; one block is one put. Tables are per network, so that
//! no block of one can stand where one of another belongs. Heights may be missing, in the source and in the store: that is a gap,
//! and reported. What a block promises about its neighbours must hold for all that are there.
//!
//! [`conformance`] has the tests that every adapter runs; `docs/chains/adding-a-chain.md` says how to write one.

mod blocks;
pub mod conformance;
mod export;
mod import;
mod stored;
mod verified;

pub use blocks::Blocks;
pub use export::{ExportReport, VerifyReport, export, verify_range};
pub use import::{ImportOptions, ImportReport, import, verify_source};
pub use stored::{Stored, TransactionPlace};

use crate::archive::ArchiveError;
use std::{error::Error, fmt};

/// A hash by which the chain names a block or a transaction.
pub type Hash = [u8; 32];

/// How much of what the chain promises is checked; each level includes the ones before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Level {
    /// Hashes of blocks and transactions, and the links between blocks.
    Hashes,
    /// What headers promise by roots, too.
    Roots,
    /// Every signature, too.
    #[default]
    Signatures,
}

impl Level {
    /// All levels, the quickest first.
    pub const ALL: [Self; 3] = [Self::Hashes, Self::Roots, Self::Signatures];

    /// Its name, as flags and reports have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hashes => "hashes",
            Self::Roots => "roots",
            Self::Signatures => "signatures",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Level {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or("hashes, roots or signatures")
    }
}

/// Some of a block's bytes, as the chain's own files have them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawPart {
    /// The last word of its table's name.
    pub table: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A block as it comes and goes: nothing in it is believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawBlock {
    /// Where the source has it.
    pub height: u64,
    /// The parts that are there, in the order of [`ChainVerifier::parts`].
    pub parts: Vec<RawPart>,
}

impl RawBlock {
    /// Bytes of all its parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes.len() as u64).sum()
    }

    /// One of its parts.
    pub fn part(&self, table: &str) -> Option<&[u8]> {
        self.parts.iter().find(|part| part.table == table).map(|part| &part.bytes[..])
    }
}

/// What verifying a block found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedBlock {
    /// Its hash, computed.
    pub hash: Hash,
    /// The hash of the block below it, as it says.
    pub parent: Hash,
    /// Its transactions, in order; empty if the part that has them is not there.
    pub transactions: Vec<Hash>,
    /// Signatures that were verified.
    pub signatures: u64,
}

/// A block that is not what it promises to be.
#[derive(Debug)]
pub struct BadBlock<F> {
    /// Its height.
    pub height: u64,
    /// What is wrong with it.
    pub fault: F,
}

/// Knows what a chain's blocks promise.
pub trait ChainVerifier: Sync {
    /// What can be wrong with a block.
    type Fault: Error + Send + Sync + 'static;

    /// The chain's name: the first word of its tables' names.
    fn chain(&self) -> &'static str;

    /// The network's name: the second word.
    fn network(&self) -> &str;

    /// The parts of a block, in the order in which they are stored; every block has the first one.
    fn parts(&self) -> &'static [&'static str];

    /// The part that has the block's transactions.
    fn transactions_part(&self) -> &'static str;

    /// Verifies blocks; several at once, because signatures are cheaper by the batch. Their heights must be those that the blocks
    /// name themselves. Links between blocks are the caller's.
    ///
    /// # Errors
    /// The first bad block.
    fn verify(
        &self,
        blocks: &[RawBlock],
        level: Level,
    ) -> Result<Vec<CheckedBlock>, BadBlock<Self::Fault>>;
}

/// For [`ChainVerifier::verify`] where nothing is gained by several blocks at once: checks one after another.
///
/// # Errors
/// The first bad block.
pub fn one_by_one<F>(
    blocks: &[RawBlock],
    check: impl Fn(&RawBlock) -> Result<CheckedBlock, F>,
) -> Result<Vec<CheckedBlock>, BadBlock<F>> {
    let check =
        |block: &RawBlock| check(block).map_err(|fault| BadBlock { height: block.height, fault });
    blocks.iter().map(check).collect()
}

/// Gives blocks, one after another.
pub trait ChainSource {
    /// Why it cannot.
    type Error: Error + Send + Sync + 'static;

    /// The next block; heights rise, and may leave some out.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn next_block(&mut self) -> Result<Option<RawBlock>, Self::Error>;

    /// Starts again at the first block: an import reads twice, first to verify and then to store.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn rewind(&mut self) -> Result<(), Self::Error>;

    /// How many blocks it has, as far as it knows.
    fn blocks(&self) -> u64;
}

/// Takes blocks back, as the chain's own software expects them.
pub trait ChainSink {
    /// Why it cannot.
    type Error: Error + Send + Sync + 'static;

    /// Takes the next block, which was verified; heights rise, and may leave some out.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put_block(&mut self, block: &RawBlock) -> Result<(), Self::Error>;

    /// Makes everything durable; nothing follows.
    ///
    /// # Errors
    /// When it cannot.
    fn finish(&mut self) -> Result<(), Self::Error>;
}

/// Why blocks could not be taken in, verified or given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The source cannot be read. Nothing of it was stored, unless it is while storing that it changed.
    #[error("{0}")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// A block of the source is not what it promises. Nothing of the source was stored.
    #[error("block {height}: {fault}")]
    Block {
        /// its height
        height: u64,
        /// what is wrong
        #[source]
        fault: Box<dyn Error + Send + Sync>,
    },
    /// A source whose heights do not rise: a mistake of the adapter, or two blocks of one height.
    #[error("block {height} comes after block {previous}: heights must rise")]
    NotRising {
        /// this block's height
        height: u64,
        /// the height of the one before
        previous: u64,
    },
    /// Two neighbours of the source do not link. Nothing of the source was stored.
    #[error("block {height} names {} as its parent, block {below} has hash {}", hex(.found), hex(.expected))]
    Unlinked {
        /// the upper block's height
        height: u64,
        /// the lower block's height
        below: u64,
        /// the lower block's hash
        expected: Hash,
        /// what the upper one says
        found: Hash,
    },
    /// Another block is stored at this height. Nothing of the source was stored.
    #[error("block {height} has hash {}, the stored one {}", hex(.found), hex(.stored))]
    Contradicts {
        /// the height
        height: u64,
        /// the stored block's hash
        stored: Hash,
        /// the hash of the source's
        found: Hash,
    },
    /// The source gave other bytes when it was read for the second time. What was stored of it is true.
    #[error("block {height} changed while it was being read: is somebody writing to it?")]
    Changed {
        /// the block's height
        height: u64,
    },
    /// A stored block is damaged.
    #[error("{table} {height}: {fault}")]
    Stored {
        /// the table, or the chain and network
        table: String,
        /// the block's height
        height: u64,
        /// what is wrong
        #[source]
        fault: Box<dyn Error + Send + Sync>,
    },
    /// A block that is asked for is not stored.
    #[error("{network}: block {height} is not stored{}", above(.next))]
    NotStored {
        /// chain and network
        network: String,
        /// the height
        height: u64,
        /// the next one that is
        next: Option<u64>,
    },
    /// The sink cannot take it.
    #[error("{0}")]
    Sink(#[source] Box<dyn Error + Send + Sync>),
    /// The store cannot read or write.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

fn above(next: &Option<u64>) -> String {
    next.map_or_else(String::new, |next| format!(" (the next one that is stored is {next})"))
}

/// A hash as text.
pub fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an import or export is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Stage {
    /// Verifying: nothing is stored yet.
    Verifying,
    /// Storing what was verified.
    Storing,
    /// Giving back.
    Exporting,
}

/// How far it is; each stage counts from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What it does.
    pub stage: Stage,
    /// Blocks done in this stage.
    pub blocks_done: u64,
    /// Blocks of this stage, as far as is known.
    pub blocks_total: u64,
    /// Bytes of blocks done in this stage.
    pub bytes_done: u64,
}

//! What can be wrong with Casper's history.

use crate::{
    block::{approvals::ApprovalsError, signatures::SignatureError},
    bytesrepr::ShapeError,
    lmdb::LmdbError,
};
use prunedb_chains::contract::{Hash, hex};
use std::{io, path::PathBuf};

/// What is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes that are not of the expected shape.
    #[error("{what}: {error}")]
    Shape {
        /// which row
        what: String,
        /// what is wrong with it
        error: ShapeError,
    },
    /// A hash that was computed is not the promised one.
    #[error("{what} is {}, expected {}", hex(.found), hex(.expected))]
    Hash {
        /// which hash
        what: &'static str,
        /// promised
        expected: Hash,
        /// computed
        found: Hash,
    },
    /// A block that names another height, era or version than it must.
    #[error("{what} is {found}, expected {expected}")]
    Number {
        /// which number
        what: &'static str,
        /// what it must be
        expected: u64,
        /// what it is
        found: u64,
    },
    /// A row that is not there.
    #[error("its {0} is missing")]
    Missing(&'static str),
    /// A row that belongs to another block, or is there twice.
    #[error("a row of {database} does not belong to it: key {}", hex_of(.key))]
    Foreign {
        /// the row's database
        database: &'static str,
        /// the row's key
        key: Vec<u8>,
    },
    /// A transaction of another network.
    #[error("transaction {} is for the network {found}, not for {expected}", hex(.transaction))]
    Network {
        /// its hash
        transaction: Hash,
        /// the network that is imported
        expected: String,
        /// the transaction's
        found: String,
    },
    /// Signatures of a block of another network.
    #[error("its signatures are for another network than {network}")]
    SignedNetwork {
        /// the network that is imported
        network: String,
    },
    /// A transaction that nobody approved.
    #[error("transaction {} has no approval", hex(.0))]
    NotApproved(Hash),
    /// A signature that does not hold.
    #[error("{what}: {error}")]
    Signature {
        /// whose
        what: String,
        /// why
        error: SignatureError,
    },
    /// The hashes of all approvals, against the state's root.
    #[error("approvals' hashes: {0}")]
    Approvals(#[from] ApprovalsError),
    /// The approvals of a transaction are not those that the block was finalized with.
    #[error("the approvals of transaction {} are not those that the state has", hex(.0))]
    OtherApprovals(Hash),
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a node's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CasperError {
    /// The file cannot be read, or is damaged.
    #[error("{}: {error}", file.display())]
    File {
        /// the file
        file: PathBuf,
        /// why
        #[source]
        error: LmdbError,
    },
    /// The system does not let us.
    #[error("{}: {error}", path.display())]
    Io {
        /// the file or folder
        path: PathBuf,
        /// why
        #[source]
        error: io::Error,
    },
    /// A node is running on it.
    #[error("{} is in use by a running node", file.display())]
    InUse {
        /// the file
        file: PathBuf,
    },
    /// A row that cannot be one.
    #[error("{}: {database} row {}: {error}", file.display(), hex_of(key))]
    Row {
        /// the file
        file: PathBuf,
        /// its database
        database: &'static str,
        /// its key
        key: Vec<u8>,
        /// what is wrong with it
        #[source]
        error: ShapeError,
    },
    /// Two blocks of one height.
    #[error("{}: two blocks have height {height}: {} and {}", file.display(), hex(first), hex(second))]
    TwoBlocks {
        /// the file
        file: PathBuf,
        /// the height
        height: u64,
        /// one block
        first: Hash,
        /// the other
        second: Hash,
    },
    /// A block that the node says it has whole, and has not.
    #[error("{}: block {height}: its {what} is missing, and the node's notes say that it is complete", file.display())]
    Incomplete {
        /// the file
        file: PathBuf,
        /// the height
        height: u64,
        /// what is missing
        what: &'static str,
    },
    /// Neither flag nor content says which network it is.
    #[error("{}: which network? It has no transaction that would tell", file.display())]
    NetworkUnknown {
        /// the file
        file: PathBuf,
    },
    /// A file of another network.
    #[error("{}: this is history of {found}, not of {expected}", file.display())]
    OtherNetwork {
        /// the file
        file: PathBuf,
        /// the network asked for
        expected: String,
        /// the file's
        found: String,
    },
    /// A name that cannot be a network's.
    #[error("`{0}` is no network: 1 to 64 letters, digits, `-`, `_` and `.`")]
    NetworkName(String),
    /// A block whose transactions are not archived.
    #[error("block {height} is archived without its transactions: it cannot be restored")]
    PartlyArchived {
        /// its height
        height: u64,
    },
    /// There is no block in it, or none in the range.
    #[error("{}: no block {}", file.display(), range(heights))]
    Empty {
        /// the file
        file: PathBuf,
        /// lowest and highest height asked for
        heights: (u64, u64),
    },
}

fn range(&(from, to): &(u64, u64)) -> String {
    if (from, to) == (0, u64::MAX) { "in it".into() } else { format!("from {from} to {to}") }
}

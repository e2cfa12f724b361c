//! What can be wrong with Zcash's blocks.

use crate::bitcoin;
use std::{io, path::PathBuf};

/// What is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes that are not of the expected shape: Zcash's serialization is Bitcoin's.
    #[error(transparent)]
    Shape(#[from] bitcoin::Fault),
    /// A part that is not there: a header says no height, so that it is not taken alone.
    #[error("its {0} is missing")]
    Missing(&'static str),
    /// A transaction of a version that is not known here.
    #[error("a transaction of version {version} in group {group:#010x}")]
    Version {
        /// its version
        version: u32,
        /// the group of the version
        group: u32,
    },
    /// The target is none, or easier than the network allows.
    #[error("bits {bits:#010x} are no target of {network}")]
    Target {
        /// as the header has them
        bits: u32,
        /// the network's name
        network: &'static str,
    },
    /// The hash is above the target.
    #[error("hash {hash} does not meet the target of bits {bits:#010x}")]
    Work {
        /// the header's
        hash: bitcoin::Hash,
        /// its target
        bits: u32,
    },
    /// The proof of work is none.
    #[error("the solution of its proof of work does not hold: {0}")]
    Solution(&'static str),
    /// The transactions are not those that the header promises.
    #[error("Merkle root {found}, expected {expected}")]
    Root {
        /// the header's
        expected: bitcoin::Hash,
        /// computed
        found: bitcoin::Hash,
    },
    /// Transactions that repeat, so that the root says nothing (CVE-2012-2459), or none.
    #[error("its transactions repeat, or there are none")]
    Mutated,
    /// Another height than it stands at.
    #[error("its coinbase says {found:?}, it stands at {expected}")]
    Height {
        /// where it stands
        expected: u64,
        /// what it says
        found: Option<u64>,
    },
}

/// Why a file of blocks cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system does not let us.
    #[error("{}: {error}", path.display())]
    Io {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        error: io::Error,
    },
    /// Bytes that are no frame of a block.
    #[error("{}: byte {offset}: {what}", path.display())]
    Frame {
        /// the file
        path: PathBuf,
        /// where
        offset: u64,
        /// what is there
        what: String,
    },
}

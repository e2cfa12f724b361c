//! Claims about a lake, each shown by doing it.
//!
//! ```text
//! Lab (nodes, writer, in a folder) -> one file for each point -> Proof: claims with their evidence, and figures
//! ```
//! Everything is what runs in production: node servers on loopback sockets and real disks, the engine and its repair. What
//! is read is compared with what was put, byte for byte. A claim that does not hold is part of the proof, not an error.

mod healing;
mod lab;
mod lost_nodes;
mod privacy;
mod proof;
mod readers;
mod size;
mod throughput;

pub use healing::healing;
pub use lost_nodes::lost_nodes;
pub use privacy::privacy;
pub use proof::{Claim, Figure, Proof};
pub use readers::readers;
pub use size::size;
pub use throughput::throughput;

use crate::LocalNodesError;
use prunedb_core::Policy;
use std::{io, path::PathBuf};

/// On what a point is shown.
#[derive(Debug, Clone)]
pub struct Setting {
    /// an empty folder
    pub dir: PathBuf,
    /// the lake's policy
    pub policy: Policy,
    /// storage nodes, at least one for each shard
    pub nodes: u16,
    /// bytes of values that are put
    pub data_bytes: u64,
}

/// What kept a point from being tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The database did not do what it was asked for.
    #[error(transparent)]
    Engine(#[from] prunedb_engine::Error),
    /// The nodes do not run.
    #[error(transparent)]
    Nodes(#[from] LocalNodesError),
    /// The folder, or the system's randomness.
    #[error("{what}")]
    Io {
        /// what was done
        what: &'static str,
        /// what the system said
        #[source]
        source: io::Error,
    },
    /// Containers stayed on this disk, so that nothing can be shown of the lake.
    #[error("not evicted: {0}")]
    Kept(String),
}

impl ProveError {
    fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

//! Which blocks a node in manual pruning mode may delete, and that they are safe here.
//!
//! ```text
//! plan       from the node's lowest block to the last one before a gap in the archive, and before what the node must keep
//! compare    every one of them: the node's hash at that height, its bytes read back and verified, its undo data
//! prune      pruneblockchain: the node deletes whole files of which no block is higher
//! ```
//! Where containers lie and how their shards are is the caller's to check: this knows the archive only as an [`Archive`].

use super::{
    error::BitcoinError,
    hash::{Hash, sha256d},
    network::Network,
    node::{ChainInfo, Node, NodeError, network_of, read, unexpected},
    query::{BlockId, History},
    verifier::BitcoinVerifier,
};
use crate::{
    archive::Archive,
    contract::{ChainError, Level, Progress, verify_range},
};
use std::{num::NonZeroUsize, ops::RangeInclusive};

/// Blocks below its tip that Core keeps whatever it is told, for reorganisations.
pub const KEEP_LEAST: u64 = 288;
/// Headers that are compared at once.
const PAGE: usize = 1000;

/// What may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PrunePlan {
    /// The node's network.
    pub network: Network,
    /// Its tip.
    pub tip: u64,
    /// Its lowest block.
    pub first: u64,
    /// The highest block that may go; `None`: nothing may.
    pub last: Option<u64>,
    /// The lowest block that is missing in the archive from `first` on.
    pub archived_below: u64,
}

/// Why nothing was pruned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The node does not answer, or refuses.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] BitcoinError),
    /// What is archived does not verify.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The node does not prune at all.
    #[error("the node was not started with -prune=1")]
    NotPruning,
    /// The node prunes whole files by itself when its disk is full, archived or not.
    #[error("the node prunes by itself, archived or not")]
    Automatic,
    /// The node has another chain than the archive.
    #[error("block {height} is {found} for the node, {archived} in the archive")]
    OtherBlock {
        /// the height
        height: u64,
        /// in the archive
        archived: Hash,
        /// the node's
        found: Hash,
    },
    /// Blocks without what they spend: the node's undo data goes with its blocks.
    #[error("block {height} has no undo data in the archive")]
    NoUndo {
        /// the lowest such block
        height: u64,
    },
    /// Fewer blocks were read back than there are.
    #[error("{found} blocks could be read back, expected {expected}")]
    Missing {
        /// of the plan
        expected: u64,
        /// read back
        found: u64,
    },
    /// Nobody waits for it any more.
    #[error("cancelled: nothing was pruned")]
    Cancelled,
}

impl PrunePlan {
    /// Looks what may go, if so many blocks are to stay, [`KEEP_LEAST`] at least.
    ///
    /// # Errors
    /// See [`PruneError`].
    pub fn new<A: Archive + ?Sized, N: Node + ?Sized>(
        archive: &A,
        node: &N,
        keep_last: u64,
    ) -> Result<Self, PruneError> {
        let info = ChainInfo::of(node)?;
        let network = network_of(node, &info)?;
        match (info.pruned, info.automatic_pruning) {
            (false, _) => return Err(PruneError::NotPruning),
            (true, Some(false)) => {}
            (true, _) => return Err(PruneError::Automatic),
        }
        let first = info.prune_height.unwrap_or(0);
        let archived_below = first_missing(&History::new(archive, network), first)?;
        let kept_from = info.blocks.saturating_sub(keep_last.max(KEEP_LEAST));
        let last = kept_from.min(archived_below).checked_sub(1).filter(|last| *last >= first);
        Ok(Self { network, tip: info.blocks, first, last, archived_below })
    }

    /// Blocks that may go.
    pub fn blocks(&self) -> u64 {
        self.last.map_or(0, |last| last - self.first + 1)
    }

    /// Compares all of them with the node's chain, reads them back and verifies them and their undo data. `progress`
    /// says whether to go on.
    ///
    /// # Errors
    /// See [`PruneError`].
    pub fn compare<A: Archive + Sync + ?Sized, N: Node + ?Sized>(
        &self,
        archive: &A,
        node: &N,
        threads: NonZeroUsize,
        progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<(), PruneError> {
        let Some(last) = self.last else { return Ok(()) };
        let history = History::new(archive, self.network);
        let mut from = self.first;
        while from <= last {
            let limit = usize::try_from(last - from + 1).unwrap_or(PAGE).min(PAGE);
            from += same_hashes(&history, node, from, limit)?;
        }
        let verifier = BitcoinVerifier::new(self.network);
        let mut cancelled = false;
        let mut go_on = |p: &Progress| {
            cancelled = !progress(p);
            !cancelled
        };
        let (heights, level) = (self.first..=last, Level::Roots);
        let report = verify_range(archive, &verifier, heights, level, threads, &mut go_on)?;
        if cancelled {
            return Err(PruneError::Cancelled);
        }
        let (expected, found) = (self.blocks(), report.blocks);
        if found != expected {
            return Err(PruneError::Missing { expected, found });
        }
        // the genesis has none
        if report.partial > u64::from(self.first == 0) {
            every_undo(&history, self.first.max(1)..=last)?;
        }
        Ok(())
    }

    /// Has the node delete the files of which no block is higher than the last one that may go; gives the node's lowest block
    /// then. To be called after [`Self::compare`].
    ///
    /// # Errors
    /// The node refuses.
    pub fn prune<N: Node + ?Sized>(&self, node: &N) -> Result<u64, PruneError> {
        const METHOD: &str = "pruneblockchain";
        if let Some(last) = self.last {
            let pruned = node.call(METHOD, format!("[{last}]"))?;
            let _: i64 = read(METHOD, &pruned)?;
        }
        Ok(ChainInfo::of(node)?.prune_height.unwrap_or(0))
    }
}

/// The lowest height without a block.
fn first_missing<A: Archive + ?Sized>(
    history: &History<'_, A>,
    from: u64,
) -> Result<u64, BitcoinError> {
    let mut next = from;
    loop {
        let headers = history.headers(next, PAGE)?.len();
        next += headers as u64;
        if headers < PAGE {
            return Ok(next);
        }
    }
}

/// Compares hashes; gives how many.
fn same_hashes<A: Archive + ?Sized, N: Node + ?Sized>(
    history: &History<'_, A>,
    node: &N,
    from: u64,
    limit: usize,
) -> Result<u64, PruneError> {
    const METHOD: &str = "getblockhash";
    let headers = history.headers(from, limit)?;
    let heights = from..from + headers.len() as u64;
    let calls: Vec<_> = heights.clone().map(|height| (METHOD, format!("[{height}]"))).collect();
    let hashes = node.calls(&calls)?;
    if headers.is_empty() || hashes.len() != headers.len() {
        let (expected, found) = (limit as u64, headers.len() as u64);
        return Err(PruneError::Missing { expected, found });
    }
    for ((height, header), hash) in heights.zip(&headers).zip(&hashes) {
        let found: &str = read(METHOD, hash)?;
        let found: Hash = found.parse().map_err(|error| unexpected(METHOD, error))?;
        let archived = sha256d(&[header]);
        if archived != found {
            return Err(PruneError::OtherBlock { height, archived, found });
        }
    }
    Ok(headers.len() as u64)
}

/// Looks for each block's undo data, also for what came before its block had a height.
fn every_undo<A: Archive + ?Sized>(
    history: &History<'_, A>,
    heights: RangeInclusive<u64>,
) -> Result<(), PruneError> {
    for height in heights {
        let block = history.block(BlockId::Height(height))?;
        let undo = block.as_ref().map(|block| history.undo(block)).transpose()?.flatten();
        let (Some(block), Some(undo)) = (block, undo) else {
            return Err(PruneError::NoUndo { height });
        };
        history.spent(&block, &undo)?;
    }
    Ok(())
}

//! The seam between the registry and whatever agrees on the order of its transactions.

use crate::{block::Finalized, journal::JournalError};
use prunedb_core::Digest;
use prunedb_registry::Key;
use tokio::sync::watch;

/// Takes transactions, and gives back one order of them.
///
/// Whoever applies the blocks reads them with [`Orderer::block`], from the height after that of its own state; a block may
/// be read again at any time, so that applying is "at least once" and a state that is ahead is impossible. Methods read
/// and write local files, and wait for nothing else.
pub trait Orderer: Send + Sync {
    /// Hands in a transaction. It comes in one of the next blocks, or was refused by the registry, or is lost with this
    /// process: the sender looks for its effect, and sends it again. Handing in the same bytes twice is no error.
    ///
    /// # Errors
    /// [`SubmitError`].
    fn submit(&self, tx: Vec<u8>) -> Result<(), SubmitError>;

    /// The last height that is final and durable here; changes with every block, ends when there will be none.
    fn heights(&self) -> watch::Receiver<u64>;

    /// The block of a height; `None` where it is not final yet.
    ///
    /// # Errors
    /// [`OrderError::Diverged`] where the block agrees on another root than [`Self::applied`] told; [`OrderError::Journal`],
    /// also for a block that was pruned.
    fn block(&self, height: u64) -> Result<Option<Finalized>, OrderError>;

    /// Tells the state after a height: its root, and the registry's validators in it, who vote from the next sitting
    /// on. Wanted for each height that [`crate::CHECKPOINT_HEIGHTS`] divides, others are ignored; without it blocks
    /// agree on no root, and those who vote come to an end.
    fn applied(&self, height: u64, root: Digest, validators: &[Key]);

    /// What made the block of a height final, for those who were not there; `None` where it is not final yet, empty
    /// where nobody signs.
    ///
    /// # Errors
    /// [`OrderError::Journal`].
    fn proof(&self, height: u64) -> Result<Option<Vec<u8>>, OrderError>;

    /// Drops blocks below a height that nobody will read any more: a snapshot of the state has them. What shares a
    /// file with later blocks stays a while.
    ///
    /// # Errors
    /// [`OrderError::Journal`].
    fn prune(&self, below: u64) -> Result<(), OrderError>;

    /// How it is.
    fn status(&self) -> Status;
}

/// How an [`Orderer`] is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// the last height that is final here
    pub height: u64,
    /// the first height that is kept
    pub first_height: u64,
    /// transactions that wait for a block
    pub waiting_txs: usize,
    /// their bytes
    pub waiting_bytes: usize,
    /// members that vote
    pub validators: usize,
    /// this one is among them
    pub votes: bool,
    /// why there are no more blocks
    pub failure: Option<String>,
}

/// A transaction that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Too many wait: send it again later.
    #[error("{txs} transactions ({bytes} bytes) wait for a block: send it again later")]
    Full {
        /// how many wait
        txs: usize,
        /// their bytes
        bytes: usize,
    },
    /// It would fit into no block.
    #[error("a transaction of {bytes} bytes: {bytes_max} at most")]
    Oversized {
        /// its length
        bytes: usize,
        /// the most that is taken
        bytes_max: usize,
    },
    /// There will be no more blocks.
    #[error("no more blocks are made: {reason}")]
    Stopped {
        /// why
        reason: String,
    },
}

/// Why a block is not to be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// The journal says so.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// This validator's state is another one than that of the others: it must not go on.
    #[error(
        "after height {height} the state has root {own} here, {agreed} was agreed on: this program or its data are damaged; \
         recover from a snapshot that has the agreed root"
    )]
    Diverged {
        /// after which height
        height: u64,
        /// the root here
        own: Digest,
        /// the root that was agreed on
        agreed: Digest,
    },
    /// There will be no more blocks.
    #[error("no more blocks come: {reason}")]
    Stopped {
        /// why
        reason: String,
    },
}

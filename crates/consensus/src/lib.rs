//! The order of the registry's transactions: the same blocks, in the same order, for every validator.
//!
//! ```text
//! submit(tx) ──> pool ──> block ──agreed──> journal ──block(height)──> State::advance, apply ──> root
//!                           ^                                                                     │
//!                           └────────────── checkpoint: root after an earlier height <── applied ─┘
//! ```
//! [`Orderer`] is the seam: [`Local`] is one process with a synced journal, `Simplex`, behind
//! the feature of that name, a vote among validators. What a transaction means is not known here; it
//! is bytes.
//!
//! Invariants: a block that was seen is never another one, nor gone after a crash; heights come one after another from
//! 1; a validator whose state has another root than the others agreed on reads no further; every queue has a bound.

mod block;
mod follow;
mod journal;
mod local;
mod orderer;
mod pool;
mod roots;
#[cfg(feature = "simplex")]
mod simplex;

pub use block::{BLOCK_BYTES_MAX, CHECKPOINT_HEIGHTS, Checkpoint, Finalized, SITTING_HEIGHTS};
pub use follow::Follower;
pub use journal::{JournalError, kept_blocks};
pub use local::{Local, LocalConfig};
pub use orderer::{OrderError, Orderer, Status, SubmitError};
#[cfg(feature = "simplex")]
pub use simplex::{Simplex, SimplexConfig, SimplexError, Start, StartError};

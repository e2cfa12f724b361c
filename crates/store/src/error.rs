//! What can go wrong at a store, grouped by what the caller should do.

use prunedb_core::{ShardId, Term};

/// A store's refusal or failure; `store` is its [`name`](crate::ShardStore::name).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No connection, or it broke: try another store, or later.
    #[error("{store}: unreachable: {reason}")]
    Unreachable {
        /// which store
        store: String,
        /// what the network said
        reason: String,
    },
    /// The store has no such shard: read it from others, rebuild it.
    #[error("{store}: has no shard {id}")]
    Absent {
        /// which store
        store: String,
        /// which shard
        id: ShardId,
    },
    /// The store's copy fails its checksum: read from others, replace it.
    #[error("{store}: shard {id} is damaged at byte {offset}")]
    Damaged {
        /// which store
        store: String,
        /// which shard
        id: ShardId,
        /// first byte of the block that fails
        offset: u64,
    },
    /// A newer writer exists: stop writing.
    #[error("{store}: term {term} is fenced off, the store has seen term {seen}")]
    Fenced {
        /// which store
        store: String,
        /// the caller's term
        term: Term,
        /// the highest term seen
        seen: Term,
    },
    /// Another shard is stored under this id: two writers, or an id used twice.
    #[error("{store}: holds another shard under {id}")]
    Conflict {
        /// which store
        store: String,
        /// which shard
        id: ShardId,
    },
    /// No room: free some, or choose another store.
    #[error("{store}: is full ({free_bytes} bytes free)")]
    Full {
        /// which store
        store: String,
        /// bytes that are free
        free_bytes: u64,
    },
    /// A range past the shard's end.
    #[error("{store}: bytes {offset}+{bytes} are outside of shard {id}")]
    Range {
        /// which store
        store: String,
        /// which shard
        id: ShardId,
        /// first byte asked for
        offset: u64,
        /// bytes asked for
        bytes: u64,
    },
    /// The store is closed to this client, or for this: show another capability.
    #[error("{store}: denied: {reason}")]
    Denied {
        /// which store
        store: String,
        /// its words
        reason: String,
    },
    /// The store refused, or broke the protocol; `reason` in its words.
    #[error("{store}: {reason}")]
    Rejected {
        /// which store
        store: String,
        /// its words
        reason: String,
    },
}

impl StoreError {
    /// Whether the node refuses a shard because its own machine makes it: it is not lost, and not to be sent.
    pub fn is_reserved(&self) -> bool {
        matches!(self, Self::Denied { reason, .. } if reason.starts_with("reserved "))
    }

    /// Whether the store itself cannot be reached, as against an answer that says no.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

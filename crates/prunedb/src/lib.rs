//! PruneDB as a library: the Prune DB's public interface.
//!
//! See [`Db`]. Everything here is synchronous; the lake's nodes are reached over a tokio runtime that the caller owns.

pub use prunedb_engine::*;

//! The storage node: append-only segments behind RESP over TCP.
//!
//! [`Node`] is the synchronous core over a [`Disk`](prunedb_disk::Disk): it can be driven by any thread, and by tests
//! without a network. [`NodeServer`] is a thin tokio driver around it.
//!
//! ```text
//! TCP, unix socket -> RESP -> PDB.* -> Node -> segments/00000000.seg   shards
//!                         |                 -> index/, snapshot        where each shard is, made anew from the segments if need be
//!                         |                 -> lakes/fence-<lake>      highest term seen
//!                         |                 -> lakes/head-<lake>       newest head
//!                         \-> 0-db  -> zdb  -> zdb/                   namespaces of keys and values
//! ```
//! Invariants: an answered commit, delete, fence or head survives a crash; bytes that fail their checksum are never
//! returned; no damage keeps a node from starting; one process per folder.
//!
//! The bytes are specified in `docs/format/node-segment.md` and `node-index.md`, the commands in `docs/format/node-protocol.md`.

mod append;
mod block;
mod changes;
mod checkpoint;
mod config;
mod connection;
mod core;
mod door;
mod error;
mod generated;
mod group_sync;
mod index;
mod lakes;
mod layout;
mod load;
mod lookup;
mod metrics;
mod native;
mod recover;
mod reserve;
mod scrub;
mod segment;
mod server;
mod snapshot;
mod start;
mod state;
mod upload;
mod zdb;

pub use config::NodeConfig;
pub use core::{Node, ShardInfo, Space};
pub use error::{NodeError, OpenError};
pub use generated::GeneratedIndex;
pub use lakes::Head;
pub use layout::SHARD_BYTES_MAX;
pub use prunedb_wire::PutMode;
pub use recover::{Damage, OpenReport};
pub use reserve::Reserve;
pub use scrub::ScrubStatus;
pub use server::{NodeServer, ServeError};
pub use upload::Upload;
pub use zdb::{AdminPassword, Mode, ZdbConfig};

//! The 0-db side of a node: namespaces of keys and values behind the 0-db command set.
//!
//! ```text
//! requests -> Session -> commands -> Store -> Namespace -> value logs    zdb/00000000-00000000.log
//!                  \-> Feed (WAIT, MIRROR), Hooks                         zdb/00000000.settings
//! ```
//! [`session::Session`] is the door: it takes batches of requests and gives bytes, without a network. The driver in
//! `connection` does what waits: sockets, memory, time.
//!
//! Invariants: what is answered is durable (unless the node runs without syncs); a value that fails its check never
//! leaves; a delete or a smaller value gives its space back; passwords are never stored in clear, and never logged.
//! In memory: up to 40 bytes per key, at most [`ZdbConfig::keys_max`] keys.
//!
//! The bytes are specified in `docs/format/value-log.md`, the commands in `docs/format/zdb-protocol.md`.

mod budget;
mod commands;
mod compact;
mod counters;
mod error;
mod feed;
mod hook;
mod index;
mod layout;
mod load;
mod log;
mod namespace;
mod password;
pub(crate) mod session;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod walk;
mod write;

pub(crate) use commands::Next;
pub(crate) use counters::{Count, Counters};
pub(crate) use feed::Feed;
pub(crate) use hook::{Event, Hooks};
pub use settings::Mode;
pub(crate) use store::Store;
pub use store::{AdminPassword, ZdbConfig};

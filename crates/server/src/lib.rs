//! The Prune DB for redis clients of any language: RESP over TCP.
//!
//! ```text
//! bytes -> RequestDecoder / take_inline -> Command -> Door (Db) -> replies -> bytes
//!          connection: limits, order       pure       blocking threads
//! ```
//! [`Server`] is the driver, with all of the network; `command` says what a request means, without I/O; `door` runs
//! commands over the [`Db`](prunedb_engine::Db), synchronously, on a bounded number of blocking threads.
//!
//! Invariants:
//! - a `SET` is answered when it is durable; those that came together share one fdatasync;
//! - replies come in the order of the requests, and a read sees every write in front of it on its connection;
//! - what a client can make the server hold in memory is bounded: per request, per connection, and in all;
//! - nothing is ever changed or deleted: commands that would are refused.
//!
//! `docs/resp.md` is the list of commands for users.

mod answer;
mod client;
mod command;
mod config;
mod connection;
mod door;
mod glob;
mod info;
mod server;
mod stats;

pub use config::ServerConfig;
pub use server::{ServeError, Server};

//! The marketplace over real sockets and disks.

#![expect(clippy::unwrap_used, reason = "tests: their helpers, too")]

mod adversaries;
mod path;
mod world;

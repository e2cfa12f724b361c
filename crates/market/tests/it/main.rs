//! The marketplace over real sockets and disks.

#![expect(clippy::unwrap_used, reason = "tests: their helpers, too")]

mod adversaries;
#[cfg(feature = "iroh")]
mod hole;
mod lost;
mod path;
mod world;

//! The node as its users see it: its core on a disk with faults, and over real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod closed;
mod faults;
mod golden;
mod model;
mod recovery;
mod scrub;
mod snapshot;
mod support;
mod tcp;
mod threads;
mod zdb;

//! The server as its clients see it, over TCP on loopback.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod commands;
mod hostile;
mod puts;
mod support;

//! The proxy between clients and nodes that do not keep to the rules, over real sockets.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod clients;
mod common;
mod dialects;
mod nodes;
mod tls;

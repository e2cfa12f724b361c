//! Casper's history, with the corpus of real files where it is there.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod common;
mod conformance;
mod corpus;
mod pruned;

//! The chain's own block store on files that were restored, and over files that were pruned.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod common;
mod of_1_x;
mod pruned;
mod restored;

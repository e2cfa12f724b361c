//! A validator with a journal, asked over its door.

#![expect(clippy::unwrap_used, reason = "tests: their helpers, too")]

mod catch_up;
mod closing;
mod door;
mod world;

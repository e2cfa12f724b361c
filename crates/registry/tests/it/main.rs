//! The registry as its users see it: blocks of transactions in, events and roots out.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod bad_input;
mod disputes;
mod golden;
mod life;
mod market;
mod model;
mod money;
mod world;

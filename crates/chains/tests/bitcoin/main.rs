//! Bitcoin's block files into an archive and back, whole ones and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod blocks;
mod common;
mod conformance;
mod corpus;
mod p2p;
mod recorded;
mod round_trip;
mod synthetic;

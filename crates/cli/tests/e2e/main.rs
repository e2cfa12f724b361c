//! The built binary, command by command, as its users run it.
//!
//! Everything runs in temporary folders and on loopback. Tests with real history need `PRUNEDB_CORPUS`, and say so where
//! it is not set.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod access;
mod anvil;
mod bad_input;
mod bitcoin;
mod bitcoin_node;
mod bitcoind;
mod casper;
mod casper_follow;
mod common;
mod config;
mod corpus;
mod crash;
mod damage;
mod demo;
mod era;
mod ethereum;
mod full_disk;
mod help;
mod kv;
mod market;
mod never_null;
mod nodes;
mod plan;
mod prove;
mod readers;
mod registry;
mod resp;
mod up;
mod validators;

//! Ethereum history through the public interface, with made-up chains; real ones are in `corpus.rs`.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]
#![expect(clippy::cast_possible_truncation, reason = "small numbers of test files")]

mod bad_input;
mod common;
mod conformance;
mod corpus;
mod ere;
mod follow;
mod link;
mod query;
mod round_trip;
mod rpc;

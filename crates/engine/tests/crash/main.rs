//! The machine dies at any step, and comes up again: nothing acknowledged is lost, nothing is invented, work goes on.
//!
//! `steps` ends one fixed life at each of its operations; `fuzz` lives random lives on disks that fail, seed by seed;
//! `together` has several writers; `refused` is about disks and files that cannot be used; `found` is what
//! the fuzzer found.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod found;
mod fuzz;
mod model;
mod refused;
mod steps;
mod together;

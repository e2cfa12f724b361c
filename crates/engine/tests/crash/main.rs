//! The machine dies at any step, and comes up again: nothing acknowledged is lost, nothing is invented, work goes on.
//!
//! `steps` ends one fixed life at each of its operations; `fuzz` lives random lives on disks that fail, seed by seed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod fuzz;
mod model;
mod steps;

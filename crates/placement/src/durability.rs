//! How likely a lake loses data, how fast it must be repaired, and what is recommended.
//!
//! Figures for people, in floating point: nothing here is agreed on by nodes. Formulas and assumptions are in
//! `docs/durability.md`; the chain is checked against a simulation of single nodes in the tests.

mod advice;
mod chain;
mod plan;
mod readable;
#[cfg(test)]
mod tests;

pub use advice::{Advice, advise};
pub use chain::Chain;
pub use plan::{Domains, Figures, Lake, PlanError, Refusal};
pub use readable::{loss_by_chance, unreadable};

/// Hours of a year.
pub const YEAR_HOURS: f64 = 8766.0;

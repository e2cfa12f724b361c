//! What was shown.

use serde::Serialize;

/// A point, and whether it holds.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// which point
    pub point: &'static str,
    /// on what it was shown
    pub setting: String,
    /// what is claimed, each with its evidence
    pub claims: Vec<Claim>,
    /// what was measured on the way
    pub figures: Vec<Figure>,
}

/// One claim.
#[derive(Debug, Clone, Serialize)]
pub struct Claim {
    /// what is said to be so
    pub claim: String,
    /// what was seen
    pub evidence: String,
    /// whether that shows it
    pub holds: bool,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// what was measured
    pub what: String,
    /// how much
    pub value: f64,
    /// of what
    pub unit: &'static str,
}

impl Proof {
    pub(super) fn new(point: &'static str, setting: String) -> Self {
        Self { point, setting, claims: Vec::new(), figures: Vec::new() }
    }

    pub(super) fn claim(&mut self, claim: impl Into<String>, evidence: String, holds: bool) {
        self.claims.push(Claim { claim: claim.into(), evidence, holds });
    }

    pub(super) fn figure(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { what: what.into(), value, unit });
    }

    /// Whether every claim holds.
    pub fn holds(&self) -> bool {
        self.claims.iter().all(|claim| claim.holds)
    }
}

//! Whether another heavy node really checked what it says: a part of all checks is repeated, and what it committed to is
//! asked for.
//!
//! Which cells a heavy node repeats follows from the epoch's seed and its own number: nobody knows beforehand, and the
//! heavy node that is looked at does not choose.

use crate::checks::{CheckError, CheckedCell, Evidence, cell_seed, verify};
use prunedb_core::Digest;
use prunedb_registry::NodeId;

/// Whether a heavy node repeats the check of a cell in an epoch; `part_ppm`: of a million.
pub fn repeats(seed: &[u8; 32], me: NodeId, cell: u64, part_ppm: u32) -> bool {
    let input = [&seed[..], &me.0.to_le_bytes(), &cell.to_le_bytes()].concat();
    let hash = blake3::derive_key("prunedb v1 market repeat", &input);
    let drawn = u32::from_le_bytes(*hash.first_chunk().expect("4 of 32 bytes"));
    (u64::from(drawn) * 1_000_000) >> 32 < u64::from(part_ppm)
}

/// What is wrong with a heavy node's report of a cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// It had the cell paid as proven and shows no answer.
    #[error("paid as proven, and no answer is shown")]
    Withheld,
    /// What it shows is not under the root that it committed to.
    #[error("the answer that is shown is not under the root in the registry")]
    NotCommitted,
    /// It had the cell paid and committed to there being no answer.
    #[error("paid as proven, though the holder had not answered")]
    Unproven,
    /// The answer that it took proves nothing.
    #[error("the answer that was taken is wrong: {0}")]
    Wrong(CheckError),
    /// The same holder did not prove to this heavy node. No proof against anybody: the cell may have been lost between.
    #[error("proven there; repeated here, the holder does not prove")]
    Contradicted,
    /// The holder proved here, and was not paid.
    #[error("repeated here, the holder proves; there it was reported as not proven")]
    Denied,
}

/// What a heavy node did with a cell in an epoch, as others see it.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// the cell
    pub cell: &'a CheckedCell,
    /// its number
    pub number: u64,
    /// the seed of the epoch
    pub epoch_seed: &'a [u8; 32],
    /// samples that are shown in a check
    pub samples: u16,
    /// the root of the answers, in the registry
    pub answers_root: &'a Digest,
    /// the registry counted the epoch as proven
    pub is_paid: bool,
    /// what the heavy node shows
    pub evidence: Option<&'a Evidence>,
}

/// Looks at a report; `repeated`: whether the holder proved to us.
///
/// # Errors
/// [`Finding`].
pub fn judge(report: &Report<'_>, repeated: bool) -> Result<(), Finding> {
    if !report.is_paid {
        return if repeated { Err(Finding::Denied) } else { Ok(()) };
    }
    let evidence = report.evidence.ok_or(Finding::Withheld)?;
    if evidence.cell != report.number || !evidence.is_under(report.answers_root) {
        return Err(Finding::NotCommitted);
    }
    if evidence.shown.is_empty() {
        return Err(Finding::Unproven);
    }
    let seed = cell_seed(report.epoch_seed, report.number);
    verify(report.cell, &seed, report.samples, &evidence.shown).map_err(Finding::Wrong)?;
    if repeated { Ok(()) } else { Err(Finding::Contradicted) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks::{
            Asked, Checks, Closed,
            tests::{content, show},
        },
        children::Presence,
        message::Shown,
    };
    use std::collections::BTreeSet;

    const SEED: [u8; 32] = [3; 32];

    fn closed(shown: Option<Vec<Shown>>) -> Closed {
        let mut checks = Checks::new(4, SEED, 3);
        checks.due([7, 8], 2);
        if let Some(shown) = shown {
            checks.answered(7, Asked::Proven(shown));
        }
        checks.close(&BTreeSet::from([7, 8]), &Presence::default())
    }

    #[test]
    fn a_heavy_node_that_says_it_checked_is_caught() {
        let (content, cell) = content(1, 64 * 1024);
        let right = show(&content, &cell_seed(&SEED, 7), 3);
        let honest = closed(Some(right.clone()));
        let judged = |closed: &Closed, root: Digest, is_paid, evidence: bool, repeated| {
            let evidence = closed.evidence(7).filter(|_| evidence);
            let report = Report {
                cell: &cell,
                number: 7,
                epoch_seed: &SEED,
                samples: 3,
                answers_root: &root,
                is_paid,
                evidence: evidence.as_ref(),
            };
            judge(&report, repeated)
        };
        let root = honest.root();
        assert_eq!(judged(&honest, root, true, true, true), Ok(()));
        assert_eq!(judged(&honest, root, true, true, false), Err(Finding::Contradicted));
        assert_eq!(judged(&honest, root, false, true, true), Err(Finding::Denied));
        assert_eq!(judged(&honest, root, true, false, true), Err(Finding::Withheld));
        let other = Digest([1; 32]);
        assert_eq!(judged(&honest, other, true, true, true), Err(Finding::NotCommitted));
        // it never asked, and has itself paid
        let lazy = closed(None);
        assert_eq!(judged(&lazy, lazy.root(), true, true, false), Err(Finding::Unproven));
        assert_eq!(judged(&lazy, lazy.root(), false, false, false), Ok(()));
        // it shows the answers of an earlier epoch
        let stale = closed(Some(show(&content, &cell_seed(&[4; 32], 7), 3)));
        let found = judged(&stale, stale.root(), true, true, true);
        assert!(matches!(found, Err(Finding::Wrong(CheckError::Sample { .. }))), "{found:?}");
        let other = honest.evidence(8);
        let report = Report {
            cell: &cell,
            number: 7,
            epoch_seed: &SEED,
            samples: 3,
            answers_root: &root,
            is_paid: true,
            evidence: other.as_ref(),
        };
        assert_eq!(judge(&report, true), Err(Finding::NotCommitted), "another cell's answer");
    }

    #[test]
    fn about_as_many_are_repeated_as_are_asked_for() {
        let count =
            |part| (0..10_000).filter(|&cell| repeats(&SEED, NodeId(1), cell, part)).count();
        assert_eq!((count(0), count(1_000_000)), (0, 10_000));
        // 100 expected; six sigma are 60
        assert!(count(10_000).abs_diff(100) < 60, "{}", count(10_000));
        let mine: Vec<u64> =
            (0..1_000).filter(|&c| repeats(&SEED, NodeId(1), c, 100_000)).collect();
        let theirs: Vec<u64> =
            (0..1_000).filter(|&c| repeats(&SEED, NodeId(2), c, 100_000)).collect();
        assert_ne!(mine, theirs);
    }
}

//! Whether holders still have their cells: what is asked in an epoch, what counts as an answer, what is committed to.
//!
//! ```text
//! epoch's seed ──> a seed for each cell ──> places of samples ──> the holder's samples, checked against the cell's root
//! answers root = Merkle root of: presence of the children, then one leaf for each cell, by rising number; no samples: it did not prove
//! ```
//! The registry has the root and one bit for each cell; everything else stays with the heavy node, which shows any leaf to
//! whoever asks ([`Closed::evidence`]).
//!
//! Cost: a cell is read and hashed once for all samples of an epoch, at its holder; an answer of 8 samples of a 256 MB cell
//! is about 13 KB, kept for some epochs.

use crate::{
    children::Presence,
    message::{SAMPLES_MAX, Shown},
};
use prunedb_core::Digest;
use prunedb_proof::merkle;
use prunedb_registry::{
    NodeId, answer_leaf,
    canonical::{Canonical, FormatError, Reader},
    cell_places, verify_cell,
};
use std::collections::{BTreeMap, BTreeSet};

/// The rules of checking are the registry's, which judges by them where a report is disputed.
pub use prunedb_registry::{CELL_SAMPLES as CHECK_SAMPLES, CheckError, Evidence, cell_seed};

/// How often a holder that is silent is asked in an epoch.
const ATTEMPTS: u8 = 3;

/// What the registry says of a cell that is to be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckedCell {
    /// who holds it
    pub holder: NodeId,
    /// what is in it
    pub root: Digest,
    /// its size
    pub bytes: u64,
}

/// The samples to show of a cell of so many bytes.
pub fn places(seed: &[u8; 32], bytes: u64, samples: u16) -> Vec<u64> {
    cell_places(seed, bytes, samples.min(SAMPLES_MAX))
}

/// Whether a holder has shown what it had to.
///
/// # Errors
/// [`CheckError`].
pub fn verify(
    cell: &CheckedCell,
    seed: &[u8; 32],
    samples: u16,
    shown: &[Shown],
) -> Result<(), CheckError> {
    verify_cell((&cell.root, cell.bytes), seed, samples, shown)
}

/// How far a cell's check is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Check {
    /// asked so often, and being asked now or not
    Open {
        attempts: u8,
        is_asked: bool,
    },
    Proven(Vec<Shown>),
    Failed,
}

/// The checks of one epoch.
#[derive(Clone, Debug)]
pub struct Checks {
    epoch: u32,
    seed: [u8; 32],
    samples: u16,
    cells: BTreeMap<u64, Check>,
}

/// What came of asking a holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// it showed these samples, which were checked
    Proven(Vec<Shown>),
    /// it did not answer, or is not there: it is asked again
    Silent,
    /// it does not have the cell, or what it showed is wrong
    Failed,
}

impl Checks {
    /// Those of an epoch whose seed is known.
    pub fn new(epoch: u32, seed: [u8; 32], samples: u16) -> Self {
        let samples = samples.clamp(1, SAMPLES_MAX);
        Self { epoch, seed, samples, cells: BTreeMap::new() }
    }

    /// Which epoch.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Its seed.
    pub const fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// How many samples each holder shows.
    pub const fn samples(&self) -> u16 {
        self.samples
    }

    /// The cells of these that are to be asked now, `most` of them; each counts as asked from now on.
    pub fn due(&mut self, cells: impl IntoIterator<Item = u64>, most: usize) -> Vec<u64> {
        let mut due = Vec::new();
        for cell in cells {
            if due.len() == most {
                break;
            }
            let check =
                self.cells.entry(cell).or_insert(Check::Open { attempts: 0, is_asked: false });
            if let Check::Open { attempts, is_asked } = check
                && !*is_asked
                && *attempts < ATTEMPTS
            {
                (*attempts, *is_asked) = (*attempts + 1, true);
                due.push(cell);
            }
        }
        due
    }

    /// What came of it.
    pub fn answered(&mut self, cell: u64, asked: Asked) {
        let Some(check) = self.cells.get_mut(&cell) else { return };
        if let Check::Open { is_asked, .. } = check {
            match asked {
                Asked::Proven(shown) => *check = Check::Proven(shown),
                Asked::Silent => *is_asked = false,
                Asked::Failed => *check = Check::Failed,
            }
        }
    }

    /// Whether holders are being asked.
    pub fn is_asking(&self) -> bool {
        self.cells.values().any(|c| matches!(c, Check::Open { is_asked: true, .. }))
    }

    /// The epoch is over. `cells`: those that the registry has this heavy node check, by rising number.
    pub fn close(&self, cells: &BTreeSet<u64>, presence: &Presence) -> Closed {
        let shown = |cell| match self.cells.get(cell) {
            Some(Check::Proven(shown)) => shown.clone(),
            _ => Vec::new(),
        };
        let answers = cells.iter().map(|cell| (*cell, shown(cell))).collect();
        Closed::new(self.epoch, presence.digest(), answers)
    }
}

/// An epoch that is over: what is reported, and what is kept to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    /// which epoch
    pub epoch: u32,
    /// a bit for each cell, low bits first
    pub proven: Vec<u8>,
    leaves: Vec<Digest>,
    answers: BTreeMap<u64, Vec<Shown>>,
}

impl Canonical for Closed {
    fn put(&self, out: &mut Vec<u8>) {
        self.epoch.put(out);
        self.leaves[0].put(out);
        self.answers.put(out);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self::new(Canonical::get(from)?, Canonical::get(from)?, Canonical::get(from)?))
    }
}

impl Closed {
    /// `presence`: the digest of who gave a sign; an answer without samples: the cell did not prove.
    fn new(epoch: u32, presence: Digest, answers: BTreeMap<u64, Vec<Shown>>) -> Self {
        let mut proven = vec![0; answers.len().div_ceil(8)];
        let mut leaves = vec![presence];
        for (position, (&cell, shown)) in answers.iter().enumerate() {
            proven[position / 8] |= u8::from(!shown.is_empty()) << (position % 8);
            leaves.push(answer_leaf(epoch, cell, shown));
        }
        Self { epoch, proven, leaves, answers }
    }

    /// What the registry gets.
    pub fn root(&self) -> Digest {
        merkle::root(&self.leaves).expect("presence is a leaf")
    }

    /// Shows what it says of a cell.
    pub fn evidence(&self, cell: u64) -> Option<Evidence> {
        let shown = self.answers.get(&cell)?.clone();
        let position = self.answers.keys().position(|&c| c == cell)? + 1;
        let path = merkle::path(&self.leaves, position).expect("there is such a leaf");
        let number = |n: usize| u32::try_from(n).expect("bounded by the registry's cells");
        let (leaves, position) = (number(self.leaves.len()), number(position));
        Some(Evidence { epoch: self.epoch, cell, shown, leaves, position, path })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use prunedb_proof::prove_sample;

    pub(crate) fn content(number: u8, bytes: usize) -> (Vec<u8>, CheckedCell) {
        let mut content = vec![0; bytes];
        blake3::Hasher::new().update(&[number]).finalize_xof().fill(&mut content);
        let root = Digest(*blake3::hash(&content).as_bytes());
        let cell = CheckedCell { holder: NodeId(number.into()), root, bytes: bytes as u64 };
        (content, cell)
    }

    pub(crate) fn show(content: &[u8], seed: &[u8; 32], samples: u16) -> Vec<Shown> {
        let places = places(seed, content.len() as u64, samples);
        places.into_iter().map(|p| prove_sample(content, p).unwrap().into()).collect()
    }

    #[test]
    fn who_has_the_cell_proves_and_nobody_else() {
        let (content, cell) = content(1, 40 * 1024);
        let seed = cell_seed(&[9; 32], 7);
        let shown = show(&content, &seed, 5);
        assert_eq!(verify(&cell, &seed, 5, &shown), Ok(()));
        let wrong = verify(&cell, &cell_seed(&[9; 32], 8), 5, &shown);
        assert!(matches!(wrong, Err(CheckError::Sample { .. })), "another cell's seed: {wrong:?}");
        assert_eq!(
            verify(&cell, &seed, 5, &shown[1..]),
            Err(CheckError::Count { expected: 5, found: 4 })
        );
        assert_eq!(verify(&cell, &seed, 0, &[]), Err(CheckError::Count { expected: 0, found: 0 }));
        let (other, _) = super::tests::content(2, 40 * 1024);
        let wrong = verify(&cell, &seed, 5, &show(&other, &seed, 5));
        assert!(matches!(wrong, Err(CheckError::Sample { position: 0, .. })), "{wrong:?}");
    }

    #[test]
    fn an_epoch_asks_each_once_the_silent_again_and_commits_to_what_came() {
        let mut checks = Checks::new(4, [1; 32], 3);
        let cells = BTreeSet::from([2, 5, 9]);
        assert_eq!(checks.due(cells.iter().copied(), 9), [2, 5, 9]);
        assert!(checks.due(cells.iter().copied(), 9).is_empty(), "they are being asked");
        let (content, cell) = content(1, 8 * 1024);
        let seed = cell_seed(&[1; 32], 2);
        let shown = show(&content, &seed, 3);
        checks.answered(2, Asked::Proven(shown.clone()));
        checks.answered(5, Asked::Failed);
        checks.answered(5, Asked::Proven(shown.clone()));
        for _ in 1..ATTEMPTS {
            checks.answered(9, Asked::Silent);
            assert_eq!(checks.due(cells.iter().copied(), 9), [9]);
        }
        checks.answered(9, Asked::Silent);
        assert!(checks.due(cells.iter().copied(), 9).is_empty(), "asked often enough");
        assert!(!checks.is_asking());
        // more cells than are asked at once: all of them have their turn
        let mut many = Checks::new(4, [1; 32], 3);
        let asked: Vec<u64> = (0..5).flat_map(|_| many.due(0..10, 3)).collect();
        assert_eq!(asked, (0..10).collect::<Vec<u64>>());
        let closed = checks.close(&cells, &Presence::default());
        assert_eq!(closed.proven, [0b001]);
        let evidence = closed.evidence(2).unwrap();
        assert!(evidence.is_under(&closed.root()));
        assert_eq!(verify(&cell, &seed, 3, &evidence.shown), Ok(()));
        assert!(closed.evidence(5).unwrap().shown.is_empty() && closed.evidence(3).is_none());
        for change in [
            |e: &mut Evidence| e.cell = 5,
            |e: &mut Evidence| e.epoch = 5,
            |e: &mut Evidence| e.shown[0].sample[0] ^= 1,
            |e: &mut Evidence| e.position = 2,
            |e: &mut Evidence| e.leaves = u32::MAX,
            |e: &mut Evidence| e.path.clear(),
        ] {
            let mut other = evidence.clone();
            change(&mut other);
            assert!(!other.is_under(&closed.root()), "{:?}", (other.cell, other.epoch));
        }
        assert_eq!(Closed::from_bytes("answers", &closed.to_bytes()), Ok(closed));
        // a cell that came after the checks is not proven, and one that ended is not there
        let closed = checks.close(&BTreeSet::from([5, 9, 10]), &Presence::default());
        assert_eq!(closed.proven, [0]);
    }
}

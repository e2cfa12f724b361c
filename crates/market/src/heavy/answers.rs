//! The answers of the last epochs, on disk: whoever sees a root in the registry may ask for what is under it, also when the
//! heavy node died in between.
//!
//! `answers/EPOCH-ROOT.answers` is one epoch; what is in it makes the root that is in its name (`docs/format/market-protocol.md`).
//!
//! Invariants: a file is durable before its root is sent; a report that was made anew leaves the one before where it is, until
//! the registry says which one it took. Bounds: [`EPOCHS_KEPT`] epochs, [`MADE_MAX`] files each, [`FILE_BYTES_MAX`] bytes a file.

use super::lock;
use crate::checks::Closed;
use prunedb_core::Digest;
use prunedb_disk::{Disk, create_dir_durable, read_all, write_atomic};
use prunedb_registry::canonical::Canonical;
use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Epochs whose answers are kept: those that may be disputed, and whose answers may be demanded for an epoch's time after that.
const EPOCHS_KEPT: usize = 4;
/// Reports of one epoch that are kept until the registry has one of them.
const MADE_MAX: usize = 8;
/// Longest file: some 75,000 cells.
const FILE_BYTES_MAX: usize = 1 << 30;
/// The first bytes of a file.
const MAGIC: &[u8; 8] = b"PDBANSW\x01";

/// The answers.
pub(super) struct Answers {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// by rising epoch, in the order in which they were made
    kept: Mutex<Vec<Arc<Closed>>>,
}

fn name(closed: &Closed) -> String {
    format!("{}-{}.answers", closed.epoch, closed.root())
}

fn encode(closed: &Closed) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    closed.put(&mut bytes);
    bytes
}

/// The answers in a file, if they make the root in its name.
fn decode(file: &str, bytes: &[u8]) -> io::Result<Closed> {
    let damaged = |why: String| io::Error::new(ErrorKind::InvalidData, why);
    let body =
        bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("no answers of version 1".into()))?;
    let closed = Closed::from_bytes("answers", body).map_err(|e| damaged(e.to_string()))?;
    if name(&closed) == file { Ok(closed) } else { Err(damaged("they make another root".into())) }
}

/// The epoch in a file's name.
fn epoch_of(file: &str) -> Option<u32> {
    file.strip_suffix(".answers")?.split_once('-')?.0.parse().ok()
}

/// The oldest epoch that is kept, of some.
fn oldest_kept(epochs: impl Iterator<Item = u32>) -> u32 {
    let epochs: BTreeSet<u32> = epochs.collect();
    epochs.into_iter().rev().nth(EPOCHS_KEPT - 1).unwrap_or(0)
}

impl Answers {
    /// Those of a heavy node's folder. What is damaged is told and left where it is: nobody can be shown it.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn open(disk: Arc<dyn Disk>, folder: &Path) -> io::Result<Self> {
        let dir = folder.join("answers");
        create_dir_durable(&*disk, &dir)?;
        let mut files: Vec<(u32, String)> = disk
            .list(&dir)?
            .into_iter()
            .filter_map(|file| Some((epoch_of(&file)?, file)))
            .collect();
        files.sort_unstable();
        let oldest = oldest_kept(files.iter().map(|(epoch, _)| *epoch));
        let mut kept = Vec::new();
        for (epoch, file) in files {
            let path = dir.join(&file);
            if epoch < oldest {
                disk.remove(&path)?;
                continue;
            }
            match read_all(&*disk, &path, FILE_BYTES_MAX).and_then(|bytes| decode(&file, &bytes)) {
                Ok(closed) => kept.push(Arc::new(closed)),
                Err(error) => tracing::error!(
                    %error,
                    path = %path.display(),
                    "answers are damaged: who asks for them is told that there are none"
                ),
            }
        }
        Ok(Self { disk, dir, kept: Mutex::new(kept) })
    }

    /// Keeps an epoch's answers; afterwards they are durable.
    ///
    /// # Errors
    /// Those of the disk: then their root is not to be sent.
    pub(super) fn keep(&self, closed: Closed) -> io::Result<()> {
        let file = name(&closed);
        if self.of(closed.epoch).iter().any(|known| name(known) == file) {
            return Ok(());
        }
        let bytes = encode(&closed);
        if bytes.len() > FILE_BYTES_MAX {
            let why = format!("{} bytes of answers, {FILE_BYTES_MAX} at most", bytes.len());
            return Err(io::Error::new(ErrorKind::FileTooLarge, why));
        }
        write_atomic(&*self.disk, &self.dir.join(file), &bytes)?;
        let gone: Vec<Arc<Closed>> = {
            let mut kept = lock(&self.kept);
            kept.push(Arc::new(closed));
            let oldest = oldest_kept(kept.iter().map(|c| c.epoch));
            let newest = kept.last().expect("pushed just now").epoch;
            let made = kept.iter().filter(|c| c.epoch == newest).count();
            let mut too_many = made.saturating_sub(MADE_MAX);
            kept.extract_if(.., |c| {
                let is_one_too_many = c.epoch == newest && too_many > 0;
                too_many -= usize::from(is_one_too_many);
                is_one_too_many || c.epoch < oldest
            })
            .collect()
        };
        self.remove(&gone);
        Ok(())
    }

    /// The registry has the report with this root: what else was made for the epoch goes.
    pub(super) fn settle(&self, epoch: u32, root: &Digest) {
        let made = self.of(epoch);
        if !made.iter().any(|c| c.root() == *root) {
            tracing::error!(epoch, %root, "the registry has a report with this key that is not ours");
            return;
        }
        let gone: Vec<_> = made.into_iter().filter(|c| c.root() != *root).collect();
        lock(&self.kept).retain(|c| !gone.iter().any(|gone| Arc::ptr_eq(c, gone)));
        self.remove(&gone);
    }

    /// What is kept of an epoch: one report, or several where the registry has not said yet which one it took.
    pub(super) fn of(&self, epoch: u32) -> Vec<Arc<Closed>> {
        lock(&self.kept).iter().filter(|c| c.epoch == epoch).cloned().collect()
    }

    fn remove(&self, gone: &[Arc<Closed>]) {
        for closed in gone {
            if let Err(error) = self.disk.remove(&self.dir.join(name(closed))) {
                tracing::warn!(%error, epoch = closed.epoch, "answers of an earlier epoch stay");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks::{
            Asked, Checks,
            tests::{content, show},
        },
        children::Presence,
    };
    use prunedb_disk::faulty::{FaultyDisk, Unsynced};

    /// An epoch in which cell 7 proved, and 8 did not; `also`: a cell that has been there, or has ended since.
    fn closed(epoch: u32, also: Option<u64>) -> Closed {
        let mut checks = Checks::new(epoch, [1; 32], 3);
        checks.due([7, 8], 2);
        let (content, _) = content(1, 8 * 1024);
        checks.answered(7, Asked::Proven(show(&content, &[2; 32], 3)));
        checks.close(&[7, 8].into_iter().chain(also).collect(), &Presence::default())
    }

    fn epochs(answers: &Answers) -> Vec<u32> {
        (0..10).flat_map(|epoch| answers.of(epoch)).map(|c| c.epoch).collect()
    }

    #[test]
    fn what_was_kept_is_shown_after_a_crash_and_old_epochs_go() {
        let (disk, folder) = (FaultyDisk::new(1), Path::new("/heavy"));
        let answers = Answers::open(Arc::new(disk.clone()), folder).unwrap();
        for epoch in [1, 2, 3, 4, 6] {
            answers.keep(closed(epoch, None)).unwrap();
        }
        assert_eq!(epochs(&answers), [2, 3, 4, 6]);
        let crashed = Arc::new(disk.crashed(Unsynced::Lost));
        // a crash before it was removed
        let old = folder.join("answers").join(name(&closed(1, None)));
        crashed.put_file(&old, encode(&closed(1, None)));
        let again = Answers::open(Arc::clone(&crashed) as _, folder).unwrap();
        assert_eq!((epochs(&again), crashed.has(&old)), (vec![2, 3, 4, 6], false));
        let shown = &again.of(6)[0];
        assert_eq!(**shown, closed(6, None));
        assert!(shown.evidence(7).unwrap().is_under(&closed(6, None).root()));
        // what is not as it was written is nobody's answer, and does not stop the others
        let path = folder.join("answers").join(name(shown));
        let bytes = read_all(&*crashed, &path, FILE_BYTES_MAX).unwrap();
        crashed.flip(&path, 50, 1);
        assert_eq!(epochs(&Answers::open(crashed, folder).unwrap()), [2, 3, 4]);
        for length in 0..bytes.len() {
            decode(&name(shown), &bytes[..length]).unwrap_err();
        }
    }

    #[test]
    fn the_report_that_the_registry_took_stays_of_several() {
        let disk = FaultyDisk::new(1);
        let answers = Answers::open(Arc::new(disk.clone()), Path::new("/heavy")).unwrap();
        let (first, second) = (closed(4, None), closed(4, Some(9)));
        answers.keep(first.clone()).unwrap();
        answers.keep(second.clone()).unwrap();
        answers.keep(second).unwrap();
        assert_eq!(answers.of(4).len(), 2, "kept until it is known which one counts");
        answers.settle(4, &Digest([1; 32]));
        assert_eq!(answers.of(4).len(), 2, "a root that nobody here made");
        answers.settle(4, &first.root());
        assert_eq!(answers.of(4), [Arc::new(first)]);
        assert_eq!(disk.list(Path::new("/heavy/answers")).unwrap().len(), 1);
        for cell in 10..20 {
            answers.keep(closed(5, Some(cell))).unwrap();
        }
        assert_eq!((answers.of(5).len(), answers.of(4).len()), (MADE_MAX, 1));
    }

    #[test]
    fn the_bytes_are_the_published_ones() {
        let closed = closed(5, None);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/answers/v1/epoch-5.answers");
        if cfg!(bless) {
            std::fs::write(path, encode(&closed)).unwrap();
        }
        assert_eq!(decode(&name(&closed), &std::fs::read(path).unwrap()).unwrap(), closed);
        assert_eq!(std::fs::read(path).unwrap(), encode(&closed));
    }

    #[test]
    fn answers_that_cannot_be_written_are_not_kept() {
        let disk = FaultyDisk::new(1);
        let answers = Answers::open(Arc::new(disk.clone()), Path::new("/heavy")).unwrap();
        disk.set_faults(|faults| faults.syncs = 1);
        answers.keep(closed(4, None)).unwrap_err();
        assert!(answers.of(4).is_empty(), "a root that is not durable is not sent");
        answers.keep(closed(4, None)).unwrap();
        assert_eq!(answers.of(4).len(), 1);
    }
}

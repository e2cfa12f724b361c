//! Runs that lie elsewhere: copying them there, letting their files here go, beginning with what is there.
//!
//! A run never changes, so a copy of it is as good as its file. Where the file is gone a lookup asks [`RemotePages`] for
//! one page, a merge for several; what comes is checked as what a file holds.

use crate::{
    error::Error,
    hash::{KeyHasher, Seed},
    index::{Index, lock},
    manifest::{Manifest, ManifestRun},
    page::{PAGE_BYTES, SLOT_BYTES, u32_at},
    run_file::{RUN_HEADER_BYTES, RunHeader},
};
use prunedb_disk::Disk;
use std::{path::Path, sync::Arc};

/// The runs of an index at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunSet {
    /// records of data containers below this one are in the runs
    pub covered: u32,
    /// number of the next run
    pub next_run: u64,
    /// the runs, ascending by number
    pub runs: Vec<RunCopy>,
}

/// What has to be known of a run beside its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunCopy {
    /// its number
    pub number: u64,
    /// its level
    pub level: u8,
    /// its pages, the first one counted
    pub pages: u32,
    /// the first bytes of its first page; all others there are zero
    pub header: [u8; RUN_HEADER_BYTES],
}

impl Index {
    /// The runs that count now.
    pub fn runs(&self) -> RunSet {
        let manifest = lock(&self.edit);
        let runs = Arc::clone(&self.view().runs);
        let copy = |run: &ManifestRun| {
            let (file, _) = runs.files().find(|(file, _)| file.number() == run.number)?;
            let page = file.header().write(run.number);
            let header = *page.first_chunk().expect("a page is longer");
            let pages = file.header().total_pages();
            Some(RunCopy { number: run.number, level: run.level, pages, header })
        };
        RunSet {
            covered: manifest.covered,
            next_run: manifest.next_run,
            runs: manifest.runs.iter().filter_map(copy).collect(),
        }
    }

    /// Consecutive pages of a run, checked, 4,092 bytes each; `None` where the run does not count any more.
    ///
    /// # Errors
    /// A damaged page, or those of the disk.
    pub fn read_pages(&self, run: u64, first: u32, count: u32) -> Result<Option<Vec<u8>>, Error> {
        let runs = Arc::clone(&self.view().runs);
        let Some((file, _)) = runs.files().find(|(file, _)| file.number() == run) else {
            return Ok(None);
        };
        let (mut slots, mut pages) = (Vec::new(), Vec::new());
        file.read_slots(first, count, &mut slots)?;
        slots.chunks(SLOT_BYTES).for_each(|slot| pages.extend_from_slice(&slot[..PAGE_BYTES]));
        Ok(Some(pages))
    }

    /// Lets the files of those runs go that lie elsewhere as well; bytes of disk that come back.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn evict(&self) -> Result<u64, Error> {
        self.evict_some(|_| true)
    }

    /// Lets the file of a run go that turned out to be damaged, where the run lies elsewhere as well; whether it does.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn evict_damaged(&self, error: &Error) -> Result<bool, Error> {
        let run = match error {
            Error::DamagedPage { run, .. } | Error::DamagedRun { run, .. } => *run,
            _ => return Ok(false),
        };
        Ok(self.evict_some(|number| number == run)? > 0)
    }

    fn evict_some(&self, wanted: impl Fn(u64) -> bool) -> Result<u64, Error> {
        let runs = Arc::clone(&self.view().runs);
        let mut bytes = 0;
        for (file, _) in runs.files().filter(|(file, _)| wanted(file.number())) {
            if file.leave() {
                self.disk.remove(file.path()).map_err(Error::io("remove", file.path()))?;
                bytes += file.bytes();
            }
        }
        Ok(bytes)
    }

    /// Begins an index in a folder with runs that lie elsewhere; to be opened with [`Index::open_with`].
    ///
    /// # Errors
    /// A header that is none, or those of the disk.
    pub fn adopt(disk: &dyn Disk, dir: &Path, seed: &Seed, set: &RunSet) -> Result<(), Error> {
        disk.create_dir_all(dir).map_err(Error::io("create", dir))?;
        let run = |copy: &RunCopy| {
            let mut page = [0; PAGE_BYTES];
            page[..RUN_HEADER_BYTES].copy_from_slice(&copy.header);
            let header = RunHeader::read(&page, copy.number);
            let header = header.map_err(|reason| Error::DamagedRun { run: copy.number, reason })?;
            Ok(ManifestRun {
                number: copy.number,
                header_crc: u32_at(&page, 0),
                kind: header.kind,
                level: copy.level,
            })
        };
        let mut runs = set.runs.iter().map(run).collect::<Result<Vec<_>, Error>>()?;
        runs.sort_unstable_by_key(|run| run.number);
        let manifest = Manifest {
            seed_tag: KeyHasher::new(seed).tag(),
            next_run: set.next_run,
            covered: set.covered,
            runs,
            merge: None,
        };
        manifest.store(disk, dir)
    }
}

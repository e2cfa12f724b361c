//! Driving merges: choosing the next one, advancing it, leaving checkpoints, making its run count.

use crate::{
    error::Error,
    index::{Index, OpenRun, Options, Runs, lock},
    keyed_run::KeyedRun,
    manifest::{Manifest, ManifestMerge},
    merge::{KeyedMerge, SequenceMerge, Suspect},
    page::SLOT_BYTES,
    policy::{self, Plan, RunSummary, SOURCES_MAX},
    run_file::{RemotePages, RunKind, RunWriter},
};
use prunedb_disk::Disk;
use std::{path::Path, sync::Arc};

/// What a call of [`Index::merge_step`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MergeStep {
    /// entries that were read and written; a byte of a filter that was read counts as one
    pub entries: u64,
    /// merges that were completed
    pub merges: u32,
    /// whether nothing is left to merge, or that cannot be done now
    pub idle: bool,
    /// bytes of disk that the next merge lacks: it waits until there are as many
    pub lacking_bytes: u64,
}

/// Bytes of disk that a merge leaves to others.
const SPARE_BYTES: u64 = 64 << 20;

enum Next {
    Merge(Box<Merge>),
    Nothing,
    Lacking(u64),
}

/// A merge under way.
#[derive(Debug)]
pub(crate) struct Merge {
    plan: Plan,
    job: Job,
}

impl Merge {
    /// Gives the merge up: its file goes, checkpoints or not.
    pub(crate) fn abandon(&mut self) {
        if let Job::Keyed(job) = &mut self.job {
            job.abandon();
        }
    }
}

#[derive(Debug)]
enum Job {
    Keyed(KeyedMerge),
    Sequence(SequenceMerge),
}

impl Job {
    fn advance(&mut self, suspects: &mut Vec<Suspect>) -> Result<Option<u64>, Error> {
        match self {
            Self::Keyed(job) => job.advance(suspects),
            Self::Sequence(job) => job.advance(suspects),
        }
    }

    fn finish(self) -> Result<(OpenRun, u32), Error> {
        match self {
            Self::Keyed(job) => job.finish().map(|(run, crc)| (OpenRun::Keyed(run), crc)),
            Self::Sequence(job) => job.finish().map(|(run, crc)| (OpenRun::Sequence(run), crc)),
        }
    }
}

impl Index {
    /// Does the work that waits, about `entries` entries of it: reads filters that are not in RAM yet, then merges
    /// runs where that is due. To be called again and again, from one thread or many.
    ///
    /// # Errors
    /// Damage in a source, or those of the disk. The merge under way is given up, its sources stay.
    pub fn merge_step(&self, entries: u64) -> Result<MergeStep, Error> {
        let mut slot = lock(&self.merge);
        let loaded = self.load_filters(entries, |_| true)?;
        let mut step = MergeStep { entries: loaded, ..MergeStep::default() };
        // more filters may wait
        let idle = loaded == 0;
        loop {
            let merge = match slot.take() {
                Some(merge) => merge,
                None => match self.begin_merge()? {
                    Next::Merge(merge) => *merge,
                    Next::Nothing => return Ok(MergeStep { idle, ..step }),
                    Next::Lacking(lacking_bytes) => {
                        return Ok(MergeStep { idle, lacking_bytes, ..step });
                    }
                },
            };
            if step.entries >= entries {
                *slot = Some(merge);
                return Ok(step);
            }
            *slot = self.advance_merge(merge, &mut step)?;
        }
    }

    /// Does a little of a merge; gives it back unless that ended it.
    fn advance_merge(
        &self,
        mut merge: Merge,
        step: &mut MergeStep,
    ) -> Result<Option<Merge>, Error> {
        let mut suspects = Vec::new();
        let advanced = merge.job.advance(&mut suspects).and_then(|taken| {
            self.checkpoint_merge(&mut merge)?;
            Ok(taken)
        });
        self.add_suspects(suspects);
        match advanced {
            Ok(Some(taken)) => {
                step.entries += taken;
                Ok(Some(merge))
            }
            Ok(None) => {
                let Merge { plan, job } = merge;
                let run = job.finish().inspect_err(|_| lock(&self.edit).merge = None)?;
                let mut manifest = lock(&self.edit);
                let covered = manifest.covered;
                self.install(&mut manifest, vec![run], &plan.sources, plan.level, covered)?;
                step.merges += 1;
                Ok(None)
            }
            Err(e) => {
                merge.abandon();
                lock(&self.edit).merge = None;
                Err(e)
            }
        }
    }

    fn checkpoint_merge(&self, merge: &mut Merge) -> Result<(), Error> {
        let Job::Keyed(job) = &mut merge.job else { return Ok(()) };
        let pages = self.options.checkpoint_bytes.div_ceil(SLOT_BYTES as u64).max(1);
        let Some(progress) = job.checkpoint(u32::try_from(pages).unwrap_or(u32::MAX))? else {
            return Ok(());
        };
        let mut manifest = lock(&self.edit);
        let record = ManifestMerge {
            output: job.number(),
            level: merge.plan.level,
            progress,
            sources: merge.plan.sources.clone(),
        };
        let next = Manifest { merge: Some(record), ..manifest.clone() };
        next.store(&*self.disk, &self.dir)?;
        *manifest = next;
        Ok(())
    }

    fn begin_merge(&self) -> Result<Next, Error> {
        let runs = Arc::clone(&self.view().runs);
        let summaries: Vec<_> = {
            let manifest = lock(&self.edit);
            let level = |number| manifest.runs.iter().find(|r| r.number == number).map(|r| r.level);
            runs.files()
                .filter_map(|(file, filter_bytes)| {
                    Some(RunSummary {
                        number: file.number(),
                        kind: file.header().kind,
                        level: level(file.number())?,
                        entries: file.header().entries,
                        filter_bytes,
                        container_min: file.header().container_min,
                    })
                })
                .collect()
        };
        let Options { fan_in, filter_bits, filter_bytes_free, .. } = self.options;
        let Some(plan) = policy::next_merge(&summaries, fan_in, filter_bytes_free) else {
            return Ok(Next::Nothing);
        };
        let sources = runs.files().filter(|(file, _)| plan.sources.contains(&file.number()));
        let needed: u64 = sources.map(|(file, _)| file.bytes()).sum();
        let free = self.disk.free_bytes(&self.dir).map_err(Error::io("measure", &self.dir))?;
        if free < needed + SPARE_BYTES {
            return Ok(Next::Lacking(needed + SPARE_BYTES - free));
        }
        let writer = self.create_run()?;
        let job = match plan.kind {
            RunKind::Keyed => {
                let sources = runs.keyed.iter();
                let sources = sources.filter(|run| plan.sources.contains(&run.file().number()));
                let filter_bits = plan.filter.then_some(filter_bits);
                Job::Keyed(KeyedMerge::new(sources.cloned().collect(), writer, filter_bits)?)
            }
            RunKind::Sequence => {
                let sources = runs.sequence.iter();
                let sources = sources.filter(|run| plan.sources.contains(&run.file().number()));
                Job::Sequence(SequenceMerge::new(sources.cloned().collect(), writer))
            }
        };
        Ok(Next::Merge(Box::new(Merge { plan, job })))
    }
}

/// Goes on with the merge of a record, if all of it is there.
pub(crate) fn resume_merge(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    runs: &Runs,
    record: &ManifestMerge,
    remote: Option<Arc<dyn RemotePages>>,
) -> Option<Merge> {
    let of_record = |run: &&Arc<KeyedRun>| record.sources.contains(&run.file().number());
    let sources: Vec<_> = runs.keyed.iter().filter(of_record).cloned().collect();
    if sources.len() != record.sources.len() || !(2..=SOURCES_MAX).contains(&sources.len()) {
        return None;
    }
    let pages = record.progress.pages;
    let writer = RunWriter::resume(Arc::clone(disk), dir, record.output, pages, remote).ok()?;
    let job = KeyedMerge::resume(sources, writer, &record.progress).ok()?;
    let plan = Plan {
        sources: record.sources.clone(),
        kind: RunKind::Keyed,
        level: record.level,
        filter: false,
    };
    Some(Merge { plan, job: Job::Keyed(job) })
}

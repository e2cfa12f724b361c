//! Starting: finds what the segments hold, from the last snapshot as far as it goes, and by walking.

use crate::{
    Damage, NodeError, OpenReport,
    append::Appender,
    changes::{Changes, SNAPSHOT},
    core::Inner,
    index::{Run, Shards, remove_strays},
    load::{self, Loader},
    recover::{Walk, Walked, walk},
    segment::Segment,
    snapshot::Snapshot,
    state::{SegmentUse, State, lock},
};
use prunedb_disk::Open;
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

/// Shards that are looked through at once for the highest term of a lake.
const SCAN_SHARDS: usize = 4096;

/// Where the next record goes; `None`: into a new segment.
type Tail = Option<(Arc<Segment>, u64)>;

impl Inner {
    /// Finds what the segments hold: from the last snapshot, as far as it goes, and by walking.
    pub(crate) fn load(&self, report: &mut OpenReport) -> Result<(), NodeError> {
        let names = self.disk.list(&self.segments_dir);
        let names = names.map_err(|e| NodeError::disk("list the segments", e))?;
        let mut numbers: Vec<u32> =
            names.iter().filter_map(|name| Segment::parse_file_name(name)).collect();
        numbers.sort_unstable();
        let mut tried = report.clone();
        let active = match self.load_from_snapshot(&numbers, &mut tried) {
            Ok(Some(active)) => {
                *report = tried;
                active
            }
            Ok(None) => self.walk_everything(&numbers, report)?,
            Err(error) => {
                tracing::warn!(%error, "the snapshot is of no use");
                self.walk_everything(&numbers, report)?
            }
        };
        let mut state = lock(&self.state);
        let active_number = active.as_ref().map(|(segment, _)| segment.number);
        let numbers_now: Vec<u32> = state.segments.keys().copied().collect();
        for number in numbers_now.into_iter().filter(|&number| Some(number) != active_number) {
            if state.take_empty(number) {
                self.remove(&self.segments_dir.join(Segment::file_name(number)));
            }
        }
        report.segments = state.segments.len() as u64;
        report.shards = state.shards.count();
        drop(state);
        let next_number = numbers.last().map_or(0, |last| last.saturating_add(1));
        *lock(&self.appender) = Appender { active, next_number };
        Ok(())
    }

    /// `None` where there is no snapshot that fits.
    fn load_from_snapshot(
        &self,
        numbers: &[u32],
        report: &mut OpenReport,
    ) -> Result<Option<Tail>, NodeError> {
        let believed = self.believe_snapshot(numbers, report);
        match believed.map_err(|e| NodeError::disk("read the snapshot", e))? {
            Some(durable_through) => self.walk_rest(numbers, durable_through, report).map(Some),
            None => Ok(None),
        }
    }

    /// Nothing is known but the segments.
    fn walk_everything(&self, numbers: &[u32], report: &mut OpenReport) -> Result<Tail, NodeError> {
        let forgotten = lock(&self.changes).forget(&*self.disk, &self.config.dir);
        forgotten.map_err(|e| NodeError::disk("forget the snapshot", e))?;
        remove_strays(&*self.disk, &self.index_dir, &[], 0);
        self.index_damaged.store(false, Ordering::SeqCst);
        *lock(&self.state) = State::new(1, 0);
        self.walk_rest(numbers, 0, report)
    }

    /// Begins with the last snapshot, if one fits; which commits are durable.
    fn believe_snapshot(
        &self,
        numbers: &[u32],
        report: &mut OpenReport,
    ) -> io::Result<Option<u64>> {
        let (disk, dir) = (&*self.disk, &self.config.dir);
        if !disk.exists(&dir.join(SNAPSHOT))? {
            return Ok(None);
        }
        let Some(snapshot) = Snapshot::read(disk, &dir.join(SNAPSHOT))? else { return Ok(None) };
        let Some(changes) = Changes::load(disk, dir, snapshot.generation)? else {
            return Ok(None);
        };
        let mut runs = Vec::new();
        for &(generation, items) in &snapshot.runs {
            runs.push(Arc::new(Run::open(disk, &self.index_dir, generation, items)?));
        }
        remove_strays(disk, &self.index_dir, &snapshot.runs, 0);
        let mut state = State::new(snapshot.generation + 1, snapshot.sequence);
        let mut count = 0;
        for (number, segment) in snapshot.segments {
            // the last one is where the next record goes
            if changes.listed().contains(&number) || numbers.last() == Some(&number) {
                continue;
            }
            if numbers.binary_search(&number).is_err() {
                report.damaged(Damage::Unreadable { segment: number });
                continue;
            }
            count += segment.records;
            state.used_bytes += segment.used_bytes;
            let held = SegmentUse {
                mark: segment.mark,
                open: None,
                records: segment.records,
                used_bytes: segment.used_bytes,
                since: segment.since,
                in_flux: 0,
                damaged: false,
            };
            state.segments.insert(number, held);
        }
        state.shards = Shards::new(runs, count);
        *lock(&self.changes) = changes;
        *lock(&self.state) = state;
        Ok(Some(snapshot.durable_through))
    }

    /// Looks at every record of the segments that the state does not hold yet; where the next record goes.
    fn walk_rest(
        &self,
        numbers: &[u32],
        durable_through: u64,
        report: &mut OpenReport,
    ) -> Result<Tail, NodeError> {
        let checkpoint = load::read_checkpoint(&*self.disk, &self.config.dir);
        let mut loader = Loader::new(self, durable_through.max(checkpoint));
        let mut last = None;
        for &number in numbers.iter().rev() {
            if lock(&self.state).segments.contains_key(&number) {
                continue;
            }
            // what is put in order there changes it
            let noted = lock(&self.changes).note(number);
            noted.map_err(|e| NodeError::disk("list a segment as changed", e))?;
            let Some((segment, mut walk)) = self.walk(number, report) else { continue };
            report.segments_walked += 1;
            let tail = loader.take(&segment, &mut walk, report)?;
            last.get_or_insert_with(|| walk.healthy.then_some((segment, tail)));
        }
        self.raise_fences()?;
        Ok(last.flatten())
    }

    /// Looks at every record of a segment; `None` where there is nothing to be taken in.
    fn walk(&self, number: u32, report: &mut OpenReport) -> Option<(Arc<Segment>, Walk)> {
        let path = self.segments_dir.join(Segment::file_name(number));
        let file = self.disk.open(&path, Open::ReadWrite);
        match file.and_then(|file| Ok((walk(&*file, number, report)?, file))) {
            Ok((Walked::Segment(walk), file)) => {
                Some((Arc::new(Segment::new(number, walk.mark, path, file)), walk))
            }
            // the trace of a crash while the segment was made
            Ok((Walked::Empty, _)) => {
                self.remove(&path);
                None
            }
            Ok((Walked::Foreign, _)) => None,
            Err(e) => {
                tracing::warn!(segment = number, error = %e, "cannot open a segment");
                report.damaged(Damage::Unreadable { segment: number });
                None
            }
        }
    }

    /// Fences are durable before commits: where one is damaged, it is not below the terms of its lake's shards.
    fn raise_fences(&self) -> Result<(), NodeError> {
        for lake in self.lakes.damaged() {
            let mut after = None;
            loop {
                let some = self.of_lake(lake, after, SCAN_SHARDS)?;
                let Some((last, _)) = some.last() else { break };
                after = Some(*last);
                self.lakes.note(lake, some.iter().map(|(_, entry)| entry.term));
            }
        }
        Ok(())
    }
}

//! Starting: finds what the segments hold, from the snapshot of the last clean stop as far as it goes, and by walking.

use crate::{
    Damage, OpenReport,
    append::Appender,
    core::Inner,
    layout::{SEGMENT_HEADER_BYTES, SEGMENT_VERSION, SegmentHeader},
    load::{self, Loader},
    recover::{Fate, Found, Walk, Walked, walk},
    segment::Segment,
    snapshot::{Changes, QuietSegment, Snapshot},
    state::{SegmentUse, lock},
};
use prunedb_disk::Open;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

/// What was found, and where the next record goes.
struct Loaded {
    loader: Loader,
    active: Option<(Arc<Segment>, u64)>,
}

impl Inner {
    /// Finds what the segments hold: from the last snapshot, as far as it goes, and by walking.
    pub(crate) fn load(&mut self, report: &mut OpenReport) -> io::Result<()> {
        let names = self.disk.list(&self.segments_dir)?;
        let mut numbers: Vec<u32> =
            names.iter().filter_map(|name| Segment::parse_file_name(name)).collect();
        numbers.sort_unstable();
        let loaded = match Changes::load(&*self.disk, &self.config.dir) {
            Ok(None) => None,
            Ok(Some((changes, snapshot))) => {
                self.changes = Mutex::new(changes);
                self.load_from(snapshot, &numbers, report)?
            }
            Err(e) => {
                tracing::warn!(error = %e, "cannot read the snapshot");
                None
            }
        };
        let Loaded { loader, active } = match loaded {
            Some(loaded) => loaded,
            None => {
                lock(&self.changes).forget(&*self.disk, &self.config.dir)?;
                let mut walks = self.walk_all(&numbers, report);
                let loader =
                    Loader { durable_through: self.durable_through(), ..Loader::default() };
                self.settle(loader, &mut walks, report)
            }
        };
        // fences are durable before commits: this raises one only where its file was damaged
        self.lakes.note(loader.shards.iter().map(|(id, entry)| (id.lake, entry.term)));
        let mut state = lock(&self.state);
        state.shards = loader.shards;
        state.used_bytes = loader.segments.values().map(|held| held.used_bytes).sum();
        state.segments = loader.segments;
        state.stale = loader.stale;
        state.sequence = loader.sequence;
        let active_number = active.as_ref().map(|(segment, _)| segment.number);
        let numbers_now: Vec<u32> = state.segments.keys().copied().collect();
        for number in numbers_now.into_iter().filter(|&number| Some(number) != active_number) {
            if let Some(emptied) = state.take_empty(number) {
                self.remove(&emptied.path);
            }
        }
        report.segments = state.segments.len() as u64;
        report.shards = state.shards.len() as u64;
        drop(state);
        let next_number = numbers.last().map_or(0, |last| last.saturating_add(1));
        *lock(&self.appender) = Appender { active, next_number };
        Ok(())
    }

    fn durable_through(&self) -> u64 {
        load::read_checkpoint(&*self.disk, &self.config.dir)
    }

    /// Walks what has changed since a snapshot, and takes the rest from there; `None` where they do not fit.
    fn load_from(
        &self,
        snapshot: Snapshot,
        numbers: &[u32],
        report: &mut OpenReport,
    ) -> io::Result<Option<Loaded>> {
        let Snapshot { sequence, mut quiet, mut shards } = snapshot;
        // the last one is where the next record goes
        if let Some(last) = numbers.last()
            && quiet.remove(last).is_some()
        {
            shards.retain(|_, entry| entry.segment != *last);
        }
        let mut segments = BTreeMap::new();
        for (&number, segment) in &quiet {
            let Some(held) = self.quiet(number, segment) else { return Ok(None) };
            segments.insert(number, held);
        }
        let changed: Vec<u32> =
            numbers.iter().copied().filter(|number| !quiet.contains_key(number)).collect();
        for &number in &changed {
            // what is put in order there changes it
            lock(&self.changes).note(number)?;
        }
        let mut tried = report.clone();
        let mut walks = self.walk_all(&changed, &mut tried);
        let counts = |found: &Found| !matches!(found.fate, Fate::Open | Fate::Dropped(_));
        let mut records = walks.iter().flat_map(|(_, walk)| &walk.records);
        if records.any(|found| counts(found) && shards.contains_key(&found.place.id)) {
            return Ok(None);
        }
        *report = tried;
        let durable_through = self.durable_through().max(sequence);
        let loader = Loader { shards, segments, sequence, durable_through, ..Loader::default() };
        Ok(Some(self.settle(loader, &mut walks, report)))
    }

    /// A segment that is as the snapshot says; `None` where it is not.
    fn quiet(&self, number: u32, was: &QuietSegment) -> Option<SegmentUse> {
        let path = self.segments_dir.join(Segment::file_name(number));
        let file = self.disk.open(&path, Open::ReadWrite).ok()?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(&mut header, 0).ok()?;
        let header = SegmentHeader::from_bytes(&header)?;
        let fits = header.number == number
            && header.version == SEGMENT_VERSION
            && file.len().ok()? == was.file_bytes;
        let segment = Arc::new(Segment::new(number, header.mark, path, file));
        let (records, used_bytes) = (was.records, was.used_bytes);
        fits.then_some(SegmentUse { segment, records, used_bytes, damaged: false })
    }

    /// Looks at every record of these segments.
    fn walk_all(&self, numbers: &[u32], report: &mut OpenReport) -> Vec<(Arc<Segment>, Walk)> {
        let mut walks = Vec::new();
        for &number in numbers {
            let path = self.segments_dir.join(Segment::file_name(number));
            let file = self.disk.open(&path, Open::ReadWrite);
            let walked = file.and_then(|file| Ok((walk(&*file, number, report)?, file)));
            match walked {
                Ok((Walked::Segment(walk), file)) => {
                    walks.push((Arc::new(Segment::new(number, walk.mark, path, file)), walk));
                }
                // the trace of a crash while the segment was made
                Ok((Walked::Empty, _)) => self.remove(&path),
                Ok((Walked::Foreign, _)) => {}
                Err(e) => {
                    tracing::warn!(segment = number, error = %e, "cannot open a segment");
                    report.damaged(Damage::Unreadable { segment: number });
                }
            }
        }
        report.segments_walked = walks.len() as u64;
        walks
    }

    /// Decides what counts of what was found, and brings the segments in order; the last one, and where its next record
    /// goes.
    fn settle(
        &self,
        mut loader: Loader,
        walks: &mut [(Arc<Segment>, Walk)],
        report: &mut OpenReport,
    ) -> Loaded {
        walks.iter().for_each(|(_, walk)| loader.note(walk));
        for (segment, walk) in &mut *walks {
            loader.judge(segment, walk, report);
        }
        let mut active = None;
        for (segment, walk) in walks {
            let tail = loader.settle(segment, walk, report);
            active = walk.healthy.then(|| (Arc::clone(segment), tail));
        }
        Loaded { loader, active }
    }
}

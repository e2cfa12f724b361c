//! Reading the index.

use crate::{
    entry::Location,
    error::Error,
    index::{Index, Runs},
};
use prunedb_core::TableId;
use std::{collections::BTreeMap, iter::FusedIterator, sync::Arc};

/// Runs whose filters are asked before any page is read.
const FILTERS_AT_ONCE: usize = 64;

/// Locations where the record of a key may be, oldest first; from [`Index::candidates`].
///
/// Runs are read only as far as the caller asks: who stops at the first record whose key fits spares the rest.
/// After an error there are no more.
#[derive(Debug)]
pub struct Candidates<'a> {
    index: &'a Index,
    prefix: u64,
    runs: Arc<Runs>,
    /// of the first 64 runs, those whose filter does not exclude the key, once one is asked
    passed: Option<u64>,
    next_run: usize,
    /// found but not handed out; youngest first
    pending: Vec<Location>,
    page_reads: u64,
}

impl Iterator for Candidates<'_> {
    type Item = Result<Location, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // what a run not yet read may still have is no older than its oldest container
            let unread = self.runs.keyed.get(self.next_run);
            let oldest_unread = unread.map(|run| run.file().header().container_min);
            if let Some(&at) = self.pending.last()
                && oldest_unread.is_none_or(|container| at.container < container)
            {
                self.pending.pop();
                return Some(Ok(at));
            }
            let run = unread?;
            let nth = self.next_run;
            self.next_run += 1;
            if !passes(&self.runs, nth, self.prefix, &mut self.passed) {
                continue;
            }
            let known = self.pending.len();
            match run.find(self.prefix, &mut self.pending) {
                Ok(reads) => self.page_reads += u64::from(reads),
                Err(e) => {
                    self.next_run = self.runs.keyed.len();
                    self.pending.clear();
                    return Some(Err(e));
                }
            }
            if self.pending.len() > known {
                self.pending.sort_unstable_by(|a, b| b.cmp(a));
                self.pending.dedup();
            }
        }
    }
}

/// Whether the filter of a run lets a prefix through. Those of all runs are asked at once, one after the other without
/// anything between, so that the processor waits for their memory once.
fn passes(runs: &Runs, nth: usize, prefix: u64, passed: &mut Option<u64>) -> bool {
    let run = &runs.keyed[nth];
    if run.filter_bytes() == 0 || nth >= FILTERS_AT_ONCE {
        return run.passes(prefix);
    }
    let all = || {
        let runs = runs.keyed.iter().take(FILTERS_AT_ONCE).enumerate();
        runs.fold(0, |all, (i, run)| all | u64::from(run.passes(prefix)) << i)
    };
    *passed.get_or_insert_with(all) >> nth & 1 == 1
}

impl FusedIterator for Candidates<'_> {}

impl Drop for Candidates<'_> {
    fn drop(&mut self) {
        self.index.counters.add_lookup(self.page_reads);
    }
}

impl Index {
    /// Locations where the record of a key of a keyed table may be, oldest first, read as far as the caller asks.
    ///
    /// Few, mostly one or none; different keys may share a fingerprint and a key may have been put twice, so the key
    /// in the record is the last check, and the first record that has it wins.
    pub fn candidates(&self, table: TableId, key: &[u8]) -> Candidates<'_> {
        self.candidates_of(self.hasher.prefix(table, key))
    }

    pub(crate) fn candidates_of(&self, prefix: u64) -> Candidates<'_> {
        let mut pending = Vec::new();
        let view = self.view();
        view.memtables().for_each(|memtable| memtable.find(prefix, &mut pending));
        let runs = Arc::clone(&view.runs);
        drop(view);
        pending.sort_unstable_by(|a, b| b.cmp(a));
        pending.dedup();
        Candidates { index: self, prefix, runs, passed: None, next_run: 0, pending, page_reads: 0 }
    }

    /// All of [`Self::candidates`].
    ///
    /// # Errors
    /// A damaged page, or those of the disk.
    pub fn lookup(&self, table: TableId, key: &[u8]) -> Result<Vec<Location>, Error> {
        self.candidates(table, key).collect()
    }

    /// Location of the first record that was put at a position of a sequence table.
    ///
    /// # Errors
    /// A damaged page, or those of the disk.
    pub fn lookup_sequence(
        &self,
        table: TableId,
        position: u64,
    ) -> Result<Option<Location>, Error> {
        let key = (table, position);
        let view = self.view();
        let mut oldest = view.memtables().filter_map(|memtable| memtable.find_sequence(key)).min();
        let runs = Arc::clone(&view.runs);
        drop(view);
        for run in &runs.sequence {
            if oldest.is_some_and(|at| at.container < run.file().header().container_min) {
                break;
            }
            oldest = [oldest, run.find(key)?].into_iter().flatten().min();
        }
        Ok(oldest)
    }

    /// Up to `limit` positions of a sequence table from `from` on, in order; gaps are skipped.
    ///
    /// # Errors
    /// A damaged page, or those of the disk.
    pub fn range_sequence(
        &self,
        table: TableId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Location)>, Error> {
        let mut found = BTreeMap::new();
        let mut add = |part: Vec<(u64, Location)>| {
            for (position, at) in part {
                let oldest = found.entry(position).or_insert(at);
                *oldest = at.min(*oldest);
            }
            while found.len() > limit {
                found.pop_last();
            }
            // what lies behind this position is not needed any more
            if found.len() == limit {
                found.last_key_value().map(|(&position, _)| position)
            } else {
                None
            }
        };
        let view = self.view();
        let mut end = None;
        for memtable in view.memtables() {
            end = add(memtable.range(table, from, limit));
        }
        let runs = Arc::clone(&view.runs);
        drop(view);
        for run in &runs.sequence {
            let begins = run.span(table)?.map(|span| span.first.max(from));
            if begins.is_some_and(|begins| end.is_none_or(|end| begins <= end)) {
                end = add(run.range(table, from, limit)?);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// First and last position of a sequence table; `None` where it has no records.
    ///
    /// # Errors
    /// A damaged page, or those of the disk.
    pub fn sequence_bounds(&self, table: TableId) -> Result<Option<(u64, u64)>, Error> {
        let view = self.view();
        let mut bounds: Vec<_> = view.memtables().filter_map(|m| m.bounds(table)).collect();
        let runs = Arc::clone(&view.runs);
        drop(view);
        for run in &runs.sequence {
            bounds.extend(run.span(table)?.map(|span| (span.first, span.last)));
        }
        Ok(bounds.into_iter().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))))
    }
}

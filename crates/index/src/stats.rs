//! What the index says of itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Figures of an index at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IndexStats {
    /// entries of keyed tables, in RAM and in runs; a record that was inserted twice may count twice
    pub keyed_entries: u64,
    /// entries of sequence tables, likewise
    pub sequence_entries: u64,
    /// those of both that are only in RAM
    pub memtable_entries: u64,
    /// runs of keyed tables
    pub keyed_runs: u64,
    /// runs of sequence tables
    pub sequence_runs: u64,
    /// bytes of all runs, each once, here or elsewhere
    pub disk_bytes: u64,
    /// filters, memtables and descriptors
    pub ram_bytes: u64,
    /// the filters of these
    pub filter_bytes: u64,
    /// lookups of keys since the index was opened
    pub lookups: u64,
    /// pages that those read
    pub page_reads: u64,
    /// entries that flushes and merges wrote since the index was opened
    pub entries_written: u64,
    /// bytes that they wrote
    pub bytes_written: u64,
}

/// Counts since the index was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) lookups: AtomicU64,
    pub(crate) page_reads: AtomicU64,
    pub(crate) entries_written: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
}

impl Counters {
    pub(crate) fn add_lookup(&self, page_reads: u64) {
        self.lookups.fetch_add(1, Relaxed);
        self.page_reads.fetch_add(page_reads, Relaxed);
    }

    pub(crate) fn add_run(&self, entries: u64, bytes: u64) {
        self.entries_written.fetch_add(entries, Relaxed);
        self.bytes_written.fetch_add(bytes, Relaxed);
    }
}

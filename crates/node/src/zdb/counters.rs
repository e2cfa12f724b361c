//! What INFO counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts since the node started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) clients: Count,
    pub(crate) commands: Count,
    pub(crate) failed: Count,
    pub(crate) unauthorized: Count,
    pub(crate) value_bytes_read: Count,
    pub(crate) value_bytes_written: Count,
    pub(crate) network_bytes_in: Count,
    pub(crate) network_bytes_out: Count,
    pub(crate) disk_errors: Count,
}

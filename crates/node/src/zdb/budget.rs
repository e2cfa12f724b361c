//! What all namespaces of a node share: room on the disk, and keys in memory.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters with their bounds.
#[derive(Debug)]
pub(crate) struct Budget {
    /// bytes of all logs
    bytes: AtomicU64,
    /// bytes that may still be written: as the node last said
    free: AtomicU64,
    keys: AtomicU64,
    pub(crate) keys_max: u64,
    /// a log that has reached this is closed, and a new one is begun
    pub(crate) log_bytes: u64,
}

impl Budget {
    pub(crate) fn new(keys_max: u64, log_bytes: u64) -> Self {
        let (bytes, free, keys) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { bytes, free, keys, keys_max, log_bytes }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sub_bytes(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What the node says is free now.
    pub(crate) fn set_free(&self, bytes: u64) {
        self.free.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Counts keys in; the bound is the writer's to look at.
    pub(crate) fn add_keys(&self, keys: u64) {
        self.keys.fetch_add(keys, Ordering::Relaxed);
    }

    pub(crate) fn sub_keys(&self, keys: u64) {
        self.keys.fetch_sub(keys, Ordering::Relaxed);
    }
}

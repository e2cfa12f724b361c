//! The figures of one store at one value size.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) store: String,
    pub(crate) value_bytes: usize,
    /// MB of keys and values a second
    pub(crate) ingest_mbps: f64,
    /// processor time, user and system, closing included
    pub(crate) cpu_s_per_gb: f64,
    /// bytes written to disk for each byte of key and value, closing included
    pub(crate) write_amp: f64,
    /// bytes of disk for each byte of key and value, after closing
    pub(crate) disk_per_byte: f64,
    pub(crate) reopen_ms: f64,
    pub(crate) warm_p50_us: f64,
    pub(crate) warm_ops: f64,
    pub(crate) warm_ops_2: f64,
    pub(crate) cold_p50_us: f64,
    pub(crate) cold_ops: f64,
    pub(crate) cold_ops_2: f64,
    /// MB of values a second, by height, from the disk
    pub(crate) scan_mbps: f64,
    /// while everything is in the system's cache
    pub(crate) scan_warm_mbps: f64,
    pub(crate) peak_rss_mb: f64,
}

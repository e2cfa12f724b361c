//! The figures of one value size.

use serde::{Deserialize, Serialize};

/// What was measured for one value size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SizeReport {
    /// length of each value
    pub value_bytes: usize,
    /// raw append, MB of keys and values a second
    pub raw_mbps: f64,
    /// a plain pread of a value that is in the system's cache, p50
    pub raw_pread_warm_us: f64,
    /// a plain pread of 4 KiB from the disk, p50
    pub raw_pread_cold_us: f64,
    /// ours, MB of keys and values a second
    pub ingest_mbps: f64,
    /// ours by raw: the median of the rounds
    pub ingest_ratio: f64,
    /// processor time of ours, user and system
    pub cpu_s_per_gb: f64,
    /// bytes written to disk for each byte of key and value
    pub write_amp: f64,
    /// point read, p50
    pub warm_p50_us: f64,
    /// point reads a second on one thread
    pub warm_ops: f64,
    /// point read from the disk, p50
    pub cold_p50_us: f64,
    /// a sequence table from its first to its last record, from the disk
    pub scan_mbps: f64,
    /// opening after closing
    pub reopen_ms: f64,
    /// the most memory that the measuring process held
    pub peak_rss_mb: f64,
    /// processor time of the raw append
    pub raw_cpu_s_per_gb: f64,
    /// point read, p99
    pub warm_p99_us: f64,
    /// the raw file from its first to its last byte, from the disk
    pub raw_scan_mbps: f64,
    /// the same scan while everything is in the system's cache
    pub scan_warm_mbps: f64,
    /// opening without closing first: what a killed process leaves
    pub reopen_crash_ms: f64,
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    percentile(&mut values, 50)
}

/// The value that `percent` of all are not above; 0 without any.
pub(super) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() * percent / 100).copied().unwrap_or(0.0)
}

//! The Prune DB beside a raw append to a file, in one run on one disk.
//!
//! Both take the same records: keys of 32 random bytes, values from a pool of random ones. *Raw* copies key and value
//! behind each other into a buffer, and at [`Plan::group_bytes`] writes it to one file and fdatasyncs; *ours* appends
//! to a keyed table with the same group, containers and index as always, and nothing is offloaded. Ingest goes in
//! rounds, raw and ours in turn, each ends durable; the ratio is the median of the rounds' ratios, so a disk whose speed
//! drifts does so for both. Reads go in turns as well. *Cold*: the system's cache of all files of that side was dropped
//! before (`posix_fadvise`, after a sync); the index's pages are then cold, too. *Warm*: everything is in that cache.
//!
//! CPU seconds are of the whole process, user and system. Write amplification counts all files that the database has,
//! in whole pages each time they become dirty, closing included. One process measures one value size, so that peak
//! memory (buffers of the measurement included, about 16 MB) is that size's own.

mod figures;
mod ours;
mod raw;
mod records;

pub use figures::SizeReport;
pub use records::Records;

use crate::process;
use figures::{median, percentile};
use ours::Ours;
use raw::Raw;
use std::{io, path::Path, time::Instant};

/// What is measured, for each value size.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// MB (10^6) of keys and values
    pub mb: u64,
    /// bytes that are made durable together, by both sides
    pub group_bytes: usize,
    /// rounds of ingest
    pub rounds: u64,
}

/// What stopped a measurement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The database refused.
    #[error(transparent)]
    Engine(#[from] prunedb_engine::Error),
}

/// Warm reads of one turn, and turns.
const WARM_READS: u64 = 1000;
const WARM_TURNS: u64 = 60;
/// Cold reads of one turn, and turns.
const COLD_READS: u64 = 100;
const COLD_TURNS: u64 = 6;
/// A turn of reads reads other records than the turns before.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
const COLD_PREAD_BYTES: usize = 4096;

impl Plan {
    /// Measures one value size in a new folder of `dir`, which is removed afterwards.
    ///
    /// # Errors
    /// Those of the disk and of the database.
    pub fn measure(
        &self,
        dir: &Path,
        value_bytes: usize,
        step: &mut dyn FnMut(&str),
    ) -> Result<SizeReport, Error> {
        let dir = tempfile::Builder::new().prefix("prunedb-bench-").tempdir_in(dir)?;
        let records = Records::new(value_bytes);
        let count = (self.mb * 1_000_000 / records.record_bytes() as u64).max(self.rounds);
        let mut out = SizeReport { value_bytes, ..SizeReport::default() };
        let mut raw = Raw::create(&dir.path().join("raw"), self.group_bytes)?;
        let mut ours = Ours::create(&dir.path().join("db"), self.group_bytes)?;

        step("ingest");
        let count = self.ingest(&records, count, &mut raw, &mut ours, &mut out)?;
        step("warm reads");
        warm(&records, count, &raw, &ours, &mut out)?;
        step("cold reads");
        cold(&records, count, &raw, &ours, &mut out)?;
        step("scan");
        scan(&records, count, &raw, &ours, &mut out)?;
        step("reopen");
        (out.reopen_crash_ms, ours) = ours.reopen(false)?;
        (out.reopen_ms, ours) = ours.reopen(true)?;
        ours.check(&records, count)?;
        out.peak_rss_mb = process::peak_bytes()? as f64 / 1e6;
        Ok(out)
    }

    /// Puts all records on both sides; how many.
    fn ingest(
        &self,
        records: &Records,
        count: u64,
        raw: &mut Raw,
        ours: &mut Ours,
        out: &mut SizeReport,
    ) -> Result<u64, Error> {
        let of_round = count / self.rounds;
        let bytes = of_round as f64 * records.record_bytes() as f64;
        let (mut raw_seconds, mut our_seconds) = (Vec::new(), Vec::new());
        let (mut raw_cpu, mut our_cpu, mut written) = (0.0, 0.0, 0);
        for round in 0..self.rounds {
            let range = round * of_round..(round + 1) * of_round;
            for raw_turn in [round % 2 == 0, round % 2 != 0] {
                let before = process::written_bytes()?;
                let (start, cpu) = (Instant::now(), process::cpu_seconds());
                if raw_turn {
                    raw.append(records, range.clone())?;
                    raw_seconds.push(start.elapsed().as_secs_f64());
                    raw_cpu += process::cpu_seconds() - cpu;
                } else {
                    ours.append(records, range.clone())?;
                    our_seconds.push(start.elapsed().as_secs_f64());
                    our_cpu += process::cpu_seconds() - cpu;
                    written += process::written_bytes()? - before;
                }
            }
        }
        let before = process::written_bytes()?;
        ours.close()?;
        written += process::written_bytes()? - before;
        let all = bytes * self.rounds as f64;
        let ratios = raw_seconds.iter().zip(&our_seconds).map(|(raw, ours)| raw / ours);
        out.ingest_ratio = median(ratios.collect());
        out.raw_mbps = bytes / median(raw_seconds) / 1e6;
        out.ingest_mbps = bytes / median(our_seconds) / 1e6;
        out.raw_cpu_s_per_gb = raw_cpu / (all / 1e9);
        out.cpu_s_per_gb = our_cpu / (all / 1e9);
        out.write_amp = written as f64 / all;
        Ok(of_round * self.rounds)
    }
}

/// Which records a turn reads.
fn chosen(turn: u64, reads: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..reads).map(move |i| ((turn * reads + i + 1).wrapping_mul(STRIDE) >> 20) % count)
}

fn warm(
    records: &Records,
    count: u64,
    raw: &Raw,
    ours: &Ours,
    out: &mut SizeReport,
) -> Result<(), Error> {
    raw.read_all(records, count)?;
    ours.read_all(records, count)?;
    let (mut raw_us, mut our_us, mut seconds) = (Vec::new(), Vec::new(), 0.0);
    let mut value = vec![0; records.value_bytes()];
    for turn in 0..WARM_TURNS {
        for record in chosen(turn, WARM_READS, count) {
            let start = Instant::now();
            raw.read(records, record, &mut value)?;
            raw_us.push(micros(start));
        }
        let turn_start = Instant::now();
        for record in chosen(turn, WARM_READS, count) {
            let start = Instant::now();
            ours.read(records, record)?;
            our_us.push(micros(start));
        }
        seconds += turn_start.elapsed().as_secs_f64();
    }
    out.warm_ops = our_us.len() as f64 / seconds;
    out.warm_p99_us = percentile(&mut our_us, 99);
    out.warm_p50_us = percentile(&mut our_us, 50);
    out.raw_pread_warm_us = percentile(&mut raw_us, 50);
    Ok(())
}

fn cold(
    records: &Records,
    count: u64,
    raw: &Raw,
    ours: &Ours,
    out: &mut SizeReport,
) -> Result<(), Error> {
    let (mut raw_us, mut our_us) = (Vec::new(), Vec::new());
    let mut page = [0; COLD_PREAD_BYTES];
    for turn in 0..COLD_TURNS {
        // a turn has few enough reads that hardly two of them meet in one page
        raw.drop_cached()?;
        for record in chosen(turn, COLD_READS, count) {
            let start = Instant::now();
            raw.read_page_of(records, record, &mut page)?;
            raw_us.push(micros(start));
        }
        ours.drop_cached()?;
        for record in chosen(turn, COLD_READS, count) {
            let start = Instant::now();
            ours.read(records, record)?;
            our_us.push(micros(start));
        }
    }
    out.raw_pread_cold_us = percentile(&mut raw_us, 50);
    out.cold_p50_us = percentile(&mut our_us, 50);
    Ok(())
}

fn scan(
    records: &Records,
    count: u64,
    raw: &Raw,
    ours: &Ours,
    out: &mut SizeReport,
) -> Result<(), Error> {
    ours.fill_sequence(records, count)?;
    let bytes = count as f64 * records.value_bytes() as f64;
    raw.drop_cached()?;
    let start = Instant::now();
    let read = raw.read_all(records, count)?;
    out.raw_scan_mbps = read as f64 / start.elapsed().as_secs_f64() / 1e6;
    for (cold, figure) in [(true, &mut out.scan_mbps), (false, &mut out.scan_warm_mbps)] {
        if cold {
            ours.drop_cached()?;
        }
        let start = Instant::now();
        ours.scan(count)?;
        *figure = bytes / start.elapsed().as_secs_f64() / 1e6;
    }
    Ok(())
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

//! Timing single lookups.

use super::{
    Error,
    content::{Content, key, location},
    files,
};
use prunedb_engine::{Db, Table};
use std::{path::PathBuf, time::Instant};

const LOOKUPS: u64 = 200_000;
const GETS: u64 = 2_000;
/// Cold lookups, in rounds between which the file cache is emptied, so that none finds what another left.
const COLD_ROUNDS: u64 = 20;
const COLD_LOOKUPS: u64 = 50;

/// A database whose keys are looked up.
pub(super) struct Lookups<'a> {
    pub(super) db: &'a Db,
    pub(super) table: &'a Table,
    pub(super) keys: u64,
    pub(super) content: &'a Content,
}

/// Figures of many lookups.
pub(super) struct Timed {
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) page_reads: f64,
}

impl Lookups<'_> {
    /// A record that is there; every record is as likely.
    fn some(&self, i: u64) -> u64 {
        random(i) % self.keys
    }

    pub(super) fn hits(&self) -> Result<Timed, Error> {
        self.timed(|this, i| this.hit(i))
    }

    pub(super) fn misses(&self) -> Result<Timed, Error> {
        self.timed(|this, i| {
            let record = this.keys + random(i) % (u64::MAX / 2);
            let key = key(record);
            let start = Instant::now();
            // most misses have no candidate; the few that share a fingerprint are told apart by their record
            for at in this.db.index().candidates(this.table.id(), &key) {
                at?;
            }
            Ok(start.elapsed().as_secs_f64() * 1e6)
        })
    }

    fn timed(&self, lookup: impl Fn(&Self, u64) -> Result<f64, Error>) -> Result<Timed, Error> {
        for i in 0..LOOKUPS / 10 {
            lookup(self, LOOKUPS + i)?;
        }
        let before = self.db.index().stats();
        let mut micros =
            (0..LOOKUPS).map(|i| lookup(self, i)).collect::<Result<Vec<f64>, Error>>()?;
        let reads = self.db.index().stats().page_reads - before.page_reads;
        micros.sort_unstable_by(f64::total_cmp);
        Ok(Timed {
            p50_us: micros[micros.len() / 2],
            p99_us: micros[micros.len() * 99 / 100],
            page_reads: reads as f64 / LOOKUPS as f64,
        })
    }

    /// Microseconds until the location of a record is found.
    pub(super) fn hit(&self, i: u64) -> Result<f64, Error> {
        let record = self.some(i);
        let (key, expected) = (key(record), location(record));
        let start = Instant::now();
        for at in self.db.index().candidates(self.table.id(), &key) {
            if at? == expected {
                return Ok(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        Err(Error::Wrong { record, found: "not in the index" })
    }

    /// Median of reading whole records.
    pub(super) fn gets(&self) -> Result<f64, Error> {
        let mut micros = (0..GETS).map(|i| self.get(i)).collect::<Result<Vec<f64>, Error>>()?;
        Ok(median(&mut micros))
    }

    /// Microseconds until a record is read.
    pub(super) fn get(&self, i: u64) -> Result<f64, Error> {
        let record = self.some(i);
        let key = key(record);
        let (value, seconds) = seconds_of(|| self.db.get(self.table, &key));
        match value? {
            Some(value) if value == self.content.value(record) => Ok(seconds * 1e6),
            Some(_) => Err(Error::Wrong { record, found: "another value" }),
            None => Err(Error::Wrong { record, found: "not there" }),
        }
    }

    /// Median of lookups that find none of these files in the file cache.
    pub(super) fn cold(
        &self,
        cold: &[PathBuf],
        lookup: impl Fn(&Self, u64) -> Result<f64, Error>,
    ) -> Result<f64, Error> {
        let mut micros = Vec::new();
        for round in 0..COLD_ROUNDS {
            files::make_cold(cold)?;
            for i in 0..COLD_LOOKUPS {
                micros.push(lookup(self, round * COLD_LOOKUPS + i)?);
            }
        }
        Ok(median(&mut micros))
    }

    /// Median of reads of 4 KiB from the largest of these files, none of them in the file cache.
    pub(super) fn cold_preads(&self, cold: &[PathBuf]) -> Result<f64, Error> {
        let bytes = |path: &&PathBuf| std::fs::metadata(path).map_or(0, |m| m.len());
        let Some(largest) = cold.iter().max_by_key(bytes) else { return Ok(0.0) };
        let mut micros = Vec::new();
        for round in 0..COLD_ROUNDS {
            files::make_cold(cold)?;
            let place = |i| random(round * COLD_LOOKUPS + i);
            micros.append(&mut files::preads(largest, COLD_LOOKUPS, place)?);
        }
        Ok(median(&mut micros))
    }
}

fn random(i: u64) -> u64 {
    let x = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 1
}

/// What `work` gives, and how long it takes.
pub(super) fn seconds_of<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let out = work();
    (out, start.elapsed().as_secs_f64())
}

/// The middle one; 0 of none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

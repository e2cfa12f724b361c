//! A read takes as long in a large database as in a small one.

use super::{
    ProveError, Setting,
    lab::{Lab, scattered},
    proof::Proof,
};
use prunedb_engine::{Db, OnProgress, Progress, Table, TableKind, Trace};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// The database is measured at these shares of its last size.
const SHARES: [u64; 3] = [100, 10, 1];
/// Point reads at each size, of what is on this disk and of what is not.
const LOCAL_READS: usize = 5_000;
const LAKE_READS: usize = 400;
/// Most that a median may grow by from the first size to the last.
const GROWTH_MAX: f64 = 2.0;
/// Length of a value.
const VALUE_BYTES: usize = 1000;

/// Fills a database step by step to a hundred times its first size, and reads at each: at `records` in the end.
///
/// # Errors
/// [`ProveError`].
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub fn size(
    setting: &Setting,
    records: u64,
    runtime: &Handle,
    report: &mut OnProgress<'_>,
) -> Result<Proof, ProveError> {
    let lab = Lab::new(setting, runtime)?;
    let table = lab.db.ensure_table("proof/small", TableKind::Keyed)?;
    let mut proof = Proof::new(
        "size",
        format!(
            "{} nodes at {}; keys of 32 bytes, values of {VALUE_BYTES}",
            setting.nodes, setting.policy
        ),
    );
    let mut next = 0;
    let mut medians: Vec<(u64, Duration, Duration)> = Vec::new();
    let mut wrong = 0;
    for share in SHARES {
        let end = (records / share).max(1);
        while next < end {
            let (key, value) = small(next);
            lab.db.append(&[(&table, &key, &value)])?;
            next += 1;
            if next.is_multiple_of(1000) {
                report(Progress { what: "put", done: next, total: records, container: None });
            }
        }
        lab.db.commit()?;
        let (local, bad) = measure(&lab.db, &table, scattered(end, 1), LOCAL_READS, |_| true);
        wrong += bad;
        lab.evict(report)?;
        // what comes with another record's frame is here already, and no read of the lake
        let fetched = |trace: &Trace| trace.frames_fetched > 0;
        let (lake, bad) = measure(&lab.db, &table, scattered(end, 99), LAKE_READS, fetched);
        wrong += bad;
        medians.push((end, local.at(50), lake.at(50)));
        for (what, took) in [("on this disk", &local), ("in the lake", &lake)] {
            for (which, at) in [("median", 50), ("99 %", 99)] {
                let us = took.at(at).as_secs_f64() * 1e6;
                proof.figure(format!("{end} records, {what}: {which}"), us, "us");
            }
        }
    }
    proof.claim("every read gives the record that was put", format!("{wrong} do not"), wrong == 0);
    if let [(few, local, lake), .., (many, local_many, lake_many)] = &medians[..] {
        let mut judge = |what: &str, small: Duration, large: Duration| {
            let growth = large.as_secs_f64() / small.as_secs_f64().max(1e-9);
            proof.claim(
                format!("{what} takes at most {GROWTH_MAX} times as long with {many} records as with {few}"),
                format!("median {:.1} us, then {:.1} us: {growth:.2} times", small.as_secs_f64() * 1e6, large.as_secs_f64() * 1e6),
                growth <= GROWTH_MAX,
            );
        };
        judge("a read on this disk", *local, *local_many);
        judge("a read from the lake", *lake, *lake_many);
    }
    proof.figure(
        "metadata here, a record",
        lab.db.status()?.metadata_bytes as f64 / records.max(1) as f64,
        "bytes",
    );
    lab.close()?;
    Ok(proof)
}

/// How long reads took, in order.
struct Took(Vec<Duration>);

impl Took {
    /// What so many of a hundred stayed below.
    fn at(&self, percent: usize) -> Duration {
        let position = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(position).copied().unwrap_or_default()
    }
}

/// Reads records one after another, until so many counted; how long those took, and how many of all were wrong.
fn measure(
    db: &Db,
    table: &Table,
    numbers: impl Iterator<Item = u64>,
    count: usize,
    counts: impl Fn(&Trace) -> bool,
) -> (Took, u64) {
    let (mut took, mut wrong) = (Vec::new(), 0);
    for number in numbers {
        let (key, value) = small(number);
        let started = Instant::now();
        let found = db.get_traced(table, &key);
        let time = started.elapsed();
        match found {
            Ok((Some(found), trace)) if found == value => {
                took.extend(counts(&trace).then_some(time))
            }
            _ => wrong += 1,
        }
        if took.len() == count {
            break;
        }
    }
    took.sort_unstable();
    (Took(took), wrong)
}

/// A record of one length.
fn small(number: u64) -> ([u8; 32], Vec<u8>) {
    let key = *blake3::hash(&number.to_be_bytes()).as_bytes();
    let mut value = vec![0; VALUE_BYTES];
    blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut value);
    (key, value)
}

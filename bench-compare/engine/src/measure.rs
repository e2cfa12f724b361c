//! One store at one value size, from an empty folder to its last figure.

use crate::{
    figures::Figures,
    peers::Peer,
    store::{Group, OpenStore, Store, Table},
};
use anyhow::{Context, ensure};
use prunedb_bench::{engine::Records, process};
use std::{path::Path, sync::Barrier, thread, time::Instant};

/// Bytes of keys and values that become durable together.
pub(crate) const GROUP_BYTES: usize = 1 << 20;
/// Warm reads of each thread.
const WARM_READS: u64 = 40_000;
/// Cold reads of each thread and turn, and turns.
const COLD_READS: u64 = 150;
const COLD_TURNS: u64 = 3;
/// A turn reads other records than those before.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) mb: u64,
    pub(crate) value_bytes: usize,
}

/// A store and where it lies; open but for a moment.
struct Under<'a> {
    open: OpenStore,
    dir: &'a Path,
    store: Box<dyn Store>,
}

impl Under<'_> {
    /// Closes and opens again; cold, what the system keeps of the files is dropped before and after. Milliseconds of the
    /// opening.
    fn reopen(self, cold: bool) -> anyhow::Result<(f64, Self)> {
        let Self { open, dir, store } = self;
        store.close()?;
        if cold {
            process::drop_cached(dir)?;
        }
        let start = Instant::now();
        let store = open(dir)?;
        let took = seconds(start) * 1e3;
        if cold {
            process::drop_cached(dir)?;
        }
        Ok((took, Self { open, dir, store }))
    }
}

impl Plan {
    pub(crate) fn measure(self, peer: &Peer, dir: &Path) -> anyhow::Result<Figures> {
        let dir = tempfile::Builder::new().prefix("prunedb-bench-").tempdir_in(dir)?;
        let records = Records::new(self.value_bytes);
        let count = (self.mb * 1_000_000 / records.record_bytes() as u64).max(1);
        let bytes = count as f64 * records.record_bytes() as f64;
        let store = (peer.open)(dir.path())?;
        let mut under = Under { open: peer.open, dir: dir.path(), store };

        let (written, cpu, start) =
            (process::written_bytes()?, process::cpu_seconds(), Instant::now());
        fill(&mut *under.store, &records, count, Table::Hashes)?;
        let ingest = seconds(start);
        let (reopen_ms, mut under) = under.reopen(false)?;
        let cpu = process::cpu_seconds() - cpu;
        let written = process::written_bytes()? - written;
        let disk_bytes = process::allocated_bytes(dir.path())?;

        let warm_up = 0..count;
        read(&*under.store, &records, warm_up)?;
        let (warm_p50_us, warm_ops) = reads(&*under.store, &records, count, 1, 0, WARM_READS)?;
        let (_, warm_ops_2) = reads(&*under.store, &records, count, 2, 1, WARM_READS)?;
        let (mut cold, mut cold_2) = (Vec::new(), Vec::new());
        for turn in 0..COLD_TURNS {
            for (threads, out) in [(1, &mut cold), (2, &mut cold_2)] {
                (_, under) = under.reopen(true)?;
                out.push(reads(&*under.store, &records, count, threads, turn + 2, COLD_READS)?);
            }
        }
        fill(&mut *under.store, &records, count, Table::Heights)?;
        let mut scan = [0.0; 2];
        for (figure, is_cold) in scan.iter_mut().zip([true, false]) {
            if is_cold {
                (_, under) = under.reopen(true)?;
            }
            let start = Instant::now();
            check_scan(&*under.store, &records, count)?;
            *figure = count as f64 * self.value_bytes as f64 / seconds(start) / 1e6;
        }
        under.store.close()?;
        Ok(Figures {
            store: peer.name.into(),
            value_bytes: self.value_bytes,
            ingest_mbps: bytes / ingest / 1e6,
            cpu_s_per_gb: cpu / (bytes / 1e9),
            write_amp: written as f64 / bytes,
            disk_per_byte: disk_bytes as f64 / bytes,
            reopen_ms,
            warm_p50_us,
            warm_ops,
            warm_ops_2,
            cold_p50_us: middle(cold.iter().map(|turn| turn.0)),
            cold_ops: middle(cold.iter().map(|turn| turn.1)),
            cold_ops_2: middle(cold_2.iter().map(|turn| turn.1)),
            scan_mbps: scan[0],
            scan_warm_mbps: scan[1],
            peak_rss_mb: process::peak_bytes()? as f64 / 1e6,
        })
    }
}

fn fill(store: &mut dyn Store, records: &Records, count: u64, table: Table) -> anyhow::Result<()> {
    let (mut group, mut bytes): (Group<'_>, usize) = (Vec::new(), 0);
    for record in 0..count {
        let key = match table {
            Table::Hashes => records.key(record).to_vec(),
            Table::Heights => record.to_be_bytes().to_vec(),
        };
        group.push((key, records.value(record)));
        bytes += records.record_bytes();
        if bytes >= GROUP_BYTES || record + 1 == count {
            store.put(table, &group)?;
            group.clear();
            bytes = 0;
        }
    }
    Ok(())
}

/// Reads records and looks at both ends of each value.
fn read(
    store: &dyn Store,
    records: &Records,
    chosen: impl Iterator<Item = u64>,
) -> anyhow::Result<Vec<f64>> {
    let mut reader = store.reader()?;
    let mut micros = Vec::new();
    for record in chosen {
        let key = records.key(record);
        let start = Instant::now();
        let value = reader.get(&key)?.context("a record is missing")?;
        let value = (*value).as_ref();
        ensure!(same(value, records.value(record)), "a record is another one");
        micros.push(seconds(start) * 1e6);
    }
    Ok(micros)
}

/// As far as a look at both ends tells: comparing all of it would be measured, too.
fn same(found: &[u8], put: &[u8]) -> bool {
    found.len() == put.len()
        && found.first_chunk::<8>() == put.first_chunk::<8>()
        && found.last_chunk::<8>() == put.last_chunk::<8>()
}

/// Random reads on some threads at once: microseconds of the middle one, reads a second of all.
fn reads(
    store: &dyn Store,
    records: &Records,
    count: u64,
    threads: u64,
    turn: u64,
    each: u64,
) -> anyhow::Result<(f64, f64)> {
    let start_line = Barrier::new(usize::try_from(threads)?);
    let done: Vec<anyhow::Result<(Vec<f64>, f64)>> = thread::scope(|scope| {
        let start_line = &start_line;
        let on_thread = |nth: u64| {
            scope.spawn(move || {
                let first = (turn * 8 + nth) * each;
                let chosen = first..first + each;
                let chosen = chosen.map(|i| ((i + 1).wrapping_mul(STRIDE) >> 20) % count);
                start_line.wait();
                let start = Instant::now();
                read(store, records, chosen).map(|micros| (micros, seconds(start)))
            })
        };
        let threads: Vec<_> = (0..threads).map(on_thread).collect();
        threads.into_iter().map(|t| t.join().expect("a reader does not panic")).collect()
    });
    let (mut micros, mut longest) = (Vec::new(), 0.0_f64);
    for thread in done {
        let (of_thread, took) = thread?;
        micros.extend(of_thread);
        longest = longest.max(took);
    }
    let ops = micros.len() as f64 / longest;
    Ok((middle(micros.into_iter()), ops))
}

fn check_scan(store: &dyn Store, records: &Records, count: u64) -> anyhow::Result<()> {
    let (mut next, mut wrong) = (0, 0);
    store.scan(&mut |value| {
        wrong += u64::from(next >= count || !same(value, records.value(next)));
        next += 1;
    })?;
    ensure!(next == count && wrong == 0, "{next} of {count} records, {wrong} of them wrong");
    Ok(())
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

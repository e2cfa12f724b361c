//! Builds an index of so many keys and measures it.
//!
//! `cargo bench -p prunedb-index -- [--keys 1e6,1e7] [--dir DIR] [--memtable 1000000] [--threads 1|2]`
//!
//! Keys are 32 random bytes, a container holds 10,000. With two threads, merges run beside inserts and flushes, as in
//! the engine. Lookups are warm: the runs are in the page cache of the operating system.

use prunedb_core::TableId;
use prunedb_disk::RealDisk;
use prunedb_index::{Index, Location, Options, Seed};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const KEYS_PER_CONTAINER: u64 = 10_000;
const LOOKUPS: u64 = 200_000;
const TABLE: TableId = TableId(1);

struct Settings {
    keys: Vec<u64>,
    dir: PathBuf,
    memtable: u64,
    threads: usize,
}

fn main() {
    let settings = settings();
    println!(
        "| keys | build, Mkeys/s | build, CPU us/key | rewrites | bytes/key | runs | RAM, B/key | reopen, ms | hit p50/p99, us | pages | miss p50/p99, us | pages |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for &keys in &settings.keys {
        let dir = settings.dir.join(format!("prunedb-bench-index-{}", std::process::id()));
        measure(keys, &dir, &settings);
        std::fs::remove_dir_all(&dir).expect("the folder is ours");
    }
}

/// Cargo adds `--bench`; what is not understood is an error.
fn settings() -> Settings {
    let mut settings = Settings {
        keys: vec![1_000_000, 10_000_000],
        dir: std::env::temp_dir(),
        memtable: 1_000_000,
        threads: 2,
    };
    #[expect(clippy::cast_possible_truncation, reason = "1e9 is a number of keys as well")]
    let number = |text: &str| text.parse::<f64>().expect("a number") as u64;
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().expect("a value after each name");
        match name.as_str() {
            "--keys" => settings.keys = value.split(',').map(number).collect(),
            "--dir" => settings.dir = value.into(),
            "--memtable" => settings.memtable = number(&value),
            "--threads" => settings.threads = value.parse().expect("1 or 2"),
            _ => panic!("unknown argument {name}"),
        }
    }
    settings
}

fn key(i: u64) -> [u8; 32] {
    let mut x = i;
    let mut out = [0; 32];
    for part in out.chunks_exact_mut(8) {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let y = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (y ^ (y >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&x.to_le_bytes());
    }
    out
}

fn location(i: u64) -> Location {
    let container = u32::try_from(i / KEYS_PER_CONTAINER).expect("few containers");
    let slot = u32::try_from(i % KEYS_PER_CONTAINER).expect("few per container");
    Location { container, offset: slot * 1024 }
}

fn open(dir: &Path) -> Index {
    Index::open(Arc::new(RealDisk), dir, &Seed::new([1; 32]), Options::default()).expect("opens")
}

/// Time that making the keys takes; not the index's.
fn generator(keys: u64) -> Duration {
    let start = Instant::now();
    let mut sum = 0u8;
    (0..keys).for_each(|i| sum ^= std::hint::black_box(key(i))[31]);
    std::hint::black_box(sum);
    start.elapsed()
}

/// CPU time of the process, which other processes disturb less than the clock; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn build(index: &Index, keys: u64, settings: &Settings) -> Duration {
    let building = AtomicBool::new(true);
    let start = Instant::now();
    std::thread::scope(|scope| {
        if settings.threads > 1 {
            scope.spawn(|| {
                while building.load(Relaxed) {
                    if index.merge_step(1 << 20).expect("merges").idle {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
        let mut batch = Vec::new();
        for i in 0..keys {
            batch.push((key(i), location(i)));
            if batch.len() == 1000 {
                index.insert_many(batch.iter().map(|(key, at)| (TABLE, key.as_slice(), *at)));
                batch.clear();
            }
            if (i + 1) % settings.memtable == 0 {
                index.flush(location(i).container + 1).expect("flushes");
                if settings.threads == 1 {
                    while !index.merge_step(u64::MAX).expect("merges").idle {}
                }
            }
        }
        index.insert_many(batch.iter().map(|(key, at)| (TABLE, key.as_slice(), *at)));
        index.flush(location(keys).container + 1).expect("flushes");
        while !index.merge_step(u64::MAX).expect("merges").idle {}
        building.store(false, Relaxed);
    });
    start.elapsed()
}

fn measure(keys: u64, dir: &Path, settings: &Settings) {
    let index = open(dir);
    let cpu_before = cpu_seconds();
    let generating = generator(keys);
    let cpu_generated = cpu_seconds();
    let seconds = (build(&index, keys, settings).saturating_sub(generating)).as_secs_f64();
    let cpu = (cpu_seconds() - cpu_generated) - (cpu_generated - cpu_before);
    let stats = index.stats();
    drop(index);
    let start = Instant::now();
    let index = open(dir);
    let reopen = start.elapsed();
    while !index.merge_step(u64::MAX).expect("loads filters").idle {}
    let hit = lookups(&index, |i| i * 7919 % keys, true);
    let miss = lookups(&index, |i| keys + i, false);
    println!(
        "| {keys:.0e} | {:.2} | {:.3} | {:.2} | {:.2} | {} | {:.3} | {:.1} | {:.2} / {:.2} | {:.3} | {:.2} / {:.2} | {:.3} |",
        keys as f64 / seconds / 1e6,
        cpu * 1e6 / keys as f64,
        stats.entries_written as f64 / keys as f64,
        stats.disk_bytes as f64 / keys as f64,
        stats.keyed_runs,
        index.stats().ram_bytes as f64 / keys as f64,
        reopen.as_secs_f64() * 1e3,
        hit.p50,
        hit.p99,
        hit.pages,
        miss.p50,
        miss.p99,
        miss.pages,
    );
}

struct Lookups {
    p50: f64,
    p99: f64,
    pages: f64,
}

/// Looks keys up as the engine does: until the first candidate whose record fits.
fn lookups(index: &Index, number: impl Fn(u64) -> u64, hits: bool) -> Lookups {
    for i in 0..LOOKUPS / 10 {
        let _ = index.lookup(TABLE, &key(number(i)));
    }
    let before = index.stats();
    let mut micros: Vec<f64> = (0..LOOKUPS)
        .map(|i| {
            let i = number(i);
            let key = key(i);
            let start = Instant::now();
            let found =
                index.candidates(TABLE, &key).any(|at| at.expect("no damage") == location(i));
            let elapsed = start.elapsed();
            assert_eq!(found, hits, "key {i}");
            elapsed.as_secs_f64() * 1e6
        })
        .collect();
    let after = index.stats();
    micros.sort_unstable_by(f64::total_cmp);
    let at = |per_mille: usize| micros[(micros.len() - 1) * per_mille / 1000];
    Lookups {
        p50: at(500),
        p99: at(990),
        pages: (after.page_reads - before.page_reads) as f64 / LOOKUPS as f64,
    }
}

//! Reading and verifying a node's file, and storing it, on one core and on two: `PRUNEDB_CORPUS=... cargo bench -p prunedb-casper`.
//!
//! The blocks of the corpus's real network, again and again: 4.3 MB, half of it what execution did; 828 transactions of which most are transfers
//! of 400 bytes, 1,458 Ed25519 signatures. A figure is the median of nine rounds over all of them, in MB of rows a second. `import` reads, verifies and stores in
//! memory, its rounds on one thread and on two taking turns; at the end comes the most memory that the process ever had, with the archive in it.

use prunedb_casper::{CasperSource, CasperVerifier};
use prunedb_chains::{
    archive::MemoryArchive,
    contract::{ChainSource as _, ChainVerifier as _, ImportOptions, Level, RawBlock, import},
};
use std::{num::NonZeroUsize, path::PathBuf, time::Instant};

const ROUNDS: usize = 9;
/// As many blocks as an import verifies at once.
const GROUP: usize = 64;

fn main() {
    let Some(corpus) = std::env::var_os("PRUNEDB_CORPUS").map(PathBuf::from) else {
        println!("skipped: PRUNEDB_CORPUS is not set");
        return;
    };
    let path = corpus.join("casper/node-A/storage.lmdb");
    let mut source = CasperSource::open(&path, 0..=u64::MAX, None).expect("the corpus's file");
    let verifier = CasperVerifier::new(source.network()).expect("its network");
    let blocks = read(&mut source);
    let bytes = blocks.iter().map(RawBlock::bytes).sum();
    measure("read", bytes, || {
        source.rewind().expect("the corpus's file");
        assert_eq!(read(&mut source).len(), blocks.len());
    });
    for level in Level::ALL {
        measure(level.name(), bytes, || {
            for group in blocks.chunks(GROUP) {
                verifier.verify(group, level).unwrap_or_else(|bad| panic!("{}", bad.fault));
            }
        });
    }
    for level in [Level::Hashes, Level::Signatures] {
        let mut once = |threads: usize| {
            let options = ImportOptions::new(level, NonZeroUsize::new(threads).expect("1 or 2"));
            source.rewind().expect("the corpus's file");
            let (mut archive, started) = (MemoryArchive::default(), Instant::now());
            import(&mut archive, &mut source, &verifier, &options, &mut |_| ())
                .expect("sound blocks");
            started.elapsed().as_secs_f64()
        };
        let rounds: Vec<[f64; 2]> = (0..ROUNDS).map(|_| [once(1), once(2)]).collect();
        let [one, two] = [0, 1].map(|at| median(rounds.iter().map(|round| round[at])));
        let ratio = median(rounds.iter().map(|[one, two]| one / two));
        let speed = |seconds| megabytes(bytes) / seconds;
        println!(
            "casper::import ({level}): {:.0} MB/s, on two threads {:.0} (x{ratio:.2})",
            speed(one),
            speed(two)
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("casper::memory: {} at most", peak.map_or("unknown", str::trim));
}

fn read(source: &mut CasperSource) -> Vec<RawBlock> {
    std::iter::from_fn(|| source.next_block().expect("the corpus's file")).collect()
}

fn measure(what: &str, bytes: u64, mut round: impl FnMut()) {
    round();
    let seconds = median((0..ROUNDS).map(|_| {
        let started = Instant::now();
        round();
        started.elapsed().as_secs_f64()
    }));
    println!("casper::{what}: {:.0} MB/s", megabytes(bytes) / seconds);
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn megabytes(bytes: u64) -> f64 {
    u32::try_from(bytes / 1000).map(f64::from).expect("a small file") / 1000.0
}

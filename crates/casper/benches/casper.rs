//! Reading and verifying a node's file, one core: `PRUNEDB_CORPUS=... cargo bench -p prunedb-casper`.
//!
//! The blocks of the corpus's real network, again and again: 4.3 MB, half of it what execution did; 828 transactions of which most are transfers
//! of 400 bytes, 1,458 Ed25519 signatures. A figure is the median of nine rounds over all of them, in MB of rows a second.

use prunedb_casper::{CasperSource, CasperVerifier};
use prunedb_chains::contract::{ChainSource as _, ChainVerifier as _, Level, RawBlock};
use std::{path::PathBuf, time::Instant};

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
}

fn read(source: &mut CasperSource) -> Vec<RawBlock> {
    std::iter::from_fn(|| source.next_block().expect("the corpus's file")).collect()
}

fn measure(what: &str, bytes: u64, mut round: impl FnMut()) {
    round();
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            round();
            started.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let mb = u32::try_from(bytes / 1000).map(f64::from).expect("a small file") / 1000.0;
    println!("casper::{what}: {:.0} MB/s", mb / seconds[ROUNDS / 2]);
}

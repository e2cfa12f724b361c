//! Speed of verifying, importing and exporting Bitcoin history: `cargo bench -p prunedb-chains --bench bitcoin`.
//!
//! Needs `PRUNEDB_CORPUS`: its full blocks of testnet, each with undo data made up to fit, again and again until a file has
//! 100 MB; the store keeps each of them once, so that this is mostly reading and verifying. MB are of the files; the store is in
//! memory, the files are in the system's cache.

use prunedb_chains::{
    archive::MemoryArchive,
    bitcoin::{Block, ImportOptions, Network, export_folder, import_folder, sha256d},
};
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Instant,
};

const FILE_BYTES: usize = 100_000_000;
const RUNS: usize = 5;
const HEIGHTS: [u32; 5] = [928_816, 928_828, 928_831, 928_848, 928_927];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(corpus) = std::env::var_os("PRUNEDB_CORPUS") else {
        println!("bitcoin: skipped, PRUNEDB_CORPUS is not set");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let corpus = PathBuf::from(corpus).join("bitcoin/bcoin");
    let bytes = write(&corpus, folder.path())? as f64 / 1e6;
    let import = |threads| -> Result<_, Box<dyn std::error::Error>> {
        let mut options = ImportOptions::default();
        options.threads = NonZeroUsize::new(threads).ok_or("not 0")?;
        let (mut archive, started) = (MemoryArchive::default(), Instant::now());
        import_folder(&mut archive, folder.path(), &options, &mut |_| ())?;
        Ok((started.elapsed().as_secs_f64(), archive))
    };
    // in turns, so that a busy machine is one for both
    let (mut one, mut two) = (f64::INFINITY, f64::INFINITY);
    let mut archive = MemoryArchive::default();
    for _ in 0..RUNS {
        let (seconds, imported) = import(1)?;
        (one, archive) = (one.min(seconds), imported);
        two = two.min(import(2)?.0);
    }
    println!("threads=1  import {:7.1} MB/s", bytes / one);
    println!("threads=2  import {:7.1} MB/s  x{:.2}", bytes / two, one / two);
    let mut export = f64::INFINITY;
    for _ in 0..RUNS {
        let (out, started) = (tempfile::tempdir()?, Instant::now());
        export_folder(&archive, Network::Testnet3, out.path(), |_| true, &mut |_| ())?;
        export = export.min(started.elapsed().as_secs_f64());
    }
    println!("threads=1  export {:7.1} MB/s", bytes / export);
    Ok(())
}

/// Writes one pair of files; gives their bytes.
fn write(corpus: &Path, folder: &Path) -> Result<usize, Box<dyn std::error::Error>> {
    let (mut blk, mut rev) = (Vec::new(), Vec::new());
    while blk.len() < FILE_BYTES {
        for height in HEIGHTS {
            let block = std::fs::read(corpus.join(format!("block{height}.raw")))?;
            let walked = Block::verified(&block, Network::Testnet3)?;
            let (parent, undo) = (walked.header.parent, undo_of(&walked)?);
            record(&mut blk, &block)?;
            record(&mut rev, &undo)?;
            rev.extend(sha256d(&[&parent.0, &undo]).0);
        }
    }
    std::fs::write(folder.join("blk00000.dat"), &blk)?;
    std::fs::write(folder.join("rev00000.dat"), &rev)?;
    Ok(blk.len() + rev.len())
}

fn record(out: &mut Vec<u8>, payload: &[u8]) -> Result<(), std::num::TryFromIntError> {
    out.extend(Network::Testnet3.magic());
    out.extend(u32::try_from(payload.len())?.to_le_bytes());
    out.extend(payload);
    Ok(())
}

/// As many coins as the block's transactions spend: each of a height, an amount and a key's hash.
fn undo_of(block: &Block) -> Result<Vec<u8>, std::num::TryFromIntError> {
    let mut undo = Vec::new();
    compact(&mut undo, block.transactions.len() - 1)?;
    for transaction in &block.transactions[1..] {
        compact(&mut undo, usize::try_from(transaction.inputs)?)?;
        for _ in 0..transaction.inputs {
            undo.extend([0xb0, 0x8c, 0x10, 0, 0x83, 0x12, 0]);
            undo.extend([7; 20]);
        }
    }
    Ok(undo)
}

fn compact(out: &mut Vec<u8>, count: usize) -> Result<(), std::num::TryFromIntError> {
    if count < 0xfd {
        out.push(u8::try_from(count)?);
    } else {
        out.push(0xfd);
        out.extend(u16::try_from(count)?.to_le_bytes());
    }
    Ok(())
}

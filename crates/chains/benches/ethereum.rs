//! Speed of verifying, importing and exporting Ethereum history: `cargo bench -p prunedb-chains`.
//!
//! Made-up full blocks, and with `PRUNEDB_CORPUS` real ones. MB are of decoded RLP; the store is in memory. At the end comes the most memory that the
//! process ever had, with the store in it.

use prunedb_chains::{
    archive::MemoryArchive,
    ethereum::{
        BlockId, EthereumError, History, ImportOptions, Network, import_era1, import_ere,
        import_rlp, synthetic::SyntheticChain, verify_era1, verify_ere, write_era1, write_ere,
    },
};
use std::{io::Cursor, num::NonZeroUsize, path::PathBuf, time::Instant};

const RUNS: usize = 5;

/// What is measured, and how much it is.
struct What<'a> {
    label: &'a str,
    bytes: u64,
    blocks: u64,
}

impl What<'_> {
    /// Does it on one thread and on two, in turns, so that a busy machine is one for both; prints the best of some runs of each.
    /// `work` says how long it took, and gives what it made.
    fn measure<T>(&self, work: &str, mut once: impl FnMut(NonZeroUsize) -> (f64, T)) -> T {
        let threads = [1, 2].map(|threads| NonZeroUsize::new(threads).expect("not 0"));
        let (mut best, mut made) = ([f64::INFINITY; 2], None);
        for _ in 0..RUNS {
            for (best, threads) in best.iter_mut().zip(threads) {
                let (seconds, last) = once(threads);
                (*best, made) = (best.min(seconds), Some(last));
            }
        }
        for (threads, seconds) in threads.into_iter().zip(best) {
            let what = format!("{}: {work}", self.label);
            let (mb, blocks) = (self.bytes as f64 / 1e6 / seconds, self.blocks as f64 / seconds);
            let times = if threads.get() > 1 {
                format!("  x{:.2}", best[0] / seconds)
            } else {
                String::new()
            };
            println!(
                "{what:<44} threads={threads}  {mb:7.1} MB/s  {blocks:9.0} blocks/s  {seconds:.3} s{times}"
            );
        }
        made.expect("it was done")
    }
}

/// How long it takes.
fn timed<T, E: std::fmt::Debug>(work: impl FnOnce() -> Result<T, E>) -> (f64, T) {
    let started = Instant::now();
    let done = work().expect("what is sound");
    (started.elapsed().as_secs_f64(), done)
}

fn options(threads: NonZeroUsize) -> ImportOptions {
    let mut options = ImportOptions::default();
    options.threads = threads;
    options
}

fn era1(label: &str, name: &str, bytes: &[u8]) -> Result<(), EthereumError> {
    let report = verify_era1(Cursor::new(bytes), name, &options(NonZeroUsize::MIN), &mut |_| ())?;
    let what = What { label, bytes: report.decoded_bytes, blocks: report.blocks };
    what.measure("verify", |threads| {
        timed(|| verify_era1(Cursor::new(bytes), name, &options(threads), &mut |_| ()))
    });
    let archive = what.measure("import", |threads| {
        let mut archive = MemoryArchive::default();
        let (input, options) = (Cursor::new(bytes), options(threads));
        let (seconds, _) = timed(|| import_era1(&mut archive, input, name, &options, &mut |_| ()));
        (seconds, archive)
    });
    let (network, epoch) = (&report.network, report.epoch.unwrap_or(0));
    what.measure("export", |threads| {
        timed(|| write_era1(&archive, network, epoch, &mut std::io::sink(), threads, &mut |_| ()))
    });
    ere(&what, &archive, network, epoch)
}

/// The same blocks as `.ere`, of an epoch that is whole.
fn ere(
    what: &What<'_>,
    archive: &MemoryArchive,
    network: &Network,
    epoch: u64,
) -> Result<(), EthereumError> {
    let mut bytes = Vec::new();
    let made = write_ere(archive, network, epoch, &mut bytes, NonZeroUsize::MIN, &mut |_| ());
    let name = match made {
        Ok(report) => report.file,
        Err(EthereumError::NotStored { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    what.measure("verify .ere", |threads| {
        timed(|| verify_ere(Cursor::new(&bytes), &name, &options(threads), &mut |_| ()))
    });
    what.measure("import .ere", |threads| {
        let mut archive = MemoryArchive::default();
        let (input, options) = (Cursor::new(&bytes), options(threads));
        let (seconds, _) = timed(|| import_ere(&mut archive, input, &name, &options, &mut |_| ()));
        (seconds, archive)
    });
    what.measure("export .ere", |threads| {
        timed(|| write_ere(archive, network, epoch, &mut std::io::sink(), threads, &mut |_| ()))
    });
    Ok(())
}

fn plain(label: &str, bytes: &[u8]) -> Result<(), EthereumError> {
    let mut archive = MemoryArchive::default();
    let input = Cursor::new(bytes);
    let report =
        import_rlp(&mut archive, input, "blocks", &options(NonZeroUsize::MIN), &mut |_| ())?;
    let what = What { label, bytes: report.decoded_bytes, blocks: report.blocks };
    what.measure("import", |threads| {
        let mut archive = MemoryArchive::default();
        let (input, options) = (Cursor::new(bytes), options(threads));
        let (seconds, _) =
            timed(|| import_rlp(&mut archive, input, "blocks", &options, &mut |_| ()));
        (seconds, archive)
    });
    let (network, height) = (Network::mainnet(), 19_606_599);
    let history = History::new(&archive, &network);
    if let Some(block) = history.block(BlockId::Height(height))? {
        let bytes = block.rlp().len() as u64;
        let what = What { label: &format!("{label}: block {height}"), bytes, blocks: 1 };
        what.measure("verified, to JSON", |_| {
            timed(|| -> Result<_, Box<dyn std::error::Error>> {
                let block = history.block(BlockId::Height(height))?.ok_or("stored")?;
                Ok(serde_json::to_vec(&block.json(true)?)?)
            })
        });
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network: Network = "devnet".parse()?;
    let (name, bytes) = SyntheticChain::new(&network, 0, 400, 1).era1(&network, 400);
    era1("made-up full blocks", &name, &bytes)?;
    let Some(corpus) = std::env::var_os("PRUNEDB_CORPUS") else {
        println!("real blocks: skipped, PRUNEDB_CORPUS is not set");
        return Ok(());
    };
    let corpus = PathBuf::from(corpus).join("ethereum");
    let name = "mainnet-00000-5ec1ffb8.era1";
    era1("mainnet epoch 0", name, &std::fs::read(corpus.join("era1").join(name))?)?;
    plain("50 real full blocks", &std::fs::read(corpus.join("rlp/mainnet-blocks.rlp"))?)?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("memory: {} at most", peak.map_or("unknown", str::trim));
    Ok(())
}

//! Speed of verifying, importing and exporting Ethereum history: `cargo bench -p prunedb-chains`.
//!
//! Made-up full blocks, and with `PRUNEDB_CORPUS` real ones. MB are of decoded RLP; the store is in memory. At the end comes the most memory that the
//! process ever had, with the store in it.

use prunedb_chains::{
    archive::MemoryArchive,
    ethereum::{
        BlockId, EthereumError, History, ImportOptions, ImportReport, Network, import_era1,
        import_ere, import_rlp, synthetic::SyntheticChain, verify_era1, verify_ere, write_era1,
        write_ere,
    },
};
use std::{io::Cursor, num::NonZeroUsize, path::PathBuf, time::Instant};

const RUNS: usize = 5;

/// The best of some runs, in seconds.
fn seconds(mut work: impl FnMut()) -> f64 {
    let runs = (0..RUNS).map(|_| {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    });
    runs.fold(f64::INFINITY, f64::min)
}

fn row(what: &str, threads: usize, bytes: u64, blocks: u64, seconds: f64) {
    let (mb, blocks) = (bytes as f64 / 1e6 / seconds, blocks as f64 / seconds);
    println!("{what:<44} threads={threads}  {mb:7.1} MB/s  {blocks:9.0} blocks/s  {seconds:.3} s");
}

fn options(threads: usize) -> ImportOptions {
    let mut options = ImportOptions::default();
    options.threads = NonZeroUsize::new(threads).expect("not 0");
    options
}

fn era1(label: &str, name: &str, bytes: &[u8]) -> Result<(), EthereumError> {
    let mut silent = |_: &_| ();
    let mut report: Option<ImportReport> = None;
    for threads in [1, 2] {
        let options = options(threads);
        let time = seconds(|| {
            let verified = verify_era1(Cursor::new(bytes), name, &options, &mut silent);
            report = Some(verified.expect("a sound file"));
        });
        let report = report.as_ref().expect("verified");
        row(&format!("{label}: verify"), threads, report.decoded_bytes, report.blocks, time);
    }
    let Some(report) = report else { return Ok(()) };
    let mut archive = MemoryArchive::default();
    for threads in [1, 2] {
        let options = options(threads);
        let time = seconds(|| {
            archive = MemoryArchive::default();
            let imported =
                import_era1(&mut archive, Cursor::new(bytes), name, &options, &mut silent);
            imported.expect("a sound file");
        });
        row(&format!("{label}: import"), threads, report.decoded_bytes, report.blocks, time);
    }
    let epoch = report.epoch.unwrap_or(0);
    for threads in [1, 2] {
        let threads = NonZeroUsize::new(threads).expect("not 0");
        let time = seconds(|| {
            let mut out = std::io::sink();
            let exported =
                write_era1(&archive, &report.network, epoch, &mut out, threads, &mut silent);
            exported.expect("what was imported");
        });
        let (bytes, blocks) = (report.decoded_bytes, report.blocks);
        row(&format!("{label}: export"), threads.get(), bytes, blocks, time);
    }
    ere(label, &archive, &report.network, epoch)
}

/// The same blocks as `.ere`, of an epoch that is whole.
fn ere(
    label: &str,
    archive: &MemoryArchive,
    network: &Network,
    epoch: u64,
) -> Result<(), EthereumError> {
    let mut silent = |_: &_| ();
    let mut bytes = Vec::new();
    let made = write_ere(archive, network, epoch, &mut bytes, NonZeroUsize::MIN, &mut silent);
    let name = match made {
        Ok(report) => report.file,
        Err(EthereumError::NotStored { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    for threads in [1, 2] {
        let options = options(threads);
        let mut report: Option<ImportReport> = None;
        let verify = seconds(|| {
            let verified = verify_ere(Cursor::new(&bytes), &name, &options, &mut silent);
            report = Some(verified.expect("a sound file"));
        });
        let import = seconds(|| {
            let mut archive = MemoryArchive::default();
            let input = Cursor::new(&bytes);
            import_ere(&mut archive, input, &name, &options, &mut silent).expect("a sound file");
        });
        let export = seconds(|| {
            let (mut out, threads) = (std::io::sink(), options.threads);
            write_ere(archive, network, epoch, &mut out, threads, &mut silent)
                .expect("what was imported");
        });
        let report = report.expect("verified");
        for (what, time) in [("verify", verify), ("import", import), ("export", export)] {
            let what = format!("{label} as .ere: {what}");
            row(&what, threads, report.decoded_bytes, report.blocks, time);
        }
    }
    Ok(())
}

fn plain(label: &str, bytes: &[u8]) -> Result<(), EthereumError> {
    let mut silent = |_: &_| ();
    let mut archive = MemoryArchive::default();
    let mut blocks = 0;
    for threads in [1, 2] {
        let options = options(threads);
        let time = seconds(|| {
            archive = MemoryArchive::default();
            let input = Cursor::new(bytes);
            let report = import_rlp(&mut archive, input, "blocks", &options, &mut silent);
            blocks = report.expect("sound blocks").blocks;
        });
        row(&format!("{label}: import"), threads, bytes.len() as u64, blocks, time);
    }
    let (network, height) = (Network::mainnet(), 19_606_599);
    let history = History::new(&archive, &network);
    if let Some(block) = history.block(BlockId::Height(height))? {
        let time = seconds(|| {
            let block = history.block(BlockId::Height(height)).expect("stored").expect("stored");
            serde_json::to_vec(&block.json(true).expect("shown")).expect("JSON");
        });
        let bytes = block.rlp().len() as u64;
        row(&format!("{label}: block {height} verified, to JSON"), 1, bytes, 1, time);
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

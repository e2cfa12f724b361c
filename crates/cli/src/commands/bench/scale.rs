//! `prunedb bench scale`: index and manifest at sizes that no disk holds.

use crate::{
    io::{Exit, Io, Step},
    text::size,
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_bench::scale::{Scale, scale};
use std::path::PathBuf;
use tokio::runtime::Builder;

#[derive(Args, Debug, Clone)]
pub(crate) struct BenchScale {
    /// Numbers of keys, with commas between; 1,000 keys are a container of 100 MB
    #[arg(long, value_delimiter = ',', default_value = "1e6,1e7,1e8", value_parser = count)]
    keys: Vec<u64>,
    /// Folder on the disk to be measured; 1e9 keys take 38 GB there [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A number such as 1000000 or 1e6.
pub(super) fn count(text: &str) -> anyhow::Result<u64> {
    let (digits, zeros) = text.split_once('e').unwrap_or((text, "0"));
    let ten = 10u64.checked_pow(zeros.parse().context("write 1000000 or 1e6")?);
    let count = ten.and_then(|ten| digits.parse::<u64>().ok()?.checked_mul(ten));
    let count = count.context("write 1000000 or 1e6")?;
    ensure!(count >= 1000, "at least 1000");
    Ok(count)
}

pub(super) fn run(args: &BenchScale, io: &mut Io) -> anyhow::Result<Exit> {
    // the stores compute, they wait for nothing: one thread is enough beside those that are measured
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start threads")?;
    let dir = args.dir.as_ref().map_or_else(std::env::temp_dir, |dir| io.path(dir));
    let mut step = |what: &str, done: u64, total: u64| {
        io.sink.step(Step::counted(what, done, total));
    };
    let measured = scale(&dir, &args.keys, runtime.handle(), &mut step)?;
    if io.json {
        io.json(&measured)?
    } else {
        write(&measured, io)?
    }
    Ok(Exit::Done)
}

fn write(measured: &Scale, io: &mut Io) -> anyhow::Result<()> {
    for s in &measured.sizes {
        io.line(format_args!("{} keys, {} of containers", s.keys, size(s.lake_bytes)))?;
        io.line(format_args!(
            "  build         {:8.2} million keys/s, {:.3} us of processor time and {:.1} writes a key",
            s.build_keys_per_s / 1e6,
            s.build_cpu_us_per_key,
            s.writes_per_key
        ))?;
        io.line(format_args!(
            "  on disk       {:8.2} bytes a key, {} runs",
            s.index_bytes_per_key, s.runs
        ))?;
        io.line(format_args!(
            "  in memory     {:>9}, {:.3} bytes a key; the process {}",
            size(s.ram_bytes),
            s.ram_bytes as f64 / s.keys as f64,
            size(s.process_bytes)
        ))?;
        io.line(format_args!(
            "  hit           {:8.2} us, p99 {:.2}, {:.3} pages read",
            s.hit_p50_us, s.hit_p99_us, s.page_reads_per_hit
        ))?;
        io.line(format_args!(
            "  miss          {:8.2} us, p99 {:.2}, {:.3} pages read",
            s.miss_p50_us, s.miss_p99_us, s.page_reads_per_miss
        ))?;
        io.line(format_args!(
            "  hit, cold     {:8.1} us; 4 KiB read cold {:.1} us",
            s.cold_hit_p50_us, s.cold_pread_p50_us
        ))?;
        io.line(format_args!(
            "  get           {:8.1} us, cold {:.1} us",
            s.get_p50_us, s.cold_get_p50_us
        ))?;
        io.line(format_args!("  reopen        {:8.2} ms", s.reopen_ms))?;
        io.line(format_args!(
            "  manifest      {:>9}, one more container {:.0} us, status {:.1} ms",
            size(s.manifest_bytes),
            s.manifest_edit_us,
            s.status_ms
        ))?;
    }
    io.note(format!("shards: {}", measured.shards));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_keys() {
        for (text, expected) in [("1e6", 1_000_000), ("1000", 1000), ("25e2", 2500)] {
            assert_eq!(count(text).unwrap(), expected, "{text}");
        }
        for text in ["", "e6", "1e", "999", "-1e6", "1e99", "1.5e6", "1e6e6"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}

//! `prunedb bench engine`: the database beside a raw append to a file.

use crate::io::{Exit, Io, Step};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_bench::{
    engine::{Plan, SizeReport},
    process,
};
use serde::Serialize;
use std::{path::PathBuf, process::Command};

#[derive(Args, Debug, Clone)]
pub(crate) struct BenchEngine {
    /// MB of keys and values, for each value size
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(8..=1_000_000))]
    mb: u64,
    /// Lengths of values
    #[arg(long, value_name = "BYTES,...", value_delimiter = ',', default_value = "1024,16384")]
    value_bytes: Vec<usize>,
    /// Bytes that are made durable together, by both sides
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000)]
    group_bytes: usize,
    /// Rounds of puts, in which both sides take turns
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: u64,
    /// Folder on the disk to measure; what is written there is removed afterwards [default: the working folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Measure in this process: what the command asks a process of its own
    #[arg(long, hide = true)]
    alone: bool,
}

#[derive(Serialize)]
struct Report {
    sizes: Vec<SizeReport>,
    mb: u64,
    group_bytes: usize,
    dir: PathBuf,
    file_system: &'static str,
    cold: &'static str,
}

pub(super) fn run(args: &BenchEngine, io: &mut Io) -> anyhow::Result<Exit> {
    for &bytes in &args.value_bytes {
        ensure!(
            (1..=10_000_000).contains(&bytes),
            "--value-bytes {bytes}: 1 to 10000000 are measured"
        );
    }
    ensure!(args.group_bytes >= 4096, "--group-bytes {}: at least 4096", args.group_bytes);
    let dir = io.path(args.dir.as_deref().unwrap_or(&io.cwd));
    if args.alone {
        let plan = Plan { mb: args.mb, group_bytes: args.group_bytes, rounds: args.rounds };
        let report = plan.measure(&dir, args.value_bytes[0], &mut |_| {})?;
        io.json(&report)?;
        return Ok(Exit::Done);
    }
    let file_system = file_system(&dir)?;
    if file_system == "tmpfs" {
        io.note(format!(
            "{} is in memory: --dir names a folder on the disk to measure",
            dir.display()
        ));
    }
    let mut sizes = Vec::new();
    for &bytes in &args.value_bytes {
        let what = format!("measuring values of {bytes} bytes");
        io.sink.step(Step { what, done: 0, total: 0 });
        sizes.push(measure(args, &dir, bytes)?);
    }
    let (mb, group_bytes) = (args.mb, args.group_bytes);
    let cold = "file cache of all files dropped (posix_fadvise), the index's too";
    let report = Report { sizes, mb, group_bytes, dir, file_system, cold };
    if io.json {
        io.json(&report)?
    } else {
        write(&report, io)?
    }
    Ok(Exit::Done)
}

/// Peak memory is a process's: asks a new one.
fn measure(args: &BenchEngine, dir: &std::path::Path, bytes: usize) -> anyhow::Result<SizeReport> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(this);
    command.args(["bench", "engine", "--alone", "--value-bytes", &bytes.to_string()]);
    command.args(["--mb", &args.mb.to_string(), "--rounds", &args.rounds.to_string()]);
    command.args(["--group-bytes", &args.group_bytes.to_string(), "--dir"]).arg(dir);
    let said = process::ask(&mut command)?;
    serde_json::from_str(&said).with_context(|| format!("values of {bytes} bytes: {said}"))
}

/// What a folder lies on, as far as it matters here.
fn file_system(dir: &std::path::Path) -> anyhow::Result<&'static str> {
    const TMPFS: i64 = 0x0102_1994;
    const EXT4: i64 = 0xef53;
    const XFS: i64 = 0x5846_5342;
    const BTRFS: i64 = 0x9123_683e;
    let stat = rustix::fs::statfs(dir).with_context(|| dir.display().to_string())?;
    Ok(match stat.f_type {
        TMPFS => "tmpfs",
        EXT4 => "ext4",
        XFS => "xfs",
        BTRFS => "btrfs",
        _ => "another",
    })
}

fn write(report: &Report, io: &mut Io) -> anyhow::Result<()> {
    let Report { sizes, mb, group_bytes, dir, file_system, cold } = report;
    io.line(format_args!(
        "{mb} MB of each, {group_bytes} bytes a group, {} ({file_system})",
        dir.display()
    ))?;
    let mut row = |name: &str, figure: &dyn Fn(&SizeReport) -> String| {
        let figures: Vec<String> = sizes.iter().map(|s| format!("{:>12}", figure(s))).collect();
        io.line(format_args!("{name:<34}{}", figures.concat()))
    };
    row("value bytes", &|s| s.value_bytes.to_string())?;
    row("raw append, MB/s", &|s| format!("{:.0}", s.raw_mbps))?;
    row("ingest, MB/s", &|s| format!("{:.0}", s.ingest_mbps))?;
    row("  by raw", &|s| format!("{:.2}", s.ingest_ratio))?;
    row("CPU-s per GB", &|s| format!("{:.2}", s.cpu_s_per_gb))?;
    row("  of raw", &|s| format!("{:.2}", s.raw_cpu_s_per_gb))?;
    row("bytes written per byte", &|s| format!("{:.3}", s.write_amp))?;
    row("pread of a value, warm, p50 us", &|s| format!("{:.1}", s.raw_pread_warm_us))?;
    row("point read, warm, p50 us", &|s| format!("{:.1}", s.warm_p50_us))?;
    row("  p99 us", &|s| format!("{:.1}", s.warm_p99_us))?;
    row("  reads a second, one thread", &|s| format!("{:.0}", s.warm_ops))?;
    row("pread of 4 KiB, cold, p50 us", &|s| format!("{:.1}", s.raw_pread_cold_us))?;
    row("point read, cold, p50 us", &|s| format!("{:.1}", s.cold_p50_us))?;
    row("file read in order, cold, MB/s", &|s| format!("{:.0}", s.raw_scan_mbps))?;
    row("scan, cold, MB/s", &|s| format!("{:.0}", s.scan_mbps))?;
    row("scan, warm, MB/s", &|s| format!("{:.0}", s.scan_warm_mbps))?;
    row("reopen, ms", &|s| format!("{:.1}", s.reopen_ms))?;
    row("  not closed before, ms", &|s| format!("{:.1}", s.reopen_crash_ms))?;
    row("peak memory, MB", &|s| format!("{:.0}", s.peak_rss_mb))?;
    io.note(format!("cold: {cold}"));
    Ok(())
}

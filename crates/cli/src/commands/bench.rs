//! `prunedb bench codec`: what each stage of coding costs on this machine, beside what the machine itself can do.

use crate::io::{Exit, Io, Step};
use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use prunedb_bench::{Meter, PolicyReport, Report, peak, report};
use prunedb_core::Policy;
use std::{num::NonZero, process::Command};

/// What is measured.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Bench {
    /// GB/s per core of each stage of coding, as shares of what this machine can do
    #[command(
        after_help = "Example:\n  prunedb bench codec --policy 16+4 --policy 20+80 --json\n\n\
        Thread CPU time, the best of several runs; GB are 10^9 bytes of input, for seal and hash of shards.\n\
        With PRUNEDB_CORPUS set, its Ethereum blocks are what is compressed. PRUNEDB_KERNEL chooses the erasure code's\n\
        instructions."
    )]
    Codec(BenchCodec),
}

#[derive(Args, Debug, Clone)]
pub(crate) struct BenchCodec {
    /// p+q, as often as wanted [default: 16+4 and 20+80]
    #[arg(long, value_name = "P+Q")]
    policy: Vec<Policy>,
    /// Threads that do the same at once; the figures are per core
    #[arg(long, default_value = "1")]
    threads: NonZero<usize>,
    /// Runs, of which the best counts
    #[arg(long, default_value = "15")]
    runs: NonZero<usize>,
    /// Only say how much memory coding a container takes: what the command asks a process of its own
    #[arg(long, hide = true)]
    only_peak: bool,
}

pub(crate) fn run(args: &Bench, io: &mut Io) -> anyhow::Result<Exit> {
    let Bench::Codec(args) = args;
    let mut policies = args.policy.clone();
    if policies.is_empty() {
        policies = vec![Policy::new(16, 4)?, Policy::new(20, 80)?];
    }
    if args.only_peak {
        let peak = peak::peak_bytes(policies[0], args.threads);
        io.line(format_args!("{}", peak.context("cannot measure memory")?))?;
        return Ok(Exit::Done);
    }
    let meter = Meter { threads: args.threads, runs: args.runs.get() };
    let mut step =
        |what: &str| io.sink.step(Step { what: format!("measuring {what}"), done: 0, total: 0 });
    let mut report = report(meter, &policies, &mut step)?;
    for (policy, report) in policies.into_iter().zip(&mut report.policies) {
        match peak_bytes(policy, args.threads) {
            Ok(bytes) => report.peak_bytes = Some(bytes),
            Err(error) => io.note(format!("{policy}: peak memory was not measured: {error:#}")),
        }
    }
    if io.json {
        io.json(&report)?
    } else {
        write(&report, io)?
    }
    Ok(Exit::Done)
}

/// Peak memory is a process's: asks a new one.
fn peak_bytes(policy: Policy, threads: NonZero<usize>) -> anyhow::Result<u64> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let output = Command::new(this)
        .args(["bench", "codec", "--only-peak", "--policy", &policy.to_string()])
        .args(["--threads", &threads.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

fn write(report: &Report, io: &mut Io) -> anyhow::Result<()> {
    let machine = &report.machine;
    let threads = machine.threads;
    io.line(format_args!(
        "{}, {} cores, {threads} in use, {}",
        machine.cpu, machine.cores, machine.kernel
    ))?;
    io.line(format_args!("  memcpy of 1 GiB       {:8.2} GB/s copied", machine.memcpy_gbps))?;
    io.line(format_args!("  products in registers {:8.2} GB/s", machine.affine_gbps))?;
    for policy in &report.policies {
        io.line(format_args!(""))?;
        io.line(format_args!("{:26}GB/s per core", policy.policy.to_string()))?;
        for (stage, gbps, of) in stages(report, policy) {
            let share = of.map_or_else(String::new, |(limit, name)| {
                format!("  {:.2} of {name}", gbps / limit)
            });
            io.line(format_args!("  {stage:22}{gbps:8.2}{share}"))?;
        }
        if let Some(bytes) = policy.peak_bytes {
            let (bytes, container) =
                (crate::text::size(bytes), crate::text::size(peak::CONTAINER_BYTES));
            io.line(format_args!(
                "  peak memory           {bytes} beside the coded stream of {container}"
            ))?;
        }
    }
    io.note(format!("compressed: {}", machine.container));
    Ok(())
}

/// A stage, its figure, and what it is measured by.
type Stage = (&'static str, f64, Option<(f64, String)>);

fn stages(report: &Report, policy: &PolicyReport) -> [Stage; 8] {
    let (memcpy, affine) = (report.machine.memcpy_gbps, report.machine.affine_gbps);
    let matrix = affine / policy.policy.parity_shards() as f64;
    let of_memcpy = || Some((memcpy, format!("memcpy's {memcpy:.2}")));
    let then_fused = 1.0 / (1.0 / policy.compress_gbps + 1.0 / policy.fused_gbps);
    [
        ("compress", policy.compress_gbps, None),
        (
            "encode, in cache",
            policy.encode_cache_gbps,
            Some((matrix, format!("the products' bound {matrix:.2}"))),
        ),
        ("encode, 64 MB", policy.encode_memory_gbps, of_memcpy()),
        ("decode worst, 64 MB", policy.decode_worst_gbps, of_memcpy()),
        ("seal", policy.seal_gbps, None),
        (
            "hash",
            policy.hash_gbps,
            Some((policy.hasher_gbps, format!("blake3::Hasher's {:.2}", policy.hasher_gbps))),
        ),
        (
            "fused",
            policy.fused_gbps,
            Some((policy.sum_gbps, format!("the sum of its parts {:.2}", policy.sum_gbps))),
        ),
        (
            "whole",
            policy.whole_gbps,
            Some((then_fused, format!("compress, then fused {then_fused:.2}"))),
        ),
    ]
}

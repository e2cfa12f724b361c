//! `prunedb bench codec`: what each stage of coding costs on this machine, beside what the machine itself can do.

use crate::{
    io::{Exit, Io, Step},
    text::size,
};
use anyhow::Context;
use clap::Args;
use prunedb_bench::{Machine, Meter, Report, peak, report};
use prunedb_core::Policy;
use std::{num::NonZero, process::Command};

#[derive(Args, Debug, Clone)]
pub(crate) struct BenchCodec {
    /// p+q, as often as wanted [default: 16+4 and 20+80]
    #[arg(long, value_name = "P+Q")]
    policy: Vec<Policy>,
    /// Threads that do the same at once; the figures are per core
    #[arg(long, default_value = "1")]
    threads: NonZero<usize>,
    /// Runs, of which the best counts
    #[arg(long, default_value = "12")]
    runs: NonZero<usize>,
    /// Only say how much memory coding a container takes: what the command asks a process of its own
    #[arg(long, hide = true)]
    only_peak: bool,
}

pub(super) fn run(args: &BenchCodec, io: &mut Io) -> anyhow::Result<Exit> {
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
    let mut command = Command::new(this);
    command.args(["bench", "codec", "--only-peak", "--policy", &policy.to_string()]);
    Ok(peak::ask(command.args(["--threads", &threads.to_string()]))?)
}

fn write(report: &Report, io: &mut Io) -> anyhow::Result<()> {
    let Machine { memcpy_gbps, affine_gbps, cpu, cores, threads, kernel, container, coded_share } =
        &report.machine;
    io.line(format_args!("{cpu}, {threads} of {cores} cores, {kernel}"))?;
    io.line(format_args!("  {:20} {memcpy_gbps:8.2} GB/s copied", "memcpy, 1 GiB"))?;
    io.line(format_args!("  {:20} {affine_gbps:8.2} GB/s", "products"))?;
    for policy in &report.policies {
        io.line(format_args!("\n{:25}GB/s per core", policy.policy.to_string()))?;
        for stage in policy.stages(&report.machine) {
            let share = match (stage.share(), &stage.limit) {
                (Some(share), Some(limit)) => {
                    format!("  {share:.2} of {} ({:.2})", limit.name, limit.gbps)
                }
                _ => String::new(),
            };
            io.line(format_args!("  {:20} {:8.2}{share}", stage.name, stage.gbps))?;
        }
        if let Some(bytes) = policy.peak_bytes {
            let (bytes, container) = (size(bytes), size(peak::CONTAINER_BYTES));
            io.line(format_args!(
                "  {:20} {bytes} beside the coded stream of {container}",
                "peak memory"
            ))?;
        }
    }
    io.note(format!("what was compressed: {container}, to {coded_share:.2} of their length"));
    Ok(())
}

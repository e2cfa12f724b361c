//! The codec beside other crates: one table from one run.
//!
//! ```text
//! cargo run --release -p prunedb-bench-codec [-- --policy P+Q ... --runs N] [--json | --markdown FOLDER]
//! ```
//! `--markdown docs/benchmarks` writes the tables of `codec.md` anew, between its two marks, and the plot `codec.svg`.
//!
//! Every row measures ours and then each peer, one after another, on one core, by the same lines of `prunedb-bench`, and
//! all rows several times over: the clock of a machine may drift.

mod kernels;
mod markdown;
mod peers;
mod plot;
mod race;
mod seal;
mod table;

use anyhow::Context;
use clap::Parser;
use kernels::OnKernel;
use prunedb_bench::{Meter, Report, peak, report};
use prunedb_core::Policy;
use race::{Race, race};
use serde::Serialize;
use std::{num::NonZero, path::PathBuf, process::Command};

#[derive(Parser, Debug)]
#[command(about = "PruneDB's codec beside other crates: GB/s per core, from one run")]
struct Args {
    /// p+q, as often as wanted [default: 16+4 and 20+80]
    #[arg(long, value_name = "P+Q")]
    policy: Vec<Policy>,
    /// Runs, of which the best counts
    #[arg(long, default_value = "9")]
    runs: NonZero<usize>,
    /// Write JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Renew the tables of codec.md in this folder, and codec.svg beside it
    #[arg(long, value_name = "FOLDER")]
    markdown: Option<PathBuf>,
    /// Only say how much memory coding a container takes: what the command asks a process of its own
    #[arg(long, hide = true)]
    only_peak: bool,
}

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
struct Comparison {
    /// our stages, beside the machine's limits
    #[serde(flatten)]
    stages: Report,
    /// ours beside each peer
    races: Vec<Race>,
    /// our encoder on each kernel
    kernels: Vec<OnKernel>,
}

/// Rounds of all races: a machine that is slow for a while is slow for everybody.
const ROUNDS: usize = 3;

fn races(meter: Meter, policies: &[Policy]) -> anyhow::Result<Vec<Race>> {
    let mut races = Vec::new();
    for &policy in policies {
        races.extend(race(meter, policy)?);
    }
    races.push(seal::race(meter, policies[0])?);
    Ok(races)
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut policies = args.policy;
    if policies.is_empty() {
        policies = vec![Policy::new(16, 4)?, Policy::new(20, 80)?];
    }
    if args.only_peak {
        println!("{}", peak::peak_bytes(policies[0], NonZero::<usize>::MIN)?);
        return Ok(());
    }
    let meter = Meter { threads: NonZero::<usize>::MIN, runs: args.runs.get() };
    let mut stages = report(meter, &policies, &mut |what| eprintln!("our stages: {what}"))?;
    for (policy, report) in policies.iter().zip(&mut stages.policies) {
        let this = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(this);
        let asked = peak::ask(command.args(["--only-peak", "--policy", &policy.to_string()]));
        report.peak_bytes = asked.inspect_err(|error| eprintln!("peak memory: {error}")).ok();
    }
    let meter = Meter { runs: meter.runs.div_ceil(ROUNDS), ..meter };
    let mut races = races(meter, &policies)?;
    let mut kernels = kernels::measure(meter, &policies);
    for _ in 1..ROUNDS {
        let again = self::races(meter, &policies)?;
        races = races.into_iter().zip(&again).map(|(race, again)| race.best_of(again)).collect();
        let again = kernels::measure(meter, &policies);
        kernels = kernels.into_iter().zip(&again).map(|(one, again)| one.best_of(again)).collect();
    }
    let comparison = Comparison { stages, races, kernels };
    if let Some(folder) = args.markdown {
        return markdown::write(&comparison, &folder);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
    } else {
        print!("{}", table::table(&comparison.races));
    }
    Ok(())
}

//! The tables of `docs/benchmarks/codec.md`.

use crate::{Comparison, kernels::OnKernel, plot, race::Race};
use prunedb_bench::{PolicyReport, Report, Stage, page};
use std::{fmt::Write, fs, path::Path};

/// Renews what is between the marks of `codec.md`, and writes `codec.svg`.
pub(crate) fn write(comparison: &Comparison, folder: &Path) -> anyhow::Result<()> {
    page::renew(&folder.join("codec.md"), &measured(comparison))?;
    fs::write(folder.join("codec.svg"), plot::svg(&comparison.races))?;
    Ok(())
}

fn measured(comparison: &Comparison) -> String {
    let Report { machine, policies } = &comparison.stages;
    let mut text = format!(
        "Machine: {}, {} cores, one in use; erasure kernel {}; memcpy {:.1} GB/s copied; {:.0} GB/s of products. Date: {}.\n",
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.memcpy_gbps,
        machine.affine_gbps,
        page::date()
    );
    text +=
        "\n## Beside other crates\nGB/s per core; in brackets: how many times as fast ours is.\n\n";
    let (seal, erasure): (Vec<&Race>, Vec<&Race>) =
        comparison.races.iter().partition(|race| race.what.starts_with("seal"));
    for races in [erasure, seal] {
        text += &beside(&races);
        text.push('\n');
    }
    text += "![the same as bars](codec.svg)\n\n## Stages and limits\n";
    text += &format!(
        "GB/s per core of input; for seal, open and hash, of shard bytes. Compressed: {}, to {:.2} of their length.\n",
        machine.container, machine.coded_share
    );
    for policy in policies {
        let _ = write!(
            text,
            "\n**{}**\n\n| stage | GB/s | share | asked for |\n| --- | ---: | --- | --- |\n",
            policy.policy
        );
        for stage in policy.stages(machine) {
            let _ = writeln!(text, "{}", row(policy, &stage));
        }
        text += &peak(policy);
    }
    text + &kernels(&comparison.kernels)
}

/// What processors with fewer instructions get.
fn kernels(measured: &[OnKernel]) -> String {
    let mut text = String::from(
        "\n## Other processors\nOur encoder on every kernel that this one has; data in cache, GB/s of it.\n\n\
         | kernel | policy | matrix | FFT | FFT : matrix |\n| --- | --- | ---: | ---: | ---: |\n",
    );
    for OnKernel { kernel, policy, matrix_gbps, fft_gbps } in measured {
        let _ = match fft_gbps {
            Some(fft) => {
                let ratio = fft / matrix_gbps;
                writeln!(
                    text,
                    "| {kernel} | {policy} | {matrix_gbps:.2} | {fft:.2} | {ratio:.1}x |"
                )
            }
            None => writeln!(text, "| {kernel} | {policy} | {matrix_gbps:.2} | none | |"),
        };
    }
    text
}

fn beside(races: &[&Race]) -> String {
    let names = |first: &str, filler: &str| {
        let peers =
            races[0].peers.iter().map(|rival| if filler.is_empty() { rival.name } else { filler });
        peers.fold(format!("| {first} |"), |text, name| text + " " + name + " |")
    };
    let mut text = names("| prunedb", "") + "\n" + &names("--- | ---:", "---:") + "\n";
    for race in races {
        let _ = write!(text, "| {} | **{:.2}** |", race.what, race.ours_gbps);
        for rival in &race.peers {
            let _ = match rival.gbps {
                Some(gbps) => write!(text, " {gbps:.2} ({:.1}x) |", race.ours_gbps / gbps),
                None => write!(text, " cannot |"),
            };
        }
        text.push('\n');
    }
    text
}

/// What each stage shall reach, as a share of its limit: stage, 16+4, 20+80.
const ASKED: [(&str, f64, f64); 5] = [
    ("encode, in cache", 0.90, 2.3),
    ("encode, 64 MB", 1.6, 0.22),
    ("decode worst, 64 MB", 1.5, 0.55),
    ("hash, in cache", 1.1, 1.1),
    ("fused", 0.90, 0.90),
];

fn asked(policy: &PolicyReport, stage: &str) -> Option<f64> {
    let (_, small, large) = ASKED.into_iter().find(|(name, ..)| *name == stage)?;
    match policy.policy.to_string().as_str() {
        "16+4" => Some(small),
        "20+80" => Some(large),
        _ => None,
    }
}

fn row(policy: &PolicyReport, stage: &Stage) -> String {
    let share = match (stage.share(), &stage.limit) {
        (Some(share), Some(limit)) => format!("{share:.2} of {} ({:.2})", limit.name, limit.gbps),
        _ => String::new(),
    };
    let verdict = match (asked(policy, stage.name), stage.share()) {
        (Some(asked), Some(share)) if share >= asked => format!("{asked:.2}: reached"),
        (Some(asked), Some(_)) => format!("{asked:.2}: **missed**"),
        _ => String::new(),
    };
    format!("| {} | {:.2} | {share} | {verdict} |", stage.name, stage.gbps)
}

fn peak(policy: &PolicyReport) -> String {
    let Some(bytes) = policy.peak_bytes else { return String::new() };
    let limit: Option<u64> = match policy.policy.to_string().as_str() {
        "16+4" => Some(16_000_000),
        "20+80" => Some(48_000_000),
        _ => None,
    };
    let verdict = limit.map_or_else(String::new, |limit| {
        let reached = if bytes <= limit { "reached" } else { "**missed**" };
        format!("{} MB at most: {reached}", limit / 1_000_000)
    });
    format!(
        "| peak memory beside the coded stream of 100 MB | {:.1} MB | | {verdict} |\n",
        bytes as f64 / 1e6
    )
}

//! The engine beside other key-value stores: one table from one run.
//!
//! ```text
//! cargo run --release -p prunedb-bench-engine [-- --mb N --value-bytes N,N --peer NAME ...] [--json | --markdown FOLDER]
//! ```
//! `--markdown docs/benchmarks` writes the tables of `engine.md` anew, between its two marks, and the plot
//! beside it. Each store is measured at each value size in a process of its own (this program again), one after another:
//! nobody's memory, caches or threads are another's.

mod figures;
mod markdown;
mod measure;
mod peers;
mod plot;
mod store;

use anyhow::{Context, ensure};
use clap::Parser;
use figures::Figures;
use measure::Plan;
use peers::Peer;
use prunedb_bench::process;
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(Parser, Debug)]
#[command(about = "PruneDB's engine beside other key-value stores, from one run")]
struct Args {
    /// MB (10^6) of keys and values for each store and value size
    #[arg(long, default_value = "400")]
    mb: u64,
    /// Lengths of the values
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1024,16384,102400")]
    value_bytes: Vec<usize>,
    /// Only these stores
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// Where the stores lie while they are measured [default: the system's folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Write JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Renew the tables of engine.md in this folder, and the plot beside it
    #[arg(long, value_name = "FOLDER")]
    markdown: Option<PathBuf>,
    /// Measure one store at one size and write JSON: what the command asks a process of its own
    #[arg(long, hide = true)]
    one: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let all = peers::all();
    let unknown = args.peer.iter().find(|name| !all.iter().any(|peer| peer.name == **name));
    if let Some(name) = unknown {
        let names: Vec<&str> = all.iter().map(|peer| peer.name).collect();
        anyhow::bail!("no store `{name}`: there are {}", names.join(", "));
    }
    let chosen: Vec<Peer> = all
        .into_iter()
        .filter(|peer| args.peer.is_empty() || args.peer.iter().any(|name| name == peer.name))
        .collect();
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    if args.one {
        ensure!(chosen.len() == 1 && args.value_bytes.len() == 1, "one store at one size");
        let plan = Plan { mb: args.mb, value_bytes: args.value_bytes[0] };
        println!("{}", serde_json::to_string(&plan.measure(&chosen[0], &dir)?)?);
        return Ok(());
    }
    let mut figures: Vec<Figures> = Vec::new();
    for &value_bytes in &args.value_bytes {
        for peer in &chosen {
            eprintln!("{} B: {}", value_bytes, peer.name);
            figures.push(ask(peer, value_bytes, args.mb, &dir)?);
        }
    }
    if let Some(folder) = &args.markdown {
        return markdown::write(&figures, args.mb, folder);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        let plain = markdown::tables(&figures);
        print!("{}", if std::io::stdout().is_terminal() { plain.replace("**", "") } else { plain });
    }
    Ok(())
}

/// Measures in a process of its own.
fn ask(peer: &Peer, value_bytes: usize, mb: u64, dir: &Path) -> anyhow::Result<Figures> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(this);
    command.args(["--one", "--peer", peer.name, "--mb", &mb.to_string()]);
    command.args(["--value-bytes", &value_bytes.to_string(), "--dir"]).arg(dir);
    let answer = process::ask(&mut command).with_context(|| peer.name)?;
    serde_json::from_str(&answer).with_context(|| format!("{}: {answer}", peer.name))
}

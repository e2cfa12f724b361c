//! `prunedb prove`: claims about a lake, each shown by doing it.

use crate::{
    io::{Exit, Io, Step},
    temporary,
    text::size,
};
use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use prunedb_core::{Policy, units::ByteSize};
use prunedb_disk::{Disk, RealDisk};
use prunedb_engine::Progress;
use prunedb_local::prove::{self, Proof, Setting};
use serde_json::{Value, json};
use std::path::Path;
use tokio::runtime::Runtime;

/// What is to be shown.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Prove {
    /// Any p of p+q nodes are enough: 100 nodes at 20+80, 80 of them stopped, everything read back; one more is an error
    #[command(
        after_help = "Example:\n  prunedb prove lost-nodes --policy 16+4 --nodes 24 --lose 4 --size 1GB"
    )]
    LostNodes {
        #[command(flatten)]
        lab: Lab,
        /// Nodes that are stopped [default: q]
        #[arg(long, value_name = "COUNT")]
        lose: Option<u16>,
    },
    /// Four read-only instances read one lake at once, while it is written
    Readers {
        #[command(flatten)]
        lab: Lab,
        /// Readers, each with a folder and a cache of its own
        #[arg(long, value_name = "COUNT", default_value_t = 4)]
        readers: u16,
    },
    /// 10 GB go into the lake at 100 MB/s or more, nodes and all on this machine
    Throughput {
        #[command(flatten)]
        lab: Lab,
        /// Fewest MB/s of input
        #[arg(long, value_name = "MB/S", default_value_t = 100.0)]
        at_least: f64,
    },
    /// What the disk of one node, and those of p-1, show somebody who takes them away
    Privacy {
        #[command(flatten)]
        lab: Lab,
    },
    /// A node's disk is wiped, another one's rots: both are found and made whole, with times
    Healing {
        #[command(flatten)]
        lab: Lab,
    },
    /// A read takes as long in a large database as in one a hundred times smaller
    Size {
        #[command(flatten)]
        lab: Lab,
        /// Records in the end, of 1,000 bytes
        #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
        records: u64,
    },
}

/// The lake on which it is shown. It lies in a new folder within --dir (or that of temporary files), which is removed at the end.
#[derive(Args, Debug, Clone)]
pub(crate) struct Lab {
    /// p+q [default: 20+80 for lost-nodes, else 16+4]
    #[arg(long, value_name = "P+Q")]
    policy: Option<Policy>,
    /// Storage nodes [default: 100 for lost-nodes, else p+q and four]
    #[arg(long, value_name = "COUNT")]
    nodes: Option<u16>,
    /// Bytes that are put [default: 200MB; throughput: 10GB, or what fits]
    #[arg(long, value_name = "SIZE")]
    size: Option<ByteSize>,
}

/// Bytes that are put where nothing else is said.
const SIZE: u64 = 200_000_000;
const THROUGHPUT_SIZE: u64 = 10_000_000_000;
/// Spare nodes where no number is given.
const SPARE_NODES: usize = 4;

pub(crate) fn run(
    what: &Prove,
    parent: Option<&Path>,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let folder = temporary::folder(parent, runtime)?;
    let handle = runtime.handle();
    let setting = setting(what, folder.path(), io)?;
    let sink = &mut io.sink;
    let report = &mut |progress: Progress| {
        let Progress { what, done, total, .. } = progress;
        sink.step(Step { what: what.to_owned(), done, total });
    };
    let proof = match what {
        Prove::LostNodes { lose, .. } => {
            let lose = match lose {
                Some(lose) => *lose,
                None => u16::try_from(setting.policy.parity_shards())?,
            };
            ensure!(
                usize::from(lose) < usize::from(setting.nodes),
                "--lose {lose}: there are {} nodes",
                setting.nodes
            );
            prove::lost_nodes(&setting, lose, handle, report)?
        }
        Prove::Readers { readers, .. } => {
            ensure!((1..=64).contains(readers), "--readers {readers}: 1 to 64");
            prove::readers(&setting, *readers, handle, report)?
        }
        Prove::Throughput { at_least, .. } => {
            prove::throughput(&setting, *at_least, handle, report)?
        }
        Prove::Privacy { .. } => prove::privacy(&setting, handle, report)?,
        Prove::Healing { .. } => prove::healing(&setting, handle, report)?,
        Prove::Size { records, .. } => prove::size(&setting, *records, handle, report)?,
    };
    if io.json {
        io.json(&proof_json(&proof)?)?;
    } else {
        write(&proof, io)?;
    }
    Ok(Exit::of(proof.holds()))
}

/// What was asked for, or what the point takes by itself; refused where the disk has no room for it.
fn setting(what: &Prove, dir: &Path, io: &mut Io) -> anyhow::Result<Setting> {
    let (Prove::LostNodes { lab, .. }
    | Prove::Readers { lab, .. }
    | Prove::Throughput { lab, .. }
    | Prove::Privacy { lab }
    | Prove::Healing { lab }
    | Prove::Size { lab, .. }) = what;
    let is_lost_nodes = matches!(what, Prove::LostNodes { .. });
    let policy = match lab.policy {
        Some(policy) => policy,
        None => if is_lost_nodes { "20+80" } else { "16+4" }.parse()?,
    };
    let nodes = match lab.nodes {
        Some(nodes) => nodes,
        None if is_lost_nodes => u16::try_from(policy.total_shards())?,
        None => u16::try_from(policy.total_shards() + SPARE_NODES)?,
    };
    ensure!(
        usize::from(nodes) >= policy.total_shards() && nodes <= 1000,
        "--nodes {nodes}: policy {policy} needs {} to 1000",
        policy.total_shards()
    );
    let free = RealDisk.free_bytes(dir).context("cannot ask for free space")?;
    let asked = match (lab.size, what) {
        (Some(size), _) => size.0,
        (None, Prove::Size { records, .. }) => records.saturating_mul(1100),
        (None, Prove::Throughput { .. }) => THROUGHPUT_SIZE,
        (None, _) => SIZE,
    };
    // the records themselves, their shards, and a tenth; a tenth of the disk stays free
    let (p, all) = (policy.data_shards() as u64, policy.total_shards() as u64);
    let most = (free / 10 * 9).saturating_sub(200_000_000) / (11 * (p + all)) * 10 * p;
    let mut data_bytes = asked;
    if asked > most {
        let may_shrink = matches!(what, Prove::Throughput { .. }) && lab.size.is_none();
        ensure!(
            may_shrink && most > 0,
            "{} of records at {policy} do not fit: {} are free, enough for {}; choose another folder with --dir, or --size",
            size(asked),
            size(free),
            size(most)
        );
        data_bytes = most;
        io.note(format!("{} instead of {}: {} are free", size(most), size(asked), size(free)));
    }
    ensure!(data_bytes >= 1_000_000, "--size: at least 1 MB");
    Ok(Setting { dir: dir.to_owned(), policy, nodes, data_bytes })
}

fn proof_json(proof: &Proof) -> anyhow::Result<Value> {
    let mut out = serde_json::to_value(proof)?;
    out["holds"] = json!(proof.holds());
    Ok(out)
}

fn write(proof: &Proof, io: &mut Io) -> anyhow::Result<()> {
    io.line(format_args!("{}: {}", proof.point, proof.setting))?;
    for claim in &proof.claims {
        let mark = if claim.holds { "yes" } else { "NO " };
        io.line(format_args!("{mark}  {}", claim.claim))?;
        io.line(format_args!("       {}", claim.evidence))?;
    }
    for figure in &proof.figures {
        let digits = if figure.value < 10.0 { 3 } else { 1 };
        let value = format!("{:.digits$}", figure.value);
        io.line(format_args!("{value:>12} {:8}  {}", figure.unit, figure.what))?;
    }
    let bad = proof.claims.iter().filter(|claim| !claim.holds).count();
    if bad == 0 {
        io.line(format_args!("holds: {} of {0} claims", proof.claims.len()))?;
    } else {
        io.line(format_args!("DOES NOT HOLD: {bad} of {} claims", proof.claims.len()))?;
    }
    Ok(())
}

//! `prunedb follow ethereum`: a live node's blocks into the archive, as soon as they have their confirmations.

use crate::{
    archive::DbArchive,
    commands::history::missing,
    io::{Exit, Io, Step},
    session::Session,
    text::{count, size},
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_chains::ethereum::{
    FollowError, FollowOptions, FollowReport, Follower, Network, Tables, network_of,
};
use prunedb_engine::Db;
use prunedb_rpc::{Caller, Upstream};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::runtime::Builder;

/// Which node is followed, and how closely.
#[derive(Args, Debug, Clone)]
pub(crate) struct FollowEthereum {
    /// The node's JSON-RPC, as http(s)://[USER:PASSWORD@]HOST:PORT
    #[arg(long, value_name = "URL")]
    rpc: String,
    /// What the network is called here [default: by the node's chain id]
    #[arg(long, value_name = "NAME")]
    network: Option<Network>,
    /// The first block, where nothing of the network is stored; with --fill the lowest that is looked for [default: 0]
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    /// First fetch what is missing below the highest stored block, from the top down, each block checked against the one above it
    #[arg(long)]
    fill: bool,
    /// Blocks that must lie over a block before it is archived
    #[arg(long, value_name = "BLOCKS", default_value = "64")]
    confirmations: u64,
    /// Look for new blocks this often
    #[arg(long, value_name = "SECONDS", default_value = "12", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// How long the node may take for an answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// End when all that has its confirmations is archived, and in the lake
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(args: &FollowEthereum, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    ensure!(!session.config.reader, "a reader's folder takes nothing in: follow into the writer's");
    let upstream = Upstream::new(&args.rpc).context("--rpc")?;
    let upstream = upstream.with_patience(Duration::from_secs(args.patience));
    // of its own: this may run within a runtime, or without one
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let node = Caller::new(upstream, runtime.handle().clone());
    let network = match &args.network {
        Some(network) => network.clone(),
        None => network_of(&node).map_err(explained)?,
    };
    let options = FollowOptions { from: args.from, confirmations: args.confirmations };
    let follower = Follower::new(&node, &network, options).map_err(explained)?;
    let db = session.offloading();
    let mut archive = DbArchive::new(db.clone(), Arc::clone(&io.cancelled));
    let mut sum = FollowReport::default();
    let mut filled = FollowReport::default();
    let mut fill = args.fill;
    loop {
        if fill {
            match fill_gaps(args, &follower, &network, &db, &mut archive, io) {
                Ok(report) => (filled, fill) = (report, false),
                // what was filled stays: the gaps are looked for again
                Err(Stopped::Node(error)) if error.is_passing() && !args.once => {
                    io.note(format!("{error}; trying again in {} s", args.interval));
                    io.wait(Duration::from_secs(args.interval))?;
                    continue;
                }
                Err(Stopped::Node(error)) => return Err(explained(error)),
                Err(Stopped::Here(error)) => return Err(error),
            }
        }
        let done = follower.round(&mut archive, &mut |report| {
            let above = report.heights.map_or(0, |(_, last)| report.target.unwrap_or(0) - last);
            let (done, total) = (report.blocks, report.blocks + above);
            io.sink.step(Step::counted(&format!("follow {network}"), done, total));
        });
        match done {
            Ok(report) => {
                if let Some((first, last)) = report.heights {
                    io.note(format!(
                        "{network}: {first}-{last} ({}, {}, {}) verified and archived; the node is at {}",
                        count(report.blocks, "block"),
                        count(report.transactions, "transaction"),
                        size(report.bytes),
                        report.head
                    ));
                }
                add(&mut sum, &report);
            }
            // a node that starts again, or is cut off
            Err(error) if error.is_passing() && !args.once => {
                io.note(format!("{error}; trying again in {} s", args.interval));
            }
            Err(error) => return Err(explained(error)),
        }
        if args.once {
            break;
        }
        io.wait(Duration::from_secs(args.interval))?;
    }
    db.flush(&mut |p| io.progress(p)).context(
        "everything was archived and is safe here, but not all of it is in the lake yet; the next command that writes goes on with that",
    )?;
    report(&network, &sum, &filled, io)
}

/// Why gaps stay.
enum Stopped {
    Node(FollowError),
    Here(anyhow::Error),
}

/// Fetches what is missing below the highest stored block.
fn fill_gaps(
    args: &FollowEthereum,
    follower: &Follower<'_>,
    network: &Network,
    db: &Db,
    archive: &mut DbArchive,
    io: &mut Io,
) -> Result<FollowReport, Stopped> {
    let table = Tables::of(network).block;
    let missing = missing(&table, args.from.unwrap_or(0), db).map_err(Stopped::Here)?;
    let total: u64 = missing.iter().map(|(first, last)| last - first + 1).sum();
    let report = follower.fill(archive, &missing, &mut |report| {
        io.sink.step(Step::counted(&format!("fill {network}"), report.blocks, total));
    });
    let report = report.map_err(Stopped::Node)?;
    io.note(match report.heights {
        None => format!("{network}: nothing is missing below the highest stored block"),
        Some((first, last)) => format!(
            "{network}: filled {} between {first} and {last} ({})",
            count(report.blocks, "block"),
            size(report.bytes)
        ),
    });
    Ok(report)
}

fn add(sum: &mut FollowReport, round: &FollowReport) {
    let first = sum.heights.or(round.heights).map(|(first, _)| first);
    let last = round.heights.or(sum.heights).map(|(_, last)| last);
    sum.heights = first.zip(last);
    sum.blocks += round.blocks;
    sum.transactions += round.transactions;
    sum.bytes += round.bytes;
    (sum.head, sum.target) = (round.head, round.target);
}

/// Until the next round, or the caller has gone.
fn report(
    network: &Network,
    sum: &FollowReport,
    filled: &FollowReport,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    if io.json {
        io.json(&json!({
            "network": network.name(),
            "first_height": sum.heights.map(|(first, _)| first),
            "last_height": sum.heights.map(|(_, last)| last),
            "blocks": sum.blocks,
            "blocks_filled": filled.blocks,
            "transactions": sum.transactions,
            "bytes_stored": sum.bytes + filled.bytes,
            "head": sum.head,
            "target": sum.target,
        }))?;
        return Ok(Exit::Done);
    }
    match (sum.heights, sum.target) {
        (Some((first, last)), _) => io.line(format_args!(
            "{network}: {first}-{last} ({}, {}) archived, all of it in the lake",
            count(sum.blocks, "block"),
            count(sum.transactions, "transaction")
        ))?,
        (None, Some(target)) => {
            io.line(format_args!("{network}: nothing new; everything up to {target} is archived"))?;
        }
        (None, None) => io.line(format_args!(
            "{network}: no block has its confirmations yet; the node is at {}",
            sum.head
        ))?,
    }
    Ok(Exit::Done)
}

/// The error, with what to do about it.
fn explained(error: FollowError) -> anyhow::Error {
    let advice = match &error {
        FollowError::Absent { .. } => {
            "import what is older from .era1 files, or begin where the node begins (--from HEIGHT)"
        }
        FollowError::Block { .. } | FollowError::Malformed { .. } => {
            "what was archived before stays; ask another node, and compare"
        }
        FollowError::Reorganised { .. }
        | FollowError::Contradicts { .. }
        | FollowError::NotBelow { .. } => {
            "compare both with another node; the wrong one's history belongs under another --network or in another folder"
        }
        FollowError::Node(_) => "what was archived stays; repeat the command when the node answers",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {advice}")
}

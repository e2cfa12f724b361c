//! `prunedb proofs`: who proved in an epoch.

use super::{
    ask::At,
    batches::{all_events, name},
};
use crate::{
    io::{Exit, Io},
    text::count,
};
use anyhow::ensure;
use clap::Args;
use prunedb_validator::Happened;
use serde_json::{Value, json};
use std::path::Path;
use tokio::runtime::Runtime;

/// Which epoch.
#[derive(Args, Debug, Clone)]
pub(crate) struct Proofs {
    /// The epoch [default: the one that runs]
    #[arg(long, value_name = "EPOCH")]
    epoch: Option<u32>,
    #[command(flatten)]
    at: At,
}

/// The events of an epoch: from its start to the next one's.
fn of_epoch(events: &[Happened], epoch: u32) -> &[Happened] {
    let start =
        |number: u32| events.iter().position(|e| e.kind == "epoch" && e.epoch == Some(number));
    // the first epoch begins with the registry
    let first = if epoch == 0 { Some(0) } else { start(epoch) };
    let end = epoch.checked_add(1).and_then(start).unwrap_or(events.len());
    first.map_or(&[], |first| &events[first..end.max(first)])
}

pub(crate) fn run(
    args: &Proofs,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let client = args.at.client(dir)?;
    let running = runtime.block_on(client.status())?.epoch.number;
    let epoch = args.epoch.unwrap_or(running);
    ensure!(epoch <= running, "epoch {running} is running: {epoch} is yet to come");
    let placement = runtime.block_on(client.placement())?;
    let events = all_events(&client, runtime)?;
    let events = of_epoch(&events, epoch);
    let of_kind = |kind: &'static str| events.iter().filter(move |e| e.kind == kind);
    let nodes = |kind: &'static str| -> Vec<(String, u64)> {
        let node = |e: &Happened| Some((name(&placement, e.node?), e.height));
        of_kind(kind).filter_map(node).collect()
    };
    let (proven, missed) = (nodes("proven"), nodes("missed"));
    let height = |kind: &'static str| of_kind(kind).next().map(|e| e.height);
    let settled = of_kind("settled").next();
    if io.json {
        let list = |nodes: &[(String, u64)]| -> Vec<Value> {
            nodes.iter().map(|(node, height)| json!({ "node": node, "height": height })).collect()
        };
        io.json(&json!({
            "epoch": epoch,
            "seed_height": height("seed"),
            "proven": list(&proven),
            "missed": list(&missed),
            "settled_height": settled.map(|e| e.height),
            "paid": settled.and_then(|e| e.amount).map(|a| a.0),
        }))?;
        return Ok(Exit::of(!events.is_empty()));
    }
    if events.is_empty() {
        io.line(format_args!("epoch {epoch}: nothing is known of it any more"))?;
        return Ok(Exit::No);
    }
    match height("seed") {
        Some(height) => {
            io.line(format_args!("epoch {epoch}: its seed was fixed at height {height}"))?
        }
        None => io.line(format_args!("epoch {epoch}: it has no seed yet"))?,
    }
    for (node, height) in &proven {
        io.line(format_args!("  {node} proved at height {height}"))?;
    }
    for (node, height) in &missed {
        io.line(format_args!("  {node} did not prove: noted at height {height}"))?;
    }
    if let Some(settled) = settled {
        io.line(format_args!(
            "  settled at height {}: {} proved, {} did not",
            settled.height,
            count(proven.len() as u64, "node"),
            missed.len()
        ))?;
    }
    Ok(Exit::Done)
}

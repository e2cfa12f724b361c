//! `prunedb prune bitcoin`: a running node in manual mode is told to delete what is safe in the lake.

use super::{explained, node::NodeAddress};
use crate::{
    archive::DbArchive,
    commands::{casper::threads, history, maintain::depth},
    io::{Exit, Io, Step},
    session::Session,
    text::count,
};
use anyhow::bail;
use clap::Args;
use prunedb_chains::bitcoin::{KEEP_LEAST, PruneError, PrunePlan};
use serde_json::json;
use std::sync::{Arc, atomic::Ordering};

/// Which node, and how much of it.
#[derive(Args, Debug, Clone)]
pub(crate) struct PruneBitcoin {
    #[command(flatten)]
    node: NodeAddress,
    /// Blocks below the tip that stay, at least
    #[arg(long, value_name = "BLOCKS", default_value_t = KEEP_LEAST, value_parser = clap::value_parser!(u64).range(KEEP_LEAST..))]
    keep_last: u64,
    /// Show only; the node deletes nothing
    #[arg(long)]
    dry_run: bool,
    /// Read every byte of every shard and hash it, instead of asking each node what it has
    #[arg(long)]
    deep: bool,
}

pub(in super::super) fn run(
    args: &PruneBitcoin,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let node = args.node.resolved(io).node(session.runtime.clone())?;
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let plan = PrunePlan::new(&archive, &node, args.keep_last).map_err(with_advice)?;
    let network = plan.network;
    let Some(last) = plan.last else {
        let PrunePlan { first, tip, archived_below, .. } = plan;
        io.note(format!(
            "{network}: nothing to prune: the node has blocks {first}-{tip}, its last {} stay, and of the others the archive has none \
             from {archived_below} on",
            args.keep_last
        ));
        return Ok(Exit::No);
    };
    let (total, cancelled) = (plan.blocks(), Arc::clone(&io.cancelled));
    plan.compare(&archive, &node, threads(session), &mut |progress| {
        let what = "read back and verify blocks";
        io.sink.step(Step::counted(what, progress.blocks_done, total));
        !cancelled.load(Ordering::Relaxed)
    })
    .map_err(with_advice)?;
    // every container with one of them must be safe in the lake
    let (table, ranges) = (format!("bitcoin/{network}/"), [(plan.first, last)]);
    let safety = history::Safety::now(session, depth(args.deep, None), io)?;
    if let [first, rest @ ..] = &safety.against(&table, &ranges)[..] {
        bail!(
            "{} with blocks to prune not safe yet: {first}; the node was told to delete nothing",
            match rest.len() {
                0 => "a container is".into(),
                more => format!("{} are", count(more as u64 + 1, "container")),
            }
        );
    }
    let mut result = json!({
        "network": network.name(),
        "dry_run": args.dry_run,
        "tip": plan.tip,
        "prune": [plan.first, last],
        "blocks": total,
        "containers": safety.containers(&table, &ranges),
    });
    let blocks = count(total, "block");
    if args.dry_run {
        if io.json {
            io.json(&result)?;
        } else {
            io.line(format_args!(
                "{network}: {blocks} ({}-{last}) may be pruned; each was read back with its undo data and verified, in containers whose \
                 shards are all there; the node keeps {}-{}",
                plan.first,
                last + 1,
                plan.tip
            ))?;
        }
        io.note("dry run: the node was told to delete nothing");
        return Ok(Exit::Done);
    }
    let lowest = plan.prune(&node).map_err(with_advice)?;
    if io.json {
        result["lowest"] = lowest.into();
        io.json(&result)?;
    } else {
        io.line(format_args!(
            "{network}: {blocks} ({}-{last}) are safe here; the node has deleted {} of them, it keeps {lowest}-{} (it deletes whole files)",
            plan.first,
            lowest.saturating_sub(plan.first),
            plan.tip
        ))?;
    }
    Ok(Exit::Done)
}

fn with_advice(error: PruneError) -> anyhow::Error {
    let advice = match &error {
        PruneError::NotPruning => {
            "start it with -prune=1 (manual pruning): it then deletes what this command tells it, and nothing else"
        }
        PruneError::Automatic => {
            "start it with -prune=1 instead of a size: it then deletes what this command tells it, and nothing else"
        }
        PruneError::OtherBlock { .. } => {
            "nothing was pruned: the node is of another chain, or one of them was reorganised"
        }
        PruneError::NoUndo { .. } => {
            "nothing was pruned: import the node's files, they have it, or follow the node"
        }
        PruneError::Missing { .. } => {
            "nothing was pruned: `prunedb coverage bitcoin` shows the gaps"
        }
        PruneError::Chain(_) => {
            "nothing was pruned: `prunedb verify --deep` finds what is damaged, `prunedb repair` rebuilds it"
        }
        PruneError::Archive(_) => {
            return match error {
                PruneError::Archive(error) => explained(error),
                error => error.into(),
            };
        }
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {advice}")
}

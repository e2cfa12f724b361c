//! `prunedb prune casper`: a node's file without the history that is safe in the lake.

use super::{in_file, threads};
use crate::{
    archive::DbArchive,
    commands::{history, maintain::depth},
    io::{Exit, Io, Step},
    session::Session,
    text::{count, ratio, size},
};
use anyhow::{Context, bail};
use clap::Args;
use prunedb_casper::{CasperVerifier, PruneError, PruneLimits, Pruning};
use serde_json::json;
use std::{path::PathBuf, sync::Arc};

/// A node's file and configuration.
#[derive(Args, Debug, Clone)]
pub(crate) struct PruneCasper {
    /// The stopped node's `storage.lmdb`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The network's chainspec.toml
    #[arg(long, value_name = "FILE")]
    chainspec: PathBuf,
    /// The node's config.toml
    #[arg(long, value_name = "FILE")]
    node_config: PathBuf,
    /// Blocks that stay, at least [default: those of a day]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(1..))]
    keep_last: Option<u64>,
    /// Show only; nothing is written
    #[arg(long)]
    dry_run: bool,
    /// Put the smaller file in the place of the node's; the old one stays beside it as FILE.old
    #[arg(long, conflicts_with = "dry_run")]
    swap: bool,
    /// Read every byte of every shard and hash it, instead of asking each node what it has
    #[arg(long)]
    deep: bool,
}

pub(crate) fn run(args: &PruneCasper, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let text = |path: &PathBuf| {
        let path = io.path(path);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let limits = PruneLimits::read(&text(&args.chainspec)?, &text(&args.node_config)?)?;
    let path = io.path(&args.file);
    let verifier = CasperVerifier::new(&limits.network)?;
    let mut pruning = Pruning::open(&path, &limits, args.keep_last).map_err(explained)?;
    let plan = pruning.plan().clone();
    if plan.blocks() == 0 {
        let heights = format!("{}-{}", plan.keep_from, plan.tip);
        io.note(format!(
            "nothing to prune: blocks {heights} must stay, and there are no complete ones below"
        ));
        return Ok(Exit::No);
    }
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let archived = pruning.compare(&archive, &verifier, &mut |done, total| {
        io.sink.step(Step::counted("compare blocks with the archive", done, total));
    });
    let archived = archived.map_err(explained)?;
    // every container with one of them must be safe in the lake
    let table = format!("casper/{}/", limits.network);
    let safety = history::Safety::now(session, depth(args.deep, None), io)?;
    let unsafe_ones = safety.against(&table, &plan.ranges);
    if let [first, ..] = &unsafe_ones[..] {
        bail!(
            "{} with blocks to prune not safe yet: {first}; nothing was pruned",
            match unsafe_ones.len() {
                1 => "a container is".into(),
                n => format!("{} are", count(n as u64, "container")),
            }
        );
    }
    if archived.late_signatures > 0 {
        let blocks = count(archived.late_signatures, "block");
        io.note(format!(
            "{blocks} got signatures after they were archived: the archive keeps the earlier ones"
        ));
    }
    let ranges: Vec<String> = plan.ranges.iter().map(|(a, b)| format!("{a}-{b}")).collect();
    let mut result = json!({
        "file": path,
        "network": limits.network,
        "dry_run": args.dry_run,
        "tip": plan.tip,
        "keep_from": plan.keep_from,
        "prune": plan.ranges,
        "blocks": plan.blocks(),
        "late_signatures": archived.late_signatures,
        "containers": safety.containers(&table, &plan.ranges),
    });
    if args.dry_run {
        if io.json {
            io.json(&result)?;
        } else {
            io.line(format_args!(
                "{}: {} ({}) may be pruned; each is archived as it is here, in containers whose shards are all there; {}-{} stay",
                path.display(),
                count(plan.blocks(), "block"),
                ranges.join(", "),
                plan.keep_from,
                plan.tip
            ))?;
        }
        io.note("dry run: nothing was written");
        return Ok(Exit::Done);
    }
    let name = path.display().to_string();
    let report = pruning
        .write(&verifier, args.swap, threads(session), &mut |p| super::step(io, &name, p))
        .map_err(explained)?;
    if io.json {
        result["rows_kept"] = report.rows_kept.into();
        result["rows_dropped"] = report.rows_dropped.into();
        result["disk_bytes_before"] = report.disk_bytes_before.into();
        result["disk_bytes"] = report.disk_bytes.into();
        result["new_file"] = report.file.display().to_string().into();
        result["old_file"] = report.old.map(|old| old.display().to_string()).into();
        io.json(&result)?;
        return Ok(Exit::Done);
    }
    io.line(format_args!(
        "{}: {} pruned ({}), {} of {} rows stay, {} on disk instead of {} ({} % less)",
        report.file.display(),
        count(plan.blocks(), "block"),
        ranges.join(", "),
        report.rows_kept,
        report.rows_kept + report.rows_dropped,
        size(report.disk_bytes),
        size(report.disk_bytes_before),
        (100.0 * (1.0 - ratio(report.disk_bytes, report.disk_bytes_before))).round()
    ))?;
    match &report.old {
        Some(old) => io.line(format_args!(
            "it is in its place, the old one is {}: start the node, and remove that once the node's tip has moved on",
            old.display()
        ))?,
        None => io.note("the node's own file is as it was: with --swap the smaller one takes its place"),
    }
    Ok(Exit::Done)
}

fn explained(error: PruneError) -> anyhow::Error {
    match &error {
        PruneError::File(file) => in_file(file, error.to_string()),
        _ => error.into(),
    }
}

//! `prunedb prune --dry-run`: which history the chain's own node may delete, and the proof.

use super::{
    bitcoin, casper, ethereum,
    history::{Heights, History, Safety, heights, histories},
    maintain::depth,
    status::place,
};
use crate::{
    args,
    io::{Exit, Io},
    session::Session,
    text::{count, size},
};
use anyhow::ensure;
use prunedb_engine::ContainerStatus;
use serde_json::{Value, json};

/// A container with history, and what stands against pruning it.
struct Candidate<'a> {
    container: &'a ContainerStatus,
    history: &'a History,
    heights: Heights,
    /// empty: it is safe
    reasons: Vec<String>,
}

pub(super) fn run(args: &args::Prune, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    match &args.chain {
        Some(args::PruneChain::Casper(args)) => return casper::prune::run(args, session, io),
        Some(args::PruneChain::Ethereum(args)) => return ethereum::prune::run(args, session, io),
        Some(args::PruneChain::Bitcoin(args)) => return bitcoin::prune::run(args, session, io),
        None => {}
    }
    ensure!(
        args.dry_run,
        "pruning needs the registry's watermark, which says that the chain agreed on what was archived: until a \
         registry runs, only `prunedb prune --dry-run` is there, and `prunedb prune` of a chain's node, which compares with what \
         the node itself has"
    );
    let (histories, safety) =
        (histories(&session.db), Safety::now(session, depth(args.deep, None), io)?);
    let mut candidates = Vec::new();
    for history in &histories {
        for (position, container) in safety.containers.iter().enumerate() {
            if let Some(heights) = heights(container, &history.table) {
                let reasons = safety.reasons(position);
                candidates.push(Candidate { container, history, heights, reasons });
            }
        }
    }
    let policy = session.config.policy;
    let depth = if args.deep { "read and hashed" } else { "confirmed by its node" };
    if io.json {
        let ranges: Vec<Value> = candidates.iter().map(|c| candidate_json(c, depth)).collect();
        io.json(&json!({
            "dry_run": true,
            "policy": policy.to_string(),
            "depth": if args.deep { "deep" } else { "quick" },
            "ranges": ranges,
        }))?;
    } else if candidates.is_empty() {
        io.line(format_args!("no chain's history is stored"))?;
    } else {
        for candidate in &candidates {
            write(candidate, policy.total_shards(), depth, io)?;
        }
    }
    io.note("dry run: nothing was deleted anywhere");
    Ok(Exit::Done)
}

fn candidate_json(candidate: &Candidate<'_>, depth: &str) -> Value {
    let Candidate { container, history, heights, reasons } = candidate;
    json!({
        "chain": history.chain,
        "network": history.network,
        "first_height": heights.first,
        "last_height": heights.last,
        "blocks": heights.blocks,
        "gapless": heights.is_gapless(),
        "safe": reasons.is_empty(),
        "reasons": reasons,
        "proof": {
            "container": container.id.to_string(),
            "root": container.root.map(|root| root.to_string()),
            "container_bytes": container.container_bytes,
            "place": place(container.place),
            "read_back": container.read_back,
            "damaged_shards": container.damaged_shards.iter().map(|s| s.0).collect::<Vec<_>>(),
            "each_shard": depth,
        },
    })
}

fn write(candidate: &Candidate<'_>, shards: usize, depth: &str, io: &mut Io) -> anyhow::Result<()> {
    let Candidate { container, history, heights, reasons } = candidate;
    let gaps = if heights.is_gapless() { "" } else { ", with gaps" };
    io.line(format_args!(
        "{} {} {}-{} ({}{gaps}): {}",
        history.chain,
        history.network,
        heights.first,
        heights.last,
        count(heights.blocks, "block"),
        if reasons.is_empty() { "may be pruned" } else { "must stay" }
    ))?;
    if reasons.is_empty() {
        io.line(format_args!(
            "  container {} ({}) is in the lake, was read back and compared; each of its {shards} shards was {depth} just now",
            container.id,
            size(container.container_bytes)
        ))?;
    }
    for reason in reasons {
        io.line(format_args!("  container {}: {reason}", container.id))?;
    }
    Ok(())
}

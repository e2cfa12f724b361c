//! `prunedb evict`, `verify`, `repair` and `sweep`.

use super::verify_chain;
use crate::{
    args,
    io::{Exit, Io},
    session::Session,
    text::{count, size},
};
use anyhow::bail;
use prunedb_engine::{Depth, FaultKind, Verified};
use serde_json::{Value, json};
use std::{
    num::NonZeroU16,
    time::{Duration, SystemTime},
};

pub(super) fn evict(args: &args::Evict, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let evicted = session.db.evict(&mut |p| io.progress(p))?;
    let index_bytes = if args.index { session.db.evict_index()? } else { 0 };
    let left = session.db.status()?.local_data_bytes;
    if io.json {
        let kept: Vec<Value> = evicted
            .kept
            .iter()
            .map(|(container, reason)| json!({ "container": container.to_string(), "reason": reason }))
            .collect();
        io.json(&json!({
            "containers": evicted.containers,
            "bytes": evicted.bytes,
            "index_bytes": index_bytes,
            "kept": kept,
            "local_data_bytes": left,
        }))?;
    } else {
        let containers = count(evicted.containers, "container");
        io.line(format_args!(
            "{} of {containers} dropped, {} left",
            size(evicted.bytes),
            size(left)
        ))?;
        if args.index {
            io.line(format_args!("{} of index dropped", size(index_bytes)))?;
        }
        for (container, reason) in &evicted.kept {
            io.line(format_args!("{container} stays: {reason}"))?;
        }
    }
    Ok(Exit::of(evicted.kept.is_empty()))
}

/// How closely `--deep` and `--samples` look.
pub(super) fn depth(deep: bool, samples: Option<u16>) -> Depth {
    match samples.and_then(NonZeroU16::new) {
        Some(samples) => Depth::Samples(samples),
        None if deep => Depth::Deep,
        None => Depth::Quick,
    }
}

pub(super) fn verify(args: &args::Verify, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    if let Some(chain) = args.chain {
        return verify_chain::run(chain, args, session, io);
    }
    let verified = session.db.verify(depth(args.deep, args.samples), &mut |p| io.progress(p))?;
    let unreachable = verified.faults.iter().filter(|f| f.kind == FaultKind::Unreachable).count();
    let unreachable = unreachable as u64;
    if io.json {
        io.json(&verified_json(&verified))?;
    } else {
        io.line(format_args!(
            "{} of {} checked, {} read; {} missing or damaged, {} unreachable",
            count(verified.shards, "shard"),
            count(verified.containers, "container"),
            size(verified.bytes_read),
            count(verified.faults.len() as u64 - unreachable, "shard"),
            unreachable
        ))?;
        for fault in &verified.faults {
            io.line(format_args!(
                "{} shard {} on {}: {}",
                fault.container, fault.shard, fault.node, fault.reason
            ))?;
        }
    }
    let twice = session.db.duplicates()?.len() as u64;
    if twice > 0 {
        let keys = count(twice, "key");
        io.note(format!("{keys} with two different values: `prunedb status` shows them"));
    }
    if !verified.lost.is_empty() {
        io.sink.finish()?;
        bail!(lost(&verified));
    }
    if !verified.is_healthy() {
        io.note("every container can still be read: `prunedb repair` rebuilds the shards");
        if unreachable > 0 {
            io.note("of nodes that are gone for good: `prunedb repair --move-away`");
        }
    }
    Ok(Exit::of(verified.is_healthy()))
}

/// More than q shards of a container are gone: which containers, which shards, which nodes.
fn lost(verified: &Verified) -> String {
    let each: Vec<String> = verified
        .lost
        .iter()
        .map(|container| {
            let shards: Vec<String> = verified
                .faults
                .iter()
                .filter(|fault| fault.container == *container)
                .map(|fault| format!("{} on {}", fault.shard, fault.node))
                .collect();
            format!("{container} (shards {})", shards.join(", "))
        })
        .collect();
    format!("too many shards are lost to read {}: bring those nodes back", each.join("; "))
}

pub(crate) fn verified_json(verified: &Verified) -> Value {
    let faults: Vec<Value> = verified
        .faults
        .iter()
        .map(|f| {
            json!({
                "container": f.container.to_string(),
                "shard": f.shard.0,
                "node": f.node,
                "kind": f.kind.to_string(),
                "reason": f.reason,
            })
        })
        .collect();
    json!({
        "containers": verified.containers,
        "shards": verified.shards,
        "bytes_read": verified.bytes_read,
        "healthy": verified.is_healthy(),
        "faults": faults,
        "lost": verified.lost.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

pub(super) fn repair(args: &args::Repair, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let report = session.db.repair(args.move_away, &mut |p| io.progress(p))?;
    if io.json {
        let repaired: Vec<Value> = report
            .repaired
            .iter()
            .map(|r| json!({ "container": r.container.to_string(), "shard": r.shard.0, "node": r.node }))
            .collect();
        let failed: Vec<Value> = report
            .failed
            .iter()
            .map(|(container, reason)| json!({ "container": container.to_string(), "reason": reason }))
            .collect();
        io.json(&json!({
            "repaired": repaired,
            "failed": failed,
            "moved_slots": report.moved_slots,
            "stuck_slots": report.stuck_slots,
        }))?;
    } else {
        io.line(format_args!(
            "{} rebuilt, {} moved to spare nodes, {} failed",
            count(report.repaired.len() as u64, "shard"),
            count(report.moved_slots, "slot"),
            count(report.failed.len() as u64, "container")
        ))?;
        for (container, reason) in &report.failed {
            io.line(format_args!("{container}: {reason}"))?;
        }
    }
    if report.stuck_slots > 0 {
        let slots = count(report.stuck_slots, "slot");
        io.note(format!(
            "{slots} of unreachable nodes stay: no other node may take them, `prunedb node add` brings one"
        ));
    }
    if !report.failed.is_empty() {
        io.note("what failed stays known and is tried again by the next `prunedb repair`");
    }
    Ok(Exit::of(report.failed.is_empty() && report.stuck_slots == 0))
}

pub(super) fn sweep(args: &args::Sweep, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let age = Duration::from_secs(u64::from(args.older_than) * 3600);
    let now = SystemTime::now();
    let swept = session.db.sweep(now, age, args.dry_run, &mut |p| io.progress(p))?;
    if io.json {
        let failed: Vec<Value> = swept
            .failed
            .iter()
            .map(|(node, reason)| json!({ "node": node, "reason": reason }))
            .collect();
        io.json(&json!({
            "dry_run": args.dry_run,
            "nodes": swept.nodes,
            "shards": swept.shards,
            "orphans": swept.orphans,
            "orphan_bytes": swept.orphan_bytes,
            "deleted": swept.deleted,
            "deleted_bytes": swept.deleted_bytes,
            "failed": failed,
        }))?;
    } else {
        io.line(format_args!(
            "{} on {}, {} that nothing names ({})",
            count(swept.shards, "shard"),
            count(swept.nodes, "node"),
            swept.orphans,
            size(swept.orphan_bytes)
        ))?;
        io.line(format_args!(
            "{} {} ({}) noted {} h ago or earlier",
            swept.deleted,
            if args.dry_run { "would be deleted" } else { "deleted" },
            size(swept.deleted_bytes),
            args.older_than
        ))?;
        for (node, reason) in &swept.failed {
            // a store names its address itself
            let reason = reason.strip_prefix(&format!("{node}: ")).unwrap_or(reason);
            io.line(format_args!("{node}: left alone: {reason}"))?;
        }
    }
    Ok(Exit::of(swept.failed.is_empty()))
}

//! `prunedb batch list|show` and `prunedb election show`.

use super::ask::At;
use crate::{
    io::{Exit, Io},
    text::{count, size},
};
use anyhow::{Context, ensure};
use clap::Subcommand;
use prunedb_registry::Batch as Record;
use prunedb_validator::{Client, Happened, PAGE_MAX, Placement};
use serde_json::{Value, json};
use std::path::Path;
use tokio::runtime::Runtime;

/// Batches.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Batch {
    /// List the closed batches, and the one that is closing
    List {
        /// The first one
        #[arg(long, value_name = "BATCH", default_value = "0")]
        from: u32,
        /// How many
        #[arg(long, value_name = "COUNT", default_value = "100")]
        limit: u32,
        #[command(flatten)]
        at: At,
    },
    /// Show one batch: its root, its holders, whether it may be pruned
    Show {
        /// Its number, that of its data container
        #[arg(value_name = "BATCH")]
        batch: u32,
        #[command(flatten)]
        at: At,
    },
}

/// Elections.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Election {
    /// Show the holders of a batch's slots, what they have and proved, and how it came to that
    Show {
        /// The batch
        #[arg(value_name = "BATCH")]
        batch: u32,
        #[command(flatten)]
        at: At,
    },
}

/// What is known of one batch.
struct Found {
    record: Record,
    closed: bool,
    prunable_up_to: u32,
    count: u32,
}

fn find(client: &Client, batch: u32, runtime: &Runtime) -> anyhow::Result<Found> {
    let (records, count, closing) = runtime.block_on(client.batches(batch, 1))?;
    let prunable_up_to = runtime.block_on(client.status())?.prunable_up_to;
    let closed = batch < count;
    let record = records.first().copied().or_else(|| closing.filter(|_| batch == count));
    let record = record.with_context(|| {
        format!("the registry has {count} batches: {batch} is not among them yet")
    })?;
    Ok(Found { record, closed, prunable_up_to, count })
}

impl Found {
    fn state(&self, batch: u32) -> &'static str {
        match (self.closed, batch < self.prunable_up_to) {
            (false, _) => "closing",
            (true, false) => "closed",
            (true, true) => "prunable",
        }
    }

    /// Why it may not be pruned yet.
    fn waits_for(&self, batch: u32) -> Option<&'static str> {
        if !self.closed {
            Some("its holders' receipts, and the proofs of the epoch")
        } else if batch < self.prunable_up_to {
            None
        } else if batch + 1 >= self.count {
            Some("the next batch to close")
        } else {
            Some("an epoch in which enough of its holders prove, and its read-back")
        }
    }
}

fn record_json(number: u32, record: &Record) -> Value {
    json!({
        "batch": number,
        "first_block": record.first_block,
        "blocks": record.blocks,
        "root": record.root.to_string(),
        "container_digest": record.container_digest.to_string(),
        "container_bytes": record.container_bytes,
        "coded_bytes": record.coded_bytes,
        "shard_bytes": record.shard_bytes(),
        "group": record.group,
        "term": record.term,
        "height": record.height,
    })
}

pub(crate) fn batch(
    asked: &Batch,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    match asked {
        Batch::List { from, limit, at } => list(*from, *limit, &at.client(dir)?, runtime, io),
        Batch::Show { batch, at } => show(*batch, &at.client(dir)?, runtime, io),
    }
}

fn list(
    from: u32,
    limit: u32,
    client: &Client,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    ensure!((1..=PAGE_MAX).contains(&limit), "--limit: 1 to {PAGE_MAX} at once");
    let (records, all, closing) = runtime.block_on(client.batches(from, limit))?;
    let prunable = runtime.block_on(client.status())?.prunable_up_to;
    if io.json {
        let batches: Vec<Value> =
            (from..).zip(&records).map(|(n, record)| record_json(n, record)).collect();
        io.json(&json!({
            "batches": batches,
            "count": all,
            "closing": closing.as_ref().map(|record| record_json(all, record)),
            "prunable_up_to": prunable,
        }))?;
        return Ok(Exit::Done);
    }
    let state = |number: u32| if number < prunable { "prunable" } else { "closed" };
    for (number, record) in (from..).zip(&records) {
        line(number, record, state(number), io)?;
    }
    if let Some(record) = &closing {
        line(all, record, "closing", io)?;
    }
    if all == 0 && closing.is_none() {
        io.line(format_args!("no batch yet"))?;
    }
    Ok(Exit::Done)
}

fn line(number: u32, record: &Record, state: &str, io: &mut Io) -> std::io::Result<()> {
    io.line(format_args!(
        "{number}  {state}  blocks {}-{}  {}  group {}  root {}",
        record.first_block,
        record.first_block + u64::from(record.blocks) - 1,
        size(record.container_bytes),
        record.group,
        record.root
    ))
}

fn show(batch: u32, client: &Client, runtime: &Runtime, io: &mut Io) -> anyhow::Result<Exit> {
    let found = find(client, batch, runtime)?;
    let placement = runtime.block_on(client.placement())?;
    let group = placement.groups.get(found.record.group as usize).context("its group is gone")?;
    let held = group.slots.iter().filter(|slot| slot.holder.is_some()).count();
    if io.json {
        let mut value = record_json(batch, &found.record);
        value["state"] = json!(found.state(batch));
        value["waits_for"] = json!(found.waits_for(batch));
        value["policy"] = json!(group.policy.to_string());
        value["held_slots"] = json!(held);
        io.json(&value)?;
        return Ok(Exit::Done);
    }
    line(batch, &found.record, found.state(batch), io)?;
    io.line(format_args!(
        "  {} in the order in which they were put; compressed to {}; {} of {} on {} of {}",
        count(found.record.blocks.into(), "record"),
        size(found.record.coded_bytes),
        group.policy,
        size(found.record.shard_bytes()),
        held,
        count(group.slots.len() as u64, "slot")
    ))?;
    if let Some(waits) = found.waits_for(batch) {
        io.line(format_args!("  may not be pruned yet: waits for {waits}"))?;
    }
    Ok(Exit::Done)
}

pub(crate) fn election(
    asked: &Election,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let Election::Show { batch, at } = asked;
    let client = at.client(dir)?;
    let found = find(&client, *batch, runtime)?;
    let placement = runtime.block_on(client.placement())?;
    let epoch = runtime.block_on(client.epoch())?;
    let number = found.record.group;
    let group = placement.groups.get(number as usize).context("its group is gone")?;
    // batches of the group up to this one
    let groups = u32::try_from(placement.groups.len())?;
    let needed = batch / groups + 1;
    let story = story(&client, number, runtime)?;
    let address = |node: prunedb_registry::NodeId| name(&placement, node);
    let slots: Vec<Value> = group
        .slots
        .iter()
        .enumerate()
        .map(|(slot, place)| {
            let repair = placement
                .repairs
                .iter()
                .find(|((g, s), _)| (*g, usize::from(*s)) == (number, slot));
            json!({
                "slot": slot,
                "holder": place.holder.map(address),
                "has_it": place.holder.is_some() && place.batches >= needed,
                "proven": place.holder.is_some_and(|n| epoch.proven.contains(&n)),
                "to_be_filled_by_height": repair.map(|(_, repair)| repair.deadline),
            })
        })
        .collect();
    let moved: Vec<Value> = story
        .iter()
        .map(|event| {
            json!({
                "height": event.height,
                "what": event.kind,
                "slot": event.slot,
                "from": event.from.map(address),
                "to": event.node.map(address),
            })
        })
        .collect();
    if io.json {
        io.json(&json!({
            "batch": batch, "group": number, "policy": group.policy.to_string(),
            "epoch": epoch.number, "slots": slots, "history": moved,
        }))?;
        return Ok(Exit::Done);
    }
    io.line(format_args!(
        "batch {batch}: group {number} of {}, epoch {}",
        group.policy, epoch.number
    ))?;
    for slot in &slots {
        let holder = slot["holder"].as_str().unwrap_or("vacant");
        let has = if slot["has_it"] == true { "has it" } else { "does not have it yet" };
        let proven = if slot["proven"] == true { ", proved in this epoch" } else { "" };
        io.line(format_args!("  slot {}: {holder}, {has}{proven}", slot["slot"]))?;
    }
    for event in &story {
        let slot = event.slot.unwrap_or_default();
        match (&event.kind[..], event.from, event.node) {
            ("assigned", Some(from), Some(to)) => io.line(format_args!(
                "  height {}: slot {slot} went from {} to {}",
                event.height,
                address(from),
                address(to)
            ))?,
            ("assigned", None, Some(to)) => {
                io.line(format_args!(
                    "  height {}: slot {slot} went to {}",
                    event.height,
                    address(to)
                ))?;
            }
            ("assigned", Some(from), None) => io.line(format_args!(
                "  height {}: slot {slot} of {} is vacant",
                event.height,
                address(from)
            ))?,
            _ => io.line(format_args!("  height {}: slot {slot} was filled", event.height))?,
        }
    }
    Ok(Exit::Done)
}

/// A node as people know it.
pub(super) fn name(placement: &Placement, node: prunedb_registry::NodeId) -> String {
    let known = placement.nodes.get(node.0 as usize);
    known.map_or_else(|| format!("node {}", node.0), |node| node.endpoint.as_str().to_owned())
}

/// What happened to a group's slots, as far as the validator keeps it.
fn story(client: &Client, group: u32, runtime: &Runtime) -> anyhow::Result<Vec<Happened>> {
    let mut out = all_events(client, runtime)?;
    out.retain(|event| {
        event.group == Some(group) && matches!(&event.kind[..], "assigned" | "filled")
    });
    Ok(out)
}

/// All events that the validator keeps.
pub(super) fn all_events(client: &Client, runtime: &Runtime) -> anyhow::Result<Vec<Happened>> {
    let mut out: Vec<Happened> = Vec::new();
    loop {
        let from = out.last().map_or(0, |last| last.number + 1);
        let (events, next) = runtime.block_on(client.history(from, PAGE_MAX, 0))?;
        let reached = events.last().is_none_or(|last| last.number + 1 >= next);
        out.extend(events);
        if reached {
            return Ok(out);
        }
    }
}

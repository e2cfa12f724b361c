//! `prunedb heavy`.

use super::{AskedRegistry, KEY_FILE};
use crate::{
    io::{Exit, Io},
    secret, session,
    text::{count, size},
};
use clap::Args;
use prunedb_core::units::ByteSize;
use prunedb_market::{HeavyAddress, HeavyConfig, HeavyRules, audit, heavy_status};
use serde_json::json;
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::runtime::Runtime;

/// A heavy node.
#[derive(Args, Debug, Clone)]
pub(crate) struct Run {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Where others reach it [default: where it listens]
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    #[command(flatten)]
    registry: AskedRegistry,
    /// A heavy node to ask where no child has room; may be repeated, up to 16 times
    #[arg(long, value_name = "tls://HOST:PORT/KEY")]
    neighbour: Vec<HeavyAddress>,
    /// Address of an iroh relay, TCP and UDP: light nodes behind a router are reached through a hole in it; port 0 takes a free one
    #[cfg(feature = "iroh")]
    #[arg(long, value_name = "ADDRESS:PORT")]
    iroh: Option<SocketAddr>,
    /// Bytes that are written to a light node and read back when it registers
    #[arg(long, value_name = "SIZE", default_value = "16MiB")]
    probe: ByteSize,
    /// Millionths of other heavy nodes' checks that are repeated here
    #[arg(long, value_name = "PPM", default_value = "10000", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    repeat: u32,
    /// Seconds without a sign of life after which a light node is not offered any more
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u16).range(15..))]
    lease: u16,
}

/// Whom to ask.
#[derive(Args, Debug, Clone)]
pub(crate) struct Status {
    /// The heavy node
    #[arg(value_name = "tls://HOST:PORT/KEY")]
    address: HeavyAddress,
}

/// Which report.
#[derive(Args, Debug, Clone)]
pub(crate) struct Check {
    /// The heavy node
    #[arg(value_name = "tls://HOST:PORT/KEY")]
    address: HeavyAddress,
    /// The cell's number
    #[arg(value_name = "CELL", value_parser = super::parse::cell)]
    cell: u64,
    #[command(flatten)]
    registry: AskedRegistry,
}

pub(super) fn run(args: &Run, dir: &Path, runtime: &Runtime, io: &mut Io) -> anyhow::Result<Exit> {
    super::super::init::make_dir(dir)?;
    let config = HeavyConfig {
        seed: secret::key_seed(&dir.join(KEY_FILE))?,
        dir: dir.into(),
        listen: args.listen,
        endpoint: args.endpoint.clone(),
        registry: args.registry.registry.clone(),
        neighbours: args.neighbour.clone(),
        #[cfg(feature = "iroh")]
        iroh: args.iroh,
        rules: HeavyRules {
            lease: Duration::from_secs(args.lease.into()),
            probe_bytes: args.probe.0,
            repeat_ppm: args.repeat,
            ..HeavyRules::default()
        },
    };
    let heavy = runtime.block_on(prunedb_market::Heavy::start(config, session::disk()))?;
    let stopped = super::stop_signal(runtime)?;
    let (address, node) = (heavy.address().to_string(), heavy.node().0);
    let report = json!({ "address": address, "node": node, "dir": dir });
    super::ready(io, &report, &format!("heavy node {node} at {address}"))?;
    runtime.block_on(stopped);
    io.note("stopping");
    runtime.block_on(heavy.stop());
    Ok(Exit::Done)
}

pub(super) fn status(args: &Status, runtime: &Runtime, io: &mut Io) -> anyhow::Result<Exit> {
    // a key for this question
    let seed = secret::random()?;
    let status = runtime.block_on(heavy_status(&seed, args.address.clone()))?;
    if io.json {
        io.json(&json!({
            "node": status.heavy.0,
            "registry": status.registry.to_string(),
            "children": status.summary.children,
            "free_bytes_max": status.summary.free_bytes_max,
            "price_min": status.summary.price_min.0,
            "cells": status.cells,
            "reported_epoch": status.reported,
            "relayed_bytes": status.relayed_bytes,
            "iroh": status.hole.as_ref().map(|hole| json!({ "relay": hole.relay.as_str(), "relayed_bytes": hole.relayed_bytes })),
            "findings": status.findings,
        }))?;
        return Ok(Exit::Done);
    }
    let children = count(status.summary.children.into(), "light node");
    let free = size(status.summary.free_bytes_max);
    io.line(format_args!("heavy node {} with {children}, {free} free at most", status.heavy))?;
    let reported = status.reported.map_or("none yet".into(), |epoch| epoch.to_string());
    let cells = count(status.cells.into(), "cell");
    io.line(format_args!("checks {cells}; last epoch reported: {reported}"))?;
    io.line(format_args!("relayed {}", size(status.relayed_bytes)))?;
    if let Some(hole) = &status.hole {
        let relayed = size(hole.relayed_bytes);
        io.line(format_args!("iroh relay at {}: relayed {relayed}", hole.relay.as_str()))?;
    }
    for finding in &status.findings {
        io.line(format_args!("finding: {finding}"))?;
    }
    Ok(Exit::Done)
}

pub(super) fn check(args: &Check, runtime: &Runtime, io: &mut Io) -> anyhow::Result<Exit> {
    // a key for this question
    let seed = secret::random()?;
    let asked = audit(&seed, args.address.clone(), &args.registry.registry, args.cell);
    let audited = runtime.block_on(asked)?;
    let (cell, epoch) = (args.cell, audited.epoch);
    let is_good = audited.shown.is_ok();
    if io.json {
        io.json(&json!({
            "cell": cell,
            "epoch": epoch,
            "good": is_good,
            "samples": audited.shown.as_ref().ok(),
            "finding": audited.shown.as_ref().err().map(ToString::to_string),
        }))?;
        return Ok(Exit::of(is_good));
    }
    match audited.shown {
        Ok(0) => io.line(format_args!("cell {cell}, epoch {epoch}: reported as not proven"))?,
        Ok(samples) => io.line(format_args!(
            "cell {cell}, epoch {epoch}: {} under the root in the registry",
            count(samples as u64, "sample")
        ))?,
        Err(finding) => io.line(format_args!("cell {cell}, epoch {epoch}: {finding}"))?,
    }
    Ok(Exit::of(is_good))
}

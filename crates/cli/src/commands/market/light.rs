//! `prunedb light run`, `key` and `leave`: who offers a disk.

use super::{AskedRegistry, KEY_FILE};
use crate::{
    io::{Exit, Io},
    secret, session,
    text::{count, size},
};
use anyhow::Context;
use clap::Args;
use prunedb_core::units::ByteSize;
use prunedb_duties::domain_number;
use prunedb_market::{HeavyAddress, LightConfig, LightState};
use prunedb_registry::{Amount, Body, Secret};
use prunedb_validator::Client;
use serde_json::json;
use std::{net::SocketAddr, path::Path};
use tokio::runtime::Runtime;

/// A light node.
#[derive(Args, Debug, Clone)]
pub(crate) struct Run {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Where owners reach it [default: where it listens]
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// Bytes that it may take up
    #[arg(long, value_name = "SIZE")]
    capacity: ByteSize,
    /// Bytes that it offers [default: what is free]
    #[arg(long, value_name = "SIZE")]
    offer: Option<ByteSize>,
    /// Price of an epoch of a cell
    #[arg(long, value_name = "AMOUNT", value_parser = super::parse::amount)]
    price: Amount,
    /// It is not reached from outside: the heavy node relays
    #[arg(long)]
    relayed: bool,
    /// Who runs it
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    operator: String,
    /// The network it is in
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    network: String,
    /// The place where it is
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    place: String,
    /// A heavy node to register at; may be repeated, up to 4 times: where one is lost, its cells go over to another
    #[arg(long, value_name = "tls://HOST:PORT/KEY", required = true)]
    heavy: Vec<HeavyAddress>,
    #[command(flatten)]
    registry: AskedRegistry,
}

/// Who leaves.
#[derive(Args, Debug, Clone)]
pub(crate) struct Leave {
    #[command(flatten)]
    registry: AskedRegistry,
}

pub(super) fn run(args: &Run, dir: &Path, runtime: &Runtime, io: &mut Io) -> anyhow::Result<Exit> {
    super::super::init::make_dir(dir)?;
    let domain = |name: &String| domain_number(name);
    let config = LightConfig {
        seed: secret::key_seed(&dir.join(KEY_FILE))?,
        listen: args.listen,
        endpoint: args.endpoint.clone(),
        dir: dir.into(),
        capacity_bytes: args.capacity.0,
        offer_bytes: args.offer.map(|ByteSize(bytes)| bytes),
        price: args.price,
        domains: [&args.operator, &args.network, &args.place].map(domain),
        is_relayed: args.relayed,
        heavies: args.heavy.clone(),
        registry: args.registry.registry.clone(),
    };
    let light = runtime.block_on(prunedb_market::Light::start(config, session::disk()))?;
    let mut stopped = super::stop_signal(runtime)?;
    let mut state = light.state();
    let registered = runtime.block_on(async {
        loop {
            match state.borrow_and_update().clone() {
                LightState::Registered(node) => return Some(node),
                LightState::Waiting(Some(reason)) => {
                    io.note(format!("not registered yet: {reason}"))
                }
                LightState::Waiting(None) => {}
            }
            tokio::select! {
                _ = state.changed() => {}
                () = &mut stopped => return None,
            }
        }
    });
    if let Some(node) = registered {
        let cells = light.cells()?;
        let held: u64 = cells.iter().map(|(_, bytes)| bytes).sum();
        let address = light.local_addr().to_string();
        let report = json!({
            "node": node.0,
            "listen": address,
            "key": light.key().to_string(),
            "cells": cells.len(),
            "cell_bytes": held,
            "dir": dir,
        });
        let cells = count(cells.len() as u64, "cell");
        let line = format!("light node {node} on {address}, {cells} of {}", size(held));
        super::ready(io, &report, &line)?;
        runtime.block_on(stopped);
    }
    io.note("stopping");
    runtime.block_on(light.stop());
    Ok(Exit::Done)
}

pub(super) fn key(dir: &Path, io: &mut Io) -> anyhow::Result<Exit> {
    super::super::init::make_dir(dir)?;
    let key = Secret::from_seed(&*secret::key_seed(&dir.join(KEY_FILE))?).key();
    if io.json {
        io.json(&json!({ "key": key.to_string() }))?;
    } else {
        io.line(format_args!("{key}"))?;
    }
    Ok(Exit::Done)
}

pub(super) fn leave(
    args: &Leave,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let path = dir.join(KEY_FILE);
    anyhow::ensure!(
        path.exists(),
        "there is no key file {}: --dir is to name the light node's folder",
        path.display()
    );
    let secret = Secret::from_seed(&*secret::key_seed(&path)?);
    let client = Client::new(args.registry.registry.iter().cloned());
    let node = runtime.block_on(async {
        let registry = client.status().await?.registry;
        let duty = client.duty(secret.key()).await?;
        let node = duty.context("the registry knows no node with this key")?.node;
        let leave = Body::LeaveNode { leave: prunedb_registry::Leave { node } };
        client.send(&registry, leave, &[&secret]).await?;
        anyhow::Ok(node)
    })?;
    if io.json {
        io.json(&json!({ "node": node.0, "leaving": true }))?;
    } else {
        io.line(format_args!("light node {node} leaves; it owes its cells until they end"))?;
    }
    Ok(Exit::Done)
}

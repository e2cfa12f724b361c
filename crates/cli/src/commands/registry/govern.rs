//! What the authority and nodes do: joining, groups, rules, leaving; and transactions as they are.

use super::ask::At;
use crate::{
    io::{Exit, Io},
    registry::RegistryFolder,
    text::count,
};
use anyhow::{Context, bail, ensure};
use clap::Args;
use prunedb_core::{Digest, Policy, units::ByteSize};
use prunedb_duties::domain_number;
use prunedb_registry::{Amount, Body, Endpoint, JoinNode, Leave, NodeId, NodeStatus, Params};
use prunedb_validator::{Client, WAIT_MS_MAX};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

/// Heights until changed rules hold.
const PARAMS_LATER: u64 = 10;

/// A node that joins.
#[derive(Args, Debug, Clone)]
pub(crate) struct Join {
    /// Where the lake reaches it
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// The node's own key, DIR/node.key of `prunedb node run`
    #[arg(long, value_name = "FILE")]
    node_key: PathBuf,
    /// What it may hold
    #[arg(long, value_name = "SIZE")]
    capacity: ByteSize,
    /// Who runs it
    #[arg(long, value_name = "NAME", default_value = "")]
    operator: String,
    /// The network it is in
    #[arg(long, value_name = "NAME", default_value = "")]
    network: String,
    /// The place where it is
    #[arg(long, value_name = "NAME", default_value = "")]
    place: String,
    #[command(flatten)]
    at: At,
}

/// Groups to open.
#[derive(Args, Debug, Clone)]
pub(crate) struct Groups {
    /// How many
    #[arg(value_name = "COUNT")]
    count: u32,
    /// Of which policy
    #[arg(long, value_name = "P+Q")]
    policy: Policy,
    #[command(flatten)]
    at: At,
}

/// The rules.
#[derive(Args, Debug, Clone)]
pub(crate) struct ShowParams {
    /// Set a rule, from some blocks on; may be repeated
    #[arg(long = "change", value_name = "NAME=VALUE")]
    change: Vec<String>,
    #[command(flatten)]
    at: At,
}

/// A transaction.
#[derive(Args, Debug, Clone)]
pub(crate) struct Tx {
    /// Its name, 64 hex digits; or, with --submit, its bytes in hex
    #[arg(value_name = "HEX")]
    tx: String,
    /// Hand it in and wait for its block
    #[arg(long)]
    submit: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn send(
    client: &Client,
    body: Body,
    signers: &[&prunedb_registry::Secret],
    runtime: &Runtime,
) -> anyhow::Result<u64> {
    let sent = runtime.block_on(async {
        let registry = client.status().await?.registry;
        client.send(&registry, body, signers).await
    });
    Ok(sent?.height)
}

pub(super) fn join(
    args: &Join,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let folder = RegistryFolder::of(dir);
    let (authority, key) = (folder.authority()?, folder.known_secret(&io.path(&args.node_key))?);
    prunedb_store::check_address(&args.address)?;
    let ByteSize(capacity) = args.capacity;
    let capacity_gib = u32::try_from(capacity >> 30).unwrap_or(u32::MAX);
    ensure!(capacity_gib > 0, "a node holds 1 GiB at least");
    let join = JoinNode {
        key: key.key(),
        endpoint: Endpoint::new(&args.address).context("the address is longer than 255 bytes")?,
        domains: [&args.operator, &args.network, &args.place].map(|name| domain_number(name)),
        capacity_gib,
        stake: Amount(0),
    };
    let client = args.at.client(dir)?;
    let height = send(&client, Body::JoinNode { join }, &[&authority, &key], runtime)?;
    let duty = runtime.block_on(client.duty(key.key()))?.context("the node has left again")?;
    if io.json {
        io.json(&json!({ "node": duty.node.0, "address": args.address, "height": height }))?;
    } else {
        io.line(format_args!(
            "{} joined as node {} at height {height}",
            args.address, duty.node.0
        ))?;
    }
    Ok(Exit::Done)
}

pub(super) fn groups(
    args: &Groups,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let authority = RegistryFolder::of(dir).authority()?;
    let body = Body::OpenGroups { policy: args.policy, count: args.count };
    let height = send(&args.at.client(dir)?, body, &[&authority], runtime)?;
    if io.json {
        io.json(
            &json!({ "opened": args.count, "policy": args.policy.to_string(), "height": height }),
        )?;
    } else {
        let opened = count(args.count.into(), "group");
        io.line(format_args!("{opened} of {} opened at height {height}", args.policy))?;
    }
    Ok(Exit::Done)
}

/// The node with this address asks to leave, by its owner: here, the authority.
pub(crate) fn leave(
    address: &str,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let folder = RegistryFolder::of(dir);
    let (client, authority) = (folder.client()?, folder.authority()?);
    let placement = runtime.block_on(client.placement())?;
    let is_it = |n: &prunedb_registry::Node| {
        n.endpoint.as_str() == address && n.status == NodeStatus::Active
    };
    let position = placement.nodes.iter().position(is_it);
    let position =
        position.with_context(|| format!("no node of the registry at {address} takes part"))?;
    let node = NodeId(u32::try_from(position)?);
    let slots =
        placement.groups.iter().flat_map(|g| &g.slots).filter(|s| s.holder == Some(node)).count();
    let height = send(&client, Body::LeaveNode { leave: Leave { node } }, &[&authority], runtime)?;
    if io.json {
        io.json(&json!({ "leaving": address, "node": node.0, "slots": slots, "height": height }))?;
    } else {
        io.line(format_args!(
            "{address} leaves: its {} are elected anew; it is to stay until `prunedb registry status` shows no slots to be filled",
            count(slots as u64, "slot")
        ))?;
    }
    Ok(Exit::Done)
}

macro_rules! numbers {
    ($($name:ident),* $(,)?) => {
        /// Sets a rule by its name.
        ///
        /// # Errors
        /// Where there is none, or the value is none of it.
        pub(super) fn set_param(params: &mut Params, text: &str) -> anyhow::Result<()> {
            let (name, value) =
                text.split_once('=').with_context(|| format!("`{text}`: write NAME=VALUE"))?;
            match name {
                $(stringify!($name) => params.$name = value.parse().with_context(|| format!("{name}={value}"))?,)*
                "pay_per_gib" => params.pay_per_gib = Amount(value.parse()?),
                "stake_min" => params.stake_min = Amount(value.parse()?),
                "stake_per_gib" => params.stake_per_gib = Amount(value.parse()?),
                _ => bail!("there is no rule `{name}` to set: `prunedb registry params` shows them"),
            }
            Ok(())
        }

        fn rules(params: &Params) -> Vec<(&'static str, Value)> {
            vec![
                $((stringify!($name), json!(params.$name)),)*
                ("pay_per_gib", json!(params.pay_per_gib.0)),
                ("stake_min", json!(params.stake_min.0)),
                ("stake_per_gib", json!(params.stake_per_gib.0)),
            ]
        }
    };
}
numbers!(
    permissioned,
    margin,
    strict_limits,
    min_age_epochs,
    epoch_heights,
    seed_heights,
    proof_heights,
    closing_heights,
    repair_heights,
    samples,
    sequential,
    attesters,
    misses_max,
    slash_ppm,
    reward_ppm,
    heavy_fee_ppm,
    dispute_epochs,
    nodes_max,
    groups_max,
    accounts_max,
);

pub(super) fn params(
    args: &ShowParams,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let client = args.at.client(dir)?;
    let mut params = runtime.block_on(client.params())?;
    let mut since = None;
    if !args.change.is_empty() {
        for change in &args.change {
            set_param(&mut params, change)?;
        }
        let authority = RegistryFolder::of(dir).authority()?;
        let height = runtime.block_on(client.height(0, 0))? + PARAMS_LATER;
        let body = Body::SetParams { height, params: params.clone() };
        send(&client, body, &[&authority], runtime)?;
        since = Some(height);
    }
    let rules = rules(&params);
    if io.json {
        let rules: serde_json::Map<String, Value> =
            rules.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let authorities: Vec<String> = params.authorities.iter().map(ToString::to_string).collect();
        io.json(&json!({
            "rules": rules,
            "authorities": authorities,
            "authority_threshold": params.authority_threshold,
            "from_height": since,
        }))?;
        return Ok(Exit::Done);
    }
    for (name, value) in rules {
        io.line(format_args!("{name} = {value}"))?;
    }
    if let Some(height) = since {
        io.note(format!("from height {height} on"));
    }
    Ok(Exit::Done)
}

pub(super) fn tx(args: &Tx, dir: &Path, runtime: &Runtime, io: &mut Io) -> anyhow::Result<Exit> {
    let client = args.at.client(dir)?;
    let name: Digest = if args.submit {
        let bytes = from_hex(&args.tx).context("a transaction's bytes are hex digits")?;
        runtime.block_on(client.submit(bytes))?
    } else {
        args.tx.parse().context("a transaction's name has 64 hex digits")?
    };
    let wait_ms = if args.submit { WAIT_MS_MAX } else { 0 };
    let outcome = runtime.block_on(client.outcome(name, wait_ms))?;
    let refused = outcome.as_ref().and_then(|o| o.refused.as_ref()).map(|r| r.reason.clone());
    if io.json {
        io.json(&json!({
            "tx": name.to_string(),
            "height": outcome.as_ref().map(|o| o.height),
            "refused": refused,
        }))?;
    } else {
        match (&outcome, &refused) {
            (None, _) => io.line(format_args!("{name}: in no block yet, or long ago"))?,
            (Some(o), None) => io.line(format_args!("{name}: applied at height {}", o.height))?,
            (Some(o), Some(reason)) => {
                io.line(format_args!("{name}: refused at height {}: {reason}", o.height))?;
            }
        }
    }
    Ok(Exit::of(outcome.is_some() && refused.is_none()))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

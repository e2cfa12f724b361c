//! `prunedb node add` and `prunedb node leave`: who holds the lake.

use crate::{
    args::{NodeAdd, NodeAddress},
    config::{Config, Layers, Nodes, Source, domains_text},
    io::{Exit, Io},
    session::{CONFIG_FILE, Session},
    text::{count, size},
};
use anyhow::{Context, ensure};
use prunedb_engine::NodeDomains;
use prunedb_store::NodeOptions;
use serde_json::json;

pub(super) fn add(args: &NodeAdd, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    ensure!(
        matches!(session.config.nodes, Nodes::Remote(_)),
        "this lake lies on local nodes: their number was settled by `prunedb init --local`"
    );
    let credentials = Some(&session.credentials);
    let store = prunedb_store::connect_as(&args.address, NodeOptions::default(), credentials)?;
    for name in [&args.operator, &args.network, &args.place] {
        ensure!(
            !name.contains([',', '/', '=']),
            "`{name}`: a domain's name has no `,`, `/` or `=`"
        );
    }
    let domains = NodeDomains {
        operator: args.operator.clone(),
        network: args.network.clone(),
        place: args.place.clone(),
    };
    session.db.add_node(&args.address, store, domains.clone())?;
    write_nodes(session, Some((&args.address, domains)))?;
    let nodes = session.db.status()?.nodes.len() as u64;
    if io.json {
        io.json(&json!({ "added": args.address, "nodes": nodes }))?;
    } else {
        io.line(format_args!("{} added: {}", args.address, count(nodes, "node")))?;
    }
    Ok(Exit::Done)
}

pub(super) fn leave(args: &NodeAddress, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    ensure!(
        matches!(session.config.nodes, Nodes::Remote(_)),
        "this lake lies on local nodes: their number was settled by `prunedb init --local`"
    );
    let left = session.db.leave(&args.address, &mut |p| io.progress(p))?;
    write_nodes(session, None)?;
    if io.json {
        io.json(&json!({
            "left": args.address,
            "moved_slots": left.moved_slots,
            "copied_shards": left.copied_shards,
            "copied_bytes": left.copied_bytes,
            "rebuilt_shards": left.rebuilt_shards,
        }))?;
    } else {
        io.line(format_args!(
            "{} has left: {} moved, {} copied ({}), {} rebuilt; it may be switched off",
            args.address,
            count(left.moved_slots, "slot"),
            count(left.copied_shards, "shard"),
            size(left.copied_bytes),
            left.rebuilt_shards
        ))?;
    }
    Ok(Exit::Done)
}

/// Puts the lake's nodes into the configuration file, with their domains: `recover` begins with them.
fn write_nodes(session: &Session, joined: Option<(&str, NodeDomains)>) -> anyhow::Result<()> {
    let nodes: Vec<String> =
        session.db.status()?.nodes.into_iter().map(|node| node.address).collect();
    change_config(session, |layers| {
        let mut domains = Config::new(layers, &session.dir)?.node_domains;
        if let Some((address, joined)) = joined.filter(|(_, d)| *d != NodeDomains::default()) {
            domains.insert(address.to_owned(), joined);
        }
        domains.retain(|address, _| nodes.contains(address));
        if !domains.is_empty() || layers.is_set("node_domains") {
            layers.set("node_domains", domains_text(&domains), Source::File)?;
        }
        layers.set("nodes", nodes.join(","), Source::File)
    })
}

/// Changes what stands in the folder's configuration file.
pub(super) fn change_config(
    session: &Session,
    change: impl FnOnce(&mut Layers) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let path = session.dir.join(CONFIG_FILE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut layers = Layers::from_file(&text).with_context(|| path.display().to_string())?;
    change(&mut layers)?;
    super::init::write_config(&session.dir, &layers)
}

//! `prunedb node add` and `prunedb node leave`: who holds the lake.

use crate::{
    args::NodeAddress,
    config::{Layers, Nodes, Source},
    io::{Exit, Io},
    session::{CONFIG_FILE, Session},
    text::{count, size},
};
use anyhow::{Context, ensure};
use prunedb_store::NodeOptions;
use serde_json::json;

pub(super) fn add(args: &NodeAddress, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    ensure!(
        matches!(session.config.nodes, Nodes::Remote(_)),
        "this lake lies on local nodes: their number was settled by `prunedb init --local`"
    );
    let credentials = Some(&session.credentials);
    let store = prunedb_store::connect_as(&args.address, NodeOptions::default(), credentials)?;
    session.db.add_node(&args.address, store)?;
    write_nodes(session)?;
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
    write_nodes(session)?;
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

/// Puts the lake's nodes into the configuration file: `recover` begins with them.
fn write_nodes(session: &Session) -> anyhow::Result<()> {
    let path = session.dir.join(CONFIG_FILE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut layers = Layers::from_file(&text).with_context(|| path.display().to_string())?;
    let nodes = session.db.status()?.nodes.into_iter().map(|node| node.address);
    layers.set("nodes", nodes.collect::<Vec<_>>().join(","), Source::File)?;
    super::init::write_config(&session.dir, &layers)
}

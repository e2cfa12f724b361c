//! `prunedb node run`: one storage node.

use crate::{
    args::NodeRun,
    io::{Exit, Io},
    secret, session,
};
use anyhow::Context;
use prunedb_core::units::ByteSize;
use prunedb_duties::Holder;
use prunedb_node::{NodeConfig, NodeServer};
use prunedb_registry::Secret;
use prunedb_validator::Client;
use serde_json::json;
use std::{path::Path, sync::Arc};
use tokio::runtime::Runtime;

/// The node's key, in its folder.
pub(crate) const KEY_FILE: &str = "node.key";

/// A node's address, as others write it.
pub(crate) fn address(server: &NodeServer) -> String {
    match server.key() {
        Some(key) => format!("tls://{}/{key}", server.local_addr()),
        None => server.local_addr().to_string(),
    }
}

pub(crate) fn run(
    args: &NodeRun,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    super::init::make_dir(dir)?;
    let ByteSize(capacity_bytes) = args.capacity;
    let mut config = NodeConfig::new(args.listen, dir, capacity_bytes);
    if args.tls {
        config.tls = Some(Arc::new(secret::key(&dir.join(KEY_FILE))?));
    }
    config.owners.clone_from(&args.owner);
    config.metrics = args.metrics;
    config.scrub = true;
    config.socket = args.zdb_socket.clone();
    config.zdb.admin = args.zdb_admin.clone();
    config.zdb.mode = args.zdb_mode;
    config.zdb.hook = args.zdb_hook.clone();
    config.zdb.sync = !args.zdb_no_sync;
    config.zdb.keys_max = args.zdb_keys_max;
    config.zdb.may_stop = cfg!(debug_assertions);
    let server = runtime.block_on(NodeServer::start(config, session::disk()));
    let server = server.with_context(|| format!("storage node {}", dir.display()))?;
    let duties = (!args.registry.is_empty())
        .then(|| -> anyhow::Result<_> {
            let client = Client::new(args.registry.iter().map(ToString::to_string));
            let seed = secret::key_seed(&dir.join(KEY_FILE))?;
            let key = Secret::from_seed(&seed);
            let shards = Arc::new(server.node().clone());
            Ok(Holder::new(client, key, shards, None, runtime.handle().clone()).run())
        })
        .transpose()?;
    // before anybody is told that it is ready
    let stopped = {
        let _inside = runtime.enter();
        super::up::stop_signal()?
    };
    let address = address(&server);
    if io.json {
        io.json(&json!({
            "listen": address,
            "closed": !args.owner.is_empty(),
            "metrics": server.metrics_addr().map(|address| address.to_string()),
            "dir": dir,
            "capacity_bytes": capacity_bytes,
        }))?;
    } else {
        let shards = server.node().report().shards;
        io.line(format_args!(
            "node on {address}, {} in {}",
            crate::text::count(shards, "shard"),
            dir.display()
        ))?;
    }
    io.sink.finish()?;
    runtime.block_on(async {
        tokio::select! {
            () = stopped => {}
            () = server.stop_asked() => {}
        }
    });
    io.note("stopping");
    drop(duties);
    runtime.block_on(server.shutdown());
    Ok(Exit::Done)
}

//! `prunedb serve ethereum-rpc`: a node's JSON-RPC with its old history from the archive.

use super::network;
use crate::{archive::DbArchive, session::Session};
use anyhow::{Context, bail, ensure};
use clap::Args;
use prunedb_chains::ethereum::{BlockId, EthereumRpc, Hash32, History, Network, Tables};
use prunedb_engine::{Db, Table};
use prunedb_rpc::{Answer, Call, CallError, Caller, Chain, HttpServer, Proxy, Upstream};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::runtime::Runtime;

/// Which node stands behind.
#[derive(Args, Debug, Clone)]
pub(crate) struct ServeEthereumRpc {
    /// The node's JSON-RPC, as http(s)://[USER:PASSWORD@]HOST:PORT: what is not archived is asked there
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8555")]
    listen: SocketAddr,
    /// How long the node may take for an answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// Network [default: the one that is stored]
    #[arg(long, value_name = "NAME")]
    network: Option<Network>,
}

/// The archive of a database.
struct Lake {
    db: Db,
    rpc: EthereumRpc,
}

impl Chain for Lake {
    fn answer(&self, call: &Call) -> Answer {
        let archive = DbArchive::new(self.db.clone(), Arc::new(AtomicBool::new(false)));
        self.rpc.answer(&archive, call)
    }
}

/// Starts listening.
pub(in crate::commands) fn start(
    args: &ServeEthereumRpc,
    session: &Session,
    runtime: &Runtime,
) -> anyhow::Result<HttpServer> {
    let network = network(&session.db, args.network.as_ref())?;
    let upstream = Upstream::new(&args.upstream).context("--upstream")?;
    let upstream = upstream.with_patience(Duration::from_secs(args.patience));
    let caller = Caller::new(upstream.clone(), runtime.handle().clone());
    same_chain(&session.db, &network, &caller)?;
    let lake = Lake { db: session.db.clone(), rpc: EthereumRpc::new(&network, caller) };
    runtime
        .block_on(HttpServer::start(args.listen, Proxy::new(lake, upstream)))
        .with_context(|| format!("cannot listen on {}", args.listen))
}

/// Refuses to stand before a node of another chain; one that does not answer yet may come later.
fn same_chain(db: &Db, network: &Network, node: &Caller) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Named {
        hash: String,
    }
    let archive = DbArchive::new(db.clone(), Arc::new(AtomicBool::new(false)));
    let Some(table) = crate::archive::known(db, &Tables::of(network).block)? else {
        bail!(
            "no history of {network} is stored: `prunedb import ethereum` or `prunedb follow ethereum` takes it in"
        )
    };
    let (height, expected) = match lowest(db, &table, &archive, network) {
        Ok(Some(lowest)) => lowest,
        Ok(None) => return Ok(()),
        Err(error) => {
            // too few storage nodes now: what can be read is served all the same
            tracing::warn!(
                error = format!("{error:#}"),
                "the node's chain is not compared with what is archived"
            );
            return Ok(());
        }
    };
    let answer = match node.call("eth_getBlockByNumber", (format!("{height:#x}"), false)) {
        Ok(answer) => answer,
        Err(error @ CallError::Refused { .. }) => bail!("--upstream: {error}"),
        Err(error) => {
            tracing::warn!(%error, "the node does not answer; what is archived is served");
            return Ok(());
        }
    };
    // a node may have pruned it
    let Ok(Some(named)) = serde_json::from_str::<Option<Named>>(answer.get()) else {
        return Ok(());
    };
    ensure!(
        named.hash.parse::<Hash32>().ok() == Some(expected),
        "--upstream: block {height} of {} has hash {}, the archived one of {network} has {expected}: it is a node of another chain",
        node.upstream(),
        named.hash
    );
    Ok(())
}

/// The lowest archived block: its height and its hash.
fn lowest(
    db: &Db,
    table: &Table,
    archive: &DbArchive,
    network: &Network,
) -> anyhow::Result<Option<(u64, Hash32)>> {
    let Some((height, _)) = db.range(table, 0, 1)?.pop() else { return Ok(None) };
    let stored = History::new(archive, network).block(BlockId::Height(height));
    let stored = stored.map_err(super::explained)?.context("the block is there")?;
    Ok(Some((height, stored.block().header().hash)))
}

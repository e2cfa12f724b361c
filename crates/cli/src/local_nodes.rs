//! Storage nodes in this process: each with a folder, and a port on loopback that changes from run to run.
//!
//! The lake's head knows them as `local:00`, `local:01` and so on; [`connect`] finds their ports.

use crate::config::{local_address, local_index};
use anyhow::Context;
use bytes::Bytes;
use prunedb_core::{LakeId, ShardId, Term};
use prunedb_disk::Disk;
use prunedb_node::{NodeConfig, NodeServer};
use prunedb_proof::{Audit, SampleProof};
use prunedb_store::{
    NodeOptions, NodeStore, Pending, PutMode, ShardStat, ShardStore, ShardUpload, StoreSpace,
    StoredHead,
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{runtime::Handle, task::JoinSet};

/// The local nodes of a database. Stop them with [`LocalNodes::stop`].
pub(crate) struct LocalNodes {
    runtime: Handle,
    dir: PathBuf,
    /// `None`: stopped
    servers: Vec<Option<NodeServer>>,
    ports: Vec<SocketAddr>,
}

impl LocalNodes {
    /// Starts `count` nodes with the folders `nodes/00`, `nodes/01` and so on of `dir`.
    pub(crate) fn start(
        dir: &Path,
        count: u16,
        capacity_bytes: u64,
        disk: &Arc<dyn Disk>,
        runtime: &Handle,
    ) -> anyhow::Result<Self> {
        let mut starting = JoinSet::new();
        for index in 0..count {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let config = NodeConfig::new(listen, node_dir(dir, index), capacity_bytes);
            let disk = Arc::clone(disk);
            let start = async move { (index, NodeServer::start(config, disk).await) };
            starting.spawn_on(start, runtime);
        }
        let mut servers: Vec<Option<NodeServer>> = (0..count).map(|_| None).collect();
        runtime.block_on(async {
            while let Some(started) = starting.join_next().await {
                let (index, server) = started.context("starting a node panicked")?;
                let server = server.with_context(|| {
                    format!("local node {index:02} ({})", node_dir(dir, index).display())
                })?;
                servers[usize::from(index)] = Some(server);
            }
            anyhow::Ok(())
        })?;
        let ports = servers.iter().flatten().map(NodeServer::local_addr).collect();
        Ok(Self { runtime: runtime.clone(), dir: dir.to_owned(), servers, ports })
    }

    /// Where each node listens, in order.
    pub(crate) fn ports(&self) -> &[SocketAddr] {
        &self.ports
    }

    /// The folder of a node.
    pub(crate) fn node_dir(&self, index: u16) -> PathBuf {
        node_dir(&self.dir, index)
    }

    /// Stops one node, as if its machine were switched off; no more than that it was known by its address remains.
    pub(crate) fn stop(&mut self, index: u16) {
        if let Some(server) = self.servers.get_mut(usize::from(index)).and_then(Option::take) {
            self.runtime.block_on(server.shutdown());
        }
    }

    /// Stops all nodes at once.
    pub(crate) fn stop_all(&mut self) {
        let mut stopping = JoinSet::new();
        for server in self.servers.iter_mut().filter_map(Option::take) {
            stopping.spawn_on(server.shutdown(), &self.runtime);
        }
        self.runtime.block_on(async { while stopping.join_next().await.is_some() {} });
    }
}

fn node_dir(dir: &Path, index: u16) -> PathBuf {
    dir.join("nodes").join(format!("{index:02}"))
}

/// Connects to a node by its address in the lake's head: a local node by its number, any other by host and port.
pub(crate) fn connect(address: &str, local_ports: &[SocketAddr]) -> Arc<dyn ShardStore> {
    let options = NodeOptions::default();
    let Some(index) = local_index(address) else {
        return prunedb_store::connect(address, options).unwrap_or_else(|error| {
            // addresses are checked where they come in: this build or machine cannot use it, and each request says so
            tracing::warn!(%error, "a node that cannot be used");
            Arc::new(NodeStore::new(address, options))
        });
    };
    let target = match local_ports.get(usize::from(index)) {
        Some(port) => port.to_string(),
        // never an address: so every request says that there is no such node
        None => format!("(no local node {index}: see local_nodes in prunedb.toml)"),
    };
    Arc::new(LocalNode { name: local_address(index), node: NodeStore::new(target, options) })
}

/// A node store that goes by its stable name.
#[derive(Debug)]
struct LocalNode {
    name: String,
    node: NodeStore,
}

impl ShardStore for LocalNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn put(
        &self,
        id: ShardId,
        term: Term,
        bytes: u64,
        mode: PutMode,
    ) -> Pending<'_, Box<dyn ShardUpload>> {
        self.node.put(id, term, bytes, mode)
    }

    fn get(&self, id: ShardId, offset: u64, bytes: u32) -> Pending<'_, Bytes> {
        self.node.get(id, offset, bytes)
    }

    fn prove(&self, audit: Audit) -> Pending<'_, Vec<SampleProof>> {
        self.node.prove(audit)
    }

    fn stat(&self, id: ShardId) -> Pending<'_, Option<ShardStat>> {
        self.node.stat(id)
    }

    fn list(
        &self,
        lake: LakeId,
        after: Option<ShardId>,
        count: u32,
    ) -> Pending<'_, Vec<ShardStat>> {
        self.node.list(lake, after, count)
    }

    fn delete(&self, id: ShardId, term: Term) -> Pending<'_, bool> {
        self.node.delete(id, term)
    }

    fn fence(&self, lake: LakeId, term: Term) -> Pending<'_, ()> {
        self.node.fence(lake, term)
    }

    fn put_head(&self, lake: LakeId, head: StoredHead) -> Pending<'_, ()> {
        self.node.put_head(lake, head)
    }

    fn head(&self, lake: LakeId) -> Pending<'_, Option<StoredHead>> {
        self.node.head(lake)
    }

    fn space(&self) -> Pending<'_, StoreSpace> {
        self.node.space()
    }
}

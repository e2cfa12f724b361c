//! Storage nodes in this process: each with a folder, and a port on loopback that changes from run to run.
//!
//! The lake's head knows them as `local:00`, `local:01` and so on; [`connect`] finds their ports.

use prunedb_access::Credentials;
use prunedb_disk::Disk;
use prunedb_node::{Node, NodeConfig, NodeServer, ScrubStatus, ServeError};
use prunedb_store::{NodeOptions, NodeStore, ShardStore};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{runtime::Handle, task::JoinSet};

/// Why local nodes do not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalNodesError {
    /// One of them does not serve.
    #[error("local node {index:02} ({})", dir.display())]
    Start {
        /// which
        index: u16,
        /// its folder
        dir: PathBuf,
        /// why
        #[source]
        source: ServeError,
    },
    /// Its folder cannot be removed.
    #[error("cannot wipe {}", dir.display())]
    Wipe {
        /// the folder
        dir: PathBuf,
        /// what the system said
        #[source]
        source: io::Error,
    },
}

/// The local nodes of a database. Stop them with [`LocalNodes::stop_all`].
pub struct LocalNodes {
    runtime: Handle,
    dir: PathBuf,
    capacity_bytes: u64,
    scrub: bool,
    disk: Arc<dyn Disk>,
    /// `None`: stopped
    servers: Vec<Option<NodeServer>>,
    ports: Vec<SocketAddr>,
}

impl LocalNodes {
    /// Starts `count` nodes with the folders `nodes/00`, `nodes/01` and so on of `dir`; with `scrub` they check what they
    /// hold in the background.
    ///
    /// # Errors
    /// [`LocalNodesError::Start`].
    ///
    /// # Panics
    /// Where opening a node panics.
    pub fn start(
        dir: &Path,
        count: u16,
        capacity_bytes: u64,
        scrub: bool,
        disk: &Arc<dyn Disk>,
        runtime: &Handle,
    ) -> Result<Self, LocalNodesError> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut nodes = Self {
            runtime: runtime.clone(),
            dir: dir.to_owned(),
            capacity_bytes,
            scrub,
            disk: Arc::clone(disk),
            servers: (0..count).map(|_| None).collect(),
            ports: Vec::new(),
        };
        let mut starting = JoinSet::new();
        for index in 0..count {
            starting.spawn_on(nodes.serve(index, listen), runtime);
        }
        runtime.block_on(async {
            while let Some(started) = starting.join_next().await {
                let (index, server) = started.expect("opening a node does not panic")?;
                nodes.servers[usize::from(index)] = Some(server);
            }
            Ok(())
        })?;
        nodes.ports = nodes.servers.iter().flatten().map(NodeServer::local_addr).collect();
        Ok(nodes)
    }

    fn serve(
        &self,
        index: u16,
        listen: SocketAddr,
    ) -> impl Future<Output = Result<(u16, NodeServer), LocalNodesError>> + Send + use<> {
        let dir = self.node_dir(index);
        let mut config = NodeConfig::new(listen, dir.clone(), self.capacity_bytes);
        config.scrub = self.scrub;
        let disk = Arc::clone(&self.disk);
        async move {
            let served = NodeServer::start(config, disk).await;
            let server = served.map_err(|source| LocalNodesError::Start { index, dir, source })?;
            Ok((index, server))
        }
    }

    /// How far each node that runs is with checking what it holds, by its stable name.
    pub fn scrubs(&self) -> impl Iterator<Item = (String, ScrubStatus)> + '_ {
        let running = self.servers.iter().zip(0..);
        running.filter_map(|(server, index)| {
            Some((local_address(index), server.as_ref()?.node().scrub_status()))
        })
    }

    /// The nodes that run, by their stable names.
    pub fn running(&self) -> impl Iterator<Item = (String, Node)> + '_ {
        let running = self.servers.iter().zip(0..);
        running.filter_map(|(server, index)| {
            Some((local_address(index), server.as_ref()?.node().clone()))
        })
    }

    /// Where each node listens, in order.
    pub fn ports(&self) -> &[SocketAddr] {
        &self.ports
    }

    /// The folder of a node.
    pub fn node_dir(&self, index: u16) -> PathBuf {
        self.dir.join("nodes").join(format!("{index:02}"))
    }

    /// Stops one node, as if its machine were switched off; no more than that it was known by its address remains.
    pub fn stop(&mut self, index: u16) {
        if let Some(server) = self.servers.get_mut(usize::from(index)).and_then(Option::take) {
            self.runtime.block_on(server.shutdown());
        }
    }

    /// Stops a node, if it runs, empties its disk and starts it again on the same port.
    ///
    /// # Errors
    /// [`LocalNodesError`]; the node stays stopped then.
    pub fn wipe(&mut self, index: u16) -> Result<(), LocalNodesError> {
        self.stop(index);
        let dir = self.node_dir(index);
        std::fs::remove_dir_all(&dir).map_err(|source| LocalNodesError::Wipe { dir, source })?;
        let position = usize::from(index);
        let (_, server) = self.runtime.block_on(self.serve(index, self.ports[position]))?;
        self.servers[position] = Some(server);
        Ok(())
    }

    /// Stops all nodes at once.
    pub fn stop_all(&mut self) {
        let mut stopping = JoinSet::new();
        for server in self.servers.iter_mut().filter_map(Option::take) {
            stopping.spawn_on(server.shutdown(), &self.runtime);
        }
        self.runtime.block_on(async { while stopping.join_next().await.is_some() {} });
    }
}

/// The stable name of a local node; its port changes from run to run.
pub fn local_address(index: u16) -> String {
    format!("local:{index:02}")
}

/// The number of a local node by its stable name.
pub fn local_index(address: &str) -> Option<u16> {
    address.strip_prefix("local:")?.parse().ok()
}

/// Connects to a node by its address in the lake's head: a local node by its number, any other by host and port.
pub fn connect(
    address: &str,
    local_ports: &[SocketAddr],
    credentials: Option<&Credentials>,
) -> Arc<dyn ShardStore> {
    let options = NodeOptions::default();
    let Some(index) = local_index(address) else {
        return prunedb_store::connect_as(address, options, credentials).unwrap_or_else(|error| {
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
    Arc::new(NodeStore::named(local_address(index), target, options))
}

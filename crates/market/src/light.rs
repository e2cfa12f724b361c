//! The light node: a storage node whose cells are rented, and what it owes to its heavy nodes.
//!
//! ```text
//! owner ── TLS, a capability for one shard ──> storage door      (or through the heavy node)
//! agent ── register, heartbeats ──> heavy ──> jobs: prove, grant, sign ──> agent
//! ```
//! It registers at each of its heavy nodes, so that new cells come through the others where one is gone; the cells of the
//! one that is gone go over to another ([`moving`]). Each cell is a shard of the light node's own lake ([`crate::cells_lake`]), so the node lets owners in by capabilities that it
//! signs itself, for one shard each, and needs no list of them.
//!
//! Invariants: a contract is signed only for a cell that is here, as it was agreed on, at the price asked; a cell goes only
//! where none of the validators that answer, more than half of all, knows a contract about it, and its owner had time to make one.

mod agent;
mod cells;
mod moving;

use crate::{
    chain::Chain,
    heavy::StartError,
    keys::{HeavyAddress, Keys},
    link::Link,
    message::Terms,
    relay,
};
use cells::Cells;
use prunedb_access::Owner;
use prunedb_disk::Disk;
use prunedb_node::{Node, NodeConfig, NodeServer};
use prunedb_registry::{Amount, Body, Endpoint, Key, Leave, NodeId};
use prunedb_validator::ClientError;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::watch, task::JoinSet};

/// Most heavy nodes of a light node.
pub const HEAVIES_MAX: usize = 4;

/// What a light node is made of.
#[derive(Debug)]
pub struct LightConfig {
    /// its key
    pub seed: zeroize::Zeroizing<[u8; 32]>,
    /// where its storage listens; port 0 takes a free one
    pub listen: SocketAddr,
    /// where owners reach its storage, `host:port`, if that is not where it listens
    pub endpoint: Option<String>,
    /// its storage's folder
    pub dir: PathBuf,
    /// bytes that its storage may take up
    pub capacity_bytes: u64,
    /// bytes that it offers; none: what is free
    pub offer_bytes: Option<u64>,
    /// price of an epoch of a cell
    pub price: Amount,
    /// operator, network, place; 0: not known
    pub domains: [u32; prunedb_registry::DOMAIN_KINDS],
    /// nobody reaches it from outside: its heavy node relays
    pub is_relayed: bool,
    /// its heavy nodes, at most [`HEAVIES_MAX`]: it registers at each
    pub heavies: Vec<HeavyAddress>,
    /// the registry's validators
    pub registry: Vec<String>,
}

/// How far a light node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LightState {
    /// it has not registered yet; why, where it was refused
    Waiting(Option<String>),
    /// a heavy node has checked it: its number
    Registered(NodeId),
}

/// What the agent and its guard share.
struct Inner {
    keys: Arc<Keys>,
    chain: Chain,
    links: Vec<Arc<Link>>,
    terms: Terms,
    cells: Cells,
    /// one registration at a time: each has the one sample of the capacity written
    registering: tokio::sync::Mutex<()>,
    /// the heavy nodes where it is registered
    attached: Mutex<BTreeSet<Key>>,
    state: watch::Sender<LightState>,
}

impl Inner {
    fn attached(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its number, where it is registered anywhere.
    fn node(&self) -> Option<NodeId> {
        match *self.state.borrow() {
            LightState::Registered(node) => Some(node),
            LightState::Waiting(_) => None,
        }
    }
}

/// A running light node.
pub struct Light {
    inner: Arc<Inner>,
    server: NodeServer,
    tasks: JoinSet<()>,
}

impl std::fmt::Debug for Light {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Light").field("key", &self.key()).finish_non_exhaustive()
    }
}

impl Light {
    /// Opens its storage and begins to register. To be called within a runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: LightConfig, disk: Arc<dyn Disk>) -> Result<Self, StartError> {
        let found = config.heavies.len();
        if !(1..=HEAVIES_MAX).contains(&found) {
            return Err(StartError::Heavies { found });
        }
        let keys = Arc::new(Keys::from_seed(&config.seed));
        let key = keys.key();
        let lake = crate::keys::cells_lake(key);
        let mut node = NodeConfig::new(config.listen, config.dir, config.capacity_bytes);
        node.tls = Some(Arc::new(keys.identity_again()));
        node.owners = vec![Owner { lake, key: keys.identity.public() }];
        node.scrub = true;
        let server = NodeServer::start(node, disk).await?;
        let endpoint = config.endpoint.unwrap_or_else(|| server.local_addr().to_string());
        let endpoint = Endpoint::new(&endpoint).ok_or(StartError::Endpoint(endpoint))?;
        let cells = Cells::new(server.node().clone(), Arc::clone(&keys));
        let free = cells.free_bytes();
        let chain = Chain::new(&config.registry, Arc::clone(&keys)).await?;
        let link = |heavy| Arc::new(Link::new(heavy, Arc::clone(&keys)));
        let links: Vec<Arc<Link>> = config.heavies.into_iter().map(link).collect();
        let inner = Arc::new(Inner {
            links,
            keys,
            chain,
            terms: Terms {
                capacity_bytes: config.offer_bytes.unwrap_or(free),
                endpoint,
                domains: config.domains,
                price: config.price,
                is_relayed: config.is_relayed,
            },
            cells,
            registering: tokio::sync::Mutex::default(),
            attached: Mutex::default(),
            state: watch::channel(LightState::Waiting(None)).0,
        });
        let mut tasks = JoinSet::new();
        for link in &inner.links {
            if config.is_relayed {
                tasks.spawn(relay::lend(Arc::clone(link), server.local_addr()));
                #[cfg(feature = "iroh")]
                tasks.spawn(crate::hole::let_in(Arc::clone(link), server.local_addr()));
            }
            tasks.spawn(agent::attend(Arc::clone(&inner), Arc::clone(link)));
        }
        tasks.spawn(agent::tidy(Arc::clone(&inner)));
        tasks.spawn(moving::run(Arc::clone(&inner)));
        Ok(Self { inner, server, tasks })
    }

    /// Its key.
    pub fn key(&self) -> Key {
        self.inner.keys.key()
    }

    /// Where its storage listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Its storage.
    pub fn storage(&self) -> &Node {
        self.server.node()
    }

    /// How far it is; changes.
    pub fn state(&self) -> watch::Receiver<LightState> {
        self.inner.state.subscribe()
    }

    /// Cells that it holds, with their sizes: by the shards that are there.
    ///
    /// # Errors
    /// Those of the node's disk.
    pub fn cells(&self) -> Result<Vec<(prunedb_core::Digest, u64)>, prunedb_node::NodeError> {
        self.inner.cells.held()
    }

    /// Leaves the registry: owes its cells until they end.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn leave(&self) -> Result<(), ClientError> {
        let key = self.key();
        let node = self.inner.chain.node_of(key).await?.ok_or(ClientError::Account { key })?;
        self.inner.chain.send(Body::LeaveNode { leave: Leave { node } }).await.map(|_| ())
    }

    /// Stops it.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        drop(self.inner);
        self.server.shutdown().await;
    }
}

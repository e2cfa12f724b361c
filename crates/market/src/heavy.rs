//! The heavy node: finds holders for owners, checks its children, reports to the registry, relays.
//!
//! ```text
//! door ──> requests: register, heartbeats and jobs, lookups, contracts, evidence, relaying
//! duty ──> each epoch: ask every child for its cells' samples ──> report ──> repeat some checks of others
//! ```
//! Thin: what is decided is decided in [`crate::lookup`], [`crate::children`], [`crate::checks`] and [`crate::judge`].
//!
//! Bounds: connections, children, jobs, promises, remembered wishes and contracts each have one; every wait ends.

mod desk;
mod door;
mod duty;
mod serve;

use crate::{
    chain::{Chain, join_body},
    checks::Closed,
    children::Children,
    keys::{HeavyAddress, Keys},
    link::Link,
    message::HeavyStatus,
    relay::Relay,
};
use desk::Desk;
use prunedb_core::Digest;
use prunedb_registry::{Endpoint, Key, NodeId};
use prunedb_validator::ClientError;
use serve::Deal;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// Wishes that are remembered, so that none is looked for twice.
const SEEN_MAX: usize = 8192;
/// Findings that are kept.
const FINDINGS_MAX: usize = 256;
/// Epochs whose answers are kept.
const CLOSED_MAX: usize = 2;
/// Light nodes whose capacity is checked at once.
const REGISTERING_MAX: usize = 8;
/// Most neighbours.
pub const NEIGHBOURS_MAX: usize = 16;

/// How strict and how patient a heavy node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeavyRules {
    /// a child is gone so long after its last heartbeat
    pub lease: Duration,
    /// bytes that are written and read back when a light node registers
    pub probe_bytes: u64,
    /// millionths of other heavy nodes' checks that are repeated
    pub repeat_ppm: u32,
    /// how long a child may take for a job
    pub job_patience: Duration,
}

impl Default for HeavyRules {
    /// A minute's lease, 16 MiB of probe, one check in a hundred repeated.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            probe_bytes: 16 << 20,
            repeat_ppm: 10_000,
            job_patience: Duration::from_secs(30),
        }
    }
}

/// What a heavy node is made of.
#[derive(Debug)]
pub struct HeavyConfig {
    /// its key
    pub seed: zeroize::Zeroizing<[u8; 32]>,
    /// where it listens; port 0 takes a free one
    pub listen: SocketAddr,
    /// where others reach it, `host:port`, if that is not where it listens
    pub endpoint: Option<String>,
    /// the registry's validators
    pub registry: Vec<String>,
    /// whom it asks where it has no room itself, at most [`NEIGHBOURS_MAX`]
    pub neighbours: Vec<HeavyAddress>,
    /// how strict it is
    pub rules: HeavyRules,
}

/// Why a participant does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address is taken, or cannot be used.
    #[error("cannot listen on {listen}")]
    Listen {
        /// which
        listen: SocketAddr,
        /// what the system said
        #[source]
        source: io::Error,
    },
    /// The registry does not answer, or does not take it.
    #[error("the registry: {0}")]
    Registry(#[from] ClientError),
    /// Its storage does not serve.
    #[error("its storage: {0}")]
    Storage(#[from] prunedb_node::ServeError),
    /// Its address is too long for the registry.
    #[error("the address `{0}` is longer than 255 bytes")]
    Endpoint(String),
    /// Too many neighbours.
    #[error("{found} neighbours, {NEIGHBOURS_MAX} at most")]
    Neighbours {
        /// how many
        found: usize,
    },
    /// It did not join, though its transaction was taken.
    #[error("the registry does not know the node {0} after it joined")]
    NotJoined(Key),
}

/// What all parts of a heavy node share.
pub(crate) struct Inner {
    keys: Arc<Keys>,
    chain: Chain,
    node: NodeId,
    /// `host:port`
    endpoint: Endpoint,
    rules: HeavyRules,
    neighbours: Mutex<Vec<Arc<Link>>>,
    children: Mutex<Children>,
    desk: Desk,
    relay: Arc<Relay>,
    seen: Mutex<VecDeque<Digest>>,
    deals: Mutex<BTreeMap<Digest, Deal>>,
    closed: Mutex<VecDeque<Closed>>,
    /// one for each capacity that may be checked now
    registering: Semaphore,
    /// which checks others had repeated here in an epoch: each once
    repeated: Mutex<(u32, BTreeSet<(Key, u64)>)>,
    /// cells that it checks, as of the last look
    cells: watch::Sender<u32>,
    findings: Mutex<VecDeque<String>>,
    started: Instant,
}

/// Locks; a panic elsewhere leaves these tables whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn key(&self) -> Key {
        self.keys.key()
    }

    /// Milliseconds of a clock that never goes back.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn status(&self) -> HeavyStatus {
        HeavyStatus {
            heavy: self.node,
            registry: self.chain.registry,
            summary: lock(&self.children).summary(self.now_ms()),
            cells: *self.cells.borrow(),
            reported: lock(&self.closed).back().map(|closed| closed.epoch),
            relayed_bytes: self.relay.bytes(),
            findings: lock(&self.findings).iter().cloned().collect(),
        }
    }

    fn found(&self, finding: String) {
        tracing::warn!(finding, "another heavy node's check");
        let mut findings = lock(&self.findings);
        if findings.len() >= FINDINGS_MAX {
            findings.pop_front();
        }
        findings.push_back(finding);
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A running heavy node. Dropping it stops it.
pub struct Heavy {
    inner: Arc<Inner>,
    local_addr: SocketAddr,
    tasks: JoinSet<()>,
}

impl std::fmt::Debug for Heavy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heavy").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Heavy {
    /// Joins the registry where it has not, listens, and does its duties. To be called within a runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: HeavyConfig) -> Result<Self, StartError> {
        let found = config.neighbours.len();
        if found > NEIGHBOURS_MAX {
            return Err(StartError::Neighbours { found });
        }
        let keys = Arc::new(Keys::from_seed(&config.seed));
        let failed = |source| StartError::Listen { listen: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let endpoint = config.endpoint.unwrap_or_else(|| local_addr.to_string());
        let endpoint = Endpoint::new(&endpoint).ok_or(StartError::Endpoint(endpoint))?;
        let chain = Chain::new(&config.registry, Arc::clone(&keys)).await?;
        let key = keys.key();
        if chain.node_of(key).await?.is_none() {
            chain.send(join_body(key, endpoint.clone(), [0; 3], 0)).await?;
        }
        let node = chain.node_of(key).await?.ok_or(StartError::NotJoined(key))?;
        let links = config.neighbours.into_iter().filter(|address| address.key != key);
        let lease_ms = u64::try_from(config.rules.lease.as_millis()).unwrap_or(u64::MAX);
        let inner = Arc::new(Inner {
            neighbours: Mutex::new(
                links.map(|address| Arc::new(Link::new(address, Arc::clone(&keys)))).collect(),
            ),
            keys,
            chain,
            node,
            endpoint,
            rules: config.rules,
            children: Mutex::new(Children::new(lease_ms)),
            desk: Desk::default(),
            relay: Arc::default(),
            seen: Mutex::default(),
            deals: Mutex::default(),
            closed: Mutex::default(),
            registering: Semaphore::new(REGISTERING_MAX),
            repeated: Mutex::default(),
            cells: watch::channel(0).0,
            findings: Mutex::default(),
            started: Instant::now(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(door::accept(listener, Arc::clone(&inner)));
        tasks.spawn(duty::run(Arc::clone(&inner)));
        Ok(Self { inner, local_addr, tasks })
    }

    /// Its address, for light nodes, owners and neighbours.
    pub fn address(&self) -> HeavyAddress {
        HeavyAddress { server: self.inner.endpoint.as_str().into(), key: self.inner.key() }
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Its number in the registry.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Asks one more neighbour from now on; those beyond [`NEIGHBOURS_MAX`] are not taken.
    pub fn add_neighbour(&self, address: HeavyAddress) {
        let mut neighbours = lock(&self.inner.neighbours);
        let is_known = neighbours.iter().any(|link| link.address().key == address.key);
        if !is_known && address.key != self.inner.key() && neighbours.len() < NEIGHBOURS_MAX {
            neighbours.push(Arc::new(Link::new(address, Arc::clone(&self.inner.keys))));
        }
    }

    /// How it is.
    pub fn status(&self) -> HeavyStatus {
        self.inner.status()
    }

    /// Stops it.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

//! The heavy node: finds holders for owners, checks its children, reports to the registry, relays.
//!
//! ```text
//! door ──> requests: register, heartbeats and jobs, lookups, contracts, evidence, relaying
//! duty ──> each epoch: ask every child for its cells' samples ──> report ──> repeat some checks of others
//! ```
//! Thin: what is decided is decided in [`crate::lookup`], [`crate::children`], [`crate::checks`] and [`crate::judge`].
//!
//! Bounds: connections, children, jobs, promises, remembered wishes and contracts each have one; every wait ends.

mod answers;
mod desk;
mod door;
mod duty;
mod serve;

use crate::{
    chain::{Chain, join_body},
    children::Children,
    keys::{HeavyAddress, Keys},
    link::{Link, plain},
    message::{HeavyStatus, HoleStatus},
    relay::Relay,
};
use answers::Answers;
use desk::Desk;
use prunedb_core::Digest;
use prunedb_disk::{Disk, Lock, create_dir_durable};
use prunedb_registry::{Endpoint, Key, NodeId};
use prunedb_validator::ClientError;
use serve::Deal;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    path::PathBuf,
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
    /// its folder: the answers of the last epochs
    pub dir: PathBuf,
    /// where it listens; port 0 takes a free one
    pub listen: SocketAddr,
    /// where others reach it, `host:port`, if that is not where it listens
    pub endpoint: Option<String>,
    /// the registry's validators
    pub registry: Vec<String>,
    /// whom it asks where it has no room itself, at most [`NEIGHBOURS_MAX`]
    pub neighbours: Vec<HeavyAddress>,
    /// where its iroh relay listens, for TCP and UDP; none: it has none
    #[cfg(feature = "iroh")]
    pub iroh: Option<SocketAddr>,
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
    /// Its folder cannot be used.
    #[error("the folder {dir}: {source}")]
    Folder {
        /// which
        dir: String,
        /// what the system said
        #[source]
        source: io::Error,
    },
    /// Another one runs in its folder.
    #[error("another heavy node runs in {0}: stop it, or give this one a folder of its own")]
    InUse(String),
    /// Its address is too long for the registry.
    #[error("the address `{0}` is longer than 255 bytes")]
    Endpoint(String),
    /// Too many neighbours.
    #[error("{found} neighbours, {NEIGHBOURS_MAX} at most")]
    Neighbours {
        /// how many
        found: usize,
    },
    /// No heavy node, or too many.
    #[error("{found} heavy nodes: one to {} are needed", crate::light::HEAVIES_MAX)]
    Heavies {
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
    #[cfg(feature = "iroh")]
    hole: Option<crate::hole::HoleRelay>,
    seen: Mutex<VecDeque<Digest>>,
    deals: Mutex<BTreeMap<Digest, Deal>>,
    answers: Answers,
    /// the last epoch of which the registry has a report
    reported: watch::Sender<Option<u32>>,
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
            reported: *self.reported.borrow(),
            relayed_bytes: self.relay.bytes(),
            hole: self.hole_status(),
            findings: lock(&self.findings).iter().cloned().collect(),
        }
    }

    #[cfg(feature = "iroh")]
    fn hole_status(&self) -> Option<HoleStatus> {
        let hole = self.hole.as_ref()?;
        let (host, _) = self.endpoint.as_str().rsplit_once(':')?;
        let relay = Endpoint::new(&format!("{host}:{}", hole.port()))?;
        Some(HoleStatus { relay, relayed_bytes: hole.bytes() })
    }

    #[cfg(not(feature = "iroh"))]
    #[expect(clippy::unused_self, reason = "with the feature there is one")]
    const fn hole_status(&self) -> Option<HoleStatus> {
        None
    }

    /// Whether the registry has a report of an epoch; what else was made for it goes.
    async fn has_reported(&self, epoch: u32) -> Result<bool, ClientError> {
        let Some(report) = self.chain.report_of(self.node).await? else { return Ok(false) };
        self.answers.settle(report.epoch, &report.answers_root);
        self.reported.send_replace(Some(report.epoch));
        Ok(report.epoch >= epoch)
    }

    /// Keeps what was found wrong; it may quote the one whom it is about.
    fn found(&self, finding: &str) {
        let finding = plain(finding);
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
    /// its folder
    _held: Box<dyn Lock>,
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
    pub async fn start(config: HeavyConfig, disk: Arc<dyn Disk>) -> Result<Self, StartError> {
        let found = config.neighbours.len();
        if found > NEIGHBOURS_MAX {
            return Err(StartError::Neighbours { found });
        }
        let dir = config.dir.display().to_string();
        let unusable = |source| StartError::Folder { dir: dir.clone(), source };
        create_dir_durable(&*disk, &config.dir).map_err(unusable)?;
        let held = disk.lock(&config.dir.join("heavy.lock")).map_err(unusable)?;
        let held = held.ok_or_else(|| StartError::InUse(dir.clone()))?;
        let answers = Answers::open(disk, &config.dir).map_err(unusable)?;
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
        #[cfg(feature = "iroh")]
        let hole = match config.iroh {
            None => None,
            Some(listen) => Some(
                crate::hole::HoleRelay::start(listen, &keys, chain.clone())
                    .await
                    .map_err(|source| StartError::Listen { listen, source })?,
            ),
        };
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
            #[cfg(feature = "iroh")]
            hole,
            seen: Mutex::default(),
            deals: Mutex::default(),
            answers,
            reported: watch::channel(None).0,
            registering: Semaphore::new(REGISTERING_MAX),
            repeated: Mutex::default(),
            cells: watch::channel(0).0,
            findings: Mutex::default(),
            started: Instant::now(),
        });
        inner.has_reported(0).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(door::accept(listener, Arc::clone(&inner)));
        tasks.spawn(duty::run(Arc::clone(&inner)));
        Ok(Self { _held: held, inner, local_addr, tasks })
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

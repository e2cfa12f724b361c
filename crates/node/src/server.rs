//! The network driver: listens on TCP and a unix socket, limits, stops.
//!
//! File I/O runs on tokio's blocking threads, never on the runtime's own; a semaphore per node keeps one slow disk
//! from taking all of these threads. Memory per node: `connections_max` small buffers, `uploads_max` batches and read
//! buffers of 256 KiB, `read_bytes_max` of ranges.

use crate::{
    Node, NodeConfig, OpenError,
    connection::{Connection, End, Socket, unix_time},
    door::Door,
    metrics,
    zdb::{self, Count, Event, Hooks},
};
use prunedb_access::{Gate, PublicKey, tls};
use prunedb_disk::Disk;
use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// How long connections may take to end their current request when the node stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Between two looks for space to give back, when the last one found nothing.
const COMPACT_PAUSE: Duration = Duration::from_secs(10);
/// Between two rounds of scrubbing.
const SCRUB_PAUSE: Duration = Duration::from_secs(3600);
/// Pause after the system refused a connection, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a node does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Its folder cannot be opened.
    #[error("cannot open the node's folder")]
    Open(#[from] OpenError),
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}")]
    Listen {
        /// the address
        listen: SocketAddr,
        /// what the system said
        #[source]
        source: io::Error,
    },
    /// The unix socket cannot be listened on.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// its path
        path: PathBuf,
        /// what the system said
        #[source]
        source: io::Error,
    },
    /// A closed node knows its clients by the keys that TLS shows.
    #[error("a node with owners needs TLS: without it anybody could pass for a client")]
    ClosedWithoutTls,
    /// The runtime is shutting down.
    #[error("the runtime stops")]
    Stopping,
}

/// What all connections of a node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node: Node,
    /// one for each disk operation that may run
    disk: Arc<Semaphore>,
    /// one for each KiB of answers in memory
    room: Arc<Semaphore>,
    /// one for each KiB of long requests in memory
    requests: Arc<Semaphore>,
    pub(crate) zdb: Arc<zdb::session::Shared>,
    /// bytes of shards that came over the network
    pub(crate) received: Received,
    /// what is looked at where the node is closed
    pub(crate) gate: Gate,
    tls: Option<Arc<ServerConfig>>,
    /// a client may stop this node, and did
    pub(crate) stop_asked: Notify,
}

/// Bytes of shards that came over the network, of uploads that were given up, too.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// of data containers
    pub(crate) data_bytes: Count,
    /// of manifest and index containers
    pub(crate) other_bytes: Count,
}

/// A disk operation was given up: the runtime stops, or a bug made it panic.
#[derive(Debug)]
pub(crate) struct Interrupted;

fn room_kib(config: &NodeConfig) -> u32 {
    config.read_bytes_max.div_ceil(1024).max(1)
}

fn requests_kib(config: &NodeConfig) -> u32 {
    config.request_bytes_max.div_ceil(1024).max(1)
}

fn semaphore(permits: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(usize::try_from(permits).expect("32 bits fit")))
}

impl Shared {
    /// Runs a disk operation on a blocking thread.
    pub(crate) async fn disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Interrupted> {
        let permit = Arc::clone(&self.disk).acquire_owned().await.map_err(|_| Interrupted)?;
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        work.await.map_err(|_| Interrupted)
    }

    /// Memory for an answer of so many bytes; waits until others have sent theirs.
    pub(crate) async fn room(&self, bytes: u32) -> Result<SemaphorePermit<'_>, Interrupted> {
        let kib = bytes.div_ceil(1024).clamp(1, room_kib(self.node.config()));
        self.room.acquire_many(kib).await.map_err(|_| Interrupted)
    }

    /// The same, kept as long as wanted.
    pub(crate) async fn room_owned(&self, bytes: u32) -> Result<OwnedSemaphorePermit, Interrupted> {
        let kib = bytes.div_ceil(1024).clamp(1, room_kib(self.node.config()));
        Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| Interrupted)
    }

    /// Memory for a request of so many bytes; waits until others are done with theirs.
    pub(crate) async fn long_request(
        &self,
        bytes: usize,
    ) -> Result<OwnedSemaphorePermit, Interrupted> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let kib = kib.clamp(1, requests_kib(self.node.config()));
        Arc::clone(&self.requests).acquire_many_owned(kib).await.map_err(|_| Interrupted)
    }
}

/// A serving node.
#[derive(Debug)]
pub struct NodeServer {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    metrics_addr: Option<SocketAddr>,
    accepting: JoinHandle<()>,
    background: JoinSet<()>,
    shared: Arc<Shared>,
}

impl NodeServer {
    /// Opens the folder and listens. Many servers may live in one runtime, each with a folder of its own.
    ///
    /// # Errors
    /// [`ServeError`]: the folder is in use or unusable, the address is taken.
    pub async fn start(config: NodeConfig, disk: Arc<dyn Disk>) -> Result<Self, ServeError> {
        let (listen, socket) = (config.listen, config.socket.clone());
        if config.tls.is_none() && !config.owners.is_empty() {
            return Err(ServeError::ClosedWithoutTls);
        }
        let node = tokio::task::spawn_blocking(move || Node::open(config, disk));
        let node = node.await.map_err(|_| ServeError::Stopping)??;
        let failed = |source| ServeError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let unix = match &socket {
            None => None,
            Some(path) => Some(
                bind_unix(path)
                    .await
                    .map_err(|source| ServeError::Socket { path: path.clone(), source })?,
            ),
        };
        let config = node.config();
        let metrics = match config.metrics {
            None => None,
            Some(listen) => Some(
                TcpListener::bind(listen)
                    .await
                    .map_err(|source| ServeError::Listen { listen, source })?,
            ),
        };
        let shared = Arc::new(Shared {
            disk: Arc::new(Semaphore::new(config.disk_operations_max.max(1))),
            room: semaphore(room_kib(config)),
            requests: semaphore(requests_kib(config)),
            zdb: Arc::new(zdb_shared(&node)),
            received: Received::default(),
            gate: Gate::new(config.owners.clone()),
            tls: config.tls.as_ref().map(|identity| tls::server(identity)),
            stop_asked: Notify::new(),
            node,
        });
        let (stop, stopped) = watch::channel(false);
        let listeners = Listeners { tcp: listener, unix, socket };
        let accepting = tokio::spawn(accept(listeners, Arc::clone(&shared), stopped.clone()));
        let mut background = JoinSet::new();
        background.spawn(compact(Arc::clone(&shared), stopped.clone()));
        if shared.node.config().scrub {
            background.spawn(scrub(Arc::clone(&shared), stopped.clone()));
        }
        let mut metrics_addr = None;
        if let Some(metrics) = metrics {
            metrics_addr = Some(metrics.local_addr().map_err(failed)?);
            background.spawn(metrics::serve(metrics, Arc::clone(&shared), stopped));
        }
        shared.zdb.hooks.tell(Event { name: "ready", arguments: Vec::new() });
        tracing::info!(%local_addr, shards = shared.node.report().shards, "node serves");
        Ok(Self { local_addr, metrics_addr, stop, accepting, background, shared })
    }

    /// Resolves when a client stopped the node, which only [`ZdbConfig::may_stop`](crate::ZdbConfig) allows.
    pub async fn stop_asked(&self) {
        self.shared.stop_asked.notified().await;
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The key that clients know it by; `None` where it speaks no TLS.
    pub fn key(&self) -> Option<PublicKey> {
        self.shared.node.config().tls.as_ref().map(|identity| identity.public())
    }

    /// Where it answers about itself.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// The node behind it.
    pub fn node(&self) -> &Node {
        &self.shared.node
    }

    /// Stops: no new connections, requests that run are ended, the folder is released. Waits at most some seconds for
    /// a client or a disk that hangs, or for clones of [`NodeServer::node`] to be dropped.
    pub async fn shutdown(mut self) {
        _ = self.stop.send(true);
        // an error means that it was aborted with the runtime: nothing to wait for
        _ = self.accepting.await;
        while self.background.join_next().await.is_some() {}
        let node = self.shared.node.clone();
        if let Ok(Err(e)) = self.shared.disk(move || node.checkpoint()).await {
            // nothing is lost, and whoever filled the disk is told so elsewhere
            tracing::info!(error = %e, "no snapshot was written: the next start looks at every segment");
        }
        let held = Arc::downgrade(&self.shared.node.inner);
        drop(self.shared);
        released(held).await;
        tracing::info!(local_addr = %self.local_addr, "node stopped");
    }
}

/// Waits for disk operations that still run on blocking threads; they hold the folder.
async fn released<T>(held: Weak<T>) {
    let deadline = Instant::now() + STOP_GRACE;
    while held.strong_count() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn zdb_shared(node: &Node) -> zdb::session::Shared {
    let store = Arc::clone(&node.inner.zdb);
    let instance = node.inner.instance();
    let hooks = Hooks::start(store.config.hook.as_deref(), instance);
    zdb::session::Shared {
        store,
        feed: zdb::Feed::default(),
        hooks,
        counters: zdb::Counters::default(),
        instance,
        started: unix_time(),
        damage_found: node.report().damage_count,
        sessions: 0.into(),
    }
}

/// Gives space back as long as there is some to give, one log at a time; takes a snapshot now and then.
async fn compact(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    loop {
        let store = Arc::clone(&shared.zdb.store);
        let Ok(more) = shared.disk(move || store.compact()).await else { return };
        let node = shared.node.clone();
        if node.has_changed_much() {
            match shared.disk(move || node.checkpoint()).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::warn!(error = %e, "no snapshot"),
                Err(_) => return,
            }
        }
        let pause = if more { Duration::ZERO } else { COMPACT_PAUSE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop(&mut stopped) => return,
        }
    }
}

/// Checks shard after shard, at the pace that a round needs.
async fn scrub(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    loop {
        let node = shared.node.clone();
        let step = shared.disk(move || node.scrub_step(unix_time().as_secs())).await;
        let checked = match step {
            Ok(Ok(checked)) => checked,
            Ok(Err(e)) => {
                tracing::warn!(error = %e, "scrubbing rests");
                None
            }
            Err(_) => return,
        };
        let pause = checked.map_or(SCRUB_PAUSE, |bytes| shared.node.scrub_pause(bytes));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop(&mut stopped) => return,
        }
    }
}

struct Listeners {
    tcp: TcpListener,
    unix: Option<UnixListener>,
    /// the unix socket's path, to be removed at the end
    socket: Option<PathBuf>,
}

/// A connection before its first byte.
enum Arrival {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listeners {
    async fn accept(&self) -> io::Result<Arrival> {
        let unix = async {
            match &self.unix {
                Some(unix) => unix.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.tcp.accept() => {
                let (socket, _) = accepted?;
                // answers are whole messages: waiting to fill a packet only delays them
                _ = socket.set_nodelay(true);
                Ok(Arrival::Tcp(socket))
            }
            accepted = unix => Ok(Arrival::Unix(accepted?.0)),
        }
    }
}

impl Arrival {
    /// Shakes hands where TLS is spoken; which door the connection came in by.
    async fn enter(self, shared: &Shared) -> Result<(Box<dyn Socket>, Door), End> {
        let socket = match self {
            Self::Unix(socket) => return Ok((Box::new(socket), Door::Open)),
            Self::Tcp(socket) => socket,
        };
        let Some(config) = &shared.tls else { return Ok((Box::new(socket), Door::Open)) };
        let patience = shared.node.config().stall_timeout;
        let socket =
            timeout(patience, TlsAcceptor::from(Arc::clone(config)).accept(socket)).await??;
        let peer = tls::peer(socket.get_ref().1.peer_certificates()).ok_or(End::Refused)?;
        let is_open = shared.node.config().owners.is_empty();
        let door = if is_open { Door::Open } else { Door::Closed { peer, pass: None } };
        Ok((Box::new(socket), door))
    }

    /// One too many is told so; a socket that takes no 36 bytes at once, or awaits TLS, is closed without a word.
    async fn refuse(self, shared: &Shared) {
        let mut socket: Box<dyn Socket> = match self {
            Self::Tcp(_) if shared.tls.is_some() => return,
            Self::Tcp(socket) => Box::new(socket),
            Self::Unix(socket) => Box::new(socket),
        };
        let told = socket.write_all(b"-ERR max number of clients reached\r\n");
        _ = timeout(Duration::from_millis(10), told).await;
    }
}

/// Listens on a path. A socket that nobody listens on is the left-over of a node that was killed.
async fn bind_unix(path: &std::path::Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            if tokio::net::UnixStream::connect(path).await.is_ok() {
                return Err(e);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

async fn accept(listeners: Listeners, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let connections_max = shared.node.config().connections_max;
    loop {
        let accepted = tokio::select! {
            accepted = listeners.accept() => accepted,
            () = stop(&mut stopped) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(arrival) if connections.len() >= connections_max => arrival.refuse(&shared).await,
            Ok(arrival) => {
                let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                connections.spawn(async move {
                    let served = match arrival.enter(&shared).await {
                        Ok((socket, door)) => {
                            Connection::new(socket, door, shared, stopped).run().await
                        }
                        Err(end) => Err(end),
                    };
                    if let Err(end) = served {
                        tracing::debug!(?end, "connection ended");
                    }
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    if let Some(path) = &listeners.socket {
        _ = std::fs::remove_file(path);
    }
    drop(listeners);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(STOP_GRACE, all).await.is_err() {
        connections.shutdown().await;
    }
}

/// Resolves when the node stops, or its server was dropped.
pub(crate) async fn stop(stopped: &mut watch::Receiver<bool>) {
    _ = stopped.wait_for(|&stop| stop).await;
}

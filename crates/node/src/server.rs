//! The TCP driver: listens, limits, stops.
//!
//! File I/O runs on tokio's blocking threads, never on the runtime's own; a semaphore per node keeps one slow disk
//! from taking all of these threads. Memory per node: `connections_max` small buffers, `uploads_max` batches and read
//! buffers of 256 KiB, `read_bytes_max` of ranges.

use crate::{Node, NodeConfig, OpenError, connection::Connection};
use prunedb_disk::Disk;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, SemaphorePermit, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

/// How long connections may take to end their current request when the node stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
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
    room: Semaphore,
    pub(crate) started: Instant,
}

/// A disk operation was given up: the runtime stops, or a bug made it panic.
#[derive(Debug)]
pub(crate) struct Interrupted;

fn room_kib(config: &NodeConfig) -> u32 {
    config.read_bytes_max.div_ceil(1024).max(1)
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
}

/// A serving node.
#[derive(Debug)]
pub struct NodeServer {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl NodeServer {
    /// Opens the folder and listens. Many servers may live in one runtime, each with a folder of its own.
    ///
    /// # Errors
    /// [`ServeError`]: the folder is in use or unusable, the address is taken.
    pub async fn start(config: NodeConfig, disk: Arc<dyn Disk>) -> Result<Self, ServeError> {
        let listen = config.listen;
        let node = tokio::task::spawn_blocking(move || Node::open(config, disk));
        let node = node.await.map_err(|_| ServeError::Stopping)??;
        let failed = |source| ServeError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            disk: Arc::new(Semaphore::new(node.config().disk_operations_max.max(1))),
            room: Semaphore::new(usize::try_from(room_kib(node.config())).expect("32 bits fit")),
            started: Instant::now(),
            node,
        });
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), stopped));
        tracing::info!(%local_addr, shards = shared.node.report().shards, "node serves");
        Ok(Self { local_addr, stop, accepting, shared })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The node behind it.
    pub fn node(&self) -> &Node {
        &self.shared.node
    }

    /// Stops: no new connections, requests that run are ended, the folder is released. Waits at most some seconds for
    /// a client or a disk that hangs, or for clones of [`NodeServer::node`] to be dropped.
    pub async fn shutdown(self) {
        _ = self.stop.send(true);
        // an error means that it was aborted with the runtime: nothing to wait for
        _ = self.accepting.await;
        let node = self.shared.node.clone();
        if let Ok(Err(e)) = self.shared.disk(move || node.checkpoint()).await {
            tracing::warn!(error = %e, "the next start will take longer");
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

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let connections_max = shared.node.config().connections_max;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop(&mut stopped) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((socket, _)) if connections.len() >= connections_max => refuse(&socket),
            Ok((socket, peer)) => {
                let connection = Connection::new(socket, Arc::clone(&shared), stopped.clone());
                connections.spawn(async move {
                    if let Err(end) = connection.run().await {
                        tracing::debug!(%peer, ?end, "connection ended");
                    }
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, all).await.is_err() {
        connections.shutdown().await;
    }
}

/// Resolves when the node stops, or its server was dropped.
pub(crate) async fn stop(stopped: &mut watch::Receiver<bool>) {
    _ = stopped.wait_for(|&stop| stop).await;
}

fn refuse(socket: &TcpStream) {
    // a socket that takes no 36 bytes at once is closed without a word
    _ = socket.try_write(b"-ERR max number of clients reached\r\n");
}

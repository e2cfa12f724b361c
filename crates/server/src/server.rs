//! The TCP driver: listens, limits, stops.
//!
//! Commands that need the database run on tokio's blocking threads, at most `reads_max + writes_max` at once: puts may
//! wait for the lake, and reads go on meanwhile.

use crate::{ServerConfig, connection::Connection, door::Door};
use prunedb_engine::Db;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch},
    task::{JoinHandle, JoinSet},
};

/// How long connections may take to end their current batch when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Pause after the system refused a connection, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a server does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}")]
    Listen {
        /// the address
        listen: SocketAddr,
        /// what the system said
        #[source]
        source: io::Error,
    },
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) door: Arc<Door>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    /// one for each KiB of long requests
    requests: Arc<Semaphore>,
    /// one for each KiB of long answers
    answers: Semaphore,
}

/// Work was given up.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl Shared {
    fn new(door: Door) -> Self {
        let config = &door.config;
        let kib = |bytes: u32| usize::try_from(bytes >> 10).expect("32 bits fit").max(1);
        Self {
            reads: Arc::new(Semaphore::new(config.reads_max.max(1))),
            writes: Arc::new(Semaphore::new(config.writes_max.max(1))),
            requests: Arc::new(Semaphore::new(kib(config.request_bytes_max))),
            answers: Semaphore::new(kib(config.answer_bytes_max)),
            door: Arc::new(door),
        }
    }

    /// Runs a batch on a blocking thread.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        writes: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Interrupted> {
        let threads = Arc::clone(if writes { &self.writes } else { &self.reads });
        let permit = threads.acquire_owned().await.map_err(|_| Interrupted)?;
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        work.await.map_err(|_| Interrupted)
    }

    /// KiB that so many bytes of a request take, as far as there can be room.
    pub(crate) fn kib(&self, bytes: usize) -> usize {
        bytes.div_ceil(1024).min((self.door.config.request_bytes_max >> 10).max(1) as usize)
    }

    /// Memory for a request; waits until others have theirs answered.
    pub(crate) async fn request_room(
        &self,
        kib: usize,
    ) -> Result<OwnedSemaphorePermit, Interrupted> {
        let kib = u32::try_from(kib).map_err(|_| Interrupted)?;
        Arc::clone(&self.requests).acquire_many_owned(kib).await.map_err(|_| Interrupted)
    }

    /// Memory for an answer of so many bytes; waits until others have sent theirs.
    pub(crate) async fn answer_room(
        &self,
        bytes: usize,
    ) -> Result<SemaphorePermit<'_>, Interrupted> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let kib = kib.clamp(1, (self.door.config.answer_bytes_max >> 10).max(1));
        self.answers.acquire_many(kib).await.map_err(|_| Interrupted)
    }
}

/// A serving server.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens. The runtime may be the database's own: commands run on blocking threads.
    ///
    /// # Errors
    /// [`ServeError`]: the address is taken.
    pub async fn start(config: ServerConfig, db: Db) -> Result<Self, ServeError> {
        let listen = config.listen;
        let failed = |source| ServeError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::new(Door::new(db, config, local_addr.port())));
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, shared, stopped));
        tracing::info!(%local_addr, "serving RESP");
        Ok(Self { local_addr, stop, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops: no new connections, batches that run are ended. Waits at most some seconds for a client that hangs.
    pub async fn shutdown(self) {
        _ = self.stop.send(true);
        // an error means that it was aborted with the runtime: nothing to wait for
        _ = self.accepting.await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let connections_max = shared.door.config.connections_max;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop(&mut stopped) => break,
        };
        while connections.try_join_next().is_some() {}
        let stats = &shared.door.stats;
        match accepted {
            Ok((socket, _)) if connections.len() >= connections_max => {
                stats.connections_refused.add(1);
                refuse(&socket);
            }
            Ok((socket, peer)) => {
                stats.connections.add(1);
                let id = stats.connections.get();
                let connection = Connection::new(socket, id, Arc::clone(&shared), stopped.clone());
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    shared.door.stats.connections_now.add(1);
                    let ended = connection.run().await;
                    shared.door.stats.connections_now.sub(1);
                    if let Err(end) = ended {
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

/// Resolves when the server stops, or was dropped.
pub(crate) async fn stop(stopped: &mut watch::Receiver<bool>) {
    _ = stopped.wait_for(|&stop| stop).await;
}

fn refuse(socket: &TcpStream) {
    // a socket that takes no 36 bytes at once is closed without a word
    _ = socket.try_write(b"-ERR max number of clients reached\r\n");
}

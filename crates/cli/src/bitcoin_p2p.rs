//! The door for Bitcoin nodes: archived blocks by the peer protocol. What is said is in
//! [`prunedb_chains::bitcoin::p2p`]; here are sockets, threads and limits.
//!
//! One thread for each connection, [`CONNECTIONS_MAX`] at most; each holds one message and one block. A node that is silent for
//! [`SILENCE_MAX`], or takes a block that slowly, is cut off; it connects again.

use crate::archive::DbArchive;
use anyhow::Context;
use prunedb_chains::bitcoin::{
    Network,
    p2p::{HEAD_BYTES, Head, Peer, PeerError},
};
use prunedb_engine::Db;
use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

/// Nodes that are served at once.
const CONNECTIONS_MAX: usize = 64;
/// Core sends a ping every two minutes, and gives up after twenty.
const SILENCE_MAX: Duration = Duration::from_secs(20 * 60);
/// For a write that nobody takes.
const WRITE_MAX: Duration = Duration::from_secs(60);
/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until it is stopped.
pub(crate) struct P2pServer {
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    db: Db,
    network: Network,
    stopping: Arc<AtomicBool>,
    /// a second hold of each socket, to cut it off
    sockets: Mutex<HashMap<u64, TcpStream>>,
}

impl P2pServer {
    pub(crate) fn start(listen: SocketAddr, db: Db, network: Network) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let local_addr = listener.local_addr()?;
        let (stopping, sockets) = (Arc::default(), Mutex::default());
        let shared = Arc::new(Shared { db, network, stopping, sockets });
        let accepting = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("p2p".into())
                .spawn(move || shared.accept(&listener))?
        };
        Ok(Self { local_addr, shared, accepting })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Cuts every connection off and waits for their threads.
    pub(crate) fn stop(self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // wakes the thread that accepts
        drop(TcpStream::connect(self.local_addr));
        self.shared.cut_off();
        // it cannot have panicked, or the process has said so
        _ = self.accepting.join();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        std::thread::scope(|scope| {
            for number in 0.. {
                let accepted = listener.accept();
                if self.stopping.load(Ordering::SeqCst) {
                    break;
                }
                match accepted {
                    Ok((socket, peer)) if self.keep(number, &socket) => {
                        scope.spawn(move || {
                            match self.serve(socket) {
                                // the protocol has no word for it: `notfound` would say that there is none
                                Err(End::Peer(PeerError::Archive(error))) => tracing::warn!(
                                    %peer, %error, "cut off: an archived block cannot be read"
                                ),
                                Err(end) => {
                                    tracing::debug!(%peer, %end, "a Bitcoin node is gone");
                                }
                                Ok(()) => {}
                            }
                            self.sockets().remove(&number);
                        });
                    }
                    // too many: it is closed
                    Ok(_) => {}
                    Err(e) => {
                        tracing::warn!(error = %e, "cannot accept a connection");
                        std::thread::sleep(ACCEPT_PAUSE);
                    }
                }
            }
            self.cut_off();
        });
    }

    fn sockets(&self) -> std::sync::MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, number: u64, socket: &TcpStream) -> bool {
        let mut sockets = self.sockets();
        let Ok(second) = socket.try_clone() else { return false };
        let room = sockets.len() < CONNECTIONS_MAX;
        if room {
            sockets.insert(number, second);
        }
        room
    }

    fn cut_off(&self) {
        for socket in self.sockets().values() {
            // one that is closed already is what is wanted
            _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn serve(&self, mut socket: TcpStream) -> Result<(), End> {
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        socket.set_write_timeout(Some(WRITE_MAX))?;
        socket.set_nodelay(true)?;
        let archive = DbArchive::new(self.db.clone(), Arc::clone(&self.stopping));
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let mut peer = Peer::new(&archive, self.network, u64::from_le_bytes(nonce));
        let (mut payload, mut out) = (Vec::new(), Vec::new());
        loop {
            let mut head = [0; HEAD_BYTES];
            socket.read_exact(&mut head)?;
            let head = Head::read(&head, self.network)?;
            payload.clear();
            // grows as it comes: a head may promise much and send nothing
            let taken = (&mut socket).take(head.payload_bytes as u64).read_to_end(&mut payload)?;
            if taken < head.payload_bytes {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
            peer.receive(&head, &payload, now, &mut out)?;
            loop {
                socket.write_all(&out)?;
                out.clear();
                if !peer.send_next(&mut out)? {
                    break;
                }
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Peer(#[from] PeerError),
}

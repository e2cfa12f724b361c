//! The door: TLS, one request after another on each connection.
//!
//! Bounds: [`CONNECTIONS_MAX`] connections, each with one request; a connection that is silent for [`IDLE`] is closed.

use super::{Inner, lock, serve};
use crate::message::{Answer, REQUEST_BYTES_MAX, Refusal, Request, WAIT_MS_MAX};
use prunedb_access::tls;
use prunedb_registry::{Key, canonical::Canonical};
use prunedb_validator::{read_frame, write_frame};
use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

/// Most connections at once.
const CONNECTIONS_MAX: usize = 8192;
/// How long a client may be silent between two requests.
const IDLE: Duration = Duration::from_secs(120);
/// How long one may take to shake hands, to send a request, or to take an answer.
const STALL: Duration = Duration::from_secs(30);
/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    let config = tls::server(&inner.keys.identity);
    // they end with this task
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            // closed without a word: whoever it was tries again
            Ok(_) if connections.len() >= CONNECTIONS_MAX => {}
            Ok((socket, _)) => {
                let (config, inner) = (Arc::clone(&config), Arc::clone(&inner));
                connections.spawn(async move {
                    if let Err(error) = converse(socket, config, &inner).await {
                        tracing::debug!(%error, "connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    inner: &Arc<Inner>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = timeout(STALL, TlsAcceptor::from(config).accept(socket)).await??;
    let peer = tls::peer(socket.get_ref().1.peer_certificates()).ok_or(ErrorKind::InvalidData)?;
    let peer = Key(peer.0);
    loop {
        let Some(bytes) = timeout(IDLE, read_frame(&mut socket, REQUEST_BYTES_MAX)).await?? else {
            return Ok(());
        };
        let answer = match Request::from_bytes("request", &bytes) {
            Ok(Request::Park {}) => {
                let is_child = lock(&inner.children).get(inner.now_ms(), peer).is_some();
                inner.relay.park(peer, is_child, Box::new(socket));
                return Ok(());
            }
            Ok(Request::Connect { holder }) => return connect(inner, holder, socket).await,
            Ok(request) => answer(inner, peer, request).await,
            Err(error) => Err(Refusal::Malformed { reason: error.to_string() }),
        };
        let answer = answer.unwrap_or_else(|refusal| Answer::Refused { refusal });
        timeout(STALL, write_frame(&mut socket, &answer)).await??;
    }
}

/// From here on the bytes are those of a child that is not reached from outside.
async fn connect(inner: &Inner, holder: Key, mut socket: TlsStream<TcpStream>) -> io::Result<()> {
    let lent = inner.relay.lent(holder).await;
    let answer = match &lent {
        Ok(_) => Answer::Through {},
        Err(_) => Answer::Refused { refusal: Refusal::Vanished { key: holder } },
    };
    timeout(STALL, write_frame(&mut socket, &answer)).await??;
    inner.relay.pass(socket, lent?).await
}

async fn answer(inner: &Arc<Inner>, peer: Key, request: Request) -> Result<Answer, Refusal> {
    match request {
        Request::Status {} => Ok(Answer::Status { status: inner.status() }),
        Request::Register { terms, probe, join } => {
            serve::register(inner, peer, terms, &probe, join).await
        }
        Request::Attend { free_bytes, wait_ms } => {
            let now = inner.now_ms();
            let renewed = lock(&inner.children).renew(now, peer, free_bytes);
            let stranger = |e: crate::children::ChildError| Refusal::Stranger {
                key: peer,
                reason: e.to_string(),
            };
            renewed.map_err(stranger)?;
            serve::number_child(inner, peer).await?;
            let wait = Duration::from_millis(wait_ms.min(WAIT_MS_MAX).into());
            Ok(Answer::Jobs { jobs: inner.desk.take(peer, wait).await })
        }
        Request::Done { job, outcome } => {
            if inner.desk.done(peer, job, outcome) {
                Ok(Answer::Done {})
            } else {
                Err(Refusal::Absent { what: format!("job {job} that anybody waits for") })
            }
        }
        Request::Lookup { lookup } => serve::lookup(inner, peer, lookup).await,
        Request::Countersign { wish, slot, cell } => {
            serve::countersign(inner, peer, &wish, slot, cell).await
        }
        Request::Evidence { epoch, cell } => serve::evidence(inner, epoch, cell).await,
        Request::Adopt { slot } => serve::adopt(inner, peer, slot).await,
        Request::Recheck { cell, seed } => serve::recheck(inner, peer, cell, seed).await,
        Request::Park {} | Request::Connect { .. } => {
            Err(Refusal::Malformed { reason: "it takes the connection".into() })
        }
    }
}

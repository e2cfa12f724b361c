//! `prunedb serve casper`: a node's binary port with its old history from the archive.
//!
//! ```text
//! client --request--> archived? --yes--> answer, as a node gives it
//!                        no --> the node --> its answer
//! ```
//! Each client has a connection of its own to the node, opened when it is needed; nodes close theirs after a while, then the next request
//! opens another.

use super::verifier;
use crate::{archive::DbArchive, session::Session};
use anyhow::Context;
use clap::Args;
use prunedb_casper::{
    CasperVerifier,
    binary_port::{MESSAGE_BYTES_MAX, answer, cannot_answer, node::is_nothing},
};
use prunedb_engine::Db;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::timeout,
};

/// Clients at a time; more wait.
const CLIENTS_MAX: usize = 64;
/// A client that says nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(120);
/// How long the node may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which node stands behind.
#[derive(Args, Debug, Clone)]
pub(crate) struct ServeCasper {
    /// The node's binary port: what is not archived is asked there
    #[arg(long, value_name = "HOST:PORT")]
    upstream: String,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7780")]
    listen: SocketAddr,
    /// Network [default: the one that is stored]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
}

/// What every client needs.
struct Shared {
    db: Db,
    verifier: CasperVerifier,
    upstream: String,
    clients: Arc<Semaphore>,
}

/// A listener that answers clients until it is stopped.
pub(crate) struct BinaryPort {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl BinaryPort {
    /// Starts listening.
    pub(crate) async fn start(args: &ServeCasper, session: &Session) -> anyhow::Result<Self> {
        let verifier = verifier(&session.db, args.network.as_deref())?;
        let listener = TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen on {}", args.listen))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            db: session.db.clone(),
            verifier,
            upstream: args.upstream.clone(),
            clients: Arc::new(Semaphore::new(CLIENTS_MAX)),
        });
        Ok(Self { address, task: tokio::spawn(accept(listener, shared)) })
    }

    /// Stops it, its clients too.
    pub(crate) async fn stop(self) {
        self.task.abort();
        // it was stopped: that is all that it can say
        _ = self.task.await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // dropped with this task, and all clients with it
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&shared.clients).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                clients.spawn(async move {
                    let _place = place;
                    // a client that breaks off has its own reasons
                    _ = client(stream, &shared).await;
                });
            }
            // out of descriptors, most likely: some client will go
            Err(error) => {
                tracing::warn!(%error, "cannot take a client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn client(mut stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut node = None;
    while let Some(request) = timeout(IDLE, read_frame(&mut stream)).await?? {
        let looked = archived(&request, shared).await;
        let answer = match looked {
            Looked::Found(answer) => answer,
            _ => match from_node(&mut node, &request, shared).await {
                // it is archived: that there is no such thing would be wrong
                Ok(answer) if looked == Looked::Unreadable && is_nothing(&answer) => {
                    cannot_answer(&request)
                }
                Ok(answer) => answer,
                Err(error) => {
                    tracing::warn!(%error, upstream = shared.upstream, "the node does not answer");
                    cannot_answer(&request)
                }
            },
        };
        write_frame(&mut stream, &answer).await?;
    }
    Ok(())
}

/// What the archive says.
#[derive(PartialEq, Eq)]
enum Looked {
    Found(Vec<u8>),
    NotArchived,
    /// it is archived, and cannot be read now; the node may have it
    Unreadable,
}

async fn archived(request: &[u8], shared: &Arc<Shared>) -> Looked {
    let (shared, request) = (Arc::clone(shared), request.to_vec());
    let looked = spawn_blocking(move || {
        let archive = DbArchive::new(shared.db.clone(), Arc::new(AtomicBool::new(false)));
        answer(&archive, &shared.verifier, &request)
    });
    match looked.await {
        Ok(Ok(Some(answer))) => Looked::Found(answer),
        Ok(Ok(None)) => Looked::NotArchived,
        Ok(Err(error)) => {
            tracing::warn!(%error, "an archived block cannot be read");
            Looked::Unreadable
        }
        Err(_stopping) => Looked::Unreadable,
    }
}

/// The node's answer; a connection that it has closed meanwhile is opened again, once.
async fn from_node(
    node: &mut Option<TcpStream>,
    request: &[u8],
    shared: &Shared,
) -> io::Result<Vec<u8>> {
    if let Some(mut open) = node.take()
        && let Ok(answer) = ask(&mut open, request).await
    {
        *node = Some(open);
        return Ok(answer);
    }
    let mut open = timeout(PATIENCE, TcpStream::connect(&shared.upstream)).await??;
    open.set_nodelay(true)?;
    let answer = ask(&mut open, request).await?;
    *node = Some(open);
    Ok(answer)
}

async fn ask(node: &mut TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
    timeout(PATIENCE, async {
        write_frame(node, request).await?;
        read_frame(node).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    })
    .await?
}

/// A message after its length; `None` at the end of the stream.
async fn read_frame(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u32_le().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length == 0 || length > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // as long as it says only once so much has come
    let mut message = Vec::new();
    let limit = u64::try_from(length).expect("64 MiB at most");
    stream.take(limit).read_to_end(&mut message).await?;
    if message.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(message))
}

async fn write_frame(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_le_bytes()[..], message].concat()).await
}

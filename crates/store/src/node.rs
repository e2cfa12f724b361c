//! A storage node over TCP, with TLS or in the clear.
//!
//! With TLS both sides show their keys: the node's is part of its address, and who holds a capability shows it on each new
//! connection, before the first request.
//!
//! Connections are made when they are needed and kept for the next request: one request at a time on each, so that a
//! long answer never holds a short one up. A request on a kept connection that turns out dead is made once more on a
//! new one. Uploads have a connection of their own; where an upload ends early its connection is closed, which makes
//! the node drop it. Every answer is bounded before it is read, and checked against its request.

mod connection;
mod upload;

use crate::{
    GET_BYTES_MAX, HEAD_BYTES_MAX, NodeOptions, Pending, PutMode, ShardStat, ShardStore,
    ShardUpload, StoreError, StoreSpace, StoredHead,
};
use bytes::Bytes;
use connection::{Connection, Failure};
use prunedb_access::{Credentials, PublicKey, tls};
use prunedb_core::{LakeId, ShardId, Term};
use prunedb_proof::{Audit, PATH_MAX, SAMPLE_BYTES, SampleProof};
use prunedb_wire::{Command, Refusal, Reply, answer};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_rustls::rustls::ClientConfig;
use upload::NodeUpload;

const _: () = assert!(GET_BYTES_MAX == prunedb_wire::GET_BYTES_MAX);
const _: () = assert!(HEAD_BYTES_MAX == prunedb_wire::HEAD_BYTES_MAX);

/// One storage node. Nothing is connected before the first request.
#[derive(Debug)]
pub struct NodeStore {
    client: Arc<Client>,
}

/// What uploads share with their store.
#[derive(Debug)]
struct Client {
    /// what people call it
    name: String,
    /// host and port
    address: String,
    tls: Option<Tls>,
    options: NodeOptions,
    idle: Mutex<Vec<Idle>>,
    requests: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

/// Who it is, and who we are.
#[derive(Debug)]
struct Tls {
    config: Arc<ClientConfig>,
    credentials: Credentials,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// What a request was about: refusals are told in its terms.
#[derive(Clone, Copy, Debug, Default)]
struct Subject {
    id: Option<ShardId>,
    term: Term,
    offset: u64,
    bytes: u64,
}

impl NodeStore {
    /// The node at `address` (`host:port`), which is its name, too; in the clear.
    pub fn new(address: impl Into<String>, options: NodeOptions) -> Self {
        let address = address.into();
        Self::build(address.clone(), address, None, options)
    }

    /// A node with a name of its own: its address may change from run to run.
    pub fn named(
        name: impl Into<String>,
        address: impl Into<String>,
        options: NodeOptions,
    ) -> Self {
        Self::build(name.into(), address.into(), None, options)
    }

    /// The node with this key at `address` (`host:port`), over TLS; `name` is what people call it.
    pub fn with_tls(
        name: impl Into<String>,
        address: impl Into<String>,
        key: PublicKey,
        credentials: Credentials,
        options: NodeOptions,
    ) -> Self {
        let config = tls::client(credentials.identity(), key);
        let tls = Tls { config, credentials };
        Self::build(name.into(), address.into(), Some(tls), options)
    }

    /// How far the node is with checking what it holds.
    ///
    /// # Errors
    /// Those of the network, and the node's refusal.
    pub async fn scrub(&self) -> Result<answer::Scrub, StoreError> {
        let reply = self.client.request(Command::Scrub, Subject::default(), 0).await?;
        answer::read_scrub(&reply).map_err(|e| self.client.rejected(e))
    }

    fn build(name: String, address: String, tls: Option<Tls>, options: NodeOptions) -> Self {
        let client = Client {
            name,
            address,
            tls,
            options,
            idle: Mutex::default(),
            requests: Arc::new(Semaphore::new(options.requests_max.max(1))),
            uploads: Arc::new(Semaphore::new(options.uploads_max.max(1))),
        };
        Self { client: Arc::new(client) }
    }
}

impl Client {
    fn unreachable(&self, reason: impl ToString) -> StoreError {
        StoreError::Unreachable { store: self.name.clone(), reason: reason.to_string() }
    }

    fn rejected(&self, reason: impl ToString) -> StoreError {
        StoreError::Rejected { store: self.name.clone(), reason: reason.to_string() }
    }

    fn failed(&self, failure: Failure) -> StoreError {
        match failure {
            Failure::Protocol(reason) => self.rejected(reason),
            other => self.unreachable(other),
        }
    }

    /// A refusal as the trait has it.
    fn refused(&self, refusal: Refusal, subject: Subject) -> StoreError {
        let store = self.name.clone();
        match (refusal, subject.id) {
            (Refusal::Fenced { seen }, _) => StoreError::Fenced { store, term: subject.term, seen },
            (Refusal::Full { free_bytes }, _) => StoreError::Full { store, free_bytes },
            (Refusal::Absent, Some(id)) => StoreError::Absent { store, id },
            (Refusal::Damaged { offset }, Some(id)) => StoreError::Damaged { store, id, offset },
            (Refusal::Conflict, Some(id)) => StoreError::Conflict { store, id },
            (Refusal::Range { .. }, Some(id)) => {
                StoreError::Range { store, id, offset: subject.offset, bytes: subject.bytes }
            }
            (Refusal::Denied { reason }, _) => StoreError::Denied { store, reason },
            (other, _) => StoreError::Rejected { store, reason: other.to_string() },
        }
    }

    /// An answer's reply, unless it is a refusal.
    fn accepted(&self, reply: Reply, subject: Subject) -> Result<Reply, StoreError> {
        match reply {
            Reply::Error(text) => Err(self.refused(Refusal::parse(&text), subject)),
            reply => Ok(reply),
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.pop()?;
        if kept.since.elapsed() >= self.options.idle_timeout {
            // those below were idle for longer still
            idle.clear();
            return None;
        }
        // on a new connection a new capability is shown
        kept.connection.is_fresh().then_some(kept.connection)
    }

    fn keep(&self, connection: Connection) {
        let kept_max = self.options.requests_max.max(1);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < kept_max && connection.is_clean() {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        let config = self.tls.as_ref().map(|tls| &tls.config);
        let connected =
            timeout(self.options.connect_timeout, Connection::open(&self.address, config));
        let connection = match connected.await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => return Err(self.unreachable(e)),
            Err(_) => return Err(self.unreachable("connecting took too long")),
        };
        match &self.tls {
            Some(tls) => self.show(connection, &tls.credentials).await,
            None => Ok(connection),
        }
    }

    /// Shows the node what we may do there.
    async fn show(
        &self,
        mut connection: Connection,
        credentials: &Credentials,
    ) -> Result<Connection, StoreError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let Some((capability, fresh)) = credentials.capability(now) else { return Ok(connection) };
        let capability = Bytes::copy_from_slice(capability.as_bytes());
        let access = Command::Access { capability };
        let shown = connection.exchange(&access, 0);
        let reply = match timeout(self.options.request_timeout, shown).await {
            Ok(Ok(reply)) => self.accepted(reply, Subject::default())?,
            Ok(Err(failure)) => return Err(self.failed(failure)),
            Err(_) => return Err(self.unreachable("no answer in time")),
        };
        answer::read_ok(&reply).map_err(|e| self.rejected(e))?;
        connection.stale_after(fresh);
        Ok(connection)
    }

    async fn permit(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, StoreError> {
        let permit = Arc::clone(of).acquire_owned();
        match timeout(self.options.request_timeout, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(self.unreachable("too many requests wait for this node")),
        }
    }

    /// One request and its answer, with the connection that brought it.
    async fn exchange(
        &self,
        command: &Command,
        answer_bytes: usize,
    ) -> Result<(Connection, Reply), StoreError> {
        let patience = self.options.request_timeout;
        if let Some(mut connection) = self.take_idle() {
            match timeout(patience, connection.exchange(command, answer_bytes)).await {
                Ok(Ok(reply)) => return Ok((connection, reply)),
                // the node was restarted, or closed what was idle: every command may be repeated
                Ok(Err(Failure::Closed | Failure::Network(_))) => {}
                Ok(Err(failure)) => return Err(self.failed(failure)),
                Err(_) => return Err(self.unreachable("no answer in time")),
            }
        }
        let mut connection = self.connect().await?;
        match timeout(patience, connection.exchange(command, answer_bytes)).await {
            Ok(Ok(reply)) => Ok((connection, reply)),
            Ok(Err(failure)) => Err(self.failed(failure)),
            Err(_) => Err(self.unreachable("no answer in time")),
        }
    }

    /// A request whose answer is complete in itself.
    async fn request(
        &self,
        command: Command,
        subject: Subject,
        answer_bytes: usize,
    ) -> Result<Reply, StoreError> {
        let _permit = self.permit(&self.requests).await?;
        let (connection, reply) = self.exchange(&command, answer_bytes).await?;
        self.keep(connection);
        self.accepted(reply, subject)
    }

    async fn put(
        self: Arc<Self>,
        id: ShardId,
        term: Term,
        bytes: u64,
        mode: PutMode,
    ) -> Result<Box<dyn ShardUpload>, StoreError> {
        let permit = self.permit(&self.uploads).await?;
        let mode = match mode {
            PutMode::IfAbsent => prunedb_wire::PutMode::IfAbsent,
            PutMode::Replace => prunedb_wire::PutMode::Replace,
        };
        let (connection, reply) = self.exchange(&Command::Put { id, term, bytes, mode }, 0).await?;
        let subject = Subject { id: Some(id), term, offset: 0, bytes };
        let reply = match self.accepted(reply, subject) {
            Ok(reply) => reply,
            Err(e) => {
                self.keep(connection);
                return Err(e);
            }
        };
        let answer = answer::read_put(&reply).map_err(|e| self.rejected(e))?;
        Ok(Box::new(NodeUpload::new(self, connection, permit, answer, subject)))
    }
}

fn stat(stat: answer::Stat) -> ShardStat {
    ShardStat { id: stat.id, bytes: stat.bytes, name: stat.name, term: stat.term }
}

impl ShardStore for NodeStore {
    fn name(&self) -> &str {
        &self.client.name
    }

    fn put(
        &self,
        id: ShardId,
        term: Term,
        bytes: u64,
        mode: PutMode,
    ) -> Pending<'_, Box<dyn ShardUpload>> {
        Box::pin(Arc::clone(&self.client).put(id, term, bytes, mode))
    }

    fn get(&self, id: ShardId, offset: u64, bytes: u32) -> Pending<'_, Bytes> {
        Box::pin(async move {
            let subject =
                Subject { id: Some(id), offset, bytes: u64::from(bytes), ..Subject::default() };
            if !(1..=GET_BYTES_MAX).contains(&bytes) {
                return Err(self.client.refused(Refusal::Range { shard_bytes: 0 }, subject));
            }
            let command = Command::Get { id, offset, bytes };
            let room = usize::try_from(bytes).expect("at most 4 MiB");
            let reply = self.client.request(command, subject, room).await?;
            answer::read_get(reply, bytes).map_err(|e| self.client.rejected(e))
        })
    }

    fn prove(&self, audit: Audit) -> Pending<'_, Vec<SampleProof>> {
        Box::pin(async move {
            let subject = Subject { id: Some(audit.shard), ..Subject::default() };
            let room = usize::from(audit.samples) * (SAMPLE_BYTES + 32 * PATH_MAX);
            let reply = self.client.request(Command::Prove(audit), subject, room).await?;
            answer::read_prove(&reply, audit.samples).map_err(|e| self.client.rejected(e))
        })
    }

    fn stat(&self, id: ShardId) -> Pending<'_, Option<ShardStat>> {
        Box::pin(async move {
            let subject = Subject { id: Some(id), ..Subject::default() };
            let reply = self.client.request(Command::Stat { id }, subject, 0).await?;
            let found = answer::read_stat(&reply, id).map_err(|e| self.client.rejected(e))?;
            Ok(found.map(stat))
        })
    }

    fn list(
        &self,
        lake: LakeId,
        after: Option<ShardId>,
        count: u32,
    ) -> Pending<'_, Vec<ShardStat>> {
        Box::pin(async move {
            let command = Command::List { lake, after, count };
            let reply = self.client.request(command, Subject::default(), 0).await?;
            let found = answer::read_list(&reply, lake, after, count);
            let found = found.map_err(|e| self.client.rejected(e))?;
            Ok(found.into_iter().map(stat).collect())
        })
    }

    fn delete(&self, id: ShardId, term: Term) -> Pending<'_, bool> {
        Box::pin(async move {
            let subject = Subject { id: Some(id), term, ..Subject::default() };
            let reply = self.client.request(Command::Delete { id, term }, subject, 0).await?;
            answer::read_deleted(&reply).map_err(|e| self.client.rejected(e))
        })
    }

    fn fence(&self, lake: LakeId, term: Term) -> Pending<'_, ()> {
        Box::pin(async move {
            let subject = Subject { term, ..Subject::default() };
            let reply = self.client.request(Command::Fence { lake, term }, subject, 0).await?;
            answer::read_ok(&reply).map_err(|e| self.client.rejected(e))
        })
    }

    fn put_head(&self, lake: LakeId, head: StoredHead) -> Pending<'_, ()> {
        Box::pin(async move {
            let StoredHead { term, number, bytes } = head;
            if bytes.len() > HEAD_BYTES_MAX {
                return Err(self.client.rejected("a head has at most 1 MiB"));
            }
            let subject = Subject { term, ..Subject::default() };
            let command = Command::HeadPut { lake, term, number, bytes };
            let reply = self.client.request(command, subject, 0).await?;
            answer::read_ok(&reply).map_err(|e| self.client.rejected(e))
        })
    }

    fn head(&self, lake: LakeId) -> Pending<'_, Option<StoredHead>> {
        Box::pin(async move {
            let command = Command::HeadGet { lake };
            let reply = self.client.request(command, Subject::default(), 0).await?;
            let head = answer::read_head(reply).map_err(|e| self.client.rejected(e))?;
            Ok(head.map(|answer::Head { term, number, bytes }| StoredHead { term, number, bytes }))
        })
    }

    fn space(&self) -> Pending<'_, StoreSpace> {
        Box::pin(async move {
            let reply = self.client.request(Command::Space, Subject::default(), 0).await?;
            let space = answer::read_space(&reply).map_err(|e| self.client.rejected(e))?;
            Ok(StoreSpace {
                capacity_bytes: space.capacity_bytes,
                used_bytes: space.used_bytes,
                shards: space.shards,
            })
        })
    }
}

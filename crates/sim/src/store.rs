//! The writer's side of a node: every call is a command in RESP bytes that takes its time on a link.

use crate::{
    link::{self, Continent, PATIENCE, Reach},
    machine::Machine,
    trace::Trace,
};
use bytes::{Bytes, BytesMut};
use prunedb_core::{Digest, LakeId, ShardId, Term};
use prunedb_disk::faulty::Chance;
use prunedb_proof::{Audit, SampleProof};
use prunedb_store::{
    Pending, PutMode, ShardStat, ShardStore, ShardUpload, StoreError, StoreSpace, StoredHead,
};
use prunedb_wire::{Command, Limits, Refusal, Reply, ReplyDecoder, answer};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Bytes of one `PDB.DATA`, as the real client sends them.
const CHUNK_BYTES: usize = 256 << 10;

/// What all links share.
pub(crate) struct Net {
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) started: Instant,
}

pub(crate) type Shared<T> = Arc<Mutex<T>>;

/// Locks; everything runs on one thread, and a life that panicked is over.
pub(crate) fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Net {
    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        let now = self.started.elapsed();
        self.trace.note(now, what);
    }
}

/// A node as somebody on a continent sees it.
#[derive(Clone)]
pub(crate) struct SimStore {
    pub(crate) name: String,
    pub(crate) from: Continent,
    pub(crate) at: Continent,
    pub(crate) machine: Shared<Machine>,
    pub(crate) net: Shared<Net>,
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimStore").field(&self.name).finish()
    }
}

/// What a request was about: refusals are told in its terms.
#[derive(Debug, Clone, Copy, Default)]
struct Subject {
    id: Option<ShardId>,
    term: Term,
    offset: u64,
    bytes: u64,
}

impl SimStore {
    fn unreachable(&self, reason: &str) -> StoreError {
        StoreError::Unreachable { store: self.name.clone(), reason: reason.into() }
    }

    fn rejected(&self, reason: impl ToString) -> StoreError {
        StoreError::Rejected { store: self.name.clone(), reason: reason.to_string() }
    }

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
            (other, _) => StoreError::Rejected { store, reason: other.to_string() },
        }
    }

    fn reach(&self) -> Reach {
        lock(&self.machine).reach
    }

    /// Waits as somebody does whose connection leads nowhere, or for ever.
    async fn nothing(&self, reach: Reach) -> StoreError {
        match reach {
            Reach::Hangs => std::future::pending().await,
            _ => {
                sleep(PATIENCE).await;
                self.unreachable("no answer in time")
            }
        }
    }

    /// One command and its reply. With `streamed`, as part of an upload: only the line's bandwidth is waited for.
    async fn ask(
        &self,
        command: Command,
        subject: Subject,
        streamed: bool,
    ) -> Result<Reply, StoreError> {
        let mut request = BytesMut::new();
        command.encode(&mut request);
        let request_bytes = request.len();
        let out = {
            let (reach, mut net) = (self.reach(), lock(&self.net));
            if streamed {
                link::sent(request_bytes, reach)
            } else {
                link::way(self.from, self.at, request_bytes, reach, &mut net.chance)
                    + link::thought(reach, &mut net.chance)
            }
        };
        sleep(out).await;
        let reach = self.reach();
        if matches!(reach, Reach::Cut | Reach::Hangs) {
            return Err(self.nothing(reach).await);
        }
        let answered = lock(&self.machine).serve(&mut request);
        let Some(mut answered) = answered else {
            lock(&self.net).note(format_args!("{} {request_bytes} refused", self.name));
            return Err(self.unreachable("connection refused"));
        };
        let answer_bytes = answered.len();
        lock(&self.net).note(format_args!("{} {request_bytes} {answer_bytes}", self.name));
        if !streamed {
            let reach = self.reach();
            let back =
                link::way(self.at, self.from, answer_bytes, reach, &mut lock(&self.net).chance);
            sleep(back).await;
            let reach = self.reach();
            if matches!(reach, Reach::Cut | Reach::Hangs) {
                // it was done, and nobody hears of it
                return Err(self.nothing(reach).await);
            }
        }
        let mut decoder = ReplyDecoder::new(Limits::default());
        match decoder.decode(&mut answered) {
            Ok(Some(Reply::Error(text))) => Err(self.refused(Refusal::parse(&text), subject)),
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(self.rejected("half a reply")),
            Err(e) => Err(self.rejected(e)),
        }
    }
}

struct SimUpload {
    store: SimStore,
    subject: Subject,
    handle: u32,
    /// the node has it already
    stored: bool,
    sent: u64,
    ended: bool,
}

impl Drop for SimUpload {
    fn drop(&mut self) {
        if !self.ended {
            lock(&self.store.machine).abort(self.handle);
        }
    }
}

impl ShardUpload for SimUpload {
    fn write(&mut self, mut bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            while !bytes.is_empty() && !self.stored {
                let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
                let end = self.sent + chunk.len() as u64;
                let data = Command::Data { handle: self.handle, offset: self.sent, chunk };
                let reply = self.store.ask(data, self.subject, true).await?;
                let received = answer::read_data(&reply).map_err(|e| self.store.rejected(e))?;
                if received != end {
                    return Err(self.store.rejected("bytes were lost on their way"));
                }
                self.sent = end;
            }
            Ok(())
        })
    }

    fn commit(mut self: Box<Self>, name: Digest) -> Pending<'static, ()> {
        Box::pin(async move {
            let (handle, term) = (self.handle, self.subject.term);
            let done = self.store.ask(Command::Commit { handle, name, term }, self.subject, false);
            let reply = done.await?;
            self.ended = true;
            answer::read_ok(&reply).map_err(|e| self.store.rejected(e))
        })
    }
}

impl ShardStore for SimStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn put(
        &self,
        id: ShardId,
        term: Term,
        bytes: u64,
        mode: PutMode,
    ) -> Pending<'_, Box<dyn ShardUpload>> {
        Box::pin(async move {
            let mode = match mode {
                PutMode::IfAbsent => prunedb_wire::PutMode::IfAbsent,
                PutMode::Replace => prunedb_wire::PutMode::Replace,
            };
            let subject = Subject { id: Some(id), term, offset: 0, bytes };
            let reply = self.ask(Command::Put { id, term, bytes, mode }, subject, false).await?;
            let put = answer::read_put(&reply).map_err(|e| self.rejected(e))?;
            Ok(Box::new(SimUpload {
                store: self.clone(),
                subject,
                handle: put.handle,
                stored: put.stored.is_some(),
                sent: 0,
                ended: false,
            }) as Box<dyn ShardUpload>)
        })
    }

    fn get(&self, id: ShardId, offset: u64, bytes: u32) -> Pending<'_, Bytes> {
        Box::pin(async move {
            let subject =
                Subject { id: Some(id), offset, bytes: bytes.into(), ..Subject::default() };
            let reply = self.ask(Command::Get { id, offset, bytes }, subject, false).await?;
            answer::read_get(reply, bytes).map_err(|e| self.rejected(e))
        })
    }

    fn prove(&self, audit: Audit) -> Pending<'_, Vec<SampleProof>> {
        Box::pin(async move {
            let subject = Subject { id: Some(audit.shard), ..Subject::default() };
            let samples = audit.samples;
            let reply = self.ask(Command::Prove(audit), subject, false).await?;
            answer::read_prove(&reply, samples).map_err(|e| self.rejected(e))
        })
    }

    fn stat(&self, id: ShardId) -> Pending<'_, Option<ShardStat>> {
        Box::pin(async move {
            let subject = Subject { id: Some(id), ..Subject::default() };
            let reply = self.ask(Command::Stat { id }, subject, false).await?;
            let found = answer::read_stat(&reply, id).map_err(|e| self.rejected(e))?;
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
            let reply = self.ask(command, Subject::default(), false).await?;
            let found = answer::read_list(&reply, lake, after, count);
            let found = found.map_err(|e| self.rejected(e))?;
            Ok(found.into_iter().map(stat).collect())
        })
    }

    fn delete(&self, id: ShardId, term: Term) -> Pending<'_, bool> {
        Box::pin(async move {
            let subject = Subject { id: Some(id), term, ..Subject::default() };
            let reply = self.ask(Command::Delete { id, term }, subject, false).await?;
            answer::read_deleted(&reply).map_err(|e| self.rejected(e))
        })
    }

    fn fence(&self, lake: LakeId, term: Term) -> Pending<'_, ()> {
        Box::pin(async move {
            let subject = Subject { term, ..Subject::default() };
            let reply = self.ask(Command::Fence { lake, term }, subject, false).await?;
            answer::read_ok(&reply).map_err(|e| self.rejected(e))
        })
    }

    fn put_head(&self, lake: LakeId, head: StoredHead) -> Pending<'_, ()> {
        Box::pin(async move {
            let StoredHead { term, number, bytes } = head;
            let subject = Subject { term, ..Subject::default() };
            let command = Command::HeadPut { lake, term, number, bytes };
            let reply = self.ask(command, subject, false).await?;
            answer::read_ok(&reply).map_err(|e| self.rejected(e))
        })
    }

    fn head(&self, lake: LakeId) -> Pending<'_, Option<StoredHead>> {
        Box::pin(async move {
            let reply = self.ask(Command::HeadGet { lake }, Subject::default(), false).await?;
            let head = answer::read_head(reply).map_err(|e| self.rejected(e))?;
            Ok(head.map(|answer::Head { term, number, bytes }| StoredHead { term, number, bytes }))
        })
    }

    fn space(&self) -> Pending<'_, StoreSpace> {
        Box::pin(async move {
            let reply = self.ask(Command::Space, Subject::default(), false).await?;
            let space = answer::read_space(&reply).map_err(|e| self.rejected(e))?;
            Ok(StoreSpace {
                capacity_bytes: space.capacity_bytes,
                used_bytes: space.used_bytes,
                shards: space.shards,
            })
        })
    }
}

fn stat(stat: answer::Stat) -> ShardStat {
    ShardStat { id: stat.id, bytes: stat.bytes, name: stat.name, term: stat.term }
}

/// Time that passed in a life.
pub(crate) fn elapsed(net: &Shared<Net>) -> Duration {
    lock(net).started.elapsed()
}

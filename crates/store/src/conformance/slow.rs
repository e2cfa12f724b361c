//! A store that takes its time, or for ever: what a far, loaded or hanging node looks like.

use crate::{Pending, PutMode, ShardStat, ShardStore, ShardUpload, StoreSpace, StoredHead};
use bytes::Bytes;
use prunedb_core::{Digest, LakeId, ShardId, Term};
use prunedb_proof::{Audit, SampleProof};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// How long the next call takes; [`SlowStore::HANGS`] for one that never ends.
type Latency = Box<dyn FnMut() -> Duration + Send>;

/// A store whose reads and uploads are delayed on tokio's clock, and counted. Everything else passes through.
#[derive(Clone)]
pub struct SlowStore {
    inner: Arc<dyn ShardStore>,
    shared: Arc<Shared>,
}

struct Shared {
    reads: Mutex<Latency>,
    uploads: Mutex<Latency>,
    asked_bytes: AtomicU64,
    asked: AtomicU64,
}

impl SlowStore {
    /// The latency of a call that never ends.
    pub const HANGS: Duration = Duration::MAX;

    /// A store that is not slow yet.
    pub fn new(inner: Arc<dyn ShardStore>) -> Self {
        let at_once = || -> Mutex<Latency> { Mutex::new(Box::new(|| Duration::ZERO)) };
        let shared = Shared {
            reads: at_once(),
            uploads: at_once(),
            asked_bytes: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        };
        Self { inner, shared: Arc::new(shared) }
    }

    /// From now on each read takes what this says.
    pub fn set_reads(&self, latency: impl FnMut() -> Duration + Send + 'static) {
        *self.shared.reads.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(latency);
    }

    /// From now on each step of an upload (its begin, each write, the commit) takes what this says.
    pub fn set_uploads(&self, latency: impl FnMut() -> Duration + Send + 'static) {
        *self.shared.uploads.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(latency);
    }

    /// Bytes that reads asked for so far, whether they waited for the answer or not.
    pub fn asked_bytes(&self) -> u64 {
        self.shared.asked_bytes.load(Relaxed)
    }

    /// Reads so far.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Relaxed)
    }
}

async fn wait(latency: &Mutex<Latency>) {
    let latency = latency.lock().unwrap_or_else(PoisonError::into_inner)();
    if latency == SlowStore::HANGS {
        std::future::pending::<()>().await;
    } else if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}

impl fmt::Debug for SlowStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SlowStore").field(&self.inner).finish()
    }
}

struct SlowUpload {
    inner: Box<dyn ShardUpload>,
    shared: Arc<Shared>,
}

impl ShardUpload for SlowUpload {
    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            wait(&self.shared.uploads).await;
            self.inner.write(bytes).await
        })
    }

    fn commit(self: Box<Self>, name: Digest) -> Pending<'static, ()> {
        Box::pin(async move {
            wait(&self.shared.uploads).await;
            self.inner.commit(name).await
        })
    }
}

impl ShardStore for SlowStore {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn put(
        &self,
        id: ShardId,
        term: Term,
        bytes: u64,
        mode: PutMode,
    ) -> Pending<'_, Box<dyn ShardUpload>> {
        Box::pin(async move {
            wait(&self.shared.uploads).await;
            let inner = self.inner.put(id, term, bytes, mode).await?;
            let shared = Arc::clone(&self.shared);
            Ok(Box::new(SlowUpload { inner, shared }) as Box<dyn ShardUpload>)
        })
    }

    fn get(&self, id: ShardId, offset: u64, bytes: u32) -> Pending<'_, Bytes> {
        Box::pin(async move {
            self.shared.asked.fetch_add(1, Relaxed);
            self.shared.asked_bytes.fetch_add(u64::from(bytes), Relaxed);
            wait(&self.shared.reads).await;
            self.inner.get(id, offset, bytes).await
        })
    }

    fn prove(&self, audit: Audit) -> Pending<'_, Vec<SampleProof>> {
        self.inner.prove(audit)
    }

    fn stat(&self, id: ShardId) -> Pending<'_, Option<ShardStat>> {
        self.inner.stat(id)
    }

    fn list(
        &self,
        lake: LakeId,
        after: Option<ShardId>,
        count: u32,
    ) -> Pending<'_, Vec<ShardStat>> {
        self.inner.list(lake, after, count)
    }

    fn delete(&self, id: ShardId, term: Term) -> Pending<'_, bool> {
        self.inner.delete(id, term)
    }

    fn fence(&self, lake: LakeId, term: Term) -> Pending<'_, ()> {
        self.inner.fence(lake, term)
    }

    fn put_head(&self, lake: LakeId, head: StoredHead) -> Pending<'_, ()> {
        self.inner.put_head(lake, head)
    }

    fn head(&self, lake: LakeId) -> Pending<'_, Option<StoredHead>> {
        self.inner.head(lake)
    }

    fn space(&self) -> Pending<'_, StoreSpace> {
        self.inner.space()
    }
}

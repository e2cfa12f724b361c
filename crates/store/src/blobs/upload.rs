//! An upload into [`Blobs`](super::Blobs): chunk by chunk, and at last the value that names them.

use super::{Inner, Meta, chunk_key, meta_key};
use crate::{Pending, PutMode, ShardUpload, StoreError};
use bytes::{Bytes, BytesMut};
use prunedb_core::{Digest, ShardId, Term};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

pub(super) struct BlobUpload {
    inner: Arc<Inner>,
    id: ShardId,
    mode: PutMode,
    meta: Meta,
    hasher: blake3::Hasher,
    /// the next chunk
    chunk: BytesMut,
    /// bytes that were taken
    taken: u64,
    chunks_sent: u64,
    /// its chunks are not to be deleted when it is dropped
    kept: bool,
}

impl BlobUpload {
    pub(super) fn new(
        inner: Arc<Inner>,
        id: ShardId,
        term: Term,
        bytes: u64,
        mode: PutMode,
    ) -> Self {
        let chunk_bytes = inner.blobs.chunk_bytes();
        // the name is known at the end only
        let meta =
            Meta { bytes, term, name: Digest([0; 32]), upload: upload_number(), chunk_bytes };
        Self {
            inner,
            id,
            mode,
            meta,
            hasher: blake3::Hasher::new(),
            chunk: BytesMut::new(),
            taken: 0,
            chunks_sent: 0,
            kept: false,
        }
    }

    async fn push(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        if bytes.len() as u64 > self.meta.bytes - self.taken {
            return Err(self.inner.rejected("more bytes than announced"));
        }
        self.taken += bytes.len() as u64;
        self.hasher.update(&bytes);
        let chunk_bytes = usize::try_from(self.meta.chunk_bytes).expect("a chunk fits in memory");
        while !bytes.is_empty() {
            let room = chunk_bytes - self.chunk.len();
            self.chunk.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.chunk.len() == chunk_bytes {
                self.send().await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), StoreError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let key = chunk_key(self.id, self.meta.upload, self.chunks_sent);
        // counted first: one that fails half-way may be there
        self.chunks_sent += 1;
        let chunk = self.chunk.split().freeze();
        self.inner.put(key, chunk).await
    }

    async fn finish(mut self, name: Digest) -> Result<(), StoreError> {
        self.send().await?;
        let found = Digest(*self.hasher.finalize().as_bytes());
        if self.taken != self.meta.bytes || found != name {
            return Err(self.inner.rejected(format!("{} bytes that hash to {found}", self.taken)));
        }
        self.meta.name = name;
        let inner = Arc::clone(&self.inner);
        let _one = inner.one.lock().await;
        inner.check_term(self.id.lake, self.meta.term, true).await?;
        let old = inner.meta(self.id).await?;
        if let Some(old) = &old {
            if (old.name, old.bytes) != (name, self.meta.bytes) {
                return Err(StoreError::Conflict { store: inner.name.clone(), id: self.id });
            }
            if self.mode == PutMode::IfAbsent {
                return Ok(());
            }
        }
        inner.put(meta_key(self.id), self.meta.encode()).await?;
        self.kept = true;
        inner.count(Some(self.meta.bytes), old.as_ref().map(|old| old.bytes)).await;
        if let Some(old) = old {
            inner.delete_chunks(self.id, &old).await;
        }
        Ok(())
    }
}

impl Drop for BlobUpload {
    fn drop(&mut self) {
        if self.kept || self.chunks_sent == 0 {
            return;
        }
        let (inner, id) = (Arc::clone(&self.inner), self.id);
        let sent = Meta { bytes: self.chunks_sent * u64::from(self.meta.chunk_bytes), ..self.meta };
        // without a runtime nobody can; what stays is garbage, never a shard
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { inner.delete_chunks(id, &sent).await });
        }
    }
}

impl ShardUpload for BlobUpload {
    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(self.push(bytes))
    }

    fn commit(self: Box<Self>, name: Digest) -> Pending<'static, ()> {
        Box::pin((*self).finish(name))
    }
}

/// Tells uploads of one shard apart, those of other processes too.
fn upload_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut seed = [0; 8];
    // without randomness the count alone tells those of this process apart
    let _no_randomness = getrandom::fill(&mut seed);
    u64::from_le_bytes(seed) ^ NEXT.fetch_add(1, Relaxed)
}

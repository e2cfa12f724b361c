//! Shards in places that only know keys and values: object stores, and plain 0-db servers.
//!
//! ```text
//! LAKE/m/SHARD             version u8 = 1 · bytes u64 · term u64 · name 32 bytes · upload u64 · chunk bytes u32
//! LAKE/d/SHARD-UPLOAD-N    chunk N of the shard's bytes, each of the same length but the last
//! LAKE/fence               highest term seen, u64
//! LAKE/head                term u64 · number u64 · sealed head
//! ```
//! Names are hex, SHARD is kind, number and index, so that keys sort as shards do; numbers are little-endian. Chunks of an
//! upload are there before the one value that names them, so a shard is there whole or not at all; an upload that is
//! dropped deletes its chunks.
//!
//! Such a place compares nothing for us. Within one process commits, deletes and fences are made one after another;
//! between two processes a fence is looked up and then acted upon ([`Fencing::Advisory`]). Bytes are not checked when they are
//! read: the seal of each leaf tells.

#[cfg(feature = "objects")]
mod object;
mod upload;
mod zdb;

#[cfg(feature = "objects")]
pub use object::ObjectBlobs;
pub use zdb::ZdbBlobs;

use crate::{
    Capabilities, Fencing, GET_BYTES_MAX, HEAD_BYTES_MAX, Pending, PutMode, ShardStat, ShardStore,
    ShardUpload, StoreError, StoreSpace, StoredHead,
};
use bytes::{Bytes, BytesMut};
use prunedb_core::{ContainerId, ContainerKind, Digest, LakeId, ShardId, ShardIndex, Term};
use std::{fmt::Debug, ops::Range, sync::Arc};
use tokio::sync::Mutex;
use upload::BlobUpload;

/// A place of keys and values. Errors are words for people; absent is not an error.
pub trait Blobs: Send + Sync + Debug + 'static {
    /// Length of the values that a shard is cut into.
    fn chunk_bytes(&self) -> u32;

    /// Whether a part of a value can be read.
    fn reads_ranges(&self) -> bool;

    /// Stores a value, in place of an older one.
    fn put(&self, key: String, value: Bytes) -> BlobFuture<'_, ()>;

    /// A value, or a part of it where those can be read; `None` where there is none.
    fn get(&self, key: String, range: Option<Range<u64>>) -> BlobFuture<'_, Option<Bytes>>;

    /// Deletes a value, if there is one.
    fn delete(&self, key: String) -> BlobFuture<'_, ()>;

    /// All keys with a prefix, sorted, with the lengths of their values; only those behind `after`, and about `count` of
    /// them, where the place can tell.
    fn list(
        &self,
        prefix: String,
        after: Option<String>,
        count: usize,
    ) -> BlobFuture<'_, Vec<(String, u64)>>;
}

/// What an operation on [`Blobs`] gives.
pub type BlobFuture<'a, T> =
    std::pin::Pin<Box<dyn Future<Output = Result<T, BlobError>> + Send + 'a>>;

/// Why an operation on [`Blobs`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The place cannot be reached, or does not answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// It refuses.
    #[error("{0}")]
    Refused(String),
    /// It has no room.
    #[error("it is full")]
    Full,
}

/// A [`ShardStore`] over [`Blobs`]. Clones share their connection and their order of commits.
#[derive(Clone, Debug)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    blobs: Box<dyn Blobs>,
    /// what is checked and then done is done one after another
    one: Mutex<()>,
    /// shards and their bytes, once they were counted
    space: Mutex<Option<(u64, u64)>>,
}

/// What the value under `m/` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Meta {
    bytes: u64,
    term: Term,
    name: Digest,
    upload: u64,
    chunk_bytes: u32,
}

const META_VERSION: u8 = 1;
const META_BYTES: usize = 1 + 8 + 8 + 32 + 8 + 4;
/// Values that are fetched at once.
const FETCHED_AT_ONCE: usize = 16;

impl Meta {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(META_BYTES);
        out.extend_from_slice(&[META_VERSION]);
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.term.0.to_le_bytes());
        out.extend_from_slice(&self.name.0);
        out.extend_from_slice(&self.upload.to_le_bytes());
        out.extend_from_slice(&self.chunk_bytes.to_le_bytes());
        out.freeze()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let value: &[u8; META_BYTES] = value.try_into().ok()?;
        let u64_at = |at: usize| Some(u64::from_le_bytes(value[at..at + 8].try_into().ok()?));
        let meta = Self {
            bytes: u64_at(1)?,
            term: Term(u64_at(9)?),
            name: Digest(value[17..49].try_into().ok()?),
            upload: u64_at(49)?,
            chunk_bytes: u32::from_le_bytes(value[57..].try_into().ok()?),
        };
        (value[0] == META_VERSION && meta.chunk_bytes > 0).then_some(meta)
    }

    fn chunks(&self) -> u64 {
        self.bytes.div_ceil(self.chunk_bytes.into())
    }
}

fn shard_key(id: ShardId) -> String {
    let ContainerId { kind, number } = id.container;
    format!("{:02x}{number:08x}{:02x}", kind as u8, id.index.0)
}

fn meta_key(id: ShardId) -> String {
    format!("{}/m/{}", id.lake, shard_key(id))
}

fn chunk_key(id: ShardId, upload: u64, chunk: u64) -> String {
    format!("{}/d/{}-{upload:016x}-{chunk:06x}", id.lake, shard_key(id))
}

/// The shard of a key under `m/`.
fn shard_of(lake: LakeId, key: &str) -> Option<ShardId> {
    let shard = key.rsplit('/').next().filter(|shard| shard.len() == 12 && shard.is_ascii())?;
    let kind = ContainerKind::from_byte(u8::from_str_radix(&shard[..2], 16).ok()?)?;
    let number = u32::from_str_radix(&shard[2..10], 16).ok()?;
    let index = ShardIndex(u8::from_str_radix(&shard[10..], 16).ok()?);
    Some(ShardId { lake, container: ContainerId { kind, number }, index })
}

impl BlobStore {
    /// A store of that name over a place.
    pub fn new(name: impl Into<String>, blobs: impl Blobs) -> Self {
        let inner = Inner {
            name: name.into(),
            blobs: Box::new(blobs),
            one: Mutex::default(),
            space: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    fn failed(&self, error: BlobError) -> StoreError {
        let store = self.name.clone();
        match error {
            BlobError::Unreachable(reason) => StoreError::Unreachable { store, reason },
            BlobError::Refused(reason) => StoreError::Rejected { store, reason },
            BlobError::Full => StoreError::Full { store, free_bytes: 0 },
        }
    }

    fn rejected(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Rejected { store: self.name.clone(), reason: reason.into() }
    }

    async fn get(
        &self,
        key: String,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, StoreError> {
        self.blobs.get(key, range).await.map_err(|e| self.failed(e))
    }

    async fn put(&self, key: String, value: Bytes) -> Result<(), StoreError> {
        self.blobs.put(key, value).await.map_err(|e| self.failed(e))
    }

    async fn delete(&self, key: String) -> Result<(), StoreError> {
        self.blobs.delete(key).await.map_err(|e| self.failed(e))
    }

    async fn meta(&self, id: ShardId) -> Result<Option<Meta>, StoreError> {
        let Some(value) = self.get(meta_key(id), None).await? else { return Ok(None) };
        let meta = Meta::decode(&value);
        meta.map(Some)
            .ok_or_else(|| self.rejected(format!("{} is not a shard's entry", meta_key(id))))
    }

    /// The highest term seen.
    async fn fence(&self, lake: LakeId) -> Result<Term, StoreError> {
        let Some(value) = self.get(format!("{lake}/fence"), None).await? else {
            return Ok(Term(0));
        };
        let term =
            <[u8; 8]>::try_from(&value[..]).map_err(|_| self.rejected("its fence is damaged"))?;
        Ok(Term(u64::from_le_bytes(term)))
    }

    /// Refuses an old term, and remembers a new one. Called with `one` held.
    async fn check_term(&self, lake: LakeId, term: Term, remember: bool) -> Result<(), StoreError> {
        let seen = self.fence(lake).await?;
        if seen > term {
            return Err(StoreError::Fenced { store: self.name.clone(), term, seen });
        }
        if remember && seen < term {
            let value = Bytes::copy_from_slice(&term.0.to_le_bytes());
            self.put(format!("{lake}/fence"), value).await?;
        }
        Ok(())
    }

    async fn delete_chunks(&self, id: ShardId, meta: &Meta) {
        for chunk in 0..meta.chunks() {
            // what stays is garbage, never a shard
            let _garbage = self.blobs.delete(chunk_key(id, meta.upload, chunk)).await;
        }
    }

    /// Notes that shards came or went.
    async fn count(&self, came: Option<u64>, went: Option<u64>) {
        if let Some((shards, bytes)) = &mut *self.space.lock().await {
            *shards = (*shards + u64::from(came.is_some())).saturating_sub(went.is_some().into());
            *bytes = (*bytes + came.unwrap_or(0)).saturating_sub(went.unwrap_or(0));
        }
    }

    async fn read(&self, id: ShardId, offset: u64, bytes: u32) -> Result<Bytes, StoreError> {
        let store = || self.name.clone();
        let wanted = u64::from(bytes);
        let range_error = || StoreError::Range { store: store(), id, offset, bytes: wanted };
        if !(1..=GET_BYTES_MAX).contains(&bytes) {
            return Err(range_error());
        }
        let meta = self.meta(id).await?.ok_or_else(|| StoreError::Absent { store: store(), id })?;
        let end = offset.checked_add(wanted).filter(|&end| end <= meta.bytes);
        let end = end.ok_or_else(range_error)?;
        let chunk_bytes = u64::from(meta.chunk_bytes);
        let mut out = BytesMut::with_capacity(usize::try_from(bytes).expect("at most 4 MiB"));
        for chunk in offset / chunk_bytes..=(end - 1) / chunk_bytes {
            let start = chunk * chunk_bytes;
            let part = offset.max(start) - start..end.min(start + chunk_bytes) - start;
            let whole = !self.blobs.reads_ranges();
            let range = (!whole).then(|| part.clone());
            let value = self.get(chunk_key(id, meta.upload, chunk), range).await?;
            let in_value = if whole { part.clone() } else { 0..part.end - part.start };
            let at = |n: u64| usize::try_from(n).expect("a chunk fits in memory");
            let found = value.as_ref().and_then(|v| v.get(at(in_value.start)..at(in_value.end)));
            // a chunk that is gone or too short: the shard's bytes are not what was put
            let found =
                found.ok_or_else(|| StoreError::Damaged { store: store(), id, offset: start })?;
            out.extend_from_slice(found);
        }
        Ok(out.freeze())
    }

    async fn list(
        &self,
        lake: LakeId,
        after: Option<ShardId>,
        count: u32,
    ) -> Result<Vec<ShardStat>, StoreError> {
        let count = usize::try_from(count.clamp(1, 1000)).expect("a small number");
        let prefix = format!("{lake}/m/");
        let after = after.filter(|id| id.lake == lake).map(meta_key);
        let listed = self.blobs.list(prefix, after.clone(), count).await;
        let listed = listed.map_err(|e| self.failed(e))?;
        let behind = |key: &String| after.as_ref().is_none_or(|after| key > after);
        let keys: Vec<String> = listed.into_iter().map(|(key, _)| key).filter(behind).collect();
        let ids = keys.iter().filter_map(|key| shard_of(lake, key));
        let ids: Vec<ShardId> = ids.take(count).collect();
        let mut out = Vec::with_capacity(ids.len());
        for ids in ids.chunks(FETCHED_AT_ONCE) {
            for &id in ids {
                // one that was deleted meanwhile is not there
                out.extend(self.meta(id).await?.map(|meta| stat(id, &meta)));
            }
        }
        Ok(out)
    }
}

fn stat(id: ShardId, meta: &Meta) -> ShardStat {
    ShardStat { id, bytes: meta.bytes, name: meta.name, term: meta.term }
}

impl ShardStore for BlobStore {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn capabilities(&self) -> Capabilities {
        let range_read = self.inner.blobs.reads_ranges();
        Capabilities { range_read, checks_reads: false, fencing: Fencing::Advisory, proves: false }
    }

    fn put(
        &self,
        id: ShardId,
        term: Term,
        bytes: u64,
        mode: PutMode,
    ) -> Pending<'_, Box<dyn ShardUpload>> {
        Box::pin(async move {
            let inner = &self.inner;
            inner.check_term(id.lake, term, false).await?;
            if inner.meta(id).await?.is_some_and(|meta| meta.bytes != bytes) {
                return Err(StoreError::Conflict { store: inner.name.clone(), id });
            }
            let upload = BlobUpload::new(Arc::clone(inner), id, term, bytes, mode);
            Ok(Box::new(upload) as Box<dyn ShardUpload>)
        })
    }

    fn get(&self, id: ShardId, offset: u64, bytes: u32) -> Pending<'_, Bytes> {
        Box::pin(self.inner.read(id, offset, bytes))
    }

    fn stat(&self, id: ShardId) -> Pending<'_, Option<ShardStat>> {
        Box::pin(async move { Ok(self.inner.meta(id).await?.map(|meta| stat(id, &meta))) })
    }

    fn list(
        &self,
        lake: LakeId,
        after: Option<ShardId>,
        count: u32,
    ) -> Pending<'_, Vec<ShardStat>> {
        Box::pin(self.inner.list(lake, after, count))
    }

    fn delete(&self, id: ShardId, term: Term) -> Pending<'_, bool> {
        Box::pin(async move {
            let inner = &self.inner;
            let _one = inner.one.lock().await;
            inner.check_term(id.lake, term, true).await?;
            let Some(meta) = inner.meta(id).await? else { return Ok(false) };
            inner.delete(meta_key(id)).await?;
            inner.delete_chunks(id, &meta).await;
            inner.count(None, Some(meta.bytes)).await;
            Ok(true)
        })
    }

    fn fence(&self, lake: LakeId, term: Term) -> Pending<'_, ()> {
        Box::pin(async move {
            let _one = self.inner.one.lock().await;
            self.inner.check_term(lake, term, true).await
        })
    }

    fn put_head(&self, lake: LakeId, head: StoredHead) -> Pending<'_, ()> {
        Box::pin(async move {
            if head.bytes.len() > HEAD_BYTES_MAX {
                return Err(self.inner.rejected("a head has at most 1 MiB"));
            }
            let _one = self.inner.one.lock().await;
            self.inner.check_term(lake, head.term, true).await?;
            let stored = self.head(lake).await?;
            if stored.is_some_and(|s| (s.term, s.number) >= (head.term, head.number)) {
                return Ok(());
            }
            let mut value = BytesMut::with_capacity(16 + head.bytes.len());
            value.extend_from_slice(&head.term.0.to_le_bytes());
            value.extend_from_slice(&head.number.to_le_bytes());
            value.extend_from_slice(&head.bytes);
            self.inner.put(format!("{lake}/head"), value.freeze()).await
        })
    }

    fn head(&self, lake: LakeId) -> Pending<'_, Option<StoredHead>> {
        Box::pin(async move {
            let value = self.inner.get(format!("{lake}/head"), None).await?;
            let Some(mut value) = value else { return Ok(None) };
            let damaged = || self.inner.rejected("its head is damaged");
            if !(16..=16 + HEAD_BYTES_MAX).contains(&value.len()) {
                return Err(damaged());
            }
            let prefix = value.split_to(16);
            let (term, number) = prefix.split_at(8);
            let number_of = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes);
            let (Ok(term), Ok(number)) = (number_of(term), number_of(number)) else {
                return Err(damaged());
            };
            Ok(Some(StoredHead { term: Term(term), number, bytes: value }))
        })
    }

    fn space(&self) -> Pending<'_, StoreSpace> {
        Box::pin(async move {
            let inner = &self.inner;
            let mut space = inner.space.lock().await;
            let (shards, used_bytes) = match *space {
                // one request all the same: this is the health check
                Some(counted) => {
                    let health = inner.blobs.get("health".into(), None).await;
                    health.map_err(|e| inner.failed(e))?;
                    counted
                }
                None => {
                    let all = inner.blobs.list(String::new(), None, usize::MAX).await;
                    let all = all.map_err(|e| inner.failed(e))?;
                    let of =
                        |part: &'static str| all.iter().filter(move |(key, _)| key.contains(part));
                    (of("/m/").count() as u64, of("/d/").map(|(_, bytes)| bytes).sum())
                }
            };
            *space = Some((shards, used_bytes));
            Ok(StoreSpace { capacity_bytes: u64::MAX, used_bytes, shards })
        })
    }
}

#[cfg(test)]
mod tests;

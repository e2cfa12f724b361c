//! A store that computes the shards which it is asked for.

use super::content::{CONTAINER_BYTES, Content};
use bytes::Bytes;
use prunedb_codec::{CodecVersion, CodedStream, LakeKey, Opener, StreamParams};
use prunedb_core::{ContainerId, Digest, Generation, LakeId, Policy, ShardId, Term};
use prunedb_store::{
    Pending, PutMode, ShardStat, ShardStore, ShardUpload, StoreError, StoreSpace, StoredHead,
};
use std::sync::Arc;

/// What all stores of the benchmark share.
#[derive(Debug)]
pub(super) struct Computed {
    pub(super) content: Content,
    pub(super) key: LakeKey,
    pub(super) policy: Policy,
}

/// Stands for the digest of a container's coded stream: the shards of 100 TB follow from it, so it cannot be theirs.
pub(super) fn digest_of(container: ContainerId) -> Digest {
    Digest(*blake3::hash(&container.number.to_le_bytes()).as_bytes())
}

impl Computed {
    /// Sealed leaves of a data shard.
    fn leaves(&self, id: ShardId, offset: u64, bytes: u32) -> Option<Vec<u8>> {
        let params = StreamParams {
            lake: id.lake,
            container: id.container,
            policy: self.policy,
            codec: CodecVersion::CURRENT,
            generation: Generation(0),
        };
        let stream = CodedStream {
            container_bytes: CONTAINER_BYTES,
            coded_bytes: CONTAINER_BYTES,
            digest: digest_of(id.container),
        };
        let opener = Opener::new(&self.key, params, stream).ok()?;
        let layout = *opener.layout();
        let (leaf, payload) = (layout.leaf_bytes() as u64, layout.payload_bytes() as u64);
        let (first, count) = (offset / leaf, u64::from(bytes) / leaf);
        let whole = offset.is_multiple_of(leaf) && u64::from(bytes).is_multiple_of(leaf);
        if !whole || id.index.as_usize() >= self.policy.data_shards() {
            return None;
        }
        let start = u64::from(id.index.0) * layout.slice_bytes() + first * payload;
        let payloads = self.content.read(id.container, start..start + count * payload);
        let mut sealed = vec![0; bytes as usize];
        opener.seal_leaves(id.index, first, &payloads, &mut sealed).ok()?;
        Some(sealed)
    }
}

/// See the module's text. It takes nothing.
#[derive(Debug)]
pub(super) struct ComputedStore {
    pub(super) name: String,
    pub(super) computed: Arc<Computed>,
}

impl ComputedStore {
    fn rejected<T: Send + 'static>(&self, reason: &str) -> Pending<'_, T> {
        let error = StoreError::Rejected { store: self.name.clone(), reason: reason.into() };
        Box::pin(std::future::ready(Err(error)))
    }
}

fn answer<'a, T: Send + 'a>(value: T) -> Pending<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl ShardStore for ComputedStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn put(&self, _: ShardId, _: Term, _: u64, _: PutMode) -> Pending<'_, Box<dyn ShardUpload>> {
        self.rejected("it computes shards and stores none")
    }

    fn get(&self, id: ShardId, offset: u64, bytes: u32) -> Pending<'_, Bytes> {
        match self.computed.leaves(id, offset, bytes) {
            Some(leaves) => answer(leaves.into()),
            None => self.rejected("it computes whole leaves of data shards only"),
        }
    }

    fn stat(&self, _: ShardId) -> Pending<'_, Option<ShardStat>> {
        self.rejected("it knows no shard's name")
    }

    fn list(&self, _: LakeId, _: Option<ShardId>, _: u32) -> Pending<'_, Vec<ShardStat>> {
        answer(Vec::new())
    }

    fn delete(&self, _: ShardId, _: Term) -> Pending<'_, bool> {
        answer(false)
    }

    fn fence(&self, _: LakeId, _: Term) -> Pending<'_, ()> {
        answer(())
    }

    fn put_head(&self, _: LakeId, _: StoredHead) -> Pending<'_, ()> {
        self.rejected("it computes shards and stores no head")
    }

    fn head(&self, _: LakeId) -> Pending<'_, Option<StoredHead>> {
        answer(None)
    }

    fn space(&self) -> Pending<'_, StoreSpace> {
        answer(StoreSpace::default())
    }
}

//! Where shards live, behind one trait.
//!
//! A [`ShardStore`] is one place that holds at most one shard of each container: a storage node, a plain 0-db server or an
//! object store ([`connect`] finds it by its address). The engine drives many of them at once; every call may fail or hang, so callers bring
//! their own deadlines. Dropping a future cancels it.

mod address;
mod blobs;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod memory;
mod node;
mod options;
mod prove;

pub use address::{AddressError, check_address, connect, connect_as, connect_node};
#[cfg(feature = "objects")]
pub use blobs::ObjectBlobs;
pub use blobs::{BlobError, BlobFuture, BlobStore, Blobs, ZdbBlobs};
pub use error::StoreError;
pub use memory::MemoryStore;
pub use node::NodeStore;
pub use options::NodeOptions;

use bytes::Bytes;
use prunedb_core::{Digest, LakeId, ShardId, Term};
use prunedb_proof::{Audit, SampleProof};
use std::{fmt::Debug, future::Future, pin::Pin};

/// A boxed future, so that the trait works behind `dyn`.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What a store says of one shard. Claims of the store: only reading and hashing the bytes proves them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardStat {
    /// which shard
    pub id: ShardId,
    /// sealed bytes
    pub bytes: u64,
    /// BLAKE3 of the sealed bytes, as checked when it was put
    pub name: Digest,
    /// term under which it was put
    pub term: Term,
}

/// The newest head of a lake as one store holds it; sealed bytes, opaque to the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredHead {
    /// term of its writer
    pub term: Term,
    /// number of the head, rising within and across terms
    pub number: u64,
    /// the sealed head, at most [`HEAD_BYTES_MAX`]
    pub bytes: Bytes,
}

/// Largest sealed head that a store takes.
pub const HEAD_BYTES_MAX: usize = 1 << 20;

/// Largest range that one [`ShardStore::get`] asks for; callers split longer ones.
pub const GET_BYTES_MAX: u32 = 4 << 20;

/// What a put does where the store has the shard already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutMode {
    /// Same name: done, nothing is written. Another name: [`StoreError::Conflict`].
    IfAbsent,
    /// The stored copy is known to be damaged: write this one and drop the old. Another name is still a conflict.
    Replace,
}

/// Space of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreSpace {
    /// bytes it may hold
    pub capacity_bytes: u64,
    /// bytes it holds
    pub used_bytes: u64,
    /// shards it holds, of all lakes
    pub shards: u64,
}

/// How a store keeps writers of an older term away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fencing {
    /// It refuses them itself.
    Enforced,
    /// Its client looks the term up before each commit: two writers in the same moment may both get through. Nothing of
    /// a container is lost by that, but which of the two heads counts may be decided by chance.
    Advisory,
}

/// What a store can do by itself; what it cannot is done for it, at a cost or with less certainty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// reads a part of a shard; otherwise more is read than was asked for
    pub range_read: bool,
    /// checks what it reads against its own checksums; otherwise damage shows in the seals of leaves only
    pub checks_reads: bool,
    /// how it keeps older writers away
    pub fencing: Fencing,
    /// shows samples of a shard by itself; otherwise all of the shard is read to make them
    pub proves: bool,
}

/// One place that holds shards. See the module's text.
pub trait ShardStore: Send + Sync + Debug + 'static {
    /// What people call it, such as `127.0.0.1:9900`.
    fn name(&self) -> &str;

    /// What it can do by itself; our own node: everything.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            range_read: true,
            checks_reads: true,
            fencing: Fencing::Enforced,
            proves: true,
        }
    }

    /// Begins to put a shard of exactly `bytes` sealed bytes.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] where a higher term was seen, [`StoreError::Full`], and those of the network.
    fn put(
        &self,
        id: ShardId,
        term: Term,
        bytes: u64,
        mode: PutMode,
    ) -> Pending<'_, Box<dyn ShardUpload>>;

    /// Reads `bytes` bytes at `offset`, at most [`GET_BYTES_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Absent`]; [`StoreError::Damaged`] where the store's own checksum fails; [`StoreError::Range`]
    /// past the end; those of the network.
    fn get(&self, id: ShardId, offset: u64, bytes: u32) -> Pending<'_, Bytes>;

    /// Samples of a shard, each with its path to the shard's name: whoever knows the name has them checked by
    /// [`Audit::verify`].
    ///
    /// # Errors
    /// [`StoreError::Absent`]; [`StoreError::Damaged`] where the store's own checksum fails anywhere in the shard;
    /// [`StoreError::Rejected`] where its length is not that of whole samples; those of the network.
    fn prove(&self, audit: Audit) -> Pending<'_, Vec<SampleProof>> {
        Box::pin(prove::by_reading(self, audit))
    }

    /// What the store knows of a shard; `None` where it has none.
    fn stat(&self, id: ShardId) -> Pending<'_, Option<ShardStat>>;

    /// Up to `count` (1..=1000) shards of a lake in the order of [`ShardId`], those behind `after` only.
    fn list(&self, lake: LakeId, after: Option<ShardId>, count: u32)
    -> Pending<'_, Vec<ShardStat>>;

    /// Deletes a shard; whether there was one.
    fn delete(&self, id: ShardId, term: Term) -> Pending<'_, bool>;

    /// From now on refuses terms below this one, for this lake, across restarts.
    fn fence(&self, lake: LakeId, term: Term) -> Pending<'_, ()>;

    /// Stores a head; an equal or newer `(term, number)` that is stored already stays, without an error.
    fn put_head(&self, lake: LakeId, head: StoredHead) -> Pending<'_, ()>;

    /// The newest head that the store has.
    fn head(&self, lake: LakeId) -> Pending<'_, Option<StoredHead>>;

    /// How full the store is; also the health check.
    fn space(&self) -> Pending<'_, StoreSpace>;
}

/// A shard on its way into a store. Dropping it leaves nothing behind.
pub trait ShardUpload: Send {
    /// Sends the next bytes, in order; waits while the store is behind (bounded window).
    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()>;

    /// Ends the upload: the store checks length and BLAKE3, makes it durable, and only then answers.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] where length or name differ, [`StoreError::Fenced`], [`StoreError::Conflict`].
    fn commit(self: Box<Self>, name: Digest) -> Pending<'static, ()>;
}

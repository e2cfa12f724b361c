//! Sealed leaves to payloads and back, for one container.

use crate::{
    CodedStream, LakeKey, ShardLayout, StreamParams, WrongKey,
    layout::StreamTooLong,
    leaf::{BadTag, LeafKey},
};
use prunedb_core::{ContainerId, ShardIndex};
use std::sync::OnceLock;

/// Why leaves could not be opened or sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The bytes of a leaf are not those that were sealed (or not under this key): damaged, or forged.
    #[error("container {container}, shard {shard}, leaf {leaf}: the seal is broken")]
    Leaf {
        /// which container
        container: ContainerId,
        /// which shard
        shard: ShardIndex,
        /// which leaf, from 0
        leaf: u64,
    },
    /// The container has no such shard or leaves.
    #[error("container {container} has no leaves {first_leaf}..{end_leaf} of shard {shard}")]
    Range {
        /// which container
        container: ContainerId,
        /// which shard
        shard: ShardIndex,
        /// first leaf asked for
        first_leaf: u64,
        /// behind the last leaf asked for
        end_leaf: u64,
    },
    /// Not a whole number of leaves or payloads.
    #[error("container {container}, shard {shard}: {found} bytes are no whole number of {unit}")]
    Length {
        /// which container
        container: ContainerId,
        /// which shard
        shard: ShardIndex,
        /// size of a leaf or payload
        unit: usize,
        /// bytes given
        found: usize,
    },
    /// The coded stream is longer than any can be.
    #[error(transparent)]
    TooLong(#[from] StreamTooLong),
    /// The key is of another lake or generation.
    #[error(transparent)]
    Key(#[from] WrongKey),
}

/// Opens and seals leaves of one container's shards. A shard's key is derived when it is first needed.
pub struct Opener {
    key: LakeKey,
    params: StreamParams,
    stream: CodedStream,
    layout: ShardLayout,
    shards: Vec<OnceLock<LeafKey>>,
}

impl Opener {
    /// Prepares to open a container's shards.
    ///
    /// # Errors
    /// [`OpenError::TooLong`], [`OpenError::Key`] where the arguments do not belong together.
    pub fn new(
        key: &LakeKey,
        params: StreamParams,
        stream: CodedStream,
    ) -> Result<Self, OpenError> {
        let layout = ShardLayout::new(params.policy, params.container.kind, stream.coded_bytes)?;
        key.check(&params)?;
        let shards = params.policy.shards().map(|_| OnceLock::new()).collect();
        Ok(Self { key: key.clone(), params, stream, layout, shards })
    }

    /// Which container, and how it is coded.
    pub fn params(&self) -> &StreamParams {
        &self.params
    }

    /// Its coded stream.
    pub fn stream(&self) -> &CodedStream {
        &self.stream
    }

    /// Where the stream's bytes are.
    pub fn layout(&self) -> &ShardLayout {
        &self.layout
    }

    /// Opens whole leaves of one shard, from `first_leaf` on, and appends their payloads to `out`; where it fails, `out`
    /// is as before.
    ///
    /// # Errors
    /// [`OpenError::Leaf`] names the first leaf whose seal is broken; [`OpenError::Range`] and [`OpenError::Length`] where
    /// the container has no such leaves.
    pub fn open_leaves(
        &self,
        shard: ShardIndex,
        first_leaf: u64,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let (leaf_bytes, payload_bytes) = (self.layout.leaf_bytes(), self.layout.payload_bytes());
        let key = self.leaf_key(shard, first_leaf, sealed.len(), leaf_bytes)?;
        let start = out.len();
        out.resize(start + sealed.len() / leaf_bytes * payload_bytes, 0);
        let leaves =
            sealed.chunks_exact(leaf_bytes).zip(out[start..].chunks_exact_mut(payload_bytes));
        for (leaf, (sealed, payload)) in (first_leaf..).zip(leaves) {
            if key.open(leaf, sealed, payload).is_err() {
                out.truncate(start);
                return Err(OpenError::Leaf { container: self.params.container, shard, leaf });
            }
        }
        Ok(())
    }

    /// Seals whole payloads of one shard, from `first_leaf` on, into as many leaves: the bytes that the encoder made, where
    /// the payloads are the same.
    ///
    /// Before such leaves go anywhere, the shard's hash must be compared with its name: a leaf number is a nonce, and must
    /// never seal two different payloads.
    ///
    /// # Errors
    /// [`OpenError::Range`] and [`OpenError::Length`] where the container has no such leaves.
    ///
    /// # Panics
    /// Where `sealed` has not room for exactly these leaves.
    pub fn seal_leaves(
        &self,
        shard: ShardIndex,
        first_leaf: u64,
        payloads: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), OpenError> {
        let (leaf_bytes, payload_bytes) = (self.layout.leaf_bytes(), self.layout.payload_bytes());
        let key = self.leaf_key(shard, first_leaf, payloads.len(), payload_bytes)?;
        assert_eq!(
            sealed.len(),
            payloads.len() / payload_bytes * leaf_bytes,
            "room for the leaves"
        );
        let leaves = payloads.chunks_exact(payload_bytes).zip(sealed.chunks_exact_mut(leaf_bytes));
        for (leaf, (payload, sealed)) in (first_leaf..).zip(leaves) {
            key.seal(leaf, payload, sealed);
        }
        Ok(())
    }

    /// Opens one leaf that the container has into a payload; where its seal is broken, the payload holds zeros.
    pub(crate) fn open_leaf(
        &self,
        shard: ShardIndex,
        leaf: u64,
        sealed: &[u8],
        payload: &mut [u8],
    ) -> Result<(), BadTag> {
        self.key_of(shard).open(leaf, sealed, payload)
    }

    /// Refuses leaves that the container does not have.
    pub(crate) fn check_range(
        &self,
        shard: ShardIndex,
        first_leaf: u64,
        count: u64,
    ) -> Result<(), OpenError> {
        let end_leaf = first_leaf.saturating_add(count);
        if shard.as_usize() < self.shards.len() && end_leaf <= self.layout.leaves_per_shard() {
            return Ok(());
        }
        Err(OpenError::Range { container: self.params.container, shard, first_leaf, end_leaf })
    }

    /// The key of a shard, where the container has these leaves of it; `bytes` are leaves or payloads of `unit` bytes.
    fn leaf_key(
        &self,
        shard: ShardIndex,
        first_leaf: u64,
        bytes: usize,
        unit: usize,
    ) -> Result<&LeafKey, OpenError> {
        if !bytes.is_multiple_of(unit) {
            let container = self.params.container;
            return Err(OpenError::Length { container, shard, unit, found: bytes });
        }
        self.check_range(shard, first_leaf, (bytes / unit) as u64)?;
        Ok(self.key_of(shard))
    }

    fn key_of(&self, shard: ShardIndex) -> &LeafKey {
        self.shards[shard.as_usize()].get_or_init(|| {
            LeafKey::new(&self.key.shard_key(&self.params, &self.stream.digest, shard))
        })
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({}, {:?})", self.params.container, self.key)
    }
}

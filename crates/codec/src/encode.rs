//! Coded stream to sealed shards, row by row: parity, then encryption, then the shard's hash, while the row is in the
//! cache.
//!
//! ```text
//! row r:  p payloads from the spool -> q parity payloads -> p+q sealed leaves, hashed
//! ```
//! Memory: one row of data payloads (0.3 MB for 20+80), beside the caller's leaves. A row at a time stays in the cache best;
//! leaves go to memory that is there already ([`ShardBuffers`](crate::ShardBuffers)): to fill new memory with zeros first
//! costs 6 %, and its page faults more.
//!
//! Parity comes first: coding takes all data shards side by side and asks for them ahead, and so gets them from memory twice
//! as fast as the cipher would, which takes them one after another.

use crate::{
    CodedStream, LakeKey, ShardBuffers, ShardLayout, StreamParams, WrongKey, hash::RowHasher,
    layout::StreamTooLong, leaf::LeafKey, spool::ReadAt,
};
use prunedb_core::{ContainerId, Digest, Policy, ShardIndex};
use prunedb_erasure::ReedSolomon;
use prunedb_proof::ContainerFacts;
use std::{io, ops::Range, sync::Arc};

/// Why a container was not encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The coded stream is longer than any can be.
    #[error(transparent)]
    TooLong(#[from] StreamTooLong),
    /// The code is for another policy.
    #[error(
        "container {container}: policy {policy}, but the code is {data_shards}+{parity_shards}"
    )]
    Code {
        /// which container
        container: ContainerId,
        /// its policy
        policy: Policy,
        /// p of the code
        data_shards: usize,
        /// q of the code
        parity_shards: usize,
    },
    /// The key is of another lake or generation.
    #[error(transparent)]
    Key(#[from] WrongKey),
    /// Rows are encoded once each, in order.
    #[error("container {container}: rows {rows:?} asked for, row {next} of {count} is next")]
    Rows {
        /// which container
        container: ContainerId,
        /// the rows asked for
        rows: Range<u64>,
        /// the row that is next
        next: u64,
        /// rows of the container
        count: u64,
    },
    /// There must be one output for each shard.
    #[error("container {container}: {found} outputs, policy {policy} has {} shards", policy.total_shards())]
    Outputs {
        /// which container
        container: ContainerId,
        /// its policy
        policy: Policy,
        /// outputs given
        found: usize,
    },
    /// An output has not as many bytes as the rows have of its shard.
    #[error(
        "container {container}, shard {shard}: an output of {found} bytes, the rows have {expected}"
    )]
    OutputLength {
        /// which container
        container: ContainerId,
        /// which shard
        shard: ShardIndex,
        /// sealed bytes of these rows
        expected: usize,
        /// bytes of the output
        found: usize,
    },
    /// The coded stream could not be read back.
    #[error("container {container}: reading the coded stream at byte {offset}: {source}")]
    Spool {
        /// which container
        container: ContainerId,
        /// where
        offset: u64,
        /// why
        source: io::Error,
    },
}

/// Makes the shards of one container.
pub struct Encoder {
    params: StreamParams,
    stream: CodedStream,
    layout: ShardLayout,
    code: Arc<ReedSolomon>,
    keys: Vec<LeafKey>,
    hasher: RowHasher,
    row: ShardBuffers,
    next_row: u64,
}

/// What a finished container is known by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncodedContainer {
    /// shard names, data shards first
    pub names: Vec<Digest>,
    /// the container root
    pub root: Digest,
}

impl Encoder {
    /// Prepares to encode a coded stream.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`], [`EncodeError::Code`], [`EncodeError::Key`] where the arguments do not belong together.
    pub fn new(
        key: &LakeKey,
        params: StreamParams,
        stream: CodedStream,
        code: Arc<ReedSolomon>,
    ) -> Result<Self, EncodeError> {
        let StreamParams { container, policy, .. } = params;
        let layout = ShardLayout::new(policy, container.kind, stream.coded_bytes)?;
        let (data_shards, parity_shards) = (code.data_shards(), code.parity_shards());
        if (data_shards, parity_shards) != (policy.data_shards(), policy.parity_shards()) {
            return Err(EncodeError::Code { container, policy, data_shards, parity_shards });
        }
        key.check(&params)?;
        let keys = policy
            .shards()
            .map(|shard| LeafKey::new(&key.shard_key(&params, &stream.digest, shard)))
            .collect();
        let (rows, leaf_bytes) = (layout.leaves_per_shard(), layout.leaf_bytes());
        let hasher = RowHasher::new(policy.total_shards(), rows, leaf_bytes);
        let row = ShardBuffers::new(policy.data_shards(), layout.payload_bytes());
        Ok(Self { params, stream, layout, code, keys, hasher, row, next_row: 0 })
    }

    /// Where the stream's bytes go.
    pub fn layout(&self) -> ShardLayout {
        self.layout
    }

    /// The row that is encoded next.
    pub fn next_row(&self) -> u64 {
        self.next_row
    }

    /// Encodes the next rows; their sealed leaves overwrite `out`, one buffer for each shard.
    ///
    /// # Errors
    /// [`EncodeError::Rows`], [`EncodeError::Outputs`], [`EncodeError::OutputLength`]: nothing happened.
    /// [`EncodeError::Spool`]: the rows before the one that could not be read are complete, and [`Self::next_row`] says
    /// where to go on.
    pub fn encode_rows(
        &mut self,
        spool: &dyn ReadAt,
        rows: Range<u64>,
        out: &mut [impl AsMut<[u8]>],
    ) -> Result<(), EncodeError> {
        let StreamParams { container, policy, .. } = self.params;
        let count = self.layout.leaves_per_shard();
        if rows.start != self.next_row || rows.end > count || rows.start > rows.end {
            return Err(EncodeError::Rows { container, rows, next: self.next_row, count });
        }
        if out.len() != policy.total_shards() {
            return Err(EncodeError::Outputs { container, policy, found: out.len() });
        }
        let leaf_bytes = self.layout.leaf_bytes();
        let rows_bytes = (rows.end - rows.start) * leaf_bytes as u64;
        let expected = usize::try_from(rows_bytes).expect("bounded by the largest container");
        let mut shards: Vec<_> = out.iter_mut().map(AsMut::as_mut).collect();
        for (shard, bytes) in policy.shards().zip(&shards) {
            let found = bytes.len();
            if found != expected {
                return Err(EncodeError::OutputLength { container, shard, expected, found });
            }
        }
        for row in rows {
            let leaves = shards.iter_mut().map(|shard| {
                shard.split_off_mut(..leaf_bytes).expect("as many leaves as there are rows")
            });
            self.encode_row(spool, row, &mut leaves.collect::<Vec<_>>())?;
            self.next_row += 1;
        }
        Ok(())
    }

    /// Names and root, once every row is encoded.
    ///
    /// # Errors
    /// [`EncodeError::Rows`] where rows are missing.
    pub fn finish(self) -> Result<EncodedContainer, EncodeError> {
        let (next, count) = (self.next_row, self.layout.leaves_per_shard());
        if next != count {
            let container = self.params.container;
            return Err(EncodeError::Rows { container, rows: count..count, next, count });
        }
        let names = self.hasher.finish();
        let facts = self.params.facts(&self.stream, &self.layout);
        let root = facts.root(&names).expect("one name for each shard");
        Ok(EncodedContainer { names, root })
    }

    fn encode_row(
        &mut self,
        spool: &dyn ReadAt,
        row: u64,
        leaves: &mut [&mut [u8]],
    ) -> Result<(), EncodeError> {
        let Self { params, layout, code, keys, hasher, row: buffer, .. } = self;
        let data_shards = params.policy.data_shards();
        // whole payloads that lie in memory are taken from there, the others are read and padded
        let mut in_memory = Vec::with_capacity(data_shards);
        for shard in 0..data_shards {
            let coded = layout.coded_range(shard, row);
            let length = usize::try_from(coded.end - coded.start).expect("at most a payload");
            let payload =
                spool.in_memory(coded.clone()).filter(|_| length == layout.payload_bytes());
            in_memory.push(payload);
            if payload.is_none() {
                let (bytes, padding) = buffer.run_mut(shard).split_at_mut(length);
                let (container, offset) = (params.container, coded.start);
                spool.read_exact_at(bytes, offset).map_err(|source| EncodeError::Spool {
                    container,
                    offset,
                    source,
                })?;
                padding.fill(0);
            }
        }
        let in_memory = in_memory.into_iter().enumerate();
        let data: Vec<_> =
            in_memory.map(|(shard, payload)| payload.unwrap_or(buffer.run(shard))).collect();
        let (data_leaves, parity_leaves) = leaves.split_at_mut(data_shards);
        // parity is made where it is sealed: a row and its copy would not fit into the cache
        let payload_bytes = layout.payload_bytes();
        let mut parity: Vec<_> =
            parity_leaves.iter_mut().map(|leaf| &mut leaf[..payload_bytes]).collect();
        code.encode(&data, &mut parity).expect("as many and as long as the code has");
        for (shard, (payload, leaf)) in data.into_iter().zip(data_leaves).enumerate() {
            keys[shard].seal(row, payload, leaf);
            hasher.leaf(shard, leaf);
        }
        for (shard, leaf) in (data_shards..).zip(parity_leaves) {
            keys[shard].seal_in_place(row, leaf);
            hasher.leaf(shard, leaf);
        }
        hasher.end_row();
        Ok(())
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.layout.leaves_per_shard();
        write!(f, "Encoder({}, row {} of {count})", self.params.container, self.next_row)
    }
}

impl StreamParams {
    /// What the container root commits to.
    pub fn facts(&self, stream: &CodedStream, layout: &ShardLayout) -> ContainerFacts {
        let small = |n: u64| u32::try_from(n).expect("bounded by the largest container");
        ContainerFacts {
            lake: self.lake,
            container: self.container,
            policy: self.policy,
            codec: self.codec.number(),
            generation: self.generation,
            leaf_bytes: small(layout.leaf_bytes() as u64),
            leaves_per_shard: small(layout.leaves_per_shard()),
            container_bytes: stream.container_bytes,
            coded_bytes: stream.coded_bytes,
        }
    }
}

//! The stages behind the erasure code, each alone in the cache, then all of them as a container goes through them.

use crate::{Meter, shards::fill_random};
use prunedb_codec::{
    CodecVersion, CodedStream, EncodedContainer, Encoder, LakeKey, LakeSecret, MemorySpool, Opener,
    ReadAt, RowHasher, ShardBuffers, Spool, StreamParams, compress,
};
use prunedb_core::{
    ContainerId, ContainerKind, Digest, Generation, Policy,
    units::{LEAF_BYTES, TAG_BYTES},
};
use prunedb_erasure::ReedSolomon;
use std::{hint::black_box, num::NonZero, path::Path, sync::Arc};
use zeroize::Zeroizing;

/// Coded bytes that are encoded in a run.
const STREAM_BYTES: usize = 64 << 20;
/// Blocks that are compressed in a run.
const BLOCKS_BYTES: usize = 16 << 20;

/// What it takes to code containers of one policy.
#[derive(Debug, Clone)]
pub struct Coding {
    key: LakeKey,
    params: StreamParams,
    code: Arc<ReedSolomon>,
}

impl Coding {
    /// Keys made up, the code on the kernel that is chosen for it.
    ///
    /// # Errors
    /// What the environment variable `PRUNEDB_KERNEL` asks for and cannot be had.
    pub fn new(policy: Policy) -> Result<Self, prunedb_erasure::Error> {
        let generation = Generation(1);
        let key = LakeSecret::new(Zeroizing::new([1; 32])).lake_key(generation);
        let (lake, container, codec) = (key.lake(), ContainerId::data(1), CodecVersion::CURRENT);
        let params = StreamParams { lake, container, policy, codec, generation };
        let code = ReedSolomon::new(policy.data_shards(), policy.parity_shards())?;
        Ok(Self { key, params, code: Arc::new(code) })
    }

    /// The policy.
    pub fn policy(&self) -> Policy {
        self.params.policy
    }

    /// The erasure code.
    pub fn code(&self) -> &ReedSolomon {
        &self.code
    }

    /// GB/s of leaves that are sealed, a row in the cache over and over: p payloads, p+q leaves, as in the encoder.
    pub fn seal_gbps(&self, meter: Meter) -> f64 {
        let (shards, rows) = self.rows_of_a_run();
        meter.gbps(rows * shards * LEAF_BYTES, || {
            let opener = Opener::new(&self.key, self.params, stream_of(STREAM_BYTES as u64))
                .expect("the key is that of the parameters");
            let payloads = vec![vec![5; LEAF_BYTES - TAG_BYTES]; self.params.policy.data_shards()];
            let mut row = self.ring();
            move || {
                for _ in 0..rows {
                    let leaves = self.params.policy.shards().zip(row.runs_mut());
                    for ((shard, leaf), payload) in leaves.zip(payloads.iter().cycle()) {
                        opener
                            .seal_leaves(shard, 1, black_box(payload), leaf)
                            .expect("a leaf of it");
                    }
                }
            }
        })
    }

    /// GB/s of leaves that are opened, a row in the cache over and over.
    pub fn open_gbps(&self, meter: Meter) -> f64 {
        let (shards, rows) = self.rows_of_a_run();
        meter.gbps(rows * shards * LEAF_BYTES, || {
            let opener = Opener::new(&self.key, self.params, stream_of(STREAM_BYTES as u64))
                .expect("the key is that of the parameters");
            let mut row = self.ring();
            for (shard, leaf) in self.params.policy.shards().zip(row.runs_mut()) {
                let payload = [5; LEAF_BYTES - TAG_BYTES];
                opener.seal_leaves(shard, 1, &payload, leaf).expect("a leaf of it");
            }
            let mut payload = Vec::with_capacity(LEAF_BYTES);
            move || {
                for _ in 0..rows {
                    for shard in self.params.policy.shards() {
                        let leaf = row.run(shard.as_usize());
                        payload.clear();
                        opener.open_leaves(shard, 1, leaf, &mut payload).expect("its own leaf");
                    }
                }
            }
        })
    }

    /// GB/s of leaves that are hashed into the shards' names, a row in the cache over and over.
    pub fn hash_gbps(&self, meter: Meter) -> f64 {
        let (shards, rows) = self.rows_of_a_run();
        meter.gbps(rows * shards * LEAF_BYTES, || {
            let row = self.ring();
            move || {
                let mut hasher = RowHasher::new(shards, rows as u64, LEAF_BYTES);
                for _ in 0..rows {
                    for shard in 0..shards {
                        hasher.leaf(shard, black_box(&row).run(shard));
                    }
                    hasher.end_row();
                }
                black_box(hasher.finish());
            }
        })
    }

    /// The same by a `blake3::Hasher` for each shard.
    pub fn hasher_gbps(&self, meter: Meter) -> f64 {
        let (shards, rows) = self.rows_of_a_run();
        meter.gbps(rows * shards * LEAF_BYTES, || {
            let row = self.ring();
            move || {
                let mut hashers = vec![blake3::Hasher::new(); shards];
                for _ in 0..rows {
                    for (shard, hasher) in hashers.iter_mut().enumerate() {
                        hasher.update(black_box(&row).run(shard));
                    }
                }
                black_box(hashers.iter().map(blake3::Hasher::finalize).collect::<Vec<_>>());
            }
        })
    }

    /// Shards, and rows that go through one run.
    fn rows_of_a_run(&self) -> (usize, usize) {
        let shards = self.params.policy.total_shards();
        (shards, STREAM_BYTES.div_ceil(shards * LEAF_BYTES))
    }

    /// GB/s of a coded stream that becomes sealed shards with names and root, row by row through a ring of one row.
    pub fn fused_gbps(&self, meter: Meter) -> f64 {
        let mut bytes = vec![0; STREAM_BYTES];
        fill_random(2, &mut bytes);
        meter.gbps(bytes.len(), || {
            let mut ring = self.ring();
            let bytes = &bytes;
            move || {
                let stream = stream_of(bytes.len() as u64);
                black_box(self.encode(bytes, stream, &mut ring));
            }
        })
    }

    /// GB/s of a container that is compressed and then coded.
    pub fn whole_gbps(&self, meter: Meter, container: &[u8]) -> f64 {
        meter.gbps(container.len(), || {
            let mut ring = self.ring();
            move || {
                let (spool, stream) = compress_into_memory(&container, container.len() as u64, ONE);
                black_box(self.encode(&spool, stream, &mut ring));
            }
        })
    }

    /// One leaf for each shard.
    pub(crate) fn ring(&self) -> ShardBuffers {
        ShardBuffers::new(self.params.policy.total_shards(), LEAF_BYTES)
    }

    /// Codes a stream; nobody takes the leaves.
    pub(crate) fn encode(
        &self,
        spool: &dyn ReadAt,
        stream: CodedStream,
        ring: &mut ShardBuffers,
    ) -> EncodedContainer {
        let mut encoder = Encoder::new(&self.key, self.params, stream, self.code.clone())
            .expect("key, code and parameters are of one policy");
        let mut ring: Vec<_> = ring.runs_mut().collect();
        for row in 0..encoder.layout().leaves_per_shard() {
            encoder
                .encode_rows(spool, row..row + 1, &mut ring)
                .expect("rows in order, from memory");
        }
        encoder.finish().expect("every row")
    }
}

const ONE: NonZero<usize> = NonZero::<usize>::MIN;

/// GB/s of a container that is compressed, on one thread each.
pub fn compress_gbps(meter: Meter, container: &[u8]) -> f64 {
    meter.gbps(container.len(), || {
        || {
            black_box(compress_into_memory(&container, container.len() as u64, ONE));
        }
    })
}

/// Bytes that compressing leaves of each byte.
pub fn coded_share(container: &[u8]) -> f64 {
    let (_, stream) = compress_into_memory(&container, container.len() as u64, ONE);
    stream.coded_bytes as f64 / container.len() as f64
}

pub(crate) fn compress_into_memory(
    container: &dyn ReadAt,
    container_bytes: u64,
    threads: NonZero<usize>,
) -> (MemorySpool, CodedStream) {
    let length = usize::try_from(container_bytes).expect("a container fits into memory");
    let mut spool = MemorySpool::with_capacity(length);
    let (kind, codec) = (ContainerKind::Data, CodecVersion::CURRENT);
    let spooled: &mut dyn Spool = &mut spool;
    let (_, stream) = compress(container, container_bytes, kind, codec, threads, spooled)
        .expect("memory can be read and written");
    (spool, stream)
}

/// What stands for a container's bytes where they are compressed.
#[derive(Debug)]
pub struct Container {
    /// the bytes
    pub bytes: Vec<u8>,
    /// what they are, for people
    pub what: &'static str,
}

impl Container {
    /// Ethereum blocks of the folder that `PRUNEDB_CORPUS` names, over and over; without it, bytes half of which are zeros.
    pub fn of_blocks() -> Self {
        let folder =
            std::env::var_os("PRUNEDB_CORPUS").map(|dir| Path::new(&dir).join("ethereum/rlp"));
        let entries = folder.iter().flat_map(std::fs::read_dir).flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let mut bytes: Vec<u8> =
            paths.iter().flat_map(std::fs::read).flatten().take(BLOCKS_BYTES).collect();
        if bytes.is_empty() {
            bytes.resize(BLOCKS_BYTES, 0);
            for (seed, chunk) in (0..).zip(bytes.chunks_mut(128)) {
                fill_random(seed, &mut chunk[..64]);
            }
            return Self { bytes, what: "generated bytes, half of them zeros" };
        }
        let blocks = bytes.len();
        while bytes.len() < BLOCKS_BYTES {
            bytes.extend_from_within(..blocks.min(BLOCKS_BYTES - bytes.len()));
        }
        Self { bytes, what: "Ethereum blocks" }
    }
}

/// A stream that is as long as its container. Its digest only has to be the same one for a container's keys.
fn stream_of(bytes: u64) -> CodedStream {
    CodedStream { container_bytes: bytes, coded_bytes: bytes, digest: Digest([1; 32]) }
}

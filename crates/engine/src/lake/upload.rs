//! A coded stream on its way to its nodes: encoded row by row, streamed to all of them at once.
//!
//! Memory: a few chunks for each shard, [`CHUNK_BYTES`] for all shards together, whatever the container's length.

use super::{Lake, Node, shard_failure, within, write_threshold};
use crate::error::{Error, Failure, Failures};
use bytes::Bytes;
use prunedb_codec::{EncodedContainer, Encoder, ShardBuffers, Spool, StreamParams};
use prunedb_core::{Digest, ShardId, ShardIndex, Term};
use prunedb_store::{PutMode, StoreError};
use std::sync::Arc;
use tokio::{sync::mpsc, task::JoinSet};

/// Bytes of all shards together that are encoded and handed over at once.
const CHUNK_BYTES: usize = 4 << 20;
/// Chunks that wait for each node.
const CHUNKS_WAITING: usize = 2;

/// What became of an upload.
#[derive(Debug)]
pub(crate) struct Uploaded {
    pub(crate) encoded: EncodedContainer,
    /// shards that their nodes did not take
    pub(crate) missing: Vec<ShardIndex>,
}

enum Message {
    Bytes(Bytes),
    Commit(Digest),
}

/// Encodes the spooled stream and stores each shard on the node of its slot.
///
/// # Errors
/// [`Error::Offload`] where fewer shards than the write threshold were stored, [`Error::Fenced`].
pub(crate) fn upload(
    lake: &Lake,
    params: StreamParams,
    mut encoder: Encoder,
    spool: &dyn Spool,
    group: u32,
    term: Term,
) -> Result<Uploaded, Error> {
    let codec = |e: prunedb_codec::EncodeError| Error::Codec {
        container: params.container,
        reason: e.to_string(),
    };
    let layout = encoder.layout();
    let nodes = lake.slots(params.container, group, params.policy)?;
    let mut senders = Vec::with_capacity(nodes.len());
    let mut uploads = JoinSet::new();
    for (shard, node) in params.policy.shards().zip(&nodes) {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
        senders.push(Some(sender));
        let id = ShardId { lake: lake.id, container: params.container, index: shard };
        let node = node.clone();
        let bytes = layout.shard_bytes();
        let task = async move { (shard, put_shard(&node, id, term, bytes, receiver).await) };
        uploads.spawn_on(task, &lake.runtime);
    }
    let total = params.policy.total_shards();
    let chunk_rows = (CHUNK_BYTES / (total * layout.leaf_bytes())).max(1) as u64;
    let chunk_rows = chunk_rows.min(layout.leaves_per_shard());
    let mut chunks = Chunks::new(total, shard_run(chunk_rows, layout.leaf_bytes()));
    let mut row = 0;
    while row < layout.leaves_per_shard() {
        let rows = row..(row + chunk_rows).min(layout.leaves_per_shard());
        row = rows.end;
        let run_bytes = shard_run(rows.end - rows.start, layout.leaf_bytes());
        let mut chunk = chunks.unused();
        let buffers = Arc::get_mut(&mut chunk).expect("nobody else has an unused one");
        let mut runs: Vec<_> = buffers.runs_mut().map(|run| &mut run[..run_bytes]).collect();
        encoder.encode_rows(spool, rows, &mut runs).map_err(codec)?;
        for (shard, sender) in senders.iter_mut().enumerate() {
            let run = Run { chunk: chunk.clone(), shard };
            let chunk = Bytes::from_owner(run).slice(..run_bytes);
            // a task that ended has said why, and the others go on
            if sender.as_ref().is_some_and(|s| s.blocking_send(Message::Bytes(chunk)).is_err()) {
                *sender = None;
            }
        }
        chunks.keep(chunk);
        if senders.iter().flatten().count() < write_threshold(params.policy) {
            break; // hopeless: what the tasks say is collected below
        }
    }
    let complete = row >= layout.leaves_per_shard();
    let encoded = if complete { Some(encoder.finish().map_err(codec)?) } else { None };
    if let Some(encoded) = &encoded {
        for (sender, name) in senders.iter().zip(&encoded.names) {
            if let Some(sender) = sender {
                let _task_ended = sender.blocking_send(Message::Commit(*name));
            }
        }
    }
    drop(senders);
    let (stored, failed) = lake.runtime.block_on(collect(lake, &nodes, uploads));
    if let Some(fenced) = failed.iter().find_map(|(_, e)| fence_of(e)) {
        return Err(fenced);
    }
    match encoded {
        Some(encoded) if stored >= write_threshold(params.policy) => {
            let mut missing: Vec<ShardIndex> = failed.iter().map(|(shard, _)| *shard).collect();
            missing.sort_unstable();
            Ok(Uploaded { encoded, missing })
        }
        _ => {
            let failures = failed.iter().map(|(shard, e)| describe(*shard, &nodes, e)).collect();
            Err(Error::Offload {
                container: params.container,
                stored,
                needed: write_threshold(params.policy),
                failures: Failures(failures),
            })
        }
    }
}

/// Sealed bytes of so many leaves of a shard.
fn shard_run(leaves: u64, leaf_bytes: usize) -> usize {
    usize::try_from(leaves).expect("bounded by the largest container") * leaf_bytes
}

/// Buffers of one shape that go round: a chunk's is used again once its last shard is sent, so memory is touched once.
struct Chunks {
    shards: usize,
    run_bytes: usize,
    kept: Vec<Arc<ShardBuffers>>,
}

impl Chunks {
    fn new(shards: usize, run_bytes: usize) -> Self {
        Self { shards, run_bytes, kept: Vec::new() }
    }

    /// Buffers that nobody else holds.
    fn unused(&mut self) -> Arc<ShardBuffers> {
        let unused = self.kept.iter_mut().position(|chunk| Arc::get_mut(chunk).is_some());
        match unused {
            Some(at) => self.kept.swap_remove(at),
            None => Arc::new(ShardBuffers::new(self.shards, self.run_bytes)),
        }
    }

    /// Takes buffers that are on their way; as many as can be on their way are kept.
    fn keep(&mut self, chunk: Arc<ShardBuffers>) {
        if self.kept.len() == CHUNKS_WAITING + 2 {
            self.kept.remove(0);
        }
        self.kept.push(chunk);
    }
}

/// One shard's leaves of a chunk.
struct Run {
    chunk: Arc<ShardBuffers>,
    shard: usize,
}

impl AsRef<[u8]> for Run {
    fn as_ref(&self) -> &[u8] {
        self.chunk.run(self.shard)
    }
}

async fn put_shard(
    node: &Node,
    id: ShardId,
    term: Term,
    bytes: u64,
    mut chunks: mpsc::Receiver<Message>,
) -> Result<(), StoreError> {
    let name = node.store.name().to_owned();
    let mut upload = within(&name, node.store.put(id, term, bytes, PutMode::IfAbsent)).await?;
    while let Some(message) = chunks.recv().await {
        match message {
            Message::Bytes(bytes) => within(&name, upload.write(bytes)).await?,
            Message::Commit(digest) => return within(&name, upload.commit(digest)).await,
        }
    }
    Err(StoreError::Rejected { store: name, reason: "the upload was given up".into() })
}

async fn collect(
    lake: &Lake,
    nodes: &[Node],
    mut uploads: JoinSet<(ShardIndex, Result<(), StoreError>)>,
) -> (usize, Vec<(ShardIndex, StoreError)>) {
    let (mut stored, mut failed) = (0, Vec::new());
    while let Some(done) = uploads.join_next().await {
        let (shard, result) = done.expect("an upload does not panic");
        lake.note(&nodes[shard.as_usize()], &result);
        match result {
            Ok(()) => stored += 1,
            Err(e) => failed.push((shard, e)),
        }
    }
    (stored, failed)
}

fn fence_of(error: &StoreError) -> Option<Error> {
    match error {
        StoreError::Fenced { term, seen, .. } => Some(Error::Fenced { term: *term, seen: *seen }),
        _ => None,
    }
}

fn describe(shard: ShardIndex, nodes: &[Node], error: &StoreError) -> Failure {
    shard_failure(shard, &nodes[shard.as_usize()], error)
}

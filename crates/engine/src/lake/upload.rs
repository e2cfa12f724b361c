//! A coded stream on its way to its nodes: encoded row by row, streamed to all of them at once.
//!
//! Shards of nodes that are too slow, out of reach, or failed a moment ago are left to repair, as long as
//! [`write_threshold`] are stored (`super::lanes` says when). A node that has another shard under the name keeps it: whether that
//! one may go is for the manifest to say (`crate::strays`).
//!
//! Memory: a few chunks for each shard, [`CHUNK_BYTES`] for all shards together, whatever the container's length.

use super::{
    Lake, Node,
    lanes::{CHUNKS_WAITING, Lanes, Manner, Message, Target},
    shard_failure, write_threshold,
};
use crate::error::{Error, Failures};
use bytes::Bytes;
use prunedb_codec::{EncodedContainer, Encoder, ShardBuffers, Spool, StreamParams};
use prunedb_core::{ShardId, ShardIndex, Term};
use prunedb_store::{PutMode, StoreError};
use std::{sync::Arc, time::Duration};

/// Bytes of all shards together that are encoded and handed over at once.
const CHUNK_BYTES: usize = 4 << 20;
/// How long one upload waits in all, while it is sent, for nodes that are behind.
const PATIENCE: Duration = Duration::from_millis(250);

/// A container whose shards are stored, enough of them.
#[derive(Debug)]
pub(crate) struct Uploaded {
    pub(crate) encoded: EncodedContainer,
    /// shards that their nodes did not take
    pub(crate) missing: Vec<ShardIndex>,
}

/// What became of an upload.
pub(crate) struct Attempt {
    /// [`Error::Offload`] where fewer shards than the write threshold were stored
    pub(crate) uploaded: Result<Uploaded, Error>,
    /// nodes that have another shard under the name
    pub(crate) conflicts: Vec<Target>,
}

/// Encodes the spooled stream and stores each shard on the node of its slot.
///
/// # Errors
/// [`Error::Fenced`], and those of the codec.
pub(crate) fn upload(
    lake: &Lake,
    params: StreamParams,
    encoder: Encoder,
    spool: &dyn Spool,
    group: u32,
    term: Term,
    is_governed: bool,
) -> Result<Attempt, Error> {
    lake.runtime.block_on(run(lake, params, encoder, spool, group, term, is_governed))
}

/// As [`upload`], within a runtime.
pub(super) async fn run(
    lake: &Lake,
    params: StreamParams,
    encoder: Encoder,
    spool: &dyn Spool,
    group: u32,
    term: Term,
    is_governed: bool,
) -> Result<Attempt, Error> {
    let nodes = lake.slots(params.container, group, params.policy)?;
    let manner = Manner {
        term,
        mode: PutMode::IfAbsent,
        shard_bytes: encoder.layout().shard_bytes(),
        needed: write_threshold(params.policy),
        // a registry keeps everything here until its holders have proven what they make themselves
        least: if is_governed {
            params.policy.data_shards()
        } else {
            write_threshold(params.policy)
        },
        patience: PATIENCE,
    };
    let targets = params.policy.shards().zip(nodes).collect();
    let sent = send(lake, params, encoder, spool, targets, manner).await?;
    let total = params.policy.total_shards();
    let mut missing: Vec<ShardIndex> = Vec::new();
    let (mut conflicts, mut failures) = (Vec::new(), Failures::default());
    let mut reserved = 0;
    for (target, result) in sent.results {
        match result {
            Ok(()) => {}
            Err(StoreError::Fenced { term, seen, .. }) => return Err(Error::Fenced { term, seen }),
            Err(e) => {
                missing.push(target.id.index);
                reserved += usize::from(e.is_reserved());
                failures.0.push(shard_failure(target.id.index, &target.node, &e));
                if matches!(e, StoreError::Conflict { .. }) {
                    conflicts.push(target);
                }
            }
        }
    }
    let needed = manner.needed.saturating_sub(reserved).max(manner.least);
    let uploaded = match (sent.encoded, total - missing.len()) {
        (Some(encoded), stored) if stored >= needed => Ok(Uploaded { encoded, missing }),
        (_, stored) => {
            let container = params.container;
            Err(Error::Offload { container, stored, needed, failures })
        }
    };
    Ok(Attempt { uploaded, conflicts })
}

/// What became of shards that were sent.
struct Sent {
    /// `None` where too few nodes took shards for it to go on
    encoded: Option<EncodedContainer>,
    results: Vec<(Target, Result<(), StoreError>)>,
}

/// Encodes the spooled stream, and stores its shards on these nodes.
///
/// # Errors
/// [`Error::Codec`].
async fn send(
    lake: &Lake,
    params: StreamParams,
    mut encoder: Encoder,
    spool: &dyn Spool,
    targets: Vec<(ShardIndex, Node)>,
    manner: Manner,
) -> Result<Sent, Error> {
    let codec = |e: prunedb_codec::EncodeError| Error::Codec {
        container: params.container,
        reason: e.to_string(),
    };
    let layout = encoder.layout();
    let shards: Vec<usize> = targets.iter().map(|(shard, _)| shard.as_usize()).collect();
    let id = |index| ShardId { lake: lake.id, container: params.container, index };
    let targets = targets.into_iter().map(|(shard, node)| Target { id: id(shard), node });
    let mut lanes = Lanes::open(lake, manner, targets, true);
    let total = params.policy.total_shards();
    let chunk_rows = (CHUNK_BYTES / (total * layout.leaf_bytes())).max(1) as u64;
    let chunk_rows = chunk_rows.min(layout.leaves_per_shard());
    let mut chunks = Chunks::new(total, shard_run(chunk_rows, layout.leaf_bytes()));
    let mut row = 0;
    while row < layout.leaves_per_shard() && lanes.open_count() >= lanes.needed() {
        let rows = row..(row + chunk_rows).min(layout.leaves_per_shard());
        row = rows.end;
        let run_bytes = shard_run(rows.end - rows.start, layout.leaf_bytes());
        let mut chunk = chunks.unused();
        let buffers = Arc::get_mut(&mut chunk).expect("nobody else has an unused one");
        let mut runs: Vec<_> = buffers.runs_mut().map(|run| &mut run[..run_bytes]).collect();
        encoder.encode_rows(spool, rows, &mut runs).map_err(codec)?;
        lanes.wait_for_room().await;
        lanes.send(shards.iter().map(|&shard| {
            let run = Run { chunk: Arc::clone(&chunk), shard };
            Message::Bytes(Bytes::from_owner(run).slice(..run_bytes))
        }));
        chunks.keep(chunk);
    }
    let complete = row >= layout.leaves_per_shard();
    let encoded = if complete { Some(encoder.finish().map_err(codec)?) } else { None };
    if let Some(encoded) = &encoded {
        lanes.wait_for_room().await;
        lanes.send(shards.iter().map(|&shard| Message::Commit(encoded.names[shard])));
    }
    Ok(Sent { encoded, results: lanes.collect().await })
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

//! One container's missing shards, from one read of `p` others.
//!
//! ```text
//! p ranges, a few of them read ahead -> decode -> seal, hash -> all missing shards at once
//! ```
//! The nodes and the runtime's threads read, open and write while the caller's thread decodes and seals. Memory:
//! [`READ_AHEAD`] ranges of `p` shards, and a few of each target.

use crate::{
    error::Error,
    lake::{Hurry, Lake, Lanes, Manner, Message, Node, Opened, Shards, Target},
    verify::Subject,
};
use prunedb_core::{Digest, ShardIndex, Term};
use prunedb_store::{PutMode, StoreError};
use std::{collections::VecDeque, ops::Range, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// Ranges that are on their way while one is decoded.
const READ_AHEAD: usize = 3;

/// What became of each shard.
pub(super) type Outcome = Vec<(ShardIndex, Node, Result<(), StoreError>)>;

/// Aborts its task when it is dropped.
struct Ahead(JoinHandle<Result<Opened, Error>>);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Rebuilds shards of a container on these nodes. `names` as far as they are known.
///
/// # Errors
/// [`Error::Lost`] where fewer than `p` others can be read, [`Error::Fenced`], [`Error::Codec`] where what was rebuilt is
/// not what the manifest says.
pub(super) async fn rebuild(
    lake: &Arc<Lake>,
    subject: &Subject,
    targets: &[(ShardIndex, Node)],
    names: &[Option<Digest>],
    term: Term,
) -> Result<Outcome, Error> {
    let shards = Shards::new(lake, &subject.stream)?;
    let wanted: Vec<ShardIndex> = targets.iter().map(|(shard, _)| *shard).collect();
    // what is to be rebuilt comes last: its other leaves may be good
    let mut order = shards.order(&wanted);
    order.extend(&wanted);
    let layout = shards.layout();
    let manner = Manner {
        term,
        mode: PutMode::Replace,
        shard_bytes: layout.shard_bytes(),
        needed: targets.len(),
        least: targets.len(),
        patience: Duration::ZERO,
    };
    let of =
        |(shard, node): &(ShardIndex, Node)| Target { id: shards.id(*shard), node: node.clone() };
    let mut lanes = Lanes::open(lake, manner, targets.iter().map(of), false);
    let mut hashers = vec![blake3::Hasher::new(); targets.len()];
    let range_bytes = shards.leaves_per_get() * layout.leaf_bytes() as u64;
    let mut waiting = (0..layout.leaves_per_shard())
        .step_by(usize::try_from(shards.leaves_per_get()).expect("a few leaves"))
        .map(|at| at..(at + shards.leaves_per_get()).min(layout.leaves_per_shard()));
    let mut ahead: VecDeque<(Range<u64>, Ahead)> = VecDeque::new();
    loop {
        while ahead.len() < READ_AHEAD
            && let Some(leaves) = waiting.next()
        {
            lake.repairs.take(range_bytes * subject.stream.policy.data_shards() as u64).await;
            let (shards, order, range) = (shards.clone(), order.clone(), leaves.clone());
            let read = async move { shards.any(range, order, None, Hurry::None).await };
            ahead.push_back((leaves, Ahead(lake.runtime.handle().spawn(read))));
        }
        let Some((leaves, mut read)) = ahead.pop_front() else { break };
        if lanes.open_count() == 0 {
            break; // nobody takes anything: why is told below
        }
        let opened = (&mut read.0).await.expect("a read does not panic")?;
        let payloads = shards.complete(opened, &wanted)?;
        let mut sealed = Vec::with_capacity(wanted.len());
        for (shard, hasher) in wanted.iter().zip(&mut hashers) {
            let leaves = shards.seal(*shard, leaves.start, &payloads[shard])?;
            hasher.update(&leaves);
            sealed.push(leaves);
        }
        lanes.wait_for_room().await;
        lanes.send(sealed.into_iter().map(|leaves| Message::Bytes(leaves.into())));
    }
    let found: Vec<Digest> = hashers.iter().map(|h| Digest(*h.finalize().as_bytes())).collect();
    if lanes.open_count() > 0 {
        for (shard, found) in wanted.iter().zip(&found) {
            if let Some(expected) = names[shard.as_usize()].filter(|expected| expected != found) {
                return Err(Error::Codec {
                    container: subject.stream.id,
                    reason: format!(
                        "shard {shard} was rebuilt as {found}, the manifest says {expected}"
                    ),
                });
            }
        }
        lanes.wait_for_room().await;
        lanes.send(found.into_iter().map(Message::Commit));
    }
    let done = lanes.collect().await;
    Ok(done.into_iter().map(|(target, result)| (target.id.index, target.node, result)).collect())
}

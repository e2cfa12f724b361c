//! The shards of a node whose machine archives the chain itself: they are made here, and nobody sends them.
//!
//! The node refuses them over the network ([`Reserve`]) until one of these is so: it has the shard; the archive could not make it;
//! [`RESERVED`] have passed since somebody first wanted to send it. So a node whose archive is behind, or was lost, is
//! filled by the lake's writer like any other.

use crate::{copies::Archive, shards::MakeShard};
use prunedb_core::{ContainerId, ContainerKind, Digest, LakeId, Policy, ShardId, ShardIndex, Term};
use prunedb_engine::Cut;
use prunedb_node::{Node, NodeError, PutMode, Reserve};
use prunedb_registry::Batch;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How long a shard is kept for this machine to make: closings follow behind the lake's uploads.
const RESERVED: Duration = Duration::from_secs(3600);
/// Shards of which it is known since when they are kept; more are not.
const RESERVED_MAX: usize = 65_536;
/// Batches that are known not to be in the archive; where there are more, the oldest is tried anew.
const FOREIGN_MAX: usize = 65_536;

/// Which shards of a lake a node keeps for its own machine to make, and what was made of them.
#[derive(Debug)]
pub struct Reserved {
    lake: LakeId,
    waiting: Mutex<Waiting>,
    shards: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    /// when somebody first wanted to send it
    since: HashMap<ShardId, Instant>,
    /// batches that the archive could not make, and whether it has other blocks: then it never will
    foreign: BTreeMap<u32, bool>,
}

impl Reserved {
    /// All shards of the lake's batches.
    pub fn new(lake: LakeId) -> Self {
        let (waiting, shards, bytes) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Self { lake, waiting, shards, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self, id: ShardId, bytes: u64) {
        let mut waiting = self.lock();
        waiting.since.remove(&id);
        waiting.foreign.remove(&id.container.number);
        self.shards.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    fn differs(&self, batch: u32) -> bool {
        self.lock().foreign.get(&batch).copied().unwrap_or(false)
    }

    fn cannot_make(&self, batch: u32, differs: bool) {
        let mut waiting = self.lock();
        if waiting.foreign.len() == FOREIGN_MAX {
            waiting.foreign.pop_first();
        }
        waiting.foreign.insert(batch, differs);
    }
}

impl Reserve for Reserved {
    fn is_reserved(&self, id: ShardId) -> bool {
        let mut waiting = self.lock();
        let is_batch = id.lake == self.lake && id.container.kind == ContainerKind::Data;
        if !is_batch || waiting.foreign.contains_key(&id.container.number) {
            return false;
        }
        if waiting.since.len() == RESERVED_MAX {
            waiting.since.retain(|_, since| since.elapsed() < RESERVED);
        }
        match waiting.since.get(&id) {
            Some(since) => since.elapsed() < RESERVED,
            None if waiting.since.len() == RESERVED_MAX => false,
            None => {
                waiting.since.insert(id, Instant::now());
                true
            }
        }
    }

    fn made(&self) -> (u64, u64) {
        (self.shards.load(Relaxed), self.bytes.load(Relaxed))
    }
}

/// Makes the shards of a node in this process.
#[derive(Debug)]
pub struct OwnShards {
    /// the records
    pub archive: Arc<Archive>,
    /// the node whose shards these are
    pub node: Node,
    /// what the node refuses over the network
    pub reserved: Arc<Reserved>,
}

impl OwnShards {
    fn store(&self, id: ShardId, name: Digest, shard: &[u8]) -> Result<(), NodeError> {
        let put = |term| {
            let mut upload = self.node.put(id, term, shard.len() as u64, PutMode::IfAbsent)?;
            if upload.stored().is_none() {
                upload.write(0, shard)?;
            }
            upload.commit(name, term)
        };
        match put(Term(0)) {
            // who makes its own shard is nobody's rival
            Err(NodeError::Fenced { seen, .. }) => put(seen),
            done => done,
        }
    }
}

impl MakeShard for OwnShards {
    fn make(
        &self,
        number: u32,
        batch: &Batch,
        policy: Policy,
        shard: ShardIndex,
    ) -> Result<bool, String> {
        if self.reserved.differs(number) {
            return Ok(false);
        }
        let cut = Cut { number, first_record: batch.first_block, records: batch.blocks };
        let made = match self.archive.cut(cut, policy, Some(shard)) {
            Ok(Some(made)) if made.batch.root == batch.root => made,
            Ok(Some(made)) => {
                self.reserved.cannot_make(number, true);
                return Err(format!(
                    "the archive makes root {} of these blocks, the registry has {}: it archives other blocks",
                    made.batch.root, batch.root
                ));
            }
            other => {
                self.reserved.cannot_make(number, false);
                return other.map(|_| false);
            }
        };
        let lake = made.batch.facts.lake;
        let id = ShardId { lake, container: ContainerId::data(number), index: shard };
        let bytes = made.shard.expect("it was wanted");
        let name = made.batch.names[shard.as_usize()];
        self.store(id, name, &bytes).map_err(|e| e.to_string())?;
        self.reserved.made(id, bytes.len() as u64);
        tracing::info!(shard = %id, bytes = bytes.len(), "made from the own archive: nothing was transferred");
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_cannot_be_made_here_may_come_from_others() {
        let lake = LakeId([3; 16]);
        let reserved = Reserved::new(lake);
        let shard = |lake, container| ShardId { lake, container, index: ShardIndex(1) };
        let batch = shard(lake, ContainerId::data(4));
        assert!(reserved.is_reserved(batch) && reserved.is_reserved(batch));
        assert!(!reserved.is_reserved(shard(LakeId([4; 16]), ContainerId::data(4))));
        let manifest = ContainerId { kind: ContainerKind::Manifest, number: 4 };
        assert!(!reserved.is_reserved(shard(lake, manifest)));
        reserved.cannot_make(4, false);
        assert!(!reserved.is_reserved(batch));
        assert!(reserved.is_reserved(shard(lake, ContainerId::data(5))));
        reserved.made(batch, 4096);
        assert_eq!(Reserve::made(&reserved), (1, 4096));
        assert!(reserved.is_reserved(batch), "made once: it is made again");
    }

    #[test]
    fn what_is_kept_in_memory_has_a_bound() {
        let lake = LakeId([3; 16]);
        let reserved = Reserved::new(lake);
        let shard = |number: usize| ShardId {
            lake,
            container: ContainerId::data(u32::try_from(number).unwrap()),
            index: ShardIndex(0),
        };
        assert!((0..RESERVED_MAX).all(|number| reserved.is_reserved(shard(number))));
        assert!(!reserved.is_reserved(shard(RESERVED_MAX)));
        assert!(reserved.is_reserved(shard(0)));
    }
}

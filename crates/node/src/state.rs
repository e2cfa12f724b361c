//! What the node knows in memory: where each shard is, and what the segments hold. No I/O happens under its lock.
//!
//! Cost: about 100 bytes per shard.

use crate::{
    block::Place,
    layout::{PAGE_BYTES, extent_bytes},
    segment::Segment,
};
use prunedb_core::{Digest, ShardId, Term};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Locks, whatever happened to others that held the lock: every change under it is complete before it can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A committed shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) segment: u32,
    /// record offset / 4096
    page: u32,
    shard_bytes: u32,
    pub(crate) term: Term,
    pub(crate) name: Digest,
    /// some bytes are known to be bad, or may never have reached the disk: a put writes them anew
    pub(crate) damaged: bool,
}

impl Entry {
    pub(crate) fn new(segment: u32, place: Place, term: Term, name: Digest) -> Self {
        let page = u32::try_from(place.offset / PAGE_BYTES).expect("offsets are below 2^44");
        let shard_bytes = u32::try_from(place.shard_bytes).expect("shards are at most 256 MiB");
        Self { segment, page, shard_bytes, term, name, damaged: false }
    }

    pub(crate) fn shard_bytes(&self) -> u64 {
        u64::from(self.shard_bytes)
    }

    pub(crate) fn place(&self, id: ShardId) -> Place {
        let offset = u64::from(self.page) * PAGE_BYTES;
        Place { id, offset, shard_bytes: self.shard_bytes() }
    }
}

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct SegmentUse {
    pub(crate) segment: Arc<Segment>,
    /// committed shards and running uploads in it
    pub(crate) records: u64,
    /// space that it takes: extents of these, one page for each dropped record, gaps
    pub(crate) used_bytes: u64,
    /// it may hold more than we can tell: never removed
    pub(crate) damaged: bool,
}

/// Everything in memory.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) shards: BTreeMap<ShardId, Entry>,
    pub(crate) segments: BTreeMap<u32, SegmentUse>,
    /// segments that hold a copy which could not be dropped, or not be kept: after a delete it might come back
    pub(crate) stale: BTreeMap<ShardId, u32>,
    /// shards that a commit or a delete works on; others wait
    pub(crate) busy: HashSet<ShardId>,
    pub(crate) uploads: usize,
    /// extents of running uploads
    pub(crate) pending_bytes: u64,
    /// space of all segments
    pub(crate) used_bytes: u64,
    /// sequence number of the last commit
    pub(crate) sequence: u64,
    /// sequence numbers of commits that are not durable yet, or never will be
    pub(crate) syncing: BTreeSet<u64>,
}

impl State {
    /// All commits up to this sequence number are durable.
    pub(crate) fn durable_through(&self) -> u64 {
        self.syncing.first().map_or(self.sequence, |first| first - 1)
    }

    /// Whether a shard is still where it was.
    pub(crate) fn is_still(&self, id: ShardId, seen: &Entry) -> bool {
        let now = self.shards.get(&id);
        now.is_some_and(|now| (now.segment, now.page) == (seen.segment, seen.page))
    }

    /// Remembers that a shard's bytes are bad.
    pub(crate) fn note_damage(&mut self, id: ShardId, seen: &Entry) {
        if let Some(entry) = self.shards.get_mut(&id).filter(|entry| *entry == seen) {
            entry.damaged = true;
        }
    }

    /// Where a shard is, and the segment to read it from.
    pub(crate) fn find(&self, id: ShardId) -> Option<(Entry, Arc<Segment>)> {
        let entry = self.shards.get(&id)?;
        let held = self.segments.get(&entry.segment).expect("a shard's segment stays open");
        Some((*entry, Arc::clone(&held.segment)))
    }

    /// Counts a new record in; its space was taken when it was reserved.
    pub(crate) fn add_record(&mut self, segment: u32, shard_bytes: u64) {
        let held = self.segments.get_mut(&segment).expect("records are added to open segments");
        held.records += 1;
        held.used_bytes += extent_bytes(shard_bytes);
    }

    /// A record is dropped: only its first page stays.
    pub(crate) fn drop_record(&mut self, segment: u32, shard_bytes: u64) {
        let bytes = extent_bytes(shard_bytes) - PAGE_BYTES;
        let held = self.segments.get_mut(&segment).expect("records are dropped in open segments");
        held.records -= 1;
        held.used_bytes -= bytes;
        self.used_bytes -= bytes;
    }

    /// Takes a segment out if nothing in it counts any more.
    pub(crate) fn take_empty(&mut self, segment: u32) -> Option<Arc<Segment>> {
        let held = self.segments.get(&segment)?;
        if held.records > 0 || held.damaged {
            return None;
        }
        let held = self.segments.remove(&segment)?;
        self.used_bytes -= held.used_bytes;
        Some(held.segment)
    }
}

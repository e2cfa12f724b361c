//! What the node knows in memory: what the segments hold, and of the index what has changed. No I/O happens under its
//! lock.
//!
//! Cost: about 100 bytes per segment, and what the index costs.

use crate::{
    block::Place,
    index::{Found, Shards, Since},
    layout::{Mark, PAGE_BYTES, extent_bytes},
    segment::Segment,
};
use prunedb_core::{Digest, ShardId, Term};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Segments that are kept open beside those in use.
const OPEN_MAX: usize = 256;

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

    /// Whether the other one is of the same record.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        (self.segment, self.page) == (other.segment, other.page)
    }

    pub(crate) fn place(&self, id: ShardId) -> Place {
        let offset = u64::from(self.page) * PAGE_BYTES;
        Place { id, offset, shard_bytes: self.shard_bytes() }
    }
}

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct SegmentUse {
    pub(crate) mark: Mark,
    /// its file, while it is open
    pub(crate) open: Option<Arc<Segment>>,
    /// committed shards and running uploads in it
    pub(crate) records: u64,
    /// space that it takes: extents of these, one page for each dropped record, gaps
    pub(crate) used_bytes: u64,
    /// what runs of earlier generations say of it does not count
    pub(crate) since: u64,
    /// uploads, deletes and replacements that are changing it
    pub(crate) in_flux: u32,
    /// it may hold more than we can tell: never removed
    pub(crate) damaged: bool,
}

impl SegmentUse {
    /// Whether it may be believed to hold what a snapshot says.
    pub(crate) fn is_quiet(&self) -> bool {
        let poisoned = self.open.as_ref().is_some_and(|segment| segment.is_poisoned());
        self.in_flux == 0 && !self.damaged && !poisoned
    }
}

/// Everything in memory.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) shards: Shards,
    pub(crate) segments: BTreeMap<u32, SegmentUse>,
    /// numbers of open segments, the one that was opened last at the end
    opened: VecDeque<u32>,
    /// of the next snapshot
    pub(crate) generation: u64,
    /// segments that hold a copy which could not be dropped, or not be kept: after a delete it might come back
    pub(crate) stale: BTreeSet<(ShardId, u32)>,
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
    /// Nothing is there. `generation` is that of the next snapshot, `sequence` that of the last commit.
    pub(crate) fn new(generation: u64, sequence: u64) -> Self {
        Self { generation, sequence, ..Self::default() }
    }

    /// All commits up to this sequence number are durable.
    pub(crate) fn durable_through(&self) -> u64 {
        self.syncing.first().map_or(self.sequence, |first| first - 1)
    }

    /// A segment with a copy of a shard that may come back.
    pub(crate) fn stale_copy(&self, id: ShardId) -> Option<u32> {
        self.stale.range((id, 0)..=(id, u32::MAX)).next().map(|(_, segment)| *segment)
    }

    /// From which generation on runs count, by segment.
    pub(crate) fn since(&self) -> Since {
        self.segments.iter().map(|(&number, held)| (number, held.since)).collect()
    }

    /// What a run says, if it counts: its segment may have been walked, or removed, since.
    pub(crate) fn counts(&self, found: &Found) -> Option<Entry> {
        let entry = found.change?;
        let held = self.segments.get(&entry.segment)?;
        found.generation.is_none_or(|it| it >= held.since).then_some(entry)
    }

    /// Keeps a segment's file open, or gives back the one that is, and says which one is to be closed instead; `None`
    /// where the segment was removed.
    pub(crate) fn keep_open(
        &mut self,
        segment: Arc<Segment>,
    ) -> Option<(Arc<Segment>, Option<Arc<Segment>>)> {
        let held = self.segments.get_mut(&segment.number)?;
        if let Some(open) = &held.open {
            return Some((Arc::clone(open), Some(segment)));
        }
        held.open = Some(Arc::clone(&segment));
        self.opened.push_back(segment.number);
        Some((segment, self.close_one()))
    }

    /// Takes an open file out, where there are too many.
    fn close_one(&mut self) -> Option<Arc<Segment>> {
        // those that are in use, or poisoned, stay: a second handle would not know
        for _ in 0..self.opened.len().saturating_sub(OPEN_MAX).min(8) {
            let number = self.opened.pop_front()?;
            let Some(held) = self.segments.get_mut(&number) else { continue };
            match held.open.take_if(|it| Arc::strong_count(it) == 1 && !it.is_poisoned()) {
                Some(closed) => return Some(closed),
                None if held.open.is_some() => self.opened.push_back(number),
                None => {}
            }
        }
        None
    }

    /// An upload's room is given back.
    pub(crate) fn release(&mut self, shard_bytes: u64) {
        self.uploads -= 1;
        self.pending_bytes -= extent_bytes(shard_bytes);
    }

    /// Something begins to change a segment.
    pub(crate) fn unsettle(&mut self, segment: u32) {
        let held = self.segments.get_mut(&segment);
        held.expect("what is changed is not removed").in_flux += 1;
    }

    /// It has ended; the segment may be gone by now.
    pub(crate) fn settle(&mut self, segment: u32) {
        if let Some(held) = self.segments.get_mut(&segment) {
            held.in_flux -= 1;
        }
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
    pub(crate) fn take_empty(&mut self, segment: u32) -> bool {
        let empty =
            self.segments.get(&segment).is_some_and(|held| held.records == 0 && !held.damaged);
        if empty && let Some(held) = self.segments.remove(&segment) {
            self.used_bytes -= held.used_bytes;
        }
        empty
    }
}

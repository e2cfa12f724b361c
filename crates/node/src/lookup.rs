//! Finding shards: what memory says and what the runs on the disk say, put together while others change both.

use crate::{
    NodeError,
    core::Inner,
    index::{Found, Layers},
    segment::Segment,
    state::{Entry, State, lock},
};
use prunedb_core::{LakeId, ShardId};
use prunedb_disk::Open;
use std::{
    io::{self, ErrorKind},
    ops::Bound,
    sync::{Arc, MutexGuard, atomic::Ordering},
};

/// Shards that are looked up at once where many are.
const SCAN_SHARDS: usize = 4096;
/// Of each layer at least so many are read at once.
const SCAN_SHARDS_MIN: usize = 256;

/// Shards, and behind which one to go on, if there may be more.
type Scanned = (Vec<(ShardId, Entry)>, Option<ShardId>);

impl Inner {
    /// Where a shard is, and the state at that moment, still locked.
    pub(crate) fn locate(
        &self,
        id: ShardId,
    ) -> Result<(Option<Entry>, MutexGuard<'_, State>), NodeError> {
        let mut read: Option<(Layers, Option<Found>)> = None;
        loop {
            let state = lock(&self.state);
            if let Some(change) = state.shards.in_memory(id) {
                return Ok((change, state));
            }
            let layers = state.shards.layers();
            if let Some((_, found)) = read.take_if(|(of, _)| of.is(&layers)) {
                let entry = found.and_then(|found| state.counts(&found));
                return Ok((entry, state));
            }
            drop(state);
            let found = layers.in_runs(id).map_err(|e| self.index_failed(e))?;
            read = Some((layers, found));
        }
    }

    /// Where a shard is.
    pub(crate) fn entry(&self, id: ShardId) -> Result<Option<Entry>, NodeError> {
        self.locate(id).map(|(entry, _)| entry)
    }

    /// Where a shard is, and the segment to read it from.
    pub(crate) fn find(&self, id: ShardId) -> Result<Option<(Entry, Arc<Segment>)>, NodeError> {
        loop {
            let (Some(entry), state) = self.locate(id)? else { return Ok(None) };
            let held = state.segments.get(&entry.segment).expect("a shard's segment is held");
            if let Some(open) = &held.open {
                return Ok(Some((entry, Arc::clone(open))));
            }
            drop(state);
            match self.open_segment(entry.segment) {
                Ok(Some(segment)) => return Ok(Some((entry, segment))),
                // the shard was deleted or replaced meanwhile, and its segment removed
                Ok(None) => {}
                Err(_) if !self.is_still(id, &entry) => {}
                // it says nothing of the shard
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(NodeError::disk("open a segment", e));
                }
                Err(e) => {
                    tracing::warn!(%id, segment = entry.segment, error = %e, "cannot open a segment");
                    self.note_damage(id, &entry);
                    return Err(NodeError::Damaged { id, offset: 0 });
                }
            }
        }
    }

    /// A segment's file; `None` where the segment was removed.
    pub(crate) fn open_segment(&self, number: u32) -> io::Result<Option<Arc<Segment>>> {
        let Some(mark) = lock(&self.state).segments.get(&number).map(|held| held.mark) else {
            return Ok(None);
        };
        let open = |how| Segment::open(&*self.disk, &self.segments_dir, number, mark, how);
        let segment = match open(Open::ReadWrite) {
            // so systems leave a disk that fails; such a file is not kept, as nothing can be dropped in it
            Err(e) if e.kind() == ErrorKind::ReadOnlyFilesystem => {
                return open(Open::Read).map(|segment| Some(Arc::new(segment)));
            }
            opened => opened?,
        };
        let kept = lock(&self.state).keep_open(Arc::new(segment));
        // the one that is too many is closed here, not under the lock
        Ok(kept.map(|(segment, _closed)| segment))
    }

    /// Whether a shard is still where it was; so it is where that cannot be told.
    pub(crate) fn is_still(&self, id: ShardId, seen: &Entry) -> bool {
        match self.entry(id) {
            Ok(now) => now.is_some_and(|now| now.is_at(seen)),
            Err(_) => true,
        }
    }

    /// Remembers that a shard's bytes are bad, if there is room for that.
    pub(crate) fn note_damage(&self, id: ShardId, seen: &Entry) {
        if let Ok((Some(mut entry), mut state)) = self.locate(id)
            && entry == *seen
            && state.shards.changes() < self.config.changes_max
        {
            entry.damaged = true;
            state.shards.insert(id, entry, true);
        }
    }

    /// Shards behind a bound, in order, at most `count`. There may be none now and more behind.
    pub(crate) fn scan(&self, from: Bound<ShardId>, count: usize) -> Result<Scanned, NodeError> {
        // what is gone is passed over in larger steps
        let at_once = count.max(SCAN_SHARDS_MIN);
        loop {
            let (newest, layers) = {
                let state = lock(&self.state);
                (state.shards.changes_from(from, at_once), state.shards.layers())
            };
            let scanned = layers.scan(newest, from, at_once);
            let (found, mut more) = scanned.map_err(|e| self.index_failed(e))?;
            let state = lock(&self.state);
            if !state.shards.layers().is(&layers) {
                continue;
            }
            // what has changed meanwhile is in memory
            let now = |(id, found): (ShardId, Found)| {
                let change = match state.shards.in_memory(id) {
                    Some(change) => change,
                    None if found.generation.is_none() => None,
                    None => state.counts(&found),
                };
                Some((id, change?))
            };
            let mut there: Vec<_> = found.into_iter().filter_map(now).collect();
            if there.len() > count {
                there.truncate(count);
                more = there.last().map(|(id, _)| *id);
            }
            return Ok((there, more));
        }
    }

    /// Up to `count` shards of a lake behind `after`, in order.
    pub(crate) fn of_lake(
        &self,
        lake: LakeId,
        after: Option<ShardId>,
        count: usize,
    ) -> Result<Vec<(ShardId, Entry)>, NodeError> {
        let mut first = [0; ShardId::BYTES];
        first[..16].copy_from_slice(&lake.0);
        let first = ShardId::from_bytes(&first).expect("zeros are an id");
        let mut from = match after {
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first),
        };
        let mut found = Vec::new();
        while found.len() < count {
            let (some, more) = self.scan(from, (count - found.len()).min(SCAN_SHARDS))?;
            found.extend(some.into_iter().filter(|(id, _)| id.lake == lake));
            match more.filter(|last| last.lake == lake) {
                Some(last) => from = Bound::Excluded(last),
                None => break,
            }
        }
        Ok(found)
    }

    /// A run cannot be read. Where it is damaged, the next start makes the index anew.
    pub(crate) fn index_failed(&self, e: io::Error) -> NodeError {
        let damaged = matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof);
        if damaged && !self.index_damaged.swap(true, Ordering::SeqCst) {
            tracing::error!(error = %e, "the index is damaged: the next start makes it anew from the segments");
            if let Err(e) = lock(&self.changes).forget(&*self.disk, &self.config.dir) {
                tracing::error!(error = %e, "cannot forget the snapshot");
            }
        }
        NodeError::disk("read the index of shards", e)
    }
}

//! Where records go: room is taken and the header written when an upload begins, and given back when a record is
//! dropped.

use crate::{
    NodeError,
    block::Place,
    core::Inner,
    layout::{Mark, PAGE_BYTES, RecordHeader, extent_bytes},
    segment::Segment,
    state::{SegmentUse, lock},
};
use prunedb_core::{ShardId, Term};
use std::{path::Path, sync::Arc};

/// Where the next record goes.
#[derive(Debug, Default)]
pub(crate) struct Appender {
    pub(crate) active: Option<(Arc<Segment>, u64)>,
    pub(crate) next_number: u32,
}

impl Inner {
    /// Takes room for an upload and writes its record's header.
    pub(crate) fn reserve(
        &self,
        id: ShardId,
        term: Term,
        shard_bytes: u64,
    ) -> Result<(Arc<Segment>, Place), NodeError> {
        let extent = extent_bytes(shard_bytes);
        let disk_free = self.disk_free_bytes()?;
        let other_bytes = self.lakes.head_bytes() + self.zdb.budget.bytes();
        {
            let mut state = lock(&self.state);
            let used = state.used_bytes + other_bytes;
            let free = self.config.capacity_bytes.saturating_sub(used);
            let free = free.min(disk_free.saturating_sub(state.pending_bytes));
            if extent > free {
                return Err(NodeError::Full { free_bytes: free });
            }
            if state.uploads >= self.config.uploads_max {
                return Err(NodeError::Limit { what: "uploads", max: self.config.uploads_max });
            }
            state.uploads += 1;
            state.pending_bytes += extent;
            state.used_bytes += extent;
        }
        let placed = self.append_header(id, term, shard_bytes);
        if placed.is_err() {
            let mut state = lock(&self.state);
            state.release(shard_bytes);
            state.used_bytes -= extent;
        }
        placed
    }

    /// An upload has ended.
    pub(crate) fn release(&self, segment: &Segment, shard_bytes: u64) {
        let mut state = lock(&self.state);
        state.settle(segment.number);
        state.release(shard_bytes);
    }

    fn append_header(
        &self,
        id: ShardId,
        term: Term,
        shard_bytes: u64,
    ) -> Result<(Arc<Segment>, Place), NodeError> {
        let mut appender = lock(&self.appender);
        let (segment, offset) = self.active(&mut appender, extent_bytes(shard_bytes))?;
        let changing = self.changing(&segment)?;
        let place = Place { id, offset, shard_bytes };
        let durable_through = lock(&self.state).durable_through();
        let mark = segment.mark;
        let header = RecordHeader { mark, id, term, shard_bytes, offset, durable_through };
        segment
            .file
            .write_all_at(&header.to_bytes(), offset)
            .map_err(|e| NodeError::disk("write a record's header", e))?;
        lock(&self.state).add_record(segment.number, shard_bytes);
        appender.active = Some((Arc::clone(&segment), header.end()));
        changing.until_release();
        Ok((segment, place))
    }

    /// The segment with room for an extent, and where it goes; a new one where it must be.
    fn active(
        &self,
        appender: &mut Appender,
        extent: u64,
    ) -> Result<(Arc<Segment>, u64), NodeError> {
        if let Some((segment, tail)) = &appender.active {
            let fits = *tail == PAGE_BYTES || tail + extent <= self.config.segment_bytes;
            if fits && !segment.is_poisoned() {
                return Ok((Arc::clone(segment), *tail));
            }
        }
        let number = appender.next_number;
        appender.next_number += 1;
        let segment = Segment::create(&*self.disk, &self.segments_dir, number, self.mark(number))
            .map_err(|e| NodeError::disk("create a segment", e))?;
        let segment = Arc::new(segment);
        let mut state = lock(&self.state);
        let held = SegmentUse {
            mark: segment.mark,
            open: None,
            records: 0,
            used_bytes: PAGE_BYTES,
            since: state.generation,
            in_flux: 0,
            damaged: false,
        };
        state.segments.insert(number, held);
        let _closed = state.keep_open(Arc::clone(&segment));
        state.used_bytes += PAGE_BYTES;
        let before = appender.active.replace((Arc::clone(&segment), PAGE_BYTES));
        let emptied = before.filter(|(before, _)| state.take_empty(before.number));
        drop(state);
        if let Some((emptied, _)) = emptied {
            self.remove(&emptied.path);
        }
        Ok((segment, PAGE_BYTES))
    }

    fn mark(&self, number: u32) -> Mark {
        let mut hasher = blake3::Hasher::new_keyed(&self.mark_seed);
        hasher.update(&number.to_le_bytes());
        *hasher.finalize().as_bytes().first_chunk().expect("a digest is longer")
    }

    /// A record's drop mark is written: gives its space back.
    pub(crate) fn dropped(&self, segment: &Arc<Segment>, place: Place) {
        segment.punch(place);
        let appender = lock(&self.appender);
        let is_active = appender.active.as_ref().is_some_and(|(a, _)| a.number == segment.number);
        let mut state = lock(&self.state);
        state.drop_record(segment.number, place.shard_bytes);
        let emptied = !is_active && state.take_empty(segment.number);
        drop(state);
        if emptied {
            self.remove(&segment.path);
        }
    }

    /// Removes a segment in which nothing counts; if that fails it is found again at the next start.
    pub(crate) fn remove(&self, path: &Path) {
        // durably: what a failed sync left in it must not come back with the file
        let removed = self.disk.remove(path).and_then(|()| self.disk.sync_dir(&self.segments_dir));
        if let Err(e) = removed {
            tracing::warn!(path = %path.display(), error = %e, "cannot remove an empty segment");
        }
    }
}

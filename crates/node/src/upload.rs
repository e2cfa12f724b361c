//! Putting a shard: reserve, stream, commit.
//!
//! ```text
//! put     fence checked, room reserved, header written         -> uploads interleave, each in its own extent
//! write   hashed, checked block by block, written in batches
//! commit  length and name checked, trailer written, synced     -> only then it counts
//! ```
//! Dropping an upload before its commit gives its space back.

use crate::{
    Node, NodeError, PutMode,
    block::{BlockBuffer, Place},
    core::Inner,
    layout::{
        DATA_OFFSET, RecordHeader, RecordTrailer, SHARD_BYTES_MAX, TRAILER_BYTES, extent_bytes,
    },
    segment::Segment,
    state::{Entry, lock},
};
use prunedb_core::{Digest, ShardId, Term};
use std::sync::Arc;

/// A shard on its way into a node.
#[derive(Debug)]
pub struct Upload {
    node: Arc<Inner>,
    id: ShardId,
    shard_bytes: u64,
    received: u64,
    mode: PutMode,
    /// `None` where the shard is stored already, under this name
    writing: Result<Box<Writing>, Digest>,
}

#[derive(Debug)]
struct Writing {
    segment: Arc<Segment>,
    place: Place,
    hasher: blake3::Hasher,
    buffer: BlockBuffer,
    /// bytes in the file, from [`DATA_OFFSET`]
    written: u64,
    /// a write failed: only dropping is left
    failed: bool,
    /// the record counts, or must not be touched any more
    settled: bool,
}

impl Node {
    /// Begins to put a shard of exactly `shard_bytes` bytes.
    ///
    /// # Errors
    /// [`NodeError::Fenced`], [`NodeError::Full`], [`NodeError::Conflict`] where a shard of another length is stored
    /// under this id, [`NodeError::Range`], [`NodeError::Limit`], and those of the disk.
    pub fn put(
        &self,
        id: ShardId,
        term: Term,
        shard_bytes: u64,
        mode: PutMode,
    ) -> Result<Upload, NodeError> {
        if !(1..=SHARD_BYTES_MAX).contains(&shard_bytes) {
            let shard_bytes_max = SHARD_BYTES_MAX;
            return Err(NodeError::Range {
                offset: 0,
                bytes: shard_bytes,
                shard_bytes: shard_bytes_max,
            });
        }
        self.inner.lakes.check(id.lake, term)?;
        self.inner.make_room()?;
        let stored = self.inner.entry(id)?;
        if stored.is_some_and(|entry| entry.shard_bytes() != shard_bytes) {
            return Err(NodeError::Conflict { id });
        }
        let node = Arc::clone(&self.inner);
        let writing = match (stored, mode) {
            // a copy that is known to be bad is as good as none
            (Some(entry), PutMode::IfAbsent) if !entry.damaged => Err(entry.name),
            _ => {
                let (segment, place) = node.reserve(id, term, shard_bytes)?;
                Ok(Box::new(Writing {
                    segment,
                    place,
                    hasher: blake3::Hasher::new(),
                    buffer: BlockBuffer::new(id, shard_bytes),
                    written: 0,
                    failed: false,
                    settled: false,
                }))
            }
        };
        Ok(Upload { node, id, shard_bytes, received: 0, mode, writing })
    }
}

impl Upload {
    /// The name under which the shard is stored already: bytes need not be sent, and are ignored.
    pub fn stored(&self) -> Option<Digest> {
        self.writing.as_ref().err().copied()
    }

    /// Which shard.
    pub(crate) fn id(&self) -> ShardId {
        self.id
    }

    /// Bytes that came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the bytes at `offset`, which must be where the last ones ended.
    ///
    /// # Errors
    /// [`NodeError::Range`], [`NodeError::Mismatch`] for another offset, [`NodeError::Full`] and those of the disk.
    pub fn write(&mut self, offset: u64, mut data: &[u8]) -> Result<(), NodeError> {
        if offset != self.received {
            return Err(NodeError::Mismatch {
                what: "offset",
                expected: self.received.to_string(),
                found: offset.to_string(),
            });
        }
        let (bytes, shard_bytes) = (data.len() as u64, self.shard_bytes);
        if bytes > shard_bytes - offset {
            return Err(NodeError::Range { offset, bytes, shard_bytes });
        }
        if let Ok(writing) = &mut self.writing {
            writing.hasher.update(data);
            while !data.is_empty() {
                writing.buffer.fill(&mut data);
                if writing.buffer.is_full() {
                    writing.flush()?;
                }
            }
        }
        self.received += bytes;
        Ok(())
    }

    /// Ends the upload: once this returned, the shard is durable.
    ///
    /// # Errors
    /// [`NodeError::Mismatch`] of length or name, [`NodeError::Fenced`], [`NodeError::Conflict`],
    /// [`NodeError::Absent`] where the stored shard was deleted meanwhile, and those of the disk.
    pub fn commit(mut self, name: Digest, term: Term) -> Result<(), NodeError> {
        let node = Arc::clone(&self.node);
        let id = self.id;
        let Ok(writing) = &mut self.writing else {
            let _fence = node.lakes.enter(id.lake, term)?;
            return match node.entry(id)? {
                Some(entry) if entry.name == name => Ok(()),
                Some(_) => Err(NodeError::Conflict { id }),
                None => Err(NodeError::Absent { id }),
            };
        };
        let mismatch = |what, expected: String, found: String| {
            Err(NodeError::Mismatch { what, expected, found })
        };
        if self.received != self.shard_bytes {
            return mismatch("length", self.shard_bytes.to_string(), self.received.to_string());
        }
        let found = Digest(*writing.hasher.finalize().as_bytes());
        if found != name {
            return mismatch("name", name.to_string(), found.to_string());
        }
        writing.buffer.finish();
        writing.flush()?;

        let _fence = node.lakes.enter(id.lake, term)?;
        let _busy = node.busy(id);
        let stored = node.entry(id)?;
        let mut replaced = None;
        if let Some(entry) = stored {
            if entry.name != name {
                return Err(NodeError::Conflict { id });
            }
            if self.mode == PutMode::IfAbsent && !entry.damaged {
                // another upload was faster: this copy is dropped with `self`
                return Ok(());
            }
            // a copy whose segment cannot be opened stays where it is
            if let Ok(Some((_, segment))) = node.find(id) {
                // a snapshot must not find the old copy in a quiet segment once the new one counts
                let changing = node.changing(&segment)?;
                replaced = Some((entry, segment, changing));
            }
        }
        let mut state = lock(&node.state);
        let durable_through = state.durable_through();
        state.sequence += 1;
        let sequence = state.sequence;
        state.syncing.insert(sequence);
        drop(state);

        let trailer = RecordTrailer {
            record: RecordHeader {
                mark: writing.segment.mark,
                id,
                term,
                shard_bytes: self.shard_bytes,
                offset: writing.place.offset,
                durable_through,
            },
            sequence,
            name,
        };
        if let Err(e) = writing.finish(trailer) {
            let mut state = lock(&node.state);
            if writing.segment.is_poisoned() {
                // it may be there after a crash: later commits stay in doubt, a delete cannot be promised
                state.stale.insert((id, writing.segment.number));
            } else {
                state.syncing.remove(&sequence);
            }
            return Err(e);
        }
        let entry = Entry::new(writing.segment.number, writing.place, term, name);
        let mut state = lock(&node.state);
        state.syncing.remove(&sequence);
        state.shards.insert(id, entry, stored.is_some());
        if let (Some(old), None) = (stored, &replaced) {
            state.stale.insert((id, old.segment));
        }
        drop(state);
        writing.settled = true;
        node.release(&writing.segment, self.shard_bytes);
        if let Some((old, segment, _changing)) = replaced {
            let place = old.place(id);
            // were the mark lost, the old copy would come back once the new one is deleted
            match segment.mark_dropped(place).and_then(|()| segment.sync()) {
                Ok(()) => node.dropped(&segment, place),
                Err(e) => {
                    tracing::warn!(%id, error = %e, "cannot drop a replaced copy");
                    lock(&node.state).stale.insert((id, segment.number));
                }
            }
        }
        Ok(())
    }
}

impl Writing {
    fn flush(&mut self) -> Result<(), NodeError> {
        if self.failed {
            return Err(NodeError::UploadDead);
        }
        let batch = self.buffer.batch();
        let offset = self.place.offset + DATA_OFFSET + self.written;
        if let Err(e) = self.segment.file.write_all_at(batch, offset) {
            self.failed = true;
            return Err(NodeError::disk("write a shard", e));
        }
        self.written += batch.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the trailer and makes everything durable.
    fn finish(&mut self, trailer: RecordTrailer) -> Result<(), NodeError> {
        if self.segment.is_poisoned() {
            return Err(NodeError::Poisoned { segment: self.segment.number });
        }
        let end = self.place.offset + extent_bytes(self.place.shard_bytes);
        self.segment
            .file
            .write_all_at(&trailer.to_bytes(), end - TRAILER_BYTES as u64)
            .map_err(|e| NodeError::disk("write a record's trailer", e))?;
        self.segment.sync()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Ok(writing) = &mut self.writing else { return };
        if writing.settled {
            return;
        }
        if let Err(e) = writing.segment.mark_dropped(writing.place) {
            tracing::warn!(id = %self.id, error = %e, "cannot mark an upload as dropped");
        }
        self.node.dropped(&writing.segment, writing.place);
        self.node.release(&writing.segment, self.shard_bytes);
    }
}

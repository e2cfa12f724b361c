//! Learns from walked segments, one after the other, where their shards are, and brings them in order: drops what does
//! not count, cuts torn tails.
//!
//! A trailer is synced together with the bytes before it, so after a crash the trailers of the last commits may be
//! there without all of their bytes. Each record tells up to which commit all were durable when it was written; a
//! checkpoint file tells it at a clean stop. Only commits behind that are in doubt: they are read whole, and written
//! once more, since a disk that failed a sync may show bytes that it never kept. The newest segment comes first: it
//! tells most.

use crate::{
    Damage, NodeError, OpenReport,
    block::Place,
    core::Inner,
    layout::{PAGE_BYTES, RecordTrailer, TRAILER_BYTES, crc32c, extent_bytes},
    recover::{Fate, Found, Walk, name_of},
    segment::Segment,
    state::{Entry, SegmentUse, lock},
};
use prunedb_core::{Digest, ShardId};
use prunedb_disk::{Disk, File, read_all, write_atomic};
use std::{collections::HashMap, io, path::Path, sync::Arc};

/// What is learned while segments are walked. The rest of it is in the node's state already.
pub(crate) struct Loader<'a> {
    node: &'a Inner,
    /// commits up to here were durable: the others are read whole before they count
    durable_through: u64,
    /// what runs said so far of segments that are walked does not count
    since: u64,
    /// sequence numbers of commits that were walked, as far as the index has them in memory
    sequences: HashMap<ShardId, u64>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(node: &'a Inner, durable_through: u64) -> Self {
        let since = lock(&node.state).generation;
        let loader = Self { node, durable_through, since, sequences: HashMap::new() };
        // also where nothing is walked: numbers that count as durable are not given again
        loader.saw(durable_through);
        loader
    }

    /// Takes a segment in, and says where its next record goes.
    ///
    /// # Errors
    /// Those of the index; what a segment holds is none.
    pub(crate) fn take(
        &mut self,
        segment: &Arc<Segment>,
        walk: &mut Walk,
        report: &mut OpenReport,
    ) -> Result<u64, NodeError> {
        self.note(walk);
        let held = SegmentUse {
            mark: segment.mark,
            open: None,
            records: 0,
            used_bytes: 0,
            since: self.since,
            in_flux: 0,
            damaged: true,
        };
        lock(&self.node.state).segments.insert(segment.number, held);
        self.judge(segment, walk, report)?;
        let tail = self.settle(segment, walk, report)?;
        if self.node.spill(self.since)? {
            self.sequences.clear();
        }
        Ok(tail)
    }

    /// Learns which commits were durable.
    fn note(&mut self, walk: &Walk) {
        for found in &walk.records {
            let mut durable = found.header.durable_through;
            if let Fate::Committed(trailer) = found.fate {
                durable = durable.max(trailer.record.durable_through);
            }
            self.durable_through = self.durable_through.max(durable);
        }
        self.saw(self.durable_through);
    }

    fn saw(&self, sequence: u64) {
        let mut state = lock(&self.node.state);
        state.sequence = state.sequence.max(sequence);
    }

    /// Decides about records that the walk alone cannot decide about, and keeps the newest copy of each shard.
    fn judge(
        &mut self,
        segment: &Arc<Segment>,
        walk: &mut Walk,
        report: &mut OpenReport,
    ) -> Result<(), NodeError> {
        for found in &walk.records {
            let place = found.place;
            let (sequence, term, name, damaged) = match found.fate {
                Fate::Open | Fate::Dropped(_) => continue,
                Fate::Committed(trailer) => {
                    self.saw(trailer.sequence);
                    let doubtful = trailer.sequence > self.durable_through;
                    let damaged = doubtful
                        && (walk.unreadable || !renew(segment, place, trailer.name, report));
                    (trailer.sequence, trailer.record.term, trailer.name, damaged)
                }
                Fate::Unsure => {
                    let name = name_of(&*segment.file, place).ok().flatten();
                    report.damaged(Damage::Trailer {
                        segment: segment.number,
                        offset: place.offset,
                        id: place.id,
                        recovered: name.is_some(),
                    });
                    walk.healthy = false;
                    let Some(name) = name else { continue };
                    (0, found.header.term, name, false)
                }
            };
            let known = self.node.entry(place.id)?;
            // a copy that never became whole must not cost the one that it was to replace
            if let Some(known) = known
                && (!known.damaged, self.sequence_of(place.id, &known)) >= (!damaged, sequence)
            {
                continue;
            }
            let mut entry = Entry::new(segment.number, place, term, name);
            entry.damaged = damaged;
            lock(&self.node.state).shards.insert(place.id, entry, known.is_some());
            self.sequences.insert(place.id, sequence);
            // an older copy in this segment is dropped with all else in it
            if let Some(older) = known.filter(|older| older.segment != segment.number) {
                self.drop_copy(place.id, &older);
            }
        }
        Ok(())
    }

    /// The sequence number of a copy that counts so far; zero where its trailer does not tell.
    fn sequence_of(&self, id: ShardId, entry: &Entry) -> u64 {
        let told = || {
            let segment = self.node.open_segment(entry.segment).ok()??;
            let place = entry.place(id);
            let end = place.offset + extent_bytes(place.shard_bytes);
            let mut trailer = [0; TRAILER_BYTES];
            segment.file.read_exact_at(&mut trailer, end - TRAILER_BYTES as u64).ok()?;
            let trailer = RecordTrailer::from_bytes(&trailer)?;
            (trailer.record.id == id).then_some(trailer.sequence)
        };
        self.sequences.get(&id).copied().or_else(told).unwrap_or_default()
    }

    /// Drops a copy in a segment that is in order already. Were it left, it would come back once the newer one is deleted.
    fn drop_copy(&self, id: ShardId, older: &Entry) {
        let place = older.place(id);
        let dropped = || {
            let failed = |e| NodeError::disk("drop an older copy", e);
            lock(&self.node.changes).note(older.segment).map_err(failed)?;
            let Some(segment) = self.node.open_segment(older.segment).map_err(failed)? else {
                return Ok(());
            };
            segment.mark_dropped(place)?;
            segment.sync()?;
            segment.punch(place);
            lock(&self.node.state).drop_record(older.segment, place.shard_bytes);
            Ok::<_, NodeError>(())
        };
        if let Err(e) = dropped() {
            tracing::warn!(%id, segment = older.segment, error = %e, "cannot drop an older copy");
            lock(&self.node.state).stale.insert((id, older.segment));
        }
    }

    /// Drops what does not count, cuts the tail, and counts the rest; where the next record goes.
    fn settle(
        &self,
        segment: &Arc<Segment>,
        walk: &Walk,
        report: &mut OpenReport,
    ) -> Result<u64, NodeError> {
        let mut counted = Vec::with_capacity(walk.records.len());
        for Found { place, fate, .. } in &walk.records {
            let counts = match fate {
                Fate::Open | Fate::Dropped(_) => false,
                Fate::Committed(_) | Fate::Unsure => {
                    let best = self.node.entry(place.id)?;
                    best.is_some_and(|best| {
                        best.segment == segment.number
                            && best.place(place.id).offset == place.offset
                    })
                }
            };
            counted.push(counts);
        }
        let is_dead = |nth: usize| match walk.records[nth].fate {
            _ if walk.unreadable => false,
            Fate::Open | Fate::Dropped(_) => true,
            Fate::Committed(_) => !counted[nth],
            Fate::Unsure => false,
        };
        let dead_behind = (0..walk.records.len()).rev().take_while(|&nth| is_dead(nth)).count();
        let kept = walk.records.len() - dead_behind;
        let tail = match kept.checked_sub(1) {
            None => PAGE_BYTES,
            Some(last) => walk.records[last].header.end(),
        };
        let (mut records, mut used_bytes) = (0, PAGE_BYTES + walk.gap_bytes);
        let (mut swept, mut losers) = (false, Vec::new());
        for (nth, found) in walk.records.iter().enumerate() {
            if matches!(found.fate, Fate::Committed(_)) && !counted[nth] {
                losers.push(found.place.id);
            }
            if !is_dead(nth) {
                used_bytes += extent_bytes(found.place.shard_bytes);
                records += u64::from(counted[nth]);
                continue;
            }
            report.uploads_dropped += u64::from(matches!(found.fate, Fate::Open));
            if nth < kept {
                used_bytes += PAGE_BYTES;
                if !matches!(found.fate, Fate::Dropped(false)) {
                    swept |= segment.mark_dropped(found.place).is_ok();
                    segment.punch(found.place);
                }
            }
        }
        match segment.file.len() {
            Ok(bytes) if bytes > tail && !walk.unreadable => {
                report.bytes_cut += bytes - tail;
                swept = true;
                if let Err(e) = segment.file.set_len(tail) {
                    tracing::warn!(segment = segment.number, error = %e, "cannot cut the tail");
                }
            }
            _ => {}
        }
        // a copy that lost must not come back when the one that won is deleted
        let synced = if swept { segment.sync() } else { Ok(()) };
        if let Err(e) = &synced {
            tracing::warn!(segment = segment.number, error = %e, "cannot sync drop marks");
        }
        let mut state = lock(&self.node.state);
        if walk.unreadable || synced.is_err() {
            state.stale.extend(losers.into_iter().map(|id| (id, segment.number)));
        }
        let held = state.segments.get_mut(&segment.number).expect("it was just put there");
        (held.records, held.used_bytes, held.damaged) = (records, used_bytes, !walk.healthy);
        state.used_bytes += used_bytes;
        // the file that is too many is closed when the lock is free
        let _kept = state.keep_open(Arc::clone(segment));
        drop(state);
        Ok(tail)
    }
}
/// Reads one of the last commits whole and writes it again, durably; whether all of it is good.
fn renew(segment: &Segment, place: Place, name: Digest, report: &mut OpenReport) -> bool {
    match name_of(&*segment.file, place) {
        Ok(found) if found == Some(name) => {}
        Ok(_) => {
            report.damaged(Damage::Shard { segment: segment.number, id: place.id });
            return false;
        }
        Err(_) => return false,
    }
    let rewritten = rewrite(&*segment.file, place.offset, extent_bytes(place.shard_bytes));
    let rewritten = rewritten.map_err(|e| NodeError::disk("write a shard again", e));
    match rewritten.and_then(|()| segment.sync()) {
        Ok(()) => true,
        Err(e) => {
            tracing::warn!(id = %place.id, error = %e, "cannot make a shard durable");
            false
        }
    }
}

pub(crate) fn rewrite(file: &dyn File, offset: u64, bytes: u64) -> io::Result<()> {
    let (mut at, end) = (offset, offset + bytes);
    let mut buf = vec![0; 64 << 10];
    while at < end {
        let now = usize::try_from(end - at).map_or(buf.len(), |left| left.min(buf.len()));
        file.read_exact_at(&mut buf[..now], at)?;
        file.write_all_at(&buf[..now], at)?;
        at += now as u64;
    }
    Ok(())
}

const CHECKPOINT_MAGIC: &[u8; 8] = b"PDBSYNC\x01";
const CHECKPOINT_BYTES: usize = 24;

/// ```text
/// offset  size  field
///      0     8  magic "PDBSYNC\x01"
///      8     8  durable through, u64
///     16     4  zero
///     20     4  CRC-32C of bytes 0..20
/// ```
fn encode_checkpoint(durable_through: u64) -> [u8; CHECKPOINT_BYTES] {
    let mut out = [0; CHECKPOINT_BYTES];
    out[..8].copy_from_slice(CHECKPOINT_MAGIC);
    out[8..16].copy_from_slice(&durable_through.to_le_bytes());
    let crc = crc32c(&out[..20]);
    out[20..].copy_from_slice(&crc.to_le_bytes());
    out
}

pub(crate) fn write_checkpoint(
    disk: &dyn Disk,
    dir: &Path,
    durable_through: u64,
) -> io::Result<()> {
    write_atomic(disk, &dir.join("checkpoint"), &encode_checkpoint(durable_through))
}

/// What the last checkpoint says; nothing is lost without one.
pub(crate) fn read_checkpoint(disk: &dyn Disk, dir: &Path) -> u64 {
    let bytes = read_all(disk, &dir.join("checkpoint"), CHECKPOINT_BYTES).unwrap_or_default();
    let found = bytes.get(8..16).and_then(|bytes| bytes.first_chunk());
    let found = found.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if bytes == encode_checkpoint(found) { found } else { 0 }
}

//! Builds the index from what the walks found, and brings the segments in order: drops what does not count, cuts
//! torn tails.
//!
//! A trailer is synced together with the bytes before it, so after a crash the trailers of the last commits may be
//! there without all of their bytes. Each record tells up to which commit all were durable when it was written; a
//! checkpoint file tells it at a clean stop. Only commits behind that are in doubt: they are read whole, and written
//! once more, since a disk that failed a sync may show bytes that it never kept.

use crate::{
    Damage, NodeError, OpenReport,
    block::Place,
    layout::{PAGE_BYTES, crc32c, extent_bytes},
    recover::{Fate, Found, Walk, name_of},
    segment::Segment,
    state::{Entry, SegmentUse},
};
use prunedb_core::{Digest, ShardId};
use prunedb_disk::{Disk, File, read_all, write_atomic};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::Path,
    sync::Arc,
};

/// Builds the index from what the walks found.
#[derive(Default)]
pub(crate) struct Loader {
    /// the newest copy of each shard
    pub(crate) shards: BTreeMap<ShardId, Entry>,
    /// sequence numbers of their commits; those of a snapshot are not known, and not asked for
    pub(crate) sequences: HashMap<ShardId, u64>,
    pub(crate) segments: BTreeMap<u32, SegmentUse>,
    /// shards with an older copy that cannot be dropped, and its segment
    pub(crate) stale: BTreeMap<ShardId, u32>,
    /// the last commit
    pub(crate) sequence: u64,
    /// commits up to here were durable: the others are read whole before they count
    pub(crate) durable_through: u64,
}

impl Loader {
    /// Learns from a segment which commits were durable.
    pub(crate) fn note(&mut self, walk: &Walk) {
        for found in &walk.records {
            let mut durable = found.header.durable_through;
            if let Fate::Committed(trailer) = found.fate {
                durable = durable.max(trailer.record.durable_through);
            }
            self.durable_through = self.durable_through.max(durable);
        }
        self.sequence = self.sequence.max(self.durable_through);
    }

    /// Decides about records that the walk alone cannot decide about, and finds the newest copy of each shard.
    pub(crate) fn judge(
        &mut self,
        segment: &Arc<Segment>,
        walk: &mut Walk,
        report: &mut OpenReport,
    ) {
        for found in &walk.records {
            let place = found.place;
            let (sequence, term, name, damaged) = match found.fate {
                Fate::Open | Fate::Dropped(_) => continue,
                Fate::Committed(trailer) => {
                    self.sequence = self.sequence.max(trailer.sequence);
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
            let mut entry = Entry::new(segment.number, place, term, name);
            entry.damaged = damaged;
            let best = self.sequences.get(&place.id);
            if best.is_none_or(|best| sequence > *best) {
                self.sequences.insert(place.id, sequence);
                self.shards.insert(place.id, entry);
            }
        }
    }

    /// Drops what does not count, cuts the tail, and counts the rest; where the next record goes.
    pub(crate) fn settle(
        &mut self,
        segment: &Arc<Segment>,
        walk: &Walk,
        report: &mut OpenReport,
    ) -> u64 {
        let counts = |place: Place| {
            let best = self.shards.get(&place.id);
            best.is_some_and(|b| {
                b.segment == segment.number && b.place(place.id).offset == place.offset
            })
        };
        let is_dead = |found: &&Found| match found.fate {
            _ if walk.unreadable => false,
            Fate::Open | Fate::Dropped(_) => true,
            Fate::Committed(_) => !counts(found.place),
            Fate::Unsure => false,
        };
        let kept = walk.records.len() - walk.records.iter().rev().take_while(is_dead).count();
        let tail = match kept.checked_sub(1) {
            None => PAGE_BYTES,
            Some(last) => walk.records[last].header.end(),
        };
        let mut held = SegmentUse {
            segment: Arc::clone(segment),
            records: 0,
            used_bytes: PAGE_BYTES + walk.gap_bytes,
            damaged: !walk.healthy,
        };
        let (mut swept, mut losers) = (false, Vec::new());
        for (nth, found) in walk.records.iter().enumerate() {
            let counts = counts(found.place);
            if matches!(found.fate, Fate::Committed(_)) && !counts {
                losers.push(found.place.id);
            }
            if !is_dead(&found) {
                held.used_bytes += extent_bytes(found.place.shard_bytes);
                held.records += u64::from(counts);
                continue;
            }
            report.uploads_dropped += u64::from(matches!(found.fate, Fate::Open));
            if nth < kept {
                held.used_bytes += PAGE_BYTES;
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
        if walk.unreadable || synced.is_err() {
            self.stale.extend(losers.into_iter().map(|id| (id, segment.number)));
        }
        self.segments.insert(segment.number, held);
        tail
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

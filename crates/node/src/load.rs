//! Builds the index from what the walks found, and brings the segments in order: drops what does not count, cuts
//! torn tails.

use crate::{
    Damage, OpenReport,
    block::Place,
    layout::{PAGE_BYTES, extent_bytes},
    recover::{Fate, Found, Walk, name_of},
    segment::Segment,
    state::{Entry, SegmentUse},
};
use prunedb_core::ShardId;
use std::{collections::BTreeMap, sync::Arc};

/// Builds the index from what the walks found.
#[derive(Default)]
pub(crate) struct Loader {
    /// each shard, and the sequence number of its commit
    pub(crate) shards: BTreeMap<ShardId, (Entry, u64)>,
    pub(crate) segments: BTreeMap<u32, SegmentUse>,
    /// the last commit
    pub(crate) sequence: u64,
    /// commits up to here were durable: the others are read whole before they count
    durable_through: u64,
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
        for found in &mut walk.records {
            let (sequence, term, name) = match found.fate {
                Fate::Open | Fate::Dropped(_) => continue,
                Fate::Committed(trailer) => {
                    self.sequence = self.sequence.max(trailer.sequence);
                    let doubtful = trailer.sequence > self.durable_through;
                    // a disk that cannot be read just now does not unmake a commit
                    if doubtful
                        && name_of(&*segment.file, found.place)
                            .is_ok_and(|name| name != Some(trailer.name))
                    {
                        let id = found.place.id;
                        report.damaged(Damage::Torn { segment: segment.number, id });
                        found.fate = Fate::Open;
                        continue;
                    }
                    (trailer.sequence, trailer.record.term, trailer.name)
                }
                Fate::Unsure => {
                    let name = name_of(&*segment.file, found.place).ok().flatten();
                    report.damaged(Damage::Trailer {
                        segment: segment.number,
                        offset: found.place.offset,
                        id: found.place.id,
                        recovered: name.is_some(),
                    });
                    walk.healthy = false;
                    let Some(name) = name else { continue };
                    (0, found.header.term, name)
                }
            };
            let entry = Entry::new(segment.number, found.place, term, name);
            let best = self.shards.entry(found.place.id).or_insert((entry, sequence));
            if sequence > best.1 {
                *best = (entry, sequence);
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
            best.is_some_and(|(b, _)| {
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
        let mut swept = false;
        for (nth, found) in walk.records.iter().enumerate() {
            let dead = is_dead(&found);
            if !dead {
                held.used_bytes += extent_bytes(found.place.shard_bytes);
                held.records += u64::from(counts(found.place));
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
        // a copy that lost must not come back when the one that won is deleted
        if swept && let Err(e) = segment.sync() {
            tracing::warn!(segment = segment.number, error = %e, "cannot sync drop marks");
        }
        match segment.file.len() {
            Ok(bytes) if bytes > tail && !walk.unreadable => {
                report.bytes_cut += bytes - tail;
                if let Err(e) = segment.file.set_len(tail) {
                    tracing::warn!(segment = segment.number, error = %e, "cannot cut the tail");
                }
            }
            _ => {}
        }
        self.segments.insert(segment.number, held);
        tail
    }
}

//! Scrubbing: every block of every shard is read and checked again and again, slowly, so that damage is found while
//! others still hold what is needed to mend it.
//!
//! One round takes at most 30 days, whatever is stored: the pace follows from the bytes, and is at least 1 MB/s. A
//! round goes through the shards in the order of their ids; where it is survives a restart. What it finds is marked as
//! damaged, so that a put replaces it, logged, and counted.

use crate::{
    Node, NodeError,
    block::{BadBlock, Place},
    layout::{
        HEADER_BYTES, Mark, RecordHeader, RecordTrailer, TRAILER_BYTES, crc32c, extent_bytes,
        u64_at,
    },
    state::lock,
};
use prunedb_core::ShardId;
use prunedb_disk::{File, read_all, write_atomic};
use std::{collections::VecDeque, ops::Bound, time::Duration};

/// A round is planned to take this long; 30 days are promised.
const ROUND: Duration = Duration::from_secs(20 * 24 * 3600);
const BYTES_PER_SECOND_MIN: u64 = 1_000_000;
/// Damaged shards that are remembered.
const DAMAGED_LISTED_MAX: usize = 1000;
/// Bytes between two notes of where the round is.
const NOTE_BYTES: u64 = 256 << 20;

/// How far scrubbing is. Times are in seconds since 1970; what is not said otherwise survives a restart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScrubStatus {
    /// rounds that were completed, since the folder was made
    pub rounds: u64,
    /// when the last of them ended; zero before the first one
    pub last_ended: u64,
    /// when this round began; zero between two rounds
    pub began: u64,
    /// shards checked in this round
    pub shards: u64,
    /// their bytes
    pub bytes: u64,
    /// how many shards were found damaged, since the folder was made
    pub damaged_count: u64,
    /// those that were found since the node started; the newest thousand
    pub damaged: VecDeque<ShardId>,
}

/// Where a round is.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    status: ScrubStatus,
    /// the last shard that was checked
    after: Option<ShardId>,
    /// bytes since that was noted on the disk
    unnoted: u64,
}

impl Scrub {
    /// Goes on where the last run of the node was; a damaged or missing note begins a round.
    pub(crate) fn load(node: &crate::core::Inner) -> Self {
        let path = node.config.dir.join("scrub");
        let bytes = read_all(&*node.disk, &path, NOTE_FILE_BYTES).unwrap_or_default();
        decode_note(&bytes).unwrap_or_default()
    }
}

impl Node {
    /// How far scrubbing is.
    pub fn scrub_status(&self) -> ScrubStatus {
        lock(&self.inner.scrub).status.clone()
    }

    /// Checks the next shard; its bytes, or `None` where a round has ended. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Those of the disk, where it cannot be told which shard is next.
    pub fn scrub_step(&self, now: u64) -> Result<Option<u64>, NodeError> {
        let after = lock(&self.inner.scrub).after;
        let mut from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let next = loop {
            let (next, more) = self.inner.scan(from, 1)?;
            match more {
                Some(last) if next.is_empty() => from = Bound::Excluded(last),
                _ => break next.into_iter().next(),
            }
        };
        let Some((id, entry)) = next else {
            if after.is_some() {
                self.end_round(now);
            }
            return Ok(None);
        };
        let checked = match self.inner.find(id) {
            Ok(Some((now, segment))) if now == entry => {
                let place = entry.place(id);
                let frame = check_frame(&*segment.file, &segment.mark, place);
                frame.and_then(|()| place.read_all(&*segment.file, |_| {}))
            }
            // it was deleted or replaced
            Ok(_) => Ok(()),
            Err(NodeError::Damaged { offset, .. }) => Err(BadBlock { offset, source: None }),
            Err(e) => {
                // the others are checked all the same
                lock(&self.inner.scrub).after = Some(id);
                return Err(e);
            }
        };
        let damaged = match checked {
            Ok(()) => false,
            // deleted or replaced while it was read
            Err(_) if !self.inner.is_still(id, &entry) => false,
            Err(BadBlock { offset, source }) => {
                tracing::warn!(%id, offset, ?source, "scrubbing found a damaged block");
                self.inner.note_damage(id, &entry);
                true
            }
        };
        let mut scrub = lock(&self.inner.scrub);
        if scrub.after.replace(id).is_none() {
            scrub.status.began = now;
        }
        scrub.status.shards += 1;
        scrub.status.bytes += entry.shard_bytes();
        if damaged {
            scrub.status.damaged_count += 1;
            if scrub.status.damaged.len() >= DAMAGED_LISTED_MAX {
                scrub.status.damaged.pop_front();
            }
            scrub.status.damaged.push_back(id);
        }
        scrub.unnoted += entry.shard_bytes();
        if scrub.unnoted >= NOTE_BYTES {
            self.note_scrub(&mut scrub);
        }
        Ok(Some(entry.shard_bytes()))
    }

    fn end_round(&self, now: u64) {
        let mut scrub = lock(&self.inner.scrub);
        scrub.after = None;
        let status = &mut scrub.status;
        status.rounds += 1;
        (status.last_ended, status.began) = (now, 0);
        (status.shards, status.bytes) = (0, 0);
        self.note_scrub(&mut scrub);
    }

    /// Bytes per second that are to be checked, so that a round takes as long as planned.
    pub fn scrub_pace(&self) -> u64 {
        let all = lock(&self.inner.state).used_bytes;
        (all / ROUND.as_secs()).max(BYTES_PER_SECOND_MIN)
    }

    /// How long to wait after so many bytes.
    pub(crate) fn scrub_pause(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / self.scrub_pace())
    }

    /// Notes where the round is; without a note, the next start begins one.
    fn note_scrub(&self, scrub: &mut Scrub) {
        scrub.unnoted = 0;
        let path = self.inner.config.dir.join("scrub");
        if let Err(e) = write_atomic(&*self.inner.disk, &path, &encode_note(scrub)) {
            tracing::warn!(error = %e, "cannot note how far scrubbing is");
        }
    }

    /// Notes where the round is, before the node is given up.
    pub(crate) fn pause_scrub(&self) {
        let mut scrub = lock(&self.inner.scrub);
        if scrub.after.is_some() {
            self.note_scrub(&mut scrub);
        }
    }
}

/// Checks what a start without a snapshot needs to find the shard: its record's header and trailer.
fn check_frame(file: &dyn File, mark: &Mark, place: Place) -> Result<(), BadBlock> {
    let bad = |source| BadBlock { offset: 0, source };
    let (mut header, mut trailer) = ([0; HEADER_BYTES], [0; TRAILER_BYTES]);
    let end = place.offset + extent_bytes(place.shard_bytes);
    file.read_exact_at(&mut header, place.offset).map_err(|e| bad(Some(e)))?;
    file.read_exact_at(&mut trailer, end - TRAILER_BYTES as u64).map_err(|e| bad(Some(e)))?;
    let header = RecordHeader::from_bytes(&header);
    let trailer = RecordTrailer::from_bytes(&trailer).map(|trailer| trailer.record);
    let fits = |record: Option<RecordHeader>| {
        record.is_some_and(|r| {
            (r.mark, r.id, r.offset) == (*mark, place.id, place.offset)
                && r.shard_bytes == place.shard_bytes
        })
    };
    if fits(header) && fits(trailer) { Ok(()) } else { Err(bad(None)) }
}

const NOTE_MAGIC: &[u8; 8] = b"PDBSCRB\x02";
const NOTE_FILE_BYTES: usize = 88;

/// ```text
/// offset  size  field
///      0     8  magic "PDBSCRB\x02"
///      8    24  the last shard that was checked; zeros between two rounds
///     32     8  rounds completed, u64
///     40     8  when the last one ended, u64: seconds since 1970
///     48     8  when this one began, u64
///     56     8  shards checked in this one, u64
///     64     8  their bytes, u64
///     72     8  shards found damaged so far, u64
///     80     4  zero
///     84     4  CRC-32C of bytes 0..84
/// ```
fn encode_note(scrub: &Scrub) -> [u8; NOTE_FILE_BYTES] {
    let mut out = [0; NOTE_FILE_BYTES];
    out[..8].copy_from_slice(NOTE_MAGIC);
    if let Some(after) = scrub.after {
        out[8..32].copy_from_slice(&after.to_bytes());
    }
    let ScrubStatus { rounds, last_ended, began, shards, bytes, damaged_count, .. } = &scrub.status;
    let numbers = [rounds, last_ended, began, shards, bytes, damaged_count];
    for (field, number) in out[32..80].as_chunks_mut().0.iter_mut().zip(numbers) {
        *field = number.to_le_bytes();
    }
    let crc = crc32c(&out[..84]);
    out[84..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode_note(bytes: &[u8]) -> Option<Scrub> {
    let bytes: &[u8; NOTE_FILE_BYTES] = bytes.try_into().ok()?;
    let id: &[u8; 24] = bytes[8..32].first_chunk()?;
    let after = if *id == [0; 24] { None } else { Some(ShardId::from_bytes(id)?) };
    let status = ScrubStatus {
        rounds: u64_at(bytes, 32),
        last_ended: u64_at(bytes, 40),
        began: u64_at(bytes, 48),
        shards: u64_at(bytes, 56),
        bytes: u64_at(bytes, 64),
        damaged_count: u64_at(bytes, 72),
        damaged: VecDeque::new(),
    };
    let scrub = Scrub { status, after, unnoted: 0 };
    (*bytes == encode_note(&scrub)).then_some(scrub)
}

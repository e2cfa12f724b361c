//! Starting: one walk over the headers of a segment says what is in it.
//!
//! A record's trailer and the next record's header lie side by side, so each record costs one small read. Where a
//! header fails, the walk goes on page by page to the next header or trailer that carries the segment's mark; a
//! trailer found so gives its whole record back, since it says where the record begins. Where a trailer fails but
//! every block passes its check, the name is computed anew. What is behind the last record is a torn tail.
//!
//! Nothing here changes a file: the caller does, with what the walk found.

use crate::{
    block::{BadBlock, Place},
    layout::{
        DATA_OFFSET, DROP_BYTES, DROP_OFFSET, HEADER_BYTES, Mark, PAGE_BYTES, RecordHeader,
        RecordTrailer, SEGMENT_HEADER_BYTES, SEGMENT_VERSION, SegmentHeader, TRAILER_BYTES,
        drop_mark,
    },
};
use prunedb_core::{Digest, LakeId, ShardId};
use prunedb_disk::File;
use std::{cell::Cell, io};

/// Pages that the search for the next record reads at once.
const SEARCH_BYTES: u64 = 64 * PAGE_BYTES;
/// Damage that a report lists; more is only counted.
const DAMAGE_LISTED_MAX: usize = 1000;

/// What a node found when it started.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenReport {
    /// segments that are open
    pub segments: u64,
    /// of these, looked at record by record: all others are as the last clean stop left them
    pub segments_walked: u64,
    /// shards that count
    pub shards: u64,
    /// uploads that were never committed, and are dropped now
    pub uploads_dropped: u64,
    /// bytes cut from the ends of segments
    pub bytes_cut: u64,
    /// what is damaged; the first thousand
    pub damage: Vec<Damage>,
    /// how much is damaged
    pub damage_count: u64,
}

/// Something that a disk did not keep as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Damage {
    /// A segment's header; its records were found without it, and nothing more is written to it.
    SegmentHeader {
        /// which
        segment: u32,
    },
    /// A file that no record of this version can be found in; left alone.
    NotASegment {
        /// which
        segment: u32,
        /// its version, where it has one
        version: Option<u32>,
    },
    /// Parts of a segment cannot be read at all; nothing in it was changed.
    Unreadable {
        /// which
        segment: u32,
    },
    /// A record's header; `recovered` by its trailer, or lost.
    Header {
        /// which segment
        segment: u32,
        /// where the header belongs
        offset: u64,
        /// bytes to the next good record
        bytes: u64,
        /// the record, where the trailer gave it back
        recovered: Option<ShardId>,
    },
    /// A record's trailer; `recovered` by its blocks, or lost.
    Trailer {
        /// which segment
        segment: u32,
        /// where the record begins
        offset: u64,
        /// which shard
        id: ShardId,
        /// whether all blocks are good
        recovered: bool,
    },
    /// Bytes of one of the last commits before a crash; what is good of it can be read, and a put replaces it.
    Shard {
        /// which segment
        segment: u32,
        /// which shard
        id: ShardId,
    },
    /// A fence; nothing is written to the lake until it is fenced anew, not below the highest term of its shards.
    Fence {
        /// which lake
        lake: LakeId,
    },
    /// A head; other nodes have it.
    Head {
        /// which lake
        lake: LakeId,
    },
    /// Records of a value log; what is good of it can be read, and it is never rewritten or removed.
    Log {
        /// which namespace
        namespace: u32,
        /// which log
        log: u32,
    },
    /// The settings of a namespace; its logs are left alone.
    Settings {
        /// which namespace
        namespace: u32,
    },
}

impl OpenReport {
    pub(crate) fn damaged(&mut self, damage: Damage) {
        tracing::warn!(?damage, "damage found at start");
        self.damage_count += 1;
        if self.damage.len() < DAMAGE_LISTED_MAX {
            self.damage.push(damage);
        }
    }
}

/// A record as the walk saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) header: RecordHeader,
    pub(crate) fate: Fate,
}

/// Whether a record counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// its trailer is good
    Committed(RecordTrailer),
    /// it was never committed
    Open,
    /// its trailer holds something else than a trailer
    Unsure,
    /// it has a drop mark; `true`: its space was not given back yet
    Dropped(bool),
}

/// What is in a segment.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) mark: Mark,
    pub(crate) records: Vec<Found>,
    /// whether records may be appended: nothing was damaged
    pub(crate) healthy: bool,
    /// bytes that belong to no record, between records
    pub(crate) gap_bytes: u64,
    /// whether parts could not be read at all: nothing is dropped or cut then, the disk may come back
    pub(crate) unreadable: bool,
}

/// What a file is.
#[derive(Debug)]
pub(crate) enum Walked {
    Segment(Walk),
    /// no record was ever written to it
    Empty,
    /// nothing to touch
    Foreign,
}

/// Looks at every record of a segment.
pub(crate) fn walk(file: &dyn File, number: u32, report: &mut OpenReport) -> io::Result<Walked> {
    let file_bytes = file.len()?;
    let reader = Reader { file, failed: Cell::new(false) };
    let mut page = [0; SEGMENT_HEADER_BYTES];
    reader.read(&mut page, 0);
    let header = SegmentHeader::from_bytes(&page);
    if let Some(SegmentHeader { version, .. }) = header
        && version != SEGMENT_VERSION
    {
        report.damaged(Damage::NotASegment { segment: number, version: Some(version) });
        return Ok(Walked::Foreign);
    }
    let header = header.filter(|header| header.number == number);
    let mark = match header {
        Some(header) => header.mark,
        None => match search(&reader, PAGE_BYTES - 1, file_bytes, None) {
            Some(found) => {
                report.damaged(Damage::SegmentHeader { segment: number });
                found.mark()
            }
            None if file_bytes <= PAGE_BYTES && !reader.failed.get() => return Ok(Walked::Empty),
            None => {
                report.damaged(Damage::NotASegment { segment: number, version: None });
                return Ok(Walked::Foreign);
            }
        },
    };
    let walk = Walk {
        mark,
        records: Vec::new(),
        healthy: header.is_some(),
        gap_bytes: 0,
        unreadable: false,
    };
    let mut walk = Walker { reader: &reader, file_bytes, number, walk }.run(report);
    if reader.failed.get() {
        report.damaged(Damage::Unreadable { segment: number });
        (walk.unreadable, walk.healthy) = (true, false);
    }
    Ok(Walked::Segment(walk))
}

struct Walker<'a> {
    reader: &'a Reader<'a>,
    file_bytes: u64,
    number: u32,
    walk: Walk,
}

/// A trailer of the record before, a header and its drop mark.
const WINDOW_BYTES: usize = TRAILER_BYTES + HEADER_BYTES + DROP_BYTES;

impl Walker<'_> {
    fn run(mut self, report: &mut OpenReport) -> Walk {
        let mut at = PAGE_BYTES;
        let mut before: Option<(RecordHeader, bool)> = None;
        loop {
            let mut window = [0; WINDOW_BYTES];
            self.reader.read(&mut window, at - TRAILER_BYTES as u64);
            if let Some((header, dropped)) = before.take() {
                self.end_record(header, dropped, &window);
            }
            if at >= self.file_bytes {
                return self.walk;
            }
            let header = window[TRAILER_BYTES..].first_chunk().and_then(RecordHeader::from_bytes);
            match header.filter(|header| self.is_here(header, at)) {
                Some(header) => {
                    let drop_at = TRAILER_BYTES + usize::try_from(DROP_OFFSET).expect("128");
                    let dropped = window[drop_at..] == drop_mark(&self.walk.mark, header.id, at);
                    before = Some((header, dropped));
                    at = header.end();
                }
                None => match search(self.reader, at, self.file_bytes, Some(&self.walk.mark)) {
                    None => return self.walk,
                    Some(Sign::Header(next)) => {
                        self.gap(at, next.offset, report);
                        at = next.offset;
                    }
                    Some(Sign::Trailer(trailer)) => {
                        let header = trailer.record;
                        if header.offset > at {
                            self.gap(at, header.offset, report);
                        }
                        self.recovered(trailer, report);
                        at = header.end();
                    }
                },
            }
        }
    }

    fn is_here(&self, header: &RecordHeader, at: u64) -> bool {
        header.mark == self.walk.mark && header.offset == at
    }

    /// The record's trailer is at the front of the window.
    fn end_record(&mut self, header: RecordHeader, dropped: bool, window: &[u8; WINDOW_BYTES]) {
        let bytes: &[u8; TRAILER_BYTES] = window.first_chunk().expect("a window is longer");
        let complete = header.end() <= self.file_bytes;
        let empty = bytes.iter().all(|&b| b == 0);
        let trailer = RecordTrailer::from_bytes(bytes).filter(|trailer| {
            let it = trailer.record;
            it.id == header.id
                && it.shard_bytes == header.shard_bytes
                && self.is_here(&it, header.offset)
        });
        let fate = match trailer {
            _ if dropped => Fate::Dropped(!empty),
            Some(trailer) => Fate::Committed(trailer),
            None if complete && !empty => Fate::Unsure,
            None => Fate::Open,
        };
        self.walk.records.push(Found { place: place_of(&header), header, fate });
    }

    fn gap(&mut self, from: u64, to: u64, report: &mut OpenReport) {
        self.walk.healthy = false;
        self.walk.gap_bytes += to - from;
        let (segment, bytes) = (self.number, to - from);
        report.damaged(Damage::Header { segment, offset: from, bytes, recovered: None });
    }

    fn recovered(&mut self, trailer: RecordTrailer, report: &mut OpenReport) {
        self.walk.healthy = false;
        let header = trailer.record;
        report.damaged(Damage::Header {
            segment: self.number,
            offset: header.offset,
            bytes: header.end() - header.offset,
            recovered: Some(header.id),
        });
        let mut mark = [0; DROP_BYTES];
        self.reader.read(&mut mark, header.offset + DROP_OFFSET);
        let fate = if mark == drop_mark(&self.walk.mark, header.id, header.offset) {
            Fate::Dropped(true)
        } else {
            Fate::Committed(trailer)
        };
        self.walk.records.push(Found { place: place_of(&header), header, fate });
    }
}

fn place_of(header: &RecordHeader) -> Place {
    Place { id: header.id, offset: header.offset, shard_bytes: header.shard_bytes }
}

/// What a search can find.
enum Sign {
    Header(RecordHeader),
    Trailer(RecordTrailer),
}

impl Sign {
    fn mark(&self) -> Mark {
        match self {
            Self::Header(header) => header.mark,
            Self::Trailer(trailer) => trailer.record.mark,
        }
    }
}

/// The first header behind `from`, or trailer of a record that begins there or behind. Without a mark any one counts.
fn search(reader: &Reader<'_>, from: u64, file_bytes: u64, mark: Option<&Mark>) -> Option<Sign> {
    let is_ours = |record: &RecordHeader| mark.is_none_or(|mark| record.mark == *mark);
    let page = usize::try_from(PAGE_BYTES).expect("4096");
    let mut at = (from + 1).next_multiple_of(PAGE_BYTES);
    let mut buf = vec![0; usize::try_from(SEARCH_BYTES).expect("small") + TRAILER_BYTES];
    // one page behind the end: there the last trailer ends
    while at <= file_bytes.next_multiple_of(PAGE_BYTES) {
        reader.read(&mut buf, at - TRAILER_BYTES as u64);
        for (nth, window) in buf.windows(TRAILER_BYTES + HEADER_BYTES).step_by(page).enumerate() {
            let here = at + nth as u64 * PAGE_BYTES;
            let trailer = window.first_chunk().and_then(RecordTrailer::from_bytes);
            if let Some(trailer) = trailer.filter(|trailer| {
                let record = trailer.record;
                is_ours(&record) && record.offset >= from && record.end() == here
            }) {
                return Some(Sign::Trailer(trailer));
            }
            let header = window[TRAILER_BYTES..].first_chunk().and_then(RecordHeader::from_bytes);
            if let Some(header) = header.filter(|h| is_ours(h) && h.offset == here) {
                return Some(Sign::Header(header));
            }
        }
        at += SEARCH_BYTES;
    }
    None
}

/// Reads what can be read, and remembers whether that was all.
struct Reader<'a> {
    file: &'a dyn File,
    failed: Cell<bool>,
}

impl Reader<'_> {
    /// Fills `buf`; what is behind the end, or unreadable, is zero.
    fn read(&self, buf: &mut [u8], offset: u64) {
        buf.fill(0);
        if self.file.read_at(buf, offset).is_ok() {
            return;
        }
        self.failed.set(true);
        buf.fill(0);
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let to_page_end = usize::try_from(PAGE_BYTES - at % PAGE_BYTES).expect("at most 4096");
            let end = buf.len().min(done + to_page_end);
            if self.file.read_at(&mut buf[done..end], at).is_err() {
                buf[done..end].fill(0);
            }
            done = end;
        }
    }
}

/// The name of a record's bytes; `None` where a block fails its check.
pub(crate) fn name_of(file: &dyn File, place: Place) -> io::Result<Option<Digest>> {
    let mut hasher = blake3::Hasher::new();
    match place.read_all(file, |bytes| _ = hasher.update(bytes)) {
        Ok(()) => Ok(Some(Digest(*hasher.finalize().as_bytes()))),
        Err(BadBlock { source: None, .. }) => Ok(None),
        Err(BadBlock { source: Some(e), .. }) if e.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(None)
        }
        Err(BadBlock { source: Some(e), .. }) => Err(e),
    }
}

const _: () = assert!(DATA_OFFSET < PAGE_BYTES);

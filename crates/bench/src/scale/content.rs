//! What the lake holds: records whose bytes follow from their number, so that nobody has to store 100 TB.
//!
//! A container is [`RECORDS`] records of [`RECORD_BYTES`], without a footer: nothing here reads one. The manifest needs the
//! checksum of every frame, of which there are 7.6 * 10^8 in 100 TB. They are the same in all containers: the last four
//! bytes of each record's part in a frame are such that its CRC register ends as it began. What follows then has a
//! checksum that depends on its place alone, whatever the keys and values are.

use prunedb_codec::FrameTable;
use prunedb_core::{ContainerId, units::FRAME_BYTES};
use prunedb_format::{container::RECORD_HEADER_BYTES, crc32c};
use prunedb_index::Location;
use std::ops::Range;

/// Records of a container.
pub(super) const RECORDS: u64 = 1000;
/// A multiple of 64, so that no record begins within 64 bytes of a frame's end: see [`Content::frame`].
pub(super) const RECORD_BYTES: u64 = 99_968;
/// Where the first record begins; zeros before.
const FIRST: u64 = 64;
pub(super) const KEY_BYTES: usize = 32;
pub(super) const VALUE_BYTES: usize = 99_920;
const _: () = assert!((RECORD_HEADER_BYTES + KEY_BYTES + VALUE_BYTES) as u64 == RECORD_BYTES);
pub(super) const CONTAINER_BYTES: u64 = FIRST + RECORDS * RECORD_BYTES;
const _: () = assert!(RECORD_BYTES.is_multiple_of(64) && RECORD_BYTES < FRAME_BYTES as u64);

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The key of a record: 32 bytes that look random.
pub(super) fn key(record: u64) -> [u8; KEY_BYTES] {
    let mut out = [0; KEY_BYTES];
    for (i, part) in (0..).zip(out.chunks_exact_mut(8)) {
        let word = record.wrapping_mul(4).wrapping_add(i);
        part.copy_from_slice(&mix(word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes());
    }
    out
}

/// Where a record is.
pub(super) fn location(record: u64) -> Location {
    let offset = FIRST + record % RECORDS * RECORD_BYTES;
    Location {
        container: u32::try_from(record / RECORDS).expect("at most 2^32 containers"),
        offset: u32::try_from(offset).expect("within a container"),
    }
}

/// Makes frames of containers.
#[derive(Debug)]
pub(super) struct Content {
    table: u32,
    /// register from which four bytes of zeros lead back to all ones
    before_end: u32,
}

impl Content {
    /// Of records of this table.
    pub(super) fn new(table: u32) -> Self {
        Self { table, before_end: four_bytes_before(u32::MAX) }
    }

    /// The frame table of every container.
    pub(super) fn frame_table(&self) -> Vec<u8> {
        // format: frame table
        let mut out = b"PDBFRTB\x01".to_vec();
        let frames: Vec<Vec<u8>> = (0..frame_count()).map(|frame| self.frame(0, frame)).collect();
        out.extend_from_slice(&1u32.to_le_bytes());
        out.extend_from_slice(&bytes_u32(FRAME_BYTES).to_le_bytes());
        out.extend_from_slice(&CONTAINER_BYTES.to_le_bytes());
        out.extend_from_slice(&CONTAINER_BYTES.to_le_bytes());
        out.extend_from_slice(&bytes_u32(frames.len()).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for frame in frames {
            out.extend_from_slice(&(bytes_u32(frame.len()) | 1 << 31).to_le_bytes());
            out.extend_from_slice(&crc32c(&frame).to_le_bytes());
        }
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        FrameTable::decode(&out).expect("as the format says");
        out
    }

    /// Bytes of a container, zeros past its end.
    pub(super) fn read(&self, container: ContainerId, range: Range<u64>) -> Vec<u8> {
        let mut out = Vec::with_capacity(length(range.clone()));
        let mut at = range.start;
        while at < range.end.min(CONTAINER_BYTES) {
            let frame = at / FRAME_BYTES as u64;
            let bytes = self.frame(container.number, frame);
            let start = frame * FRAME_BYTES as u64;
            let end = range.end.min(start + bytes.len() as u64);
            out.extend_from_slice(&bytes[length(start..at)..length(start..end)]);
            at = end;
        }
        out.resize(length(range), 0);
        out
    }

    /// One frame. Each part of a record in it ends with four bytes that make its CRC register all ones; its first part is
    /// longer than header and key, so that they are never those four.
    fn frame(&self, container: u32, frame: u64) -> Vec<u8> {
        let start = frame * FRAME_BYTES as u64;
        let end = CONTAINER_BYTES.min(start + FRAME_BYTES as u64);
        let mut out = vec![0; length(start..end)];
        let first = start.saturating_sub(FIRST) / RECORD_BYTES;
        for record in first..RECORDS {
            let begin = FIRST + record * RECORD_BYTES;
            if begin >= end {
                break;
            }
            let part = begin.max(start)..(begin + RECORD_BYTES).min(end);
            let within = length(start..part.start)..length(start..part.end);
            let skip = length(begin..part.start);
            self.part(u64::from(container) * RECORDS + record, skip, &mut out[within]);
        }
        out
    }

    /// The part of a record that begins at its byte `skip`.
    fn part(&self, record: u64, skip: usize, out: &mut [u8]) {
        let head = if skip == 0 { RECORD_HEADER_BYTES + KEY_BYTES } else { 0 };
        let seed = mix(record ^ 0x5555_5555_5555_5555);
        let words = (skip + head) as u64 / 8..;
        for (word, chunk) in words.zip(out[head..].chunks_mut(8)) {
            let bytes = (seed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        if skip == 0 {
            // format: container, record; the checksum, at 0, comes out as 0
            out[4..8].copy_from_slice(&bytes_u32(VALUE_BYTES).to_le_bytes());
            out[8..10].copy_from_slice(&32u16.to_le_bytes());
            out[10] = 1;
            out[12..16].copy_from_slice(&self.table.to_le_bytes());
            out[RECORD_HEADER_BYTES..head].copy_from_slice(&key(record));
        }
        let covered = if skip == 0 { 4 } else { 0 };
        let (body, last) = out[covered..].split_last_chunk_mut::<4>().expect("parts are longer");
        let register = !crc32c(body);
        *last = (register ^ self.before_end).to_le_bytes();
    }

    /// The value of a record.
    pub(super) fn value(&self, record: u64) -> Vec<u8> {
        let at = location(record);
        let start = u64::from(at.offset) + (RECORD_HEADER_BYTES + KEY_BYTES) as u64;
        self.read(ContainerId::data(at.container), start..start + VALUE_BYTES as u64)
    }
}

fn frame_count() -> u64 {
    CONTAINER_BYTES.div_ceil(FRAME_BYTES as u64)
}

fn length(range: Range<u64>) -> usize {
    usize::try_from(range.end - range.start).expect("within a container")
}

fn bytes_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("within a container")
}

/// The CRC-32C register from which four bytes of zeros lead to this one.
fn four_bytes_before(mut register: u32) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|byte| {
        let byte = u32::try_from(byte).expect("8 bits");
        (0..8).fold(byte, |r, _| if r & 1 == 1 { r >> 1 ^ 0x82f6_3b78 } else { r >> 1 })
    });
    for _ in 0..4 {
        let byte = (0..256).find(|&b| table[b] >> 24 == register >> 24);
        let byte = byte.expect("the high bytes of the table are all different");
        register = (register ^ table[byte]) << 8 | bytes_u32(byte);
    }
    register
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunedb_format::container::RecordView;

    #[test]
    fn records_are_whole_and_frames_have_the_same_checksums_everywhere() {
        let content = Content::new(1);
        let table = FrameTable::decode(&content.frame_table()).unwrap();
        assert_eq!(table.container_bytes(), CONTAINER_BYTES);
        for container in [0, 3, u32::MAX] {
            for frame in [0, 1, 2, 400, frame_count() - 1] {
                let expected = table.frame(u32::try_from(frame).unwrap()).unwrap();
                let bytes = content.frame(container, frame);
                assert_eq!((bytes.len(), crc32c(&bytes)), (expected.frame_bytes(), expected.crc));
            }
        }
        for record in [0, 1, 2, 999, 1000, 123_456_789] {
            let at = location(record);
            let start = u64::from(at.offset);
            let bytes = content.read(ContainerId::data(at.container), start..start + RECORD_BYTES);
            let view = RecordView::decode(&bytes).unwrap();
            assert_eq!((view.key, view.value), (&key(record)[..], &content.value(record)[..]));
        }
        assert_ne!(content.value(1), content.value(1001));
    }
}

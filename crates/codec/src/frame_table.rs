//! The frame table: where each frame of a container lies in the coded stream, and how its bytes are checked.
//!
//! ```text
//! offset  size  field
//!      0     8  magic            "PDBFRTB\x01"
//!      8     4  version          u32
//!     12     4  frame_bytes      u32, 131,072
//!     16     8  container_bytes  u64
//!     24     8  coded_bytes      u64
//!     32     4  frame_count      u32
//!     36     4  zero
//!     40   8*n  frames           coded length u32 (bit 31: raw), CRC-32C of the container's bytes u32
//! 40+8*n     4  crc              CRC-32C of all before
//! ```
//! Little-endian. In memory a frame takes 8 bytes: its start in the coded stream, its checksum.
//!
//! Invariants: frames are in order and gapless; a raw frame is as long as the frame, a compressed one shorter, never empty.

use prunedb_core::units::{CONTAINER_BYTES_MAX, FRAME_BYTES};
use prunedb_format::{FormatError, crc32c};
use std::ops::Range;

const MAGIC: [u8; 8] = *b"PDBFRTB\x01";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 40;
const ENTRY_BYTES: usize = 8;
const CRC_BYTES: usize = 4;
const RAW: u32 = 1 << 31;
const WHAT: &str = "frame table";
#[expect(clippy::cast_possible_truncation, reason = "128 KiB")]
const FRAME_BYTES_U32: u32 = FRAME_BYTES as u32;
// starts are kept as u32, and lengths leave bit 31 free
const _: () = assert!(CONTAINER_BYTES_MAX < 1 << 31);

/// All frames of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameTable {
    container_bytes: u64,
    coded_bytes: u32,
    frames: Vec<Entry>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    coded_start: u32,
    crc: u32,
}

/// One frame: where it is, and what its bytes must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// its number, from 0
    pub index: u32,
    /// its bytes of the container
    pub container: Range<u64>,
    /// its bytes of the coded stream
    pub coded: Range<u64>,
    /// CRC-32C of its bytes of the container
    pub crc: u32,
}

impl Frame {
    /// Length of its bytes of the container.
    pub fn frame_bytes(&self) -> usize {
        usize::try_from(self.container.end - self.container.start).expect("at most 128 KiB")
    }

    /// Length of its bytes of the coded stream.
    pub fn coded_bytes(&self) -> usize {
        usize::try_from(self.coded.end - self.coded.start).expect("at most 128 KiB")
    }

    /// Whether it is stored as it is.
    pub fn is_raw(&self) -> bool {
        self.coded_bytes() == self.frame_bytes()
    }
}

impl FrameTable {
    /// A table to which frames are pushed in order.
    pub(crate) fn builder(container_bytes: u64) -> Self {
        Self {
            container_bytes,
            coded_bytes: 0,
            frames: Vec::with_capacity(frame_count(container_bytes)),
        }
    }

    /// Appends the next frame.
    pub(crate) fn push(&mut self, coded_bytes: usize, crc: u32) {
        self.frames.push(Entry { coded_start: self.coded_bytes, crc });
        self.coded_bytes += u32::try_from(coded_bytes).expect("at most 128 KiB");
    }

    /// Length of the container.
    pub fn container_bytes(&self) -> u64 {
        self.container_bytes
    }

    /// Length of the coded stream.
    pub fn coded_bytes(&self) -> u64 {
        self.coded_bytes.into()
    }

    /// How many frames there are.
    pub fn frame_count(&self) -> u32 {
        u32::try_from(self.frames.len()).expect("bounded by the largest container")
    }

    /// A frame by its number. O(1).
    pub fn frame(&self, index: u32) -> Option<Frame> {
        let at = usize::try_from(index).ok()?;
        let entry = self.frames.get(at)?;
        let coded_end = self.frames.get(at + 1).map_or(self.coded_bytes, |next| next.coded_start);
        let start = u64::from(index) * FRAME_BYTES as u64;
        Some(Frame {
            index,
            container: start..self.container_bytes.min(start + FRAME_BYTES as u64),
            coded: entry.coded_start.into()..coded_end.into(),
            crc: entry.crc,
        })
    }

    /// The frame that holds a byte of the container. O(1).
    pub fn frame_at(&self, container_offset: u64) -> Option<Frame> {
        self.frame(u32::try_from(container_offset / FRAME_BYTES as u64).ok()?)
            .filter(|frame| frame.container.contains(&container_offset))
    }

    /// All frames in order.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Frame> + '_ {
        (0..self.frame_count()).map(|index| self.frame(index).expect("below the count"))
    }

    /// The table's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(encoded_bytes(self.frames.len()));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&FRAME_BYTES_U32.to_le_bytes());
        out.extend_from_slice(&self.container_bytes.to_le_bytes());
        out.extend_from_slice(&self.coded_bytes().to_le_bytes());
        out.extend_from_slice(&self.frame_count().to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for frame in self.frames() {
            let length = u32::try_from(frame.coded_bytes()).expect("at most 128 KiB");
            let raw = if frame.is_raw() { RAW } else { 0 };
            out.extend_from_slice(&(length | raw).to_le_bytes());
            out.extend_from_slice(&frame.crc.to_le_bytes());
        }
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`FormatError`] where the bytes are none: wrong magic, version or checksum, lengths that do not add up.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let value = |found: u64| FormatError::Value { what: WHAT, found };
        let (header, rest) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(FormatError::Truncated {
                what: WHAT,
                needed: encoded_bytes(0) as u64,
                found: bytes.len() as u64,
            })?;
        let magic = array(header, 0);
        if magic != MAGIC {
            return Err(FormatError::Magic { what: WHAT, found: magic });
        }
        let version = u32::from_le_bytes(array(header, 8));
        if version != VERSION {
            return Err(FormatError::Version { what: WHAT, found: version, known: VERSION });
        }
        let frame_bytes = u32::from_le_bytes(array(header, 12));
        if frame_bytes != FRAME_BYTES_U32 {
            return Err(value(frame_bytes.into()));
        }
        let container_bytes = u64::from_le_bytes(array(header, 16));
        if container_bytes > CONTAINER_BYTES_MAX as u64 {
            return Err(value(container_bytes));
        }
        let count = frame_count(container_bytes);
        let stored_count = u32::from_le_bytes(array(header, 32));
        if u64::from(stored_count) != count as u64 {
            return Err(value(stored_count.into()));
        }
        let zero = u32::from_le_bytes(array(header, 36));
        if zero != 0 {
            return Err(value(zero.into()));
        }
        let (needed, found) = (encoded_bytes(count) as u64, bytes.len() as u64);
        if found < needed {
            return Err(FormatError::Truncated { what: WHAT, needed, found });
        }
        if found > needed {
            return Err(value(found));
        }
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().expect("its length was checked");
        let (expected, found) = (u32::from_le_bytes(*crc), crc32c(body));
        if expected != found {
            return Err(FormatError::Checksum { what: WHAT, expected, found });
        }

        let mut table = Self::builder(container_bytes);
        let entries = rest[..count * ENTRY_BYTES].chunks_exact(ENTRY_BYTES);
        for (index, entry) in entries.enumerate() {
            let length = u32::from_le_bytes(array(entry, 0));
            let coded = usize::try_from(length & !RAW).map_err(|_| value(length.into()))?;
            let frame_start = (index * FRAME_BYTES) as u64;
            let frame_bytes = (container_bytes - frame_start).min(FRAME_BYTES as u64);
            let fits = match (coded as u64).cmp(&frame_bytes) {
                std::cmp::Ordering::Less => length & RAW == 0 && coded > 0,
                std::cmp::Ordering::Equal => length & RAW != 0,
                std::cmp::Ordering::Greater => false,
            };
            if !fits {
                return Err(value(length.into()));
            }
            table.push(coded, u32::from_le_bytes(array(entry, 4)));
        }
        let coded_bytes = u64::from_le_bytes(array(header, 24));
        if coded_bytes != table.coded_bytes() {
            return Err(value(coded_bytes));
        }
        Ok(table)
    }
}

/// Frames of a container of that length.
pub(crate) fn frame_count(container_bytes: u64) -> usize {
    usize::try_from(container_bytes.div_ceil(FRAME_BYTES as u64)).expect("containers are bounded")
}

fn encoded_bytes(frame_count: usize) -> usize {
    HEADER_BYTES + frame_count * ENTRY_BYTES + CRC_BYTES
}

/// `N` bytes at a place that is there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A table with frames of these lengths, each cut to what its frame can have.
    fn table(container_bytes: u64, lengths: &[usize]) -> FrameTable {
        let mut table = FrameTable::builder(container_bytes);
        for index in 0..frame_count(container_bytes) {
            let frame = (container_bytes - (index * FRAME_BYTES) as u64).min(FRAME_BYTES as u64);
            let coded = lengths[index % lengths.len()].min(usize::try_from(frame).unwrap());
            table.push(coded, u32::try_from(index).unwrap() * 77);
        }
        table
    }

    fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(bytes.len() - CRC_BYTES);
        let crc = crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn frames_are_found_by_offset() {
        let table = table(300_000, &[1000, FRAME_BYTES, 5]);
        assert_eq!(table.frame_count(), 3);
        let second = table.frame_at(131_072).unwrap();
        assert_eq!((second.index, second.coded.clone(), second.is_raw()), (1, 1000..132_072, true));
        let last = table.frame_at(299_999).unwrap();
        assert_eq!(
            (last.container.clone(), last.coded.clone()),
            (262_144..300_000, 132_072..132_077)
        );
        assert!(!last.is_raw());
        assert_eq!(table.frame_at(300_000), None);
        assert_eq!(table.frame_at(u64::MAX), None);
        assert_eq!(table.frame(3), None);
    }

    #[test]
    fn an_empty_container_has_an_empty_table() {
        let empty = FrameTable::builder(0);
        assert_eq!(FrameTable::decode(&empty.encode()), Ok(empty.clone()));
        assert_eq!((empty.frame_at(0), empty.coded_bytes()), (None, 0));
    }

    #[test]
    fn contradictions_are_refused_even_with_a_good_checksum() {
        let good = table(300_000, &[1000, FRAME_BYTES, 5]).encode();
        let changed = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            FrameTable::decode(&with_crc(bad))
        };
        let value = |found| Err(FormatError::Value { what: WHAT, found });
        assert!(matches!(changed(0, b"X"), Err(FormatError::Magic { .. })));
        assert!(matches!(changed(8, &[2]), Err(FormatError::Version { found: 2, .. })));
        assert_eq!(changed(12, &[1]), value(131_073));
        assert_eq!(changed(16, &[0xff; 8]), value(u64::MAX));
        assert_eq!(changed(24, &[0]), value(132_077 & !0xff));
        assert_eq!(changed(32, &[4]), value(4));
        assert_eq!(changed(36, &[1]), value(1));
        assert_eq!(changed(40, &[0, 0, 0, 0]), value(0), "an empty frame");
        assert_eq!(changed(43, &[0x80]), value(1000 | 1 << 31), "raw, but shorter");
        assert_eq!(changed(48, &[0, 0, 2, 0]), value(131_072), "full length, but not raw");
        assert_eq!(
            changed(48, &[1, 0, 2, 0x80]),
            value(131_073 | 1 << 31),
            "longer than its frame"
        );
        assert!(matches!(changed(40, &[1]), Err(FormatError::Value { .. })), "another sum");
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(FrameTable::decode(&longer), Err(FormatError::Value { .. })));
        assert!(matches!(FrameTable::decode(&good[..50]), Err(FormatError::Truncated { .. })));
        let mut flipped = good;
        flipped[45] ^= 1;
        assert!(matches!(FrameTable::decode(&flipped), Err(FormatError::Checksum { .. })));
    }

    proptest! {
        #[test]
        fn round_trip(container_bytes in 0u64..3_000_000, lengths in prop::collection::vec(1usize..=FRAME_BYTES, 1..8)) {
            let table = table(container_bytes, &lengths);
            prop_assert_eq!(FrameTable::decode(&table.encode()), Ok(table.clone()));
            let mut at = (0, 0);
            for frame in table.frames() {
                prop_assert_eq!((frame.container.start, frame.coded.start), at);
                at = (frame.container.end, frame.coded.end);
            }
            prop_assert_eq!(at, (container_bytes, table.coded_bytes()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(FrameTable::decode(&bytes).is_err());
        }

        #[test]
        fn damaged_tables_are_errors_or_consistent(at in 0usize..76, byte: u8) {
            let mut bytes = table(500_000, &[1000, FRAME_BYTES]).encode();
            bytes[at] = byte;
            if let Ok(table) = FrameTable::decode(&with_crc(bytes.clone())) {
                prop_assert_eq!(table.encode(), with_crc(bytes));
            }
        }
    }
}

//! The bytes of a value log: its header, and each record's header.
//!
//! ```text
//! log:     header 64 | zero | header again, at 512 | zero | records, from 1024
//! record:  header 40 | key | value | zero, to a multiple of 16
//! ```
//! Everything is little-endian; offsets of records count in units of 16 bytes. A record's check covers the log's
//! secret mark, the record's place, its header and its key: bytes of a value, whoever made them, do not pass for a
//! record, nor does a record that a disk put elsewhere. format: value-log.

use crate::layout::{array_at, crc32c, u32_at, u64_at};

/// What offsets of records count.
pub(crate) const UNIT_BYTES: u64 = 16;
/// Where the first record begins.
pub(crate) const FIRST_UNIT: u32 = 64;
/// Where the second copy of a log's header is.
pub(crate) const SECOND_HEADER_OFFSET: u64 = 512;
/// Size of a log's header.
pub(crate) const LOG_HEADER_BYTES: usize = 64;
/// Size of a record's header.
pub(crate) const HEADER_BYTES: usize = 40;
/// Longest key.
pub(crate) const KEY_BYTES_MAX: usize = 255;
/// Longest value.
pub(crate) const VALUE_BYTES_MAX: usize = 8 << 20;

const LOG_MAGIC: &[u8; 8] = b"PDBVLOG\x01";
const RECORD_MAGIC: [u8; 3] = *b"ZV\x01";

const _: () = assert!(SECOND_HEADER_OFFSET >= LOG_HEADER_BYTES as u64);
const _: () = assert!(FIRST_UNIT as u64 * UNIT_BYTES == 2 * SECOND_HEADER_OFFSET);

/// Where a record was first written: the order of all records of a namespace. Rewriting a log keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Position {
    pub(crate) log: u32,
    pub(crate) unit: u32,
}

/// The first bytes of a log, and once more at 512.
///
/// ```text
/// offset  size  field
///      0     8  magic "PDBVLOG\x01"
///      8     4  CRC-32C of bytes 0..8 and 12..64
///     12     4  number of the log, u32
///     16    16  mark: secret, random
///     32     8  next id of a sequence, u64: all ids below were given before this log was begun
///     40     8  clean through: log u32, unit u32. What was dead at this position is not in the log any more
///     48    16  zero
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogHeader {
    pub(crate) number: u32,
    pub(crate) mark: [u8; 16],
    pub(crate) next_id: u64,
    pub(crate) clean_through: Position,
}

impl LogHeader {
    pub(crate) fn to_bytes(self) -> [u8; LOG_HEADER_BYTES] {
        let mut out = [0; LOG_HEADER_BYTES];
        out[..8].copy_from_slice(LOG_MAGIC);
        out[12..16].copy_from_slice(&self.number.to_le_bytes());
        out[16..32].copy_from_slice(&self.mark);
        out[32..40].copy_from_slice(&self.next_id.to_le_bytes());
        out[40..44].copy_from_slice(&self.clean_through.log.to_le_bytes());
        out[44..48].copy_from_slice(&self.clean_through.unit.to_le_bytes());
        let crc = Self::crc(&out);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8; LOG_HEADER_BYTES]) -> Option<Self> {
        let right = bytes[..8] == *LOG_MAGIC && u32_at(bytes, 8) == Self::crc(bytes);
        right.then(|| Self {
            number: u32_at(bytes, 12),
            mark: array_at(bytes, 16),
            next_id: u64_at(bytes, 32),
            clean_through: Position { log: u32_at(bytes, 40), unit: u32_at(bytes, 44) },
        })
    }

    fn crc(bytes: &[u8; LOG_HEADER_BYTES]) -> u32 {
        let mut covered = [0; LOG_HEADER_BYTES - 4];
        covered[..8].copy_from_slice(&bytes[..8]);
        covered[8..].copy_from_slice(&bytes[12..]);
        crc32c(&covered)
    }
}

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// a key and its value
    Value,
    /// the key is gone
    Tombstone,
    /// nothing: stands where a crash left a part of what was being written
    Void,
}

/// What stands before a record's key.
///
/// ```text
/// offset  size  field
///      0     3  magic "ZV\x01"
///      3     1  kind: 0 value, 1 tombstone, 2 void
///      4     4  CRC-32C of (mark, log u32, unit u32, bytes 0..4 and 8..40, key)
///      8     4  bytes of the value, u32
///     12     1  bytes of the key
///     13     3  zero
///     16     4  timestamp: seconds, u32
///     20     4  CRC-32C of the value
///     24     4  origin: the unit where this record was first written, u32
///     28     4  before: the unit of the record in front of it, u32; 0 at the first
///     32     8  previous version of the key: log u32, unit (of origin) u32; zeros where there is none
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordHeader {
    pub(crate) kind: Kind,
    pub(crate) key_bytes: u8,
    pub(crate) value_bytes: u32,
    pub(crate) timestamp: u32,
    pub(crate) value_crc: u32,
    pub(crate) origin: u32,
    pub(crate) before: u32,
    pub(crate) previous: Option<Position>,
}

impl RecordHeader {
    /// Bytes from this record to the next.
    pub(crate) fn extent_bytes(&self) -> u64 {
        extent_bytes(self.key_bytes, self.value_bytes)
    }

    /// Units from this record to the next.
    pub(crate) fn units(&self) -> u32 {
        u32::try_from(self.extent_bytes() / UNIT_BYTES)
            .expect("a record is at most 8 MiB and a bit")
    }

    /// Bytes of header and key.
    pub(crate) fn head_bytes(&self) -> usize {
        HEADER_BYTES + usize::from(self.key_bytes)
    }

    /// Bytes of the value in memory.
    pub(crate) fn value_len(&self) -> usize {
        self.value_bytes as usize
    }

    /// Appends header and key as they stand at a place.
    pub(crate) fn put(&self, mark: &[u8; 16], at: Position, key: &[u8], out: &mut Vec<u8>) {
        debug_assert_eq!(key.len(), usize::from(self.key_bytes));
        let mut header = [0; HEADER_BYTES];
        header[..3].copy_from_slice(&RECORD_MAGIC);
        header[3] = match self.kind {
            Kind::Value => 0,
            Kind::Tombstone => 1,
            Kind::Void => 2,
        };
        header[8..12].copy_from_slice(&self.value_bytes.to_le_bytes());
        header[12] = self.key_bytes;
        header[16..20].copy_from_slice(&self.timestamp.to_le_bytes());
        header[20..24].copy_from_slice(&self.value_crc.to_le_bytes());
        header[24..28].copy_from_slice(&self.origin.to_le_bytes());
        header[28..32].copy_from_slice(&self.before.to_le_bytes());
        let previous = self.previous.unwrap_or_default();
        header[32..36].copy_from_slice(&previous.log.to_le_bytes());
        header[36..40].copy_from_slice(&previous.unit.to_le_bytes());
        let check = check(mark, at, &header, key);
        header[4..8].copy_from_slice(&check.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(key);
    }

    /// Appends zeros up to the next record.
    pub(crate) fn put_padding(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + self.padding_bytes(), 0);
    }

    /// Zeros behind the value.
    pub(crate) fn padding_bytes(&self) -> usize {
        let used = self.head_bytes() as u64 + u64::from(self.value_bytes);
        usize::try_from(self.extent_bytes() - used).expect("below a unit")
    }

    /// What the first bytes say, before their check: enough to know how many more to read.
    pub(crate) fn peek(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let kind = match header[3] {
            0 => Kind::Value,
            1 => Kind::Tombstone,
            2 => Kind::Void,
            _ => return None,
        };
        let previous = Position { log: u32_at(header, 32), unit: u32_at(header, 36) };
        let found = Self {
            kind,
            key_bytes: header[12],
            value_bytes: u32_at(header, 8),
            timestamp: u32_at(header, 16),
            value_crc: u32_at(header, 20),
            origin: u32_at(header, 24),
            before: u32_at(header, 28),
            previous: (previous.unit != 0).then_some(previous),
        };
        let right = header[..3] == RECORD_MAGIC
            && header[13..16] == [0; 3]
            && found.key_bytes > 0
            && found.value_len() <= VALUE_BYTES_MAX
            && (kind != Kind::Tombstone || found.value_bytes == 0)
            && found.origin >= FIRST_UNIT;
        right.then_some(found)
    }

    /// The record whose header and key begin the bytes, if its check is right.
    pub(crate) fn parse<'a>(
        mark: &[u8; 16],
        at: Position,
        bytes: &'a [u8],
    ) -> Option<(Self, &'a [u8])> {
        let found = Self::peek(bytes)?;
        let key = bytes.get(HEADER_BYTES..found.head_bytes())?;
        let header = bytes.first_chunk()?;
        (u32_at(header, 4) == check(mark, at, header, key)).then_some((found, key))
    }
}

/// Bytes of a record with such a key and value.
pub(crate) fn extent_bytes(key_bytes: u8, value_bytes: u32) -> u64 {
    let all = HEADER_BYTES as u64 + u64::from(key_bytes) + u64::from(value_bytes);
    all.next_multiple_of(UNIT_BYTES)
}

fn check(mark: &[u8; 16], at: Position, header: &[u8; HEADER_BYTES], key: &[u8]) -> u32 {
    let mut covered = [0; 24 + HEADER_BYTES - 4 + KEY_BYTES_MAX];
    covered[..16].copy_from_slice(mark);
    covered[16..20].copy_from_slice(&at.log.to_le_bytes());
    covered[20..24].copy_from_slice(&at.unit.to_le_bytes());
    covered[24..28].copy_from_slice(&header[..4]);
    covered[28..60].copy_from_slice(&header[8..]);
    covered[60..60 + key.len()].copy_from_slice(key);
    crc32c(&covered[..60 + key.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MARK: [u8; 16] = *b"a mark for tests";

    fn header(key: &[u8], value_bytes: u32) -> RecordHeader {
        RecordHeader {
            kind: Kind::Value,
            key_bytes: key.len().try_into().unwrap(),
            value_bytes,
            timestamp: 7,
            value_crc: 9,
            origin: FIRST_UNIT,
            before: 0,
            previous: Some(Position { log: 0, unit: 64 }),
        }
    }

    proptest! {
        #[test]
        fn headers_round_trip(
            key in prop::collection::vec(any::<u8>(), 1..=255),
            value_bytes in 0..=8_u32 << 20,
        ) {
            let at = Position { log: 3, unit: 99 };
            let header = header(&key, value_bytes);
            let mut bytes = Vec::new();
            header.put(&MARK, at, &key, &mut bytes);
            prop_assert_eq!(RecordHeader::parse(&MARK, at, &bytes), Some((header, &key[..])));
            let elsewhere = Position { log: 3, unit: 100 };
            prop_assert_eq!(RecordHeader::parse(&MARK, elsewhere, &bytes), None);
            prop_assert_eq!(RecordHeader::parse(b"another mark....", at, &bytes), None);
        }

        #[test]
        fn arbitrary_bytes_are_no_record(bytes: Vec<u8>) {
            prop_assert_eq!(RecordHeader::parse(&MARK, Position::default(), &bytes), None);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_fails_the_check() {
        let at = Position { log: 1, unit: FIRST_UNIT };
        let mut bytes = Vec::new();
        header(b"key", 100).put(&MARK, at, b"key", &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::parse(&MARK, at, &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn log_headers_round_trip() {
        let header = LogHeader {
            number: 4,
            mark: MARK,
            next_id: u64::MAX,
            clean_through: Position { log: 2, unit: 3 },
        };
        let bytes = header.to_bytes();
        assert_eq!(LogHeader::from_bytes(&bytes), Some(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(LogHeader::from_bytes(&flipped), None, "bit {bit}");
        }
    }
}

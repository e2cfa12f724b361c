//! The bytes of a segment: its header, and each record's header, drop mark and trailer.
//!
//! ```text
//! segment:  header page (4096) | record | record | ...
//! record:   header 128 | drop mark 64 | zero 64 | blocks, each with its CRC | zero | trailer 128
//!           ^ at a multiple of 4096                                     ends at a multiple of 4096 ^
//! ```
//! Everything is little-endian. Header and trailer both say where the record begins and how long it is, so one of
//! them is enough to find it. The mark, 16 secret random bytes of the segment, is in each of them: bytes of a shard
//! can never pass for a record. format: node-segment.

use prunedb_core::{Digest, ShardId, Term};

/// CRC-32C (Castagnoli).
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(crc).expect("a 32-bit checksum")
}

/// Tells records of a segment from everything else.
pub(crate) type Mark = [u8; 16];

/// Records start and end at multiples of this, so that a hole gives all of its space back.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// The used part of a segment's first page.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
/// The segment format that this code writes.
pub(crate) const SEGMENT_VERSION: u32 = 1;
/// Size of a record's header.
pub(crate) const HEADER_BYTES: usize = 128;
/// Where the drop mark is in a record.
pub(crate) const DROP_OFFSET: u64 = 128;
/// Size of the drop mark.
pub(crate) const DROP_BYTES: usize = 64;
/// Where the blocks begin in a record.
pub(crate) const DATA_OFFSET: u64 = 256;
/// Size of a record's trailer.
pub(crate) const TRAILER_BYTES: usize = 128;
/// Longest shard.
pub const SHARD_BYTES_MAX: u64 = 256 << 20;

const _: () = assert!(HEADER_BYTES as u64 == DROP_OFFSET);
const _: () = assert!(DROP_OFFSET + DROP_BYTES as u64 <= DATA_OFFSET);

const SEGMENT_MAGIC: &[u8; 8] = b"PDBSEGM\x01";
const HEADER_MAGIC: &[u8; 8] = b"PDBSHRD\x01";
const DROP_MAGIC: &[u8; 8] = b"PDBDROP\x01";
const TRAILER_MAGIC: &[u8; 8] = b"PDBDONE\x01";
const BYTE_ORDER: u32 = 0x0102_0304;

/// Data of one block; each has a checksum of its own behind it.
pub(crate) const BLOCK_BYTES: usize = 16 * 1024;
/// Size of a block's checksum.
pub(crate) const CHECK_BYTES: usize = 4;
/// From one block to the next.
pub(crate) const BLOCK_STRIDE: usize = BLOCK_BYTES + CHECK_BYTES;

/// Bytes from a record's start to the next record's.
pub(crate) const fn extent_bytes(shard_bytes: u64) -> u64 {
    let blocks = shard_bytes.div_ceil(BLOCK_BYTES as u64);
    let all = DATA_OFFSET + shard_bytes + blocks * CHECK_BYTES as u64 + TRAILER_BYTES as u64;
    all.next_multiple_of(PAGE_BYTES)
}

/// The first bytes of a segment.
///
/// ```text
/// offset  size  field
///      0     8  magic "PDBSEGM\x01"
///      8     4  version, u32
///     12     4  CRC-32C of bytes 0..12 and 16..64
///     16     4  byte order, 0x01020304 as u32
///     20     4  segment number, u32
///     24    16  mark
///     40    24  zero
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) version: u32,
    pub(crate) number: u32,
    pub(crate) mark: Mark,
}

impl SegmentHeader {
    pub(crate) fn to_bytes(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&self.version.to_le_bytes());
        out[16..20].copy_from_slice(&BYTE_ORDER.to_le_bytes());
        out[20..24].copy_from_slice(&self.number.to_le_bytes());
        out[24..40].copy_from_slice(&self.mark);
        let crc = Self::crc(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` where the checksum or a fixed field is wrong. The version is the caller's to look at.
    pub(crate) fn from_bytes(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<Self> {
        let right = bytes[..8] == *SEGMENT_MAGIC
            && u32_at(bytes, 12) == Self::crc(bytes)
            && u32_at(bytes, 16) == BYTE_ORDER;
        right.then(|| Self {
            version: u32_at(bytes, 8),
            number: u32_at(bytes, 20),
            mark: array_at(bytes, 24),
        })
    }

    fn crc(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> u32 {
        let mut covered = [0; SEGMENT_HEADER_BYTES - 4];
        covered[..12].copy_from_slice(&bytes[..12]);
        covered[12..].copy_from_slice(&bytes[16..]);
        crc32c(&covered)
    }
}

/// What header and trailer both say of a record.
///
/// ```text
/// offset  size  field
///      0     8  magic "PDBSHRD\x01" (header), "PDBDONE\x01" (trailer)
///      8    16  the segment's mark
///     24    24  shard id
///     48     8  term, u64: of the put (header), of the commit (trailer)
///     56     8  sealed bytes of the shard, u64
///     64     8  offset of the record in its segment, u64
///     72     8  durable through, u64: all commits up to this sequence number are durable
///     80     8  sequence number of the commit, u64 (trailer; zero in a header)
///     88    32  name (trailer; zero in a header)
///    120     4  zero
///    124     4  CRC-32C of bytes 0..124
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordHeader {
    pub(crate) mark: Mark,
    pub(crate) id: ShardId,
    pub(crate) term: Term,
    pub(crate) shard_bytes: u64,
    pub(crate) offset: u64,
    pub(crate) durable_through: u64,
}

/// Written once the shard is complete and checked: makes the record count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordTrailer {
    pub(crate) record: RecordHeader,
    pub(crate) sequence: u64,
    pub(crate) name: Digest,
}

impl RecordHeader {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        self.encode(HEADER_MAGIC, 0, Digest::default())
    }

    pub(crate) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        if bytes[..8] != *HEADER_MAGIC || bytes[80..120].iter().any(|&b| b != 0) {
            return None;
        }
        Self::decode(bytes)
    }

    /// Where the next record begins.
    pub(crate) const fn end(&self) -> u64 {
        self.offset + extent_bytes(self.shard_bytes)
    }

    fn encode(self, magic: &[u8; 8], sequence: u64, name: Digest) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(magic);
        out[8..24].copy_from_slice(&self.mark);
        out[24..48].copy_from_slice(&self.id.to_bytes());
        out[48..56].copy_from_slice(&self.term.0.to_le_bytes());
        out[56..64].copy_from_slice(&self.shard_bytes.to_le_bytes());
        out[64..72].copy_from_slice(&self.offset.to_le_bytes());
        out[72..80].copy_from_slice(&self.durable_through.to_le_bytes());
        out[80..88].copy_from_slice(&sequence.to_le_bytes());
        out[88..120].copy_from_slice(name.as_bytes());
        let crc = crc32c(&out[..124]);
        out[124..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let header = Self {
            mark: array_at(bytes, 8),
            id: ShardId::from_bytes(&array_at(bytes, 24))?,
            term: Term(u64_at(bytes, 48)),
            shard_bytes: u64_at(bytes, 56),
            offset: u64_at(bytes, 64),
            durable_through: u64_at(bytes, 72),
        };
        let right = u32_at(bytes, 124) == crc32c(&bytes[..124])
            && bytes[120..124] == [0; 4]
            && (1..=SHARD_BYTES_MAX).contains(&header.shard_bytes)
            && header.offset.is_multiple_of(PAGE_BYTES)
            && (PAGE_BYTES..1 << 44).contains(&header.offset);
        right.then_some(header)
    }
}

impl RecordTrailer {
    pub(crate) fn to_bytes(self) -> [u8; TRAILER_BYTES] {
        self.record.encode(TRAILER_MAGIC, self.sequence, self.name)
    }

    pub(crate) fn from_bytes(bytes: &[u8; TRAILER_BYTES]) -> Option<Self> {
        if bytes[..8] != *TRAILER_MAGIC {
            return None;
        }
        Some(Self {
            record: RecordHeader::decode(bytes)?,
            sequence: u64_at(bytes, 80),
            name: Digest(array_at(bytes, 88)),
        })
    }
}

/// Says that a record does not count any more, whatever its trailer says.
///
/// ```text
/// offset  size  field
///      0     8  magic "PDBDROP\x01"
///      8    16  the segment's mark
///     24    24  shard id
///     48     8  offset of the record in its segment, u64
///     56     4  zero
///     60     4  CRC-32C of bytes 0..60
/// ```
pub(crate) fn drop_mark(mark: &Mark, id: ShardId, offset: u64) -> [u8; DROP_BYTES] {
    let mut out = [0; DROP_BYTES];
    out[..8].copy_from_slice(DROP_MAGIC);
    out[8..24].copy_from_slice(mark);
    out[24..48].copy_from_slice(&id.to_bytes());
    out[48..56].copy_from_slice(&offset.to_le_bytes());
    let crc = crc32c(&out[..60]);
    out[60..].copy_from_slice(&crc.to_le_bytes());
    out
}

pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes")
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

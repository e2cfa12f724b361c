//! One record: table, key and value.
//!
//! ```text
//! offset  size  field
//!      0     4  crc          CRC-32C of bytes 4..16, key and value
//!      4     4  value_bytes  u32
//!      8     2  key_bytes    u16, 0..=1024
//!     10     1  flags        bit 0: end of put; others zero
//!     11     1  zero
//!     12     4  table        u32
//!     16        key, value, zeros up to a multiple of 16
//! ```
//! A record starts at a multiple of 16. The records of one put follow each other, the last one has the end-of-put
//! flag: a put counts only with it, so it is there whole or not at all. The padding is outside of the CRC and must be
//! zero. The value is as long as a container may be; what a plain put takes is bounded by the engine.

use crate::{FormatError, bytes::Reader, error::impossible};
use prunedb_core::{
    TableId,
    units::{CONTAINER_BYTES_MAX, KEY_BYTES_MAX, RECORD_ALIGN},
};

/// Size of what precedes key and value.
pub const RECORD_HEADER_BYTES: usize = 16;
const WHAT: &str = "record";
const END_OF_PUT: u8 = 1;

/// The first 16 bytes of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    crc: u32,
    /// its table
    pub table: TableId,
    /// length of the key
    pub key_bytes: usize,
    /// length of the value
    pub value_bytes: usize,
    /// last record of its put
    pub end_of_put: bool,
}

/// A whole record, its checksum verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordView<'a> {
    /// its table
    pub table: TableId,
    /// its key
    pub key: &'a [u8],
    /// its value
    pub value: &'a [u8],
    /// last record of its put
    pub end_of_put: bool,
}

/// Bytes that a record takes up, padding counted.
pub const fn record_bytes(key_bytes: usize, value_bytes: usize) -> usize {
    (RECORD_HEADER_BYTES + key_bytes + value_bytes).next_multiple_of(RECORD_ALIGN)
}

/// Appends a record to `out`.
///
/// # Panics
/// Where key or value are longer than a container takes: the border checks them.
pub fn encode_record(
    out: &mut Vec<u8>,
    table: TableId,
    key: &[u8],
    value: &[u8],
    end_of_put: bool,
) {
    assert!(key.len() <= KEY_BYTES_MAX, "keys are checked at the border");
    assert!(value.len() <= CONTAINER_BYTES_MAX, "values are checked at the border");
    let start = out.len();
    out.reserve(record_bytes(key.len(), value.len()));
    let mut header = [0; RECORD_HEADER_BYTES];
    let value_bytes = u32::try_from(value.len()).expect("asserted above");
    let key_bytes = u16::try_from(key.len()).expect("asserted above");
    header[4..8].copy_from_slice(&value_bytes.to_le_bytes());
    header[8..10].copy_from_slice(&key_bytes.to_le_bytes());
    header[10] = if end_of_put { END_OF_PUT } else { 0 };
    header[12..16].copy_from_slice(&table.0.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    let crc = crate::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    out.resize(start + record_bytes(key.len(), value.len()), 0);
}

impl RecordHeader {
    /// Reads the first 16 bytes of a record; its checksum can be verified only with the rest.
    ///
    /// # Errors
    /// [`FormatError::Value`] where a field is out of its range, as in most noise and in the end mark. Zeros pass: only
    /// the checksum, over the whole record, tells a record from them.
    pub fn decode(bytes: &[u8; RECORD_HEADER_BYTES]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        let crc = reader.u32()?;
        let value_bytes = reader.u32()? as usize;
        let key_bytes = usize::from(reader.u16()?);
        let flags = reader.u8()?;
        reader.zeros(1)?;
        let table = TableId(reader.u32()?);
        if value_bytes > CONTAINER_BYTES_MAX {
            return Err(impossible("length of a record's value", value_bytes as u64));
        }
        if key_bytes > KEY_BYTES_MAX {
            return Err(impossible("length of a record's key", key_bytes as u64));
        }
        if flags > END_OF_PUT {
            return Err(impossible("flags of a record", flags));
        }
        Ok(Self { crc, table, key_bytes, value_bytes, end_of_put: flags == END_OF_PUT })
    }

    /// Bytes of the whole record, padding counted.
    pub const fn record_bytes(&self) -> usize {
        record_bytes(self.key_bytes, self.value_bytes)
    }
}

impl<'a> RecordView<'a> {
    /// Reads the record at the start of `bytes`; bytes behind it are ignored.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] with the bytes needed where `bytes` is too short, else what is wrong with it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let short = |needed: usize| FormatError::Truncated {
            what: WHAT,
            needed: needed as u64,
            found: bytes.len() as u64,
        };
        let first = bytes.first_chunk().ok_or_else(|| short(RECORD_HEADER_BYTES))?;
        let header = RecordHeader::decode(first)?;
        let whole =
            bytes.get(..header.record_bytes()).ok_or_else(|| short(header.record_bytes()))?;
        let key_end = RECORD_HEADER_BYTES + header.key_bytes;
        let value_end = key_end + header.value_bytes;
        let found = crate::crc32c(&whole[4..value_end]);
        if found != header.crc {
            return Err(FormatError::Checksum { what: WHAT, expected: header.crc, found });
        }
        if let Some(&b) = whole[value_end..].iter().find(|&&b| b != 0) {
            return Err(impossible("padding of a record", b));
        }
        Ok(Self {
            table: header.table,
            key: &whole[RECORD_HEADER_BYTES..key_end],
            value: &whole[key_end..value_end],
            end_of_put: header.end_of_put,
        })
    }

    /// Bytes of the whole record, padding counted.
    pub const fn record_bytes(&self) -> usize {
        record_bytes(self.key.len(), self.value.len())
    }
}

//! e2store: the container of `.era1` and `.ere` files: records of type, length and data, one after another.
//!
//! ```text
//! offset  size  field
//!      0     2  type       little-endian
//!      2     4  length     of the data, little-endian
//!      6     2  reserved   0
//!      8     -  data
//! ```

use super::error::Fault;
use std::io::{self, Read};

/// Bytes of a record before its data.
pub(crate) const HEADER_BYTES: usize = 8;

/// Record types of `.era1` and `.ere`.
pub(crate) mod kind {
    pub(crate) const VERSION: u16 = 0x3265;
    pub(crate) const HEADER: u16 = 0x03;
    pub(crate) const BODY: u16 = 0x04;
    pub(crate) const RECEIPTS: u16 = 0x05;
    pub(crate) const TOTAL_DIFFICULTY: u16 = 0x06;
    pub(crate) const ACCUMULATOR: u16 = 0x07;
    pub(crate) const SLIM_RECEIPTS: u16 = 0x0a;
    pub(crate) const PROOF: u16 = 0x0b;
    pub(crate) const BLOCK_INDEX: u16 = 0x3266;
    pub(crate) const DYNAMIC_BLOCK_INDEX: u16 = 0x3267;
}

/// A record's first 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordHeader {
    pub(crate) kind: u16,
    pub(crate) data_bytes: u32,
}

impl RecordHeader {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let (kind, len) = (self.kind.to_le_bytes(), self.data_bytes.to_le_bytes());
        [kind[0], kind[1], len[0], len[1], len[2], len[3], 0, 0]
    }

    pub(crate) fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Result<Self, Fault> {
        let [k0, k1, l0, l1, l2, l3, r0, r1] = bytes;
        let reserved = u16::from_le_bytes([r0, r1]);
        if reserved != 0 {
            return Err(Fault::Reserved(reserved));
        }
        let data_bytes = u32::from_le_bytes([l0, l1, l2, l3]);
        Ok(Self { kind: u16::from_le_bytes([k0, k1]), data_bytes })
    }
}

/// Appends a record whose data `write` appends.
///
/// # Panics
/// When the data has 4 GiB or more: callers bound it far below.
pub(crate) fn write_record(out: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    write(out);
    let data_bytes = u32::try_from(out.len() - start - HEADER_BYTES).expect("below 4 GiB");
    out[start..start + HEADER_BYTES].copy_from_slice(&RecordHeader { kind, data_bytes }.to_bytes());
}

/// Reads into `out` as much as there is, at most `len` bytes; memory grows with what was read, not with `len`.
pub(crate) fn read_up_to(input: &mut impl Read, len: u64, out: &mut Vec<u8>) -> io::Result<u64> {
    input.take(len).read_to_end(out).map(|count| count as u64)
}

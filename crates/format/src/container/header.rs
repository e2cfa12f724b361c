//! The first 64 bytes of a container.
//!
//! ```text
//! offset  size  field
//!      0     8  magic       "PDBCONT\x01"
//!      8     4  version     u32
//!     12     4  header_crc  CRC-32C of the 64 bytes, this field taken as zero
//!     16    16  lake
//!     32     1  kind
//!     33     3  zero
//!     36     4  number      u32
//!     40    24  zero
//! ```
//! No term, no length, no time: two validators with the same batch write the same header.

use crate::{FormatError, error::impossible, preamble::Preamble};
use prunedb_core::{ContainerId, ContainerKind, LakeId};

/// Size of the header; records start behind it.
pub const HEADER_BYTES: usize = 64;
const PREAMBLE: Preamble =
    Preamble { what: "container header", magic: *b"PDBCONT\x01", version: 1 };

/// Which container this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContainerHeader {
    /// its lake
    pub lake: LakeId,
    /// its id
    pub id: ContainerId,
}

impl ContainerHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[16..32].copy_from_slice(&self.lake.0);
        out[32] = self.id.kind as u8;
        out[36..40].copy_from_slice(&self.id.number.to_le_bytes());
        PREAMBLE.seal(&mut out);
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`FormatError`] where the bytes are none.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FormatError> {
        let mut reader = PREAMBLE.open(bytes)?;
        let lake = LakeId(reader.array()?);
        let kind = reader.u8()?;
        let kind = ContainerKind::from_byte(kind).ok_or(impossible("kind of a container", kind))?;
        reader.zeros(3)?;
        let number = reader.u32()?;
        reader.zeros(24)?;
        reader.end()?;
        Ok(Self { lake, id: ContainerId { kind, number } })
    }
}

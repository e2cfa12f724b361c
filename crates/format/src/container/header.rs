//! The first 64 bytes of a container.
//!
//! ```text
//! offset  size  field
//!      0     8  magic       "PDBCONT\x01"
//!      8     4  version     u32
//!     12     4  header_crc  CRC-32C of all other header bytes
//!     16    16  lake
//!     32     1  kind
//!     33     3  zero
//!     36     4  number      u32
//!     40    24  zero
//! ```
//! No term, no length, no time: two validators with the same batch write the same header.

use crate::{FormatError, bytes::Reader, crc32c};
use prunedb_core::{ContainerId, ContainerKind, LakeId};

/// Size of the header; records start behind it.
pub const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"PDBCONT\x01";
const VERSION: u32 = 1;
const WHAT: &str = "container header";

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
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.lake.0);
        out[32] = self.id.kind as u8;
        out[36..40].copy_from_slice(&self.id.number.to_le_bytes());
        let crc = crc_without_field(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`FormatError`] where the bytes are none.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        let magic = reader.array()?;
        if magic != MAGIC {
            return Err(FormatError::Magic { what: WHAT, found: magic });
        }
        let version = reader.u32()?;
        let expected = reader.u32()?;
        let found = crc_without_field(bytes);
        if expected != found {
            return Err(FormatError::Checksum { what: WHAT, expected, found });
        }
        if version != VERSION {
            return Err(FormatError::Version { what: WHAT, found: version, known: VERSION });
        }
        let lake = LakeId(reader.array()?);
        let kind = reader.u8()?;
        let kind = ContainerKind::from_byte(kind).ok_or(reader.value(kind.into()))?;
        reader.zeros(3)?;
        let number = reader.u32()?;
        reader.zeros(24)?;
        reader.end()?;
        Ok(Self { lake, id: ContainerId { kind, number } })
    }
}

fn crc_without_field(bytes: &[u8; HEADER_BYTES]) -> u32 {
    let mut copy = *bytes;
    copy[12..16].fill(0);
    crc32c(&copy)
}

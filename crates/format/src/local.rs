//! The local header: 4 KiB in front of a container in its local file, outside of its canonical bytes.
//!
//! Two slots of 64 bytes, at offsets 0 and 2,048, are written in turn; the valid one with the higher sequence counts,
//! so a torn write of one leaves the other. A slot says how much of the container is durable. It is written together
//! with the group that follows (one fdatasync for both), so the watermark trails by one group: below it a bad record
//! is corruption, above it the tail is torn and cut.
//!
//! ```text
//! offset  size  field
//!      0     8  magic          "PDBLOCL\x01"
//!      8     4  version        u32
//!     12     4  slot_crc       CRC-32C of all other slot bytes
//!     16     8  sequence       u64
//!     24     8  durable_bytes  u64, container bytes that are durable
//!     32    16  lake
//!     48     1  kind
//!     49     3  zero
//!     52     4  number         u32
//!     56     8  zero
//! ```
//!
//! At offset 3,072 a cache of frames keeps its bitmap (bit i of byte i/8: frame i is here), at most 256 bytes. It
//! needs no checksum: each cached frame is checked against its CRC in the manifest when it is read.

use crate::{FormatError, bytes::Reader, crc32c};
use prunedb_core::{ContainerId, ContainerKind, LakeId};

/// Size of the local header: container byte 0 is at this offset of the local file.
pub const LOCAL_HEADER_BYTES: usize = 4096;
/// Size of a slot.
pub const SLOT_BYTES: usize = 64;
/// Where the bitmap of cached frames is.
pub const BITMAP_OFFSET: usize = 3072;
/// Longest bitmap: 2,048 frames of 128 KiB are 256 MiB.
pub const BITMAP_BYTES_MAX: usize = 256;

const SLOT_OFFSETS: [usize; 2] = [0, 2048];
const MAGIC: [u8; 8] = *b"PDBLOCL\x01";
const VERSION: u32 = 1;
const WHAT: &str = "local header";

/// One slot of the local header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalSlot {
    /// rises with each write
    pub sequence: u64,
    /// container bytes that are durable
    pub durable_bytes: u64,
    /// the container's lake
    pub lake: LakeId,
    /// the container
    pub id: ContainerId,
}

impl LocalSlot {
    /// Where this slot is written: slots take turns.
    pub const fn file_offset(&self) -> u64 {
        SLOT_OFFSETS[(self.sequence % 2) as usize] as u64
    }

    /// The slot's bytes.
    pub fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut out = [0; SLOT_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.durable_bytes.to_le_bytes());
        out[32..48].copy_from_slice(&self.lake.0);
        out[48] = self.id.kind as u8;
        out[52..56].copy_from_slice(&self.id.number.to_le_bytes());
        let crc = crc_without_field(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; SLOT_BYTES]) -> Result<Self, FormatError> {
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
        let sequence = reader.u64()?;
        let durable_bytes = reader.u64()?;
        let lake = LakeId(reader.array()?);
        let kind = reader.u8()?;
        let kind = ContainerKind::from_byte(kind).ok_or(reader.value(kind.into()))?;
        reader.zeros(3)?;
        let number = reader.u32()?;
        reader.zeros(8)?;
        Ok(Self { sequence, durable_bytes, lake, id: ContainerId { kind, number } })
    }

    /// The newest valid slot of a local header.
    ///
    /// # Errors
    /// What is wrong with the first slot, where neither is valid.
    pub fn newest(header: &[u8; LOCAL_HEADER_BYTES]) -> Result<Self, FormatError> {
        let slot = |at: usize| {
            let bytes = header[at..at + SLOT_BYTES].try_into().expect("a slot's bytes");
            Self::decode(bytes)
        };
        match (slot(SLOT_OFFSETS[0]), slot(SLOT_OFFSETS[1])) {
            (Ok(a), Ok(b)) => Ok(if a.sequence > b.sequence { a } else { b }),
            (Ok(slot), Err(_)) | (Err(_), Ok(slot)) => Ok(slot),
            (Err(e), Err(_)) => Err(e),
        }
    }
}

fn crc_without_field(bytes: &[u8; SLOT_BYTES]) -> u32 {
    let mut copy = *bytes;
    copy[12..16].fill(0);
    crc32c(&copy)
}

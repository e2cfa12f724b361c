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
//!     12     4  slot_crc       CRC-32C of the 64 bytes, this field taken as zero
//!     16     8  sequence       u64, even in the first slot, odd in the second
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

use crate::{FormatError, error::impossible, preamble::Preamble};
use prunedb_core::{ContainerId, ContainerKind, LakeId, units::CONTAINER_BYTES_MAX};

/// Size of the local header: container byte 0 is at this offset of the local file.
pub const LOCAL_HEADER_BYTES: usize = 4096;
/// Size of a slot.
pub const SLOT_BYTES: usize = 64;
/// Where the bitmap of cached frames is.
pub const BITMAP_OFFSET: usize = 3072;
/// Longest bitmap: 2,048 frames of 128 KiB are 256 MiB.
pub const BITMAP_BYTES_MAX: usize = 256;

const SLOT_OFFSETS: [usize; 2] = [0, 2048];
const PREAMBLE: Preamble = Preamble { what: "local header", magic: *b"PDBLOCL\x01", version: 1 };

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
        SLOT_OFFSETS[self.position()] as u64
    }

    const fn position(&self) -> usize {
        (self.sequence % 2) as usize
    }

    /// The slot's bytes.
    ///
    /// # Panics
    /// Where more is durable than a container can hold: a bug of the caller.
    pub fn encode(&self) -> [u8; SLOT_BYTES] {
        assert!(self.durable_bytes <= CONTAINER_BYTES_MAX as u64, "containers are bounded");
        let mut out = [0; SLOT_BYTES];
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.durable_bytes.to_le_bytes());
        out[32..48].copy_from_slice(&self.lake.0);
        out[48] = self.id.kind as u8;
        out[52..56].copy_from_slice(&self.id.number.to_le_bytes());
        PREAMBLE.seal(&mut out);
        out
    }

    fn decode(bytes: &[u8; SLOT_BYTES], position: usize) -> Result<Self, FormatError> {
        let mut reader = PREAMBLE.open(bytes)?;
        let sequence = reader.u64()?;
        let durable_bytes = reader.u64()?;
        let lake = LakeId(reader.array()?);
        let kind = reader.u8()?;
        let kind = ContainerKind::from_byte(kind).ok_or(impossible("kind of a container", kind))?;
        reader.zeros(3)?;
        let number = reader.u32()?;
        reader.zeros(8)?;
        reader.end()?;
        let slot = Self { sequence, durable_bytes, lake, id: ContainerId { kind, number } };
        if slot.position() != position {
            return Err(impossible("sequence of a slot in this place", sequence));
        }
        if durable_bytes > CONTAINER_BYTES_MAX as u64 {
            return Err(impossible("durable bytes of a slot", durable_bytes));
        }
        Ok(slot)
    }

    /// The newest slot of a local header, where at most one is torn or was never written.
    ///
    /// A slot that is whole but that this program cannot read, such as one of a newer version, is never passed over:
    /// the other one's watermark is older, and acting on it could cut off durable records.
    ///
    /// # Errors
    /// What is wrong with the header: of two torn slots the one that was written at all.
    pub fn newest(header: &[u8; LOCAL_HEADER_BYTES]) -> Result<Self, FormatError> {
        let [a, b] = [0, 1].map(|position| {
            let bytes = header[SLOT_OFFSETS[position]..].first_chunk().expect("a slot's bytes");
            Self::decode(bytes, position)
        });
        match (a, b) {
            (Ok(a), Ok(b)) => Ok(if a.sequence > b.sequence { a } else { b }),
            (Ok(slot), Err(e)) | (Err(e), Ok(slot)) if is_torn(&e) => Ok(slot),
            (Err(e), Err(FormatError::Magic { .. })) => Err(e),
            (Err(e), Err(other)) => Err(if is_torn(&e) { other } else { e }),
            (Ok(_), Err(e)) | (Err(e), Ok(_)) => Err(e),
        }
    }
}

/// What half a write leaves, or none. Anything else passed the checksum, so it was written whole.
const fn is_torn(e: &FormatError) -> bool {
    matches!(e, FormatError::Magic { .. } | FormatError::Checksum { .. })
}

#[cfg(test)]
mod tests;

//! The first 16 bytes of every block of fixed size: container header, trailer, slot of the local header.
//!
//! ```text
//! offset  size  field
//!      0     8  magic
//!      8     4  version  u32
//!     12     4  crc      CRC-32C of the whole block, these four bytes taken as zero
//! ```
//! The checksum is looked at before the version, so a flipped version byte is damage, and [`FormatError::Version`]
//! means that a newer program wrote the block. Every later version keeps magic, size and place of the checksum.

use crate::{FormatError, bytes::Reader, crc32c};

const CRC: std::ops::Range<usize> = 12..16;

/// What the preamble of one kind of block says.
pub(crate) struct Preamble {
    pub(crate) what: &'static str,
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
}

impl Preamble {
    /// Writes the preamble of a block whose other bytes are in place.
    pub(crate) fn seal<const N: usize>(&self, block: &mut [u8; N]) {
        block[..8].copy_from_slice(&self.magic);
        block[8..12].copy_from_slice(&self.version.to_le_bytes());
        let crc = crc_of(block);
        block[CRC].copy_from_slice(&crc.to_le_bytes());
    }

    /// Checks the preamble and with it every byte of the block; the reader stands behind the preamble.
    pub(crate) fn open<'a, const N: usize>(
        &self,
        block: &'a [u8; N],
    ) -> Result<Reader<'a>, FormatError> {
        let what = self.what;
        let mut reader = Reader::new(what, block);
        let magic = reader.array()?;
        if magic != self.magic {
            return Err(FormatError::Magic { what, found: magic });
        }
        let version = reader.u32()?;
        let expected = reader.u32()?;
        let found = crc_of(block);
        if expected != found {
            return Err(FormatError::Checksum { what, expected, found });
        }
        if version != self.version {
            return Err(FormatError::Version { what, found: version, known: self.version });
        }
        Ok(reader)
    }
}

fn crc_of<const N: usize>(block: &[u8; N]) -> u32 {
    let mut copy = *block;
    copy[CRC].fill(0);
    crc32c(&copy)
}

//! One frame back from its coded bytes, checked.

use crate::frame_table::Frame;
use prunedb_core::ContainerId;
use prunedb_format::crc32c;

/// A frame whose coded bytes do not give what the frame table says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("container {container}, frame {frame} (bytes {start}..{end}): {damage}")]
pub struct FrameError {
    /// which container
    pub container: ContainerId,
    /// which frame
    pub frame: u32,
    /// its first byte in the container
    pub start: u64,
    /// behind its last byte in the container
    pub end: u64,
    /// what is wrong
    pub damage: FrameDamage,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameDamage {
    /// Not the length that the table gives.
    #[error("{found} coded bytes, expected {expected}")]
    CodedLength {
        /// as in the table
        expected: usize,
        /// as given
        found: usize,
    },
    /// The compressed bytes are none.
    #[error("does not decompress: {reason}")]
    Compressed {
        /// what the decompressor says
        reason: String,
    },
    /// It decompresses to another length.
    #[error("decompresses to {found} bytes, expected {expected}")]
    Length {
        /// as in the table
        expected: usize,
        /// as found
        found: usize,
    },
    /// Its bytes are others.
    #[error("checksum {found:08x}, expected {expected:08x}")]
    Checksum {
        /// as in the table
        expected: u32,
        /// as computed
        found: u32,
    },
}

/// Decompresses frames; keeps the decompressor's memory (about 160 KB) from one to the next.
pub struct FrameDecoder(zstd::bulk::Decompressor<'static>);

impl FrameDecoder {
    /// A decoder.
    ///
    /// # Panics
    /// Where there is no memory for it, as any allocation does.
    pub fn new() -> Self {
        Self(zstd::bulk::Decompressor::new().expect("it only allocates"))
    }

    /// Appends the container bytes of a frame to `out`; where it fails, `out` is as before.
    ///
    /// # Errors
    /// [`FrameError`] unless the coded bytes have the length that the table gives and make the bytes whose length and
    /// CRC-32C are in it.
    pub fn decode(
        &mut self,
        container: ContainerId,
        frame: &Frame,
        coded: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let before = out.len();
        self.decode_unplaced(frame, coded, out).map_err(|damage| {
            out.truncate(before);
            let (start, end) = (frame.container.start, frame.container.end);
            FrameError { container, frame: frame.index, start, end, damage }
        })
    }

    fn decode_unplaced(
        &mut self,
        frame: &Frame,
        coded: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FrameDamage> {
        let (expected, found) = (frame.coded_bytes(), coded.len());
        if expected != found {
            return Err(FrameDamage::CodedLength { expected, found });
        }
        let (start, expected) = (out.len(), frame.frame_bytes());
        if frame.is_raw() {
            out.extend_from_slice(coded);
        } else {
            out.resize(start + expected, 0);
            let found = self
                .0
                .decompress_to_buffer(coded, &mut out[start..])
                .map_err(|error| FrameDamage::Compressed { reason: error.to_string() })?;
            if expected != found {
                return Err(FrameDamage::Length { expected, found });
            }
        }
        let (expected, found) = (frame.crc, crc32c(&out[start..]));
        if expected != found {
            return Err(FrameDamage::Checksum { expected, found });
        }
        Ok(())
    }
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameDecoder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CodecVersion, FrameTable, MemorySpool, compress, testing::sample_bytes};
    use proptest::prelude::*;
    use prunedb_core::ContainerKind;
    use std::num::NonZero;

    fn compressed(bytes: &[u8]) -> (Vec<u8>, FrameTable) {
        let mut spool = MemorySpool::default();
        let (table, _) = compress(
            &bytes.to_vec(),
            bytes.len() as u64,
            ContainerKind::Data,
            CodecVersion::CURRENT,
            NonZero::new(1).unwrap(),
            &mut spool,
        )
        .unwrap();
        (spool.as_slice().to_vec(), table)
    }

    fn coded<'a>(stream: &'a [u8], frame: &Frame) -> &'a [u8] {
        &stream
            [usize::try_from(frame.coded.start).unwrap()..usize::try_from(frame.coded.end).unwrap()]
    }

    #[test]
    fn every_frame_comes_back_and_damage_says_where() {
        let mut bytes = sample_bytes(3, 300_000);
        blake3::Hasher::new().finalize_xof().fill(&mut bytes[131_072..262_144]);
        let (stream, table) = compressed(&bytes);
        let raw: Vec<bool> = table.frames().map(|frame| frame.is_raw()).collect();
        assert_eq!(raw, [false, true, false]);

        let (mut decoder, mut out) = (FrameDecoder::new(), Vec::new());
        let container = ContainerId::data(9);
        for frame in table.frames() {
            let coded = coded(&stream, &frame);
            for at in (0..coded.len()).step_by(997) {
                let mut bad = coded.to_vec();
                bad[at] ^= 0x10;
                let before = out.len();
                let error = decoder.decode(container, &frame, &bad, &mut out).unwrap_err();
                assert_eq!((error.container, error.frame), (container, frame.index));
                assert_eq!(out.len(), before);
            }
            let short = decoder.decode(container, &frame, &coded[1..], &mut out).unwrap_err();
            assert!(matches!(short.damage, FrameDamage::CodedLength { .. }));
            decoder.decode(container, &frame, coded, &mut out).unwrap();
        }
        assert!(out == bytes);
    }

    proptest! {
        #[test]
        fn arbitrary_coded_bytes_never_panic(coded in prop::collection::vec(any::<u8>(), 1..300), length in 301u64..131_072) {
            let frame = Frame { index: 0, container: 0..length, coded: 0..coded.len() as u64, crc: 1 };
            let mut out = vec![1, 2, 3];
            let result = FrameDecoder::new().decode(ContainerId::data(0), &frame, &coded, &mut out);
            prop_assert!(result.is_err());
            prop_assert_eq!(out, [1, 2, 3]);
        }
    }
}

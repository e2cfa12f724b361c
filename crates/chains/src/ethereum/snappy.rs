//! The snappy framing of `.era1` records, decoded strictly and encoded as the published files are.
//!
//! ```text
//! ff 06 00 00 "sNaPpY"                                     stream identifier, first
//! 00 len24 crc32 compressed                                 chunk: snappy block of at most 64 KiB
//! 01 len24 crc32 bytes                                      chunk: stored, where compression gains less than an eighth
//! ```
//! `len24` (little-endian) counts what follows it; `crc32` is the CRC-32C of the uncompressed bytes, rotated and offset.
//! Padding and skippable chunks are legal snappy but carry bytes that nothing verifies: they are refused.
//!
//! The blocks themselves are by the crate `snap`; the framing is here, because `snap`'s allocates and clears 140 KB for
//! each of the 24,576 records of a file.

use crc_fast::{CrcAlgorithm, checksum};
use snap::raw::{Decoder, Encoder, max_compress_len};

const STREAM_IDENTIFIER: &[u8; 10] = b"\xff\x06\x00\x00sNaPpY";
/// Most bytes of one chunk before compression.
const CHUNK_BYTES_MAX: usize = 1 << 16;
const CHUNK_HEADER_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;

/// Why bytes are not a framed snappy stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnappyError {
    /// It does not start with the stream identifier.
    #[error("no snappy stream identifier")]
    Identifier,
    /// It ends inside a chunk.
    #[error("the snappy stream ends inside a chunk")]
    Truncated,
    /// A chunk that does not belong in these files.
    #[error("snappy chunk type {0:#04x} does not belong here")]
    ChunkType(u8),
    /// A chunk whose block does not decompress.
    #[error("a snappy block is damaged: {0}")]
    Block(#[from] snap::Error),
    /// A chunk over 64 KiB.
    #[error("a snappy chunk of {0} bytes: at most 65536 are allowed")]
    ChunkTooLong(usize),
    /// The bytes are not those that were compressed.
    #[error("snappy checksum is {found:#010x}, the chunk says {expected:#010x}")]
    Checksum {
        /// in the chunk
        expected: u32,
        /// computed
        found: u32,
    },
    /// More than a record may hold.
    #[error("decompresses to more than {bytes_max} bytes")]
    TooLong {
        /// the limit
        bytes_max: usize,
    },
}

fn masked_checksum(bytes: &[u8]) -> u32 {
    let crc = u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).expect("a 32-bit checksum");
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Appends the decompressed stream to `out`, at most `bytes_max` bytes.
///
/// # Errors
/// When `frame` is not a stream as described above; then `out` may hold a part of it.
pub(crate) fn decode(frame: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), SnappyError> {
    let start = out.len();
    let mut rest = frame.strip_prefix(STREAM_IDENTIFIER).ok_or(SnappyError::Identifier)?;
    while let Some((&[kind, len @ ..], after)) = rest.split_first_chunk::<CHUNK_HEADER_BYTES>() {
        let len = u32::from_le_bytes([len[0], len[1], len[2], 0]) as usize;
        let (chunk, after) = after.split_at_checked(len).ok_or(SnappyError::Truncated)?;
        rest = after;
        if kind > 1 {
            return Err(SnappyError::ChunkType(kind));
        }
        let (expected, block) =
            chunk.split_first_chunk::<CHECKSUM_BYTES>().ok_or(SnappyError::Truncated)?;
        let chunk_bytes = if kind == 0 { snap::raw::decompress_len(block)? } else { block.len() };
        if chunk_bytes > CHUNK_BYTES_MAX {
            return Err(SnappyError::ChunkTooLong(chunk_bytes));
        }
        let chunk_start = out.len();
        if chunk_start - start + chunk_bytes > bytes_max {
            return Err(SnappyError::TooLong { bytes_max });
        }
        if kind == 0 {
            out.resize(chunk_start + chunk_bytes, 0);
            Decoder::new().decompress(block, &mut out[chunk_start..])?;
        } else {
            out.extend_from_slice(block);
        }
        let expected = u32::from_le_bytes(*expected);
        let found = masked_checksum(&out[chunk_start..]);
        if found != expected {
            return Err(SnappyError::Checksum { expected, found });
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(SnappyError::Truncated) }
}

/// Encodes streams; holds the compressor's table between calls.
pub(crate) struct FrameEncoder {
    encoder: Encoder,
}

impl FrameEncoder {
    pub(crate) fn new() -> Self {
        Self { encoder: Encoder::new() }
    }

    /// Appends `bytes` as a framed stream.
    pub(crate) fn encode(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(STREAM_IDENTIFIER);
        for chunk in bytes.chunks(CHUNK_BYTES_MAX) {
            let header_at = out.len();
            let block_at = header_at + CHUNK_HEADER_BYTES + CHECKSUM_BYTES;
            out.resize(block_at + max_compress_len(chunk.len()), 0);
            let compressed = self
                .encoder
                .compress(chunk, &mut out[block_at..])
                .expect("the chunk is short and the buffer is long enough");
            let stored = compressed >= chunk.len() - chunk.len() / 8;
            if stored {
                out[block_at..block_at + chunk.len()].copy_from_slice(chunk);
            }
            let block_bytes = if stored { chunk.len() } else { compressed };
            out.truncate(block_at + block_bytes);
            let len = u32::try_from(CHECKSUM_BYTES + block_bytes).expect("about 64 KiB");
            out[header_at] = u8::from(stored);
            out[header_at + 1..header_at + 4].copy_from_slice(&len.to_le_bytes()[..3]);
            out[header_at + 4..block_at].copy_from_slice(&masked_checksum(chunk).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        // from random to very regular, up to several chunks
        (prop::collection::vec(any::<u8>(), 1..400), 1usize..600)
            .prop_map(|(pattern, repeat)| pattern.repeat(repeat))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn same_bytes_as_snap_and_back(bytes in bytes()) {
            let mut ours = Vec::new();
            FrameEncoder::new().encode(&bytes, &mut ours);
            let mut theirs = snap::write::FrameEncoder::new(Vec::new());
            theirs.write_all(&bytes).unwrap();
            prop_assert_eq!(&ours, &theirs.into_inner().unwrap());
            let mut back = b"before".to_vec();
            decode(&ours, bytes.len(), &mut back).unwrap();
            prop_assert_eq!(&back[6..], &bytes);
            let short = bytes.len() - 1;
            prop_assert_eq!(decode(&ours, short, &mut Vec::new()), Err(SnappyError::TooLong { bytes_max: short }));
        }

        #[test]
        fn any_bytes_never_panic(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&noise, 1 << 20, &mut Vec::new());
            let _ = decode(&[STREAM_IDENTIFIER, &noise[..]].concat(), 1 << 20, &mut Vec::new());
            let chunk = [STREAM_IDENTIFIER, &[0, 200, 0, 0][..], &noise].concat();
            let _ = decode(&chunk, 1 << 20, &mut Vec::new());
        }
    }

    #[test]
    fn refusals() {
        let mut good = Vec::new();
        FrameEncoder::new().encode(&[7; 1000], &mut good);
        let fails = |frame: &[u8]| decode(frame, 1 << 20, &mut Vec::new()).unwrap_err();
        assert_eq!(fails(&good[1..]), SnappyError::Identifier);
        for cut in 11..good.len() {
            assert_eq!(fails(&good[..cut]), SnappyError::Truncated, "{cut}");
        }
        let padded = [&good[..], &[0xfe, 0, 0, 0]].concat();
        assert_eq!(fails(&padded), SnappyError::ChunkType(0xfe));
        let mut flipped = good;
        flipped[15] ^= 1;
        assert!(matches!(fails(&flipped), SnappyError::Checksum { .. }));
    }
}

//! Where Bitcoin history lies in the store: the tables of one network, and their values.
//!
//! ```text
//! table (after bitcoin/<network>/)  kind      key                    value
//! block                             sequence  height                 the block, as the node stores and sends it
//! undo                              sequence  height                 its undo data, without the checksum
//! header                            sequence  height                 its first 80 bytes, to be had without the block
//! block-hash                        keyed     block hash             height, u64 big-endian
//! tx-hash                           keyed     transaction id         height, u64 big-endian; index, u32 big-endian
//! side-block                        keyed     block hash             a block without a height: of an abandoned branch, or
//!                                                                    too near the tip to have its place for ever
//! side-undo                         keyed     block hash             its undo data
//! blk, rev                          sequence  number of the file     FileRecord, below
//!                                             * 65,536 + version
//! layout                            keyed     SHA-256 of the file;   Segments, below, each whole in one of these chunks
//!                                             chunk, u32 big-endian
//! ```
//! Hashes are as they are hashed, not reversed. A block with all that belongs to it is one put. A file that grew since it
//! was imported is another version.

use super::{
    files::{FileKind, XorKey},
    hash::Hash,
    network::Network,
};

/// Bytes of segments in one record, about.
pub(crate) const LAYOUT_CHUNK_BYTES: usize = 1 << 20;
/// Versions that a file can have.
pub(crate) const VERSIONS_MAX: u64 = 1 << 16;

/// Names of one network's tables.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the module's table says what each is")]
pub struct Tables {
    pub block: String,
    pub undo: String,
    pub header: String,
    pub block_hash: String,
    pub tx_hash: String,
    pub side_block: String,
    pub side_undo: String,
    pub blk: String,
    pub rev: String,
    pub layout: String,
}

impl Tables {
    /// The tables of a network.
    pub fn of(network: Network) -> Self {
        let name = |table: &str| format!("bitcoin/{network}/{table}");
        Self {
            block: name("block"),
            undo: name("undo"),
            header: name("header"),
            block_hash: name("block-hash"),
            tx_hash: name("tx-hash"),
            side_block: name("side-block"),
            side_undo: name("side-undo"),
            blk: name("blk"),
            rev: name("rev"),
            layout: name("layout"),
        }
    }

    /// The table of such files.
    pub(crate) fn files(&self, kind: FileKind) -> &str {
        match kind {
            FileKind::Blk => &self.blk,
            FileKind::Rev => &self.rev,
        }
    }
}

/// What is remembered of an imported file, so that it can be made again; written last, marks it complete.
///
/// ```text
/// offset  size  field
///      0     1  version          1
///      1     1  flags            bit 0: there was a xor.dat; other bits 0
///      2     2  zero
///      4     4  layout_chunks    u32, little-endian
///      8     8  xor key          zeros where there was none
///     16     8  file_bytes       u64, little-endian
///     24    32  sha256           of the file, as it was on the disk
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileRecord {
    /// what was in xor.dat, where there was one
    pub xor: Option<XorKey>,
    /// records of the table `layout`
    pub layout_chunks: u32,
    /// length of the file
    pub file_bytes: u64,
    /// of the file, as it was on the disk
    pub sha256: [u8; 32],
}

impl FileRecord {
    /// Size of the stored form.
    pub const BYTES: usize = 56;

    /// The stored form.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0] = 1;
        out[1] = u8::from(self.xor.is_some());
        out[4..8].copy_from_slice(&self.layout_chunks.to_le_bytes());
        out[8..16].copy_from_slice(&self.xor.unwrap_or_default().0);
        out[16..24].copy_from_slice(&self.file_bytes.to_le_bytes());
        out[24..].copy_from_slice(&self.sha256);
        out
    }

    /// Reads the stored form; `None` of anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let key = XorKey(bytes[8..16].try_into().expect("8 bytes"));
        let xor = (bytes[1] == 1).then_some(key);
        let record = Self {
            xor,
            layout_chunks: u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes")),
            file_bytes: u64::from_le_bytes(bytes[16..24].try_into().expect("8 bytes")),
            sha256: bytes[24..].try_into().expect("32 bytes"),
        };
        (record.to_bytes() == *bytes).then_some(record)
    }
}

/// Key of a chunk of a file's layout.
pub(crate) fn layout_key(sha256: &[u8; 32], chunk: u32) -> Vec<u8> {
    [&sha256[..], &chunk.to_be_bytes()].concat()
}

/// A part of a file, in the order of the file.
///
/// ```text
/// 1  block hash (32)                  the block's record, or that of its undo
/// 2  bytes u64, little-endian         zeros, not XORed
/// 3  bytes u32, little-endian, bytes  as they were on the disk
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Segment<'a> {
    Record(Hash),
    Zeros(u64),
    Verbatim(&'a [u8]),
}

impl<'a> Segment<'a> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Record(hash) => {
                out.push(1);
                out.extend_from_slice(&hash.0);
            }
            Self::Zeros(bytes) => {
                out.push(2);
                out.extend_from_slice(&bytes.to_le_bytes());
            }
            Self::Verbatim(bytes) => {
                out.push(3);
                let length = u32::try_from(bytes.len()).expect("at most a chunk");
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }

    /// Takes one off the front; `None` where there is none.
    pub(crate) fn read(bytes: &mut &'a [u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let (segment, rest) = match tag {
            1 => rest.split_first_chunk().map(|(hash, rest)| (Self::Record(Hash(*hash)), rest))?,
            2 => {
                let (length, rest) = rest.split_first_chunk()?;
                (Self::Zeros(u64::from_le_bytes(*length)), rest)
            }
            3 => {
                let (length, rest) = rest.split_first_chunk()?;
                let (all, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                (Self::Verbatim(all), rest)
            }
            _ => return None,
        };
        *bytes = rest;
        Some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_read_as_they_were_written() {
        for xor in [None, Some(XorKey::default()), Some(XorKey([1, 2, 3, 4, 5, 6, 7, 8]))] {
            let record = FileRecord { xor, layout_chunks: 3, file_bytes: 1 << 33, sha256: [9; 32] };
            assert_eq!(FileRecord::from_bytes(&record.to_bytes()), Some(record));
        }
        let mut out = Vec::new();
        let all =
            [Segment::Record(Hash([7; 32])), Segment::Zeros(1 << 24), Segment::Verbatim(b"x")];
        all.iter().for_each(|segment| segment.write(&mut out));
        let mut rest = &out[..];
        let read: Vec<_> = std::iter::from_fn(|| Segment::read(&mut rest)).collect();
        assert_eq!((read, rest), (all.to_vec(), &[][..]));
    }

    /// The bytes that stores hold already.
    #[test]
    fn stored_forms_stay() {
        let xor = Some(XorKey([0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7]));
        let record = FileRecord { xor, layout_chunks: 2, file_bytes: 0x0102_0304, sha256: [9; 32] };
        let mut expected = vec![1, 1, 0, 0, 2, 0, 0, 0];
        expected.extend(0xa0..=0xa7);
        expected.extend([4, 3, 2, 1, 0, 0, 0, 0]);
        expected.extend([9; 32]);
        assert_eq!(record.to_bytes()[..], expected);
        let written = |segment: Segment<'_>| {
            let mut out = Vec::new();
            segment.write(&mut out);
            out
        };
        assert_eq!(written(Segment::Record(Hash([7; 32]))), [&[1][..], &[7; 32]].concat());
        assert_eq!(written(Segment::Zeros(0x0102)), [2, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(Segment::Verbatim(b"xy")), [3, 2, 0, 0, 0, b'x', b'y']);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(record) = FileRecord::from_bytes(&bytes) {
                prop_assert_eq!(&record.to_bytes()[..], &bytes[..]);
            }
            let mut rest = &bytes[..];
            while Segment::read(&mut rest).is_some() {}
        }
    }
}

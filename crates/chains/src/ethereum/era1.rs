//! `.era1`: an epoch of at most 8,192 blocks with receipts and total difficulties, read in runs and written again.
//!
//! ```text
//! Version                                          type 0x3265, no data
//! per block   CompressedHeader                     0x03, framed snappy of RLP
//!             CompressedBody                       0x04, framed snappy of RLP
//!             CompressedReceipts                   0x05, framed snappy of RLP
//!             TotalDifficulty                      0x06, 32 bytes little-endian
//! Accumulator                                      0x07, 32 bytes
//! BlockIndex                                       0x3266: first height u64; per block its offset, i64, counted from
//!                                                  the start of this record; count u64; all little-endian
//! ```
//! The format allows further records between the blocks and the accumulator; published files have none, and nothing
//! would verify them: they are refused.

use super::{
    accumulator::EPOCH_BLOCKS,
    block::Header,
    e2store::{HEADER_BYTES, RecordHeader, kind, read_up_to, write_record},
    error::{EthereumError, Fault, Part, Place},
    hash::{Hash32, Hex},
    network::Network,
    rlp::Item,
    snappy::{self, FrameEncoder},
    tuple::{Batch, HEADER_RLP_BYTES_MAX, Piece, RECORD_BYTES_MAX, ReceiptsPiece, Tuple},
    uint::U256,
};
use crate::parallel::{LOT_BYTES, Lot};
use std::io::{BufReader, Read, Seek, SeekFrom};

/// What the name of a file says: `<network>-<epoch>-<first 4 bytes of the accumulator root>.era1`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Era1Name {
    /// Its network.
    pub network: Network,
    /// Its epoch.
    pub epoch: u64,
    /// The first bytes of its accumulator root.
    pub root: [u8; 4],
}

impl Era1Name {
    /// Reads a file name; `None` if it is not of this form.
    pub fn parse(file: &str) -> Option<Self> {
        let (network, epoch, root) = parse_stem(file.strip_suffix(".era1")?)?;
        Some(Self { network, epoch, root })
    }

    /// The name of an epoch's file.
    pub fn of(network: &Network, epoch: u64, accumulator: &Hash32) -> String {
        format!("{}.era1", stem(network, epoch, accumulator))
    }
}

/// What the names of `.era1` and `.ere` files begin with: `<network>-<epoch>-<first 4 bytes of a hash>`.
pub(crate) fn stem(network: &Network, epoch: u64, hash: &Hash32) -> String {
    let hash = Hex(&hash.0[..4]).to_string();
    format!("{network}-{epoch:05}-{}", &hash[2..])
}

/// Reads what [`stem`] writes; `None` of anything else.
pub(crate) fn parse_stem(stem: &str) -> Option<(Network, u64, [u8; 4])> {
    let mut parts = stem.rsplitn(3, '-');
    let (hash, epoch, network) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str, fits: fn(&u8) -> bool| text.as_bytes().iter().all(fits);
    if hash.len() != 8 || !digits(hash, u8::is_ascii_hexdigit) {
        return None;
    }
    if epoch.len() < 5 || !digits(epoch, u8::is_ascii_digit) {
        return None;
    }
    let hash = u32::from_str_radix(hash, 16).ok()?.to_be_bytes();
    Some((network.parse().ok()?, epoch.parse().ok()?, hash))
}

/// What follows the blocks.
pub(crate) struct Tail {
    pub(crate) accumulator: Hash32,
    pub(crate) accumulator_place: Place,
    /// the numbers in the index, as they are
    pub(crate) index: Vec<i64>,
    pub(crate) index_place: Place,
    /// the two records
    pub(crate) bytes: Vec<u8>,
}

/// A run of blocks, and what follows them: the tail, if they are the last, or what is wrong.
pub(crate) type Era1Batch = (Batch, Result<Option<Tail>, EthereumError>);

/// Reads a file in runs of blocks. Memory: one run, whatever the file's size.
pub(crate) struct Era1Reader<'a, R> {
    input: BufReader<R>,
    file: &'a str,
    file_bytes: u64,
    offset: u64,
    record: u64,
    start_height: u64,
    blocks: u64,
    ended: bool,
}

/// The only contents of a version record.
pub(crate) const VERSION_RECORD: [u8; HEADER_BYTES] = [0x65, 0x32, 0, 0, 0, 0, 0, 0];

impl<'a, R: Read + Seek> Era1Reader<'a, R> {
    /// Starts at the first block, and looks up its height.
    pub(crate) fn open(input: R, file: &'a str) -> Result<Self, EthereumError> {
        let mut input = BufReader::with_capacity(1 << 16, input);
        let io = || EthereumError::io(file);
        let file_bytes = input.seek(SeekFrom::End(0)).map_err(io())?;
        input.rewind().map_err(io())?;
        let (offset, record, start_height, blocks, ended) = (0, 0, 0, 0, false);
        let mut reader =
            Self { input, file, file_bytes, offset, record, start_height, blocks, ended };
        let mut bytes = Vec::new();
        let version = reader.record(Part::Version, &mut bytes)?.header;
        if version.to_bytes() != VERSION_RECORD {
            let (expected, found) = ("a version record (0x3265)", version.kind);
            let fault = match version.kind {
                kind::VERSION => {
                    Fault::RecordLength { expected: 0, found: version.data_bytes.into() }
                }
                _ => Fault::RecordType { expected, found },
            };
            return Err(EthereumError::damaged(reader.place_at(0, 0, Part::Version), fault));
        }
        let place = reader.place(Part::Header);
        let header = reader.record(Part::Header, &mut bytes)?;
        reader.start_height = first_height(&header, &bytes)
            .map_err(|fault| EthereumError::damaged(place.clone(), fault))?;
        if !reader.start_height.is_multiple_of(EPOCH_BLOCKS as u64)
            || reader.start_height > u64::MAX / 2
        {
            let fault = Fault::NotAnEpoch { found: reader.start_height };
            return Err(EthereumError::damaged(place, fault));
        }
        (reader.offset, reader.record) = (HEADER_BYTES as u64, 1);
        reader.input.seek(SeekFrom::Start(reader.offset)).map_err(io())?;
        Ok(reader)
    }

    /// Size of the file.
    pub(crate) const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Height of the first block, by its header.
    pub(crate) const fn start_height(&self) -> u64 {
        self.start_height
    }

    /// The next blocks; where something is wrong, the whole ones before it. `None` after the last ones, and after an error.
    pub(crate) fn next_lot(&mut self) -> Option<Lot<Era1Batch>> {
        if self.ended {
            return None;
        }
        let mut batch = Batch { offset: self.offset, ..Batch::default() };
        let after = self.read_blocks(&mut batch);
        self.ended = !matches!(after, Ok(None));
        Some(Lot { bytes: batch.bytes.len(), items: (batch, after) })
    }

    /// Reads blocks into `batch`; gives what follows them, if they are the last.
    fn read_blocks(&mut self, batch: &mut Batch) -> Result<Option<Tail>, EthereumError> {
        while batch.bytes.len() < LOT_BYTES {
            let start = batch.bytes.len();
            let full = self.blocks == EPOCH_BLOCKS as u64;
            let place = self.place(if full { Part::Accumulator } else { Part::Header });
            let first = self.record(place.part, &mut batch.bytes)?;
            match first.header.kind {
                kind::HEADER => {}
                kind::ACCUMULATOR => {
                    let bytes = batch.bytes.split_off(start);
                    return self.tail(place, first, bytes).map(Some);
                }
                found => {
                    let expected = "a header (0x03) or the accumulator (0x07)";
                    let fault = Fault::RecordType { expected, found };
                    return Err(EthereumError::damaged(place, fault));
                }
            }
            if full {
                return Err(EthereumError::damaged(place, Fault::EpochTooLong));
            }
            let height = self.start_height + self.blocks;
            let body = self.expect(Part::Body, kind::BODY, "a body (0x04)", &mut batch.bytes)?;
            let receipts =
                self.expect(Part::Receipts, kind::RECEIPTS, "receipts (0x05)", &mut batch.bytes)?;
            let place = self.place(Part::TotalDifficulty);
            let expected = "a total difficulty (0x06)";
            let total = self.expect(
                Part::TotalDifficulty,
                kind::TOTAL_DIFFICULTY,
                expected,
                &mut batch.bytes,
            )?;
            let value = fixed::<32>(&batch.bytes[total.data.clone()], place)?;
            self.blocks += 1;
            batch.tuples.push(Tuple {
                height,
                header: first.piece,
                body,
                receipts: Some(ReceiptsPiece::Full(receipts)),
                proof: None,
                total: Some((U256::from_le_bytes(value), total)),
            });
        }
        Ok(None)
    }

    fn tail(
        &mut self,
        place: Place,
        accumulator: ReadRecord,
        mut bytes: Vec<u8>,
    ) -> Result<Tail, EthereumError> {
        let accumulator_place = Place { part: Part::Accumulator, height: None, ..place };
        if self.blocks == 0 {
            return Err(EthereumError::damaged(accumulator_place, Fault::Empty));
        }
        let data = &bytes[HEADER_BYTES..];
        debug_assert_eq!(data.len(), accumulator.piece.data.len());
        let accumulator = Hash32(fixed(data, accumulator_place.clone())?);
        let index_place = self.place(Part::BlockIndex);
        let expected = "the block index (0x3266)";
        let index = self.expect(Part::BlockIndex, kind::BLOCK_INDEX, expected, &mut bytes)?;
        let index = &bytes[index.data];
        if index.len() as u64 != 8 * (self.blocks + 2) {
            let fault =
                Fault::RecordLength { expected: 8 * (self.blocks + 2), found: index.len() as u64 };
            return Err(EthereumError::damaged(index_place, fault));
        }
        let (index, _) = index.as_chunks::<8>();
        let index = index.iter().map(|entry| i64::from_le_bytes(*entry)).collect();
        if self.offset != self.file_bytes {
            let fault = Fault::Trailing { count: self.file_bytes - self.offset };
            return Err(EthereumError::damaged(self.place(Part::File), fault));
        }
        Ok(Tail { accumulator, accumulator_place, index, index_place, bytes })
    }

    fn place(&self, part: Part) -> Place {
        self.place_at(self.record, self.offset, part)
    }

    fn place_at(&self, record: u64, offset: u64, part: Part) -> Place {
        let of_a_block =
            matches!(part, Part::Header | Part::Body | Part::Receipts | Part::TotalDifficulty);
        let height = of_a_block.then_some(self.start_height + self.blocks);
        Place { file: self.file.into(), record, offset, part, height }
    }

    fn expect(
        &mut self,
        part: Part,
        kind: u16,
        expected: &'static str,
        out: &mut Vec<u8>,
    ) -> Result<Piece, EthereumError> {
        let place = self.place(part);
        let record = self.record(part, out)?;
        if record.header.kind != kind {
            let fault = Fault::RecordType { expected, found: record.header.kind };
            return Err(EthereumError::damaged(place, fault));
        }
        Ok(record.piece)
    }

    /// Appends the next record to `out`, its header included; says where in `out` its data is.
    fn record(&mut self, part: Part, out: &mut Vec<u8>) -> Result<ReadRecord, EthereumError> {
        let place = self.place(part);
        let damaged = |fault| EthereumError::damaged(place.clone(), fault);
        let io = || EthereumError::io(self.file);
        let (record, offset, start) = (self.record, self.offset, out.len());
        let needed = HEADER_BYTES as u64;
        let available = read_up_to(&mut self.input, needed, out).map_err(io())?;
        if available == 0 {
            return Err(damaged(Fault::EndsEarly(part)));
        }
        if available < needed {
            return Err(damaged(Fault::Truncated { needed, available }));
        }
        let header = out[start..].try_into().expect("8 bytes");
        let header = RecordHeader::from_bytes(header).map_err(damaged)?;
        let needed = u64::from(header.data_bytes);
        if needed > RECORD_BYTES_MAX {
            return Err(damaged(Fault::TooLong { bytes_max: RECORD_BYTES_MAX, found: needed }));
        }
        let available = read_up_to(&mut self.input, needed, out).map_err(io())?;
        if available < needed {
            return Err(damaged(Fault::Truncated { needed, available }));
        }
        self.offset += HEADER_BYTES as u64 + needed;
        self.record += 1;
        let piece = Piece { data: start + HEADER_BYTES..out.len(), record, offset };
        Ok(ReadRecord { header, piece })
    }
}

struct ReadRecord {
    header: RecordHeader,
    piece: Piece,
}

fn first_height(record: &ReadRecord, bytes: &[u8]) -> Result<u64, Fault> {
    if record.header.kind != kind::HEADER {
        return Err(Fault::RecordType { expected: "a header (0x03)", found: record.header.kind });
    }
    let mut header = Vec::new();
    snappy::decode(&bytes[record.piece.data.clone()], HEADER_RLP_BYTES_MAX, &mut header)?;
    let item = Item::exact(&header).map_err(Fault::rlp("header"))?;
    Ok(Header::decode(item)?.number)
}

pub(crate) fn fixed<const N: usize>(data: &[u8], place: Place) -> Result<[u8; N], EthereumError> {
    data.try_into().map_err(|_| {
        let fault = Fault::RecordLength { expected: N as u64, found: data.len() as u64 };
        EthereumError::damaged(place, fault)
    })
}

/// Appends one block's records.
pub(crate) fn write_tuple(
    encoder: &mut FrameEncoder,
    header: &[u8],
    body: &[u8],
    receipts: &[u8],
    total: U256,
    out: &mut Vec<u8>,
) {
    write_record(out, kind::HEADER, |out| encoder.encode(header, out));
    write_record(out, kind::BODY, |out| encoder.encode(body, out));
    write_record(out, kind::RECEIPTS, |out| encoder.encode(receipts, out));
    let total = total.to_le_bytes();
    write_record(out, kind::TOTAL_DIFFICULTY, |out| out.extend_from_slice(&total));
}

/// The numbers of a block index whose record starts at `index_offset`.
pub(crate) fn index_entries(start_height: u64, offsets: &[u64], index_offset: u64) -> Vec<i64> {
    let signed = |number: u64| i64::try_from(number).expect("below 2^63");
    let relative = offsets.iter().map(|&offset| signed(offset) - signed(index_offset));
    std::iter::once(signed(start_height))
        .chain(relative)
        .chain(std::iter::once(signed(offsets.len() as u64)))
        .collect()
}

/// The two records after the blocks, of which the first starts at `offset`.
pub(crate) fn write_tail(
    accumulator: &Hash32,
    start_height: u64,
    offsets: &[u64],
    offset: u64,
) -> Vec<u8> {
    let mut out = Vec::new();
    write_record(&mut out, kind::ACCUMULATOR, |out| out.extend_from_slice(&accumulator.0));
    let index_offset = offset + out.len() as u64;
    write_record(&mut out, kind::BLOCK_INDEX, |out| {
        for entry in index_entries(start_height, offsets, index_offset) {
            out.extend_from_slice(&entry.to_le_bytes());
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let name = Era1Name::parse("mainnet-00000-5ec1ffb8.era1").unwrap();
        assert_eq!((name.network, name.epoch), (Network::mainnet(), 0));
        assert_eq!(name.root, [0x5e, 0xc1, 0xff, 0xb8]);
        let name = Era1Name::parse("my-net-123456-00000001.era1").unwrap();
        assert_eq!((name.network.name(), name.epoch, name.root), ("my-net", 123_456, [0, 0, 0, 1]));
        let mut root = Hash32::default();
        root.0[..4].copy_from_slice(&[0, 0, 0, 1]);
        assert_eq!(Era1Name::of(&name.network, 123_456, &root), "my-net-123456-00000001.era1");
        for file in [
            "mainnet-00000-5ec1ffb8.ere",
            "mainnet-0000-5ec1ffb8.era1",
            "mainnet-+0000-5ec1ffb8.era1",
            "mainnet-00000-5ec1ffb.era1",
            "mainnet-00000-+ec1ffb8.era1",
            "00000-5ec1ffb8.era1",
            "-00000-5ec1ffb8.era1",
            "copy.era1",
            "mainnet-99999999999999999999-5ec1ffb8.era1",
        ] {
            assert_eq!(Era1Name::parse(file), None, "{file}");
        }
    }
}

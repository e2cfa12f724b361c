//! Reads an `.ere` file by its index, a run of blocks at a time.
//!
//! The index is read first and believed in nothing: each section must begin where the one before ends, each record must be of
//! its section's type and end where the next one begins, and nothing lies between the last one and the index but the
//! accumulator. Beside the blocks the file is hashed in its own order, about as many bytes at a time. Memory: 40 bytes for
//! each block, and one run.

use crate::ethereum::{
    accumulator::EPOCH_BLOCKS,
    e2store::{HEADER_BYTES, RecordHeader, kind, read_up_to},
    era1::{VERSION_RECORD, fixed},
    error::{EthereumError, Fault, Part, Place},
    hash::Hash32,
    tuple::{Batch, Piece, RECORD_BYTES_MAX, ReceiptsPiece, Tuple},
    uint::U256,
};
use crate::parallel::{LOT_BYTES, Lot};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Seek, SeekFrom};

const RECORD: u64 = HEADER_BYTES as u64;
/// First height, number of offsets for each block, number of blocks.
const INDEX_NUMBERS: u64 = 3;
/// Accumulator and its record's header.
const ACCUMULATOR_BYTES: u64 = RECORD + 32;

/// One component of all blocks.
struct Section {
    part: Part,
    kind: u16,
    /// number of the first record
    first_record: u64,
    /// where each block's record starts, and where the section ends
    offsets: Vec<u64>,
}

/// Reads a file in runs of blocks.
pub(crate) struct EreReader<'a, R> {
    input: R,
    file: &'a str,
    file_bytes: u64,
    start_height: u64,
    count: usize,
    /// in the file's order
    sections: Vec<Section>,
    accumulator: Option<Hash32>,
    tail_offset: u64,
    next: usize,
    /// over the file's first `hashed` bytes
    sha256: Sha256,
    hashed: u64,
}

impl<'a, R: Read + Seek> EreReader<'a, R> {
    /// Reads and checks the index.
    pub(crate) fn open(mut input: R, file: &'a str) -> Result<Self, EthereumError> {
        let io = || EthereumError::io(file);
        let file_bytes = input.seek(SeekFrom::End(0)).map_err(io())?;
        let mut reader = Self {
            input,
            file,
            file_bytes,
            start_height: 0,
            count: 0,
            sections: Vec::new(),
            accumulator: None,
            tail_offset: 0,
            next: 0,
            sha256: Sha256::new(),
            hashed: 0,
        };
        let place = reader.place(0, 0, Part::Version, None);
        let version = reader.read(0, RECORD, &place)?;
        if version != VERSION_RECORD {
            let found = u16::from_le_bytes([version[0], version[1]]);
            let fault = Fault::RecordType { expected: "a version record (0x3265)", found };
            return Err(EthereumError::damaged(place, fault));
        }
        reader.read_index()?;
        Ok(reader)
    }

    /// Size of the file.
    pub(crate) const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Height of the first block, by the index.
    pub(crate) const fn start_height(&self) -> u64 {
        self.start_height
    }

    /// Blocks in it.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// The root that the file says.
    pub(crate) const fn accumulator(&self) -> Option<Hash32> {
        self.accumulator
    }

    /// Where accumulator or index begin.
    pub(crate) const fn tail_offset(&self) -> u64 {
        self.tail_offset
    }

    /// Whether it has a component.
    pub(crate) fn has(&self, part: Part) -> bool {
        self.sections.iter().any(|section| section.part == part)
    }

    /// Where the blocks' records start, in the file's order of sections.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (Part, &[u64])> {
        self.sections.iter().map(|section| (section.part, &section.offsets[..self.count]))
    }

    /// What follows the blocks: accumulator and index.
    pub(crate) fn tail(&mut self) -> Result<Vec<u8>, EthereumError> {
        let place = self.tail_place(Part::BlockIndex);
        self.read(self.tail_offset, self.file_bytes - self.tail_offset, &place)
    }

    /// The digest of the whole file; call it last.
    pub(crate) fn sha256(&mut self) -> Result<Hash32, EthereumError> {
        while self.hash_more(LOT_BYTES as u64)? > 0 {}
        Ok(Hash32(self.sha256.clone().finalize().into()))
    }

    /// Hashes so many of the file's next bytes, or as many as there are.
    fn hash_more(&mut self, bytes: u64) -> Result<u64, EthereumError> {
        let mut chunk = Vec::new();
        self.input.seek(SeekFrom::Start(self.hashed)).map_err(EthereumError::io(self.file))?;
        let read = read_up_to(&mut self.input, bytes, &mut chunk);
        let read = read.map_err(EthereumError::io(self.file))?;
        self.sha256.update(&chunk);
        self.hashed += read;
        Ok(read)
    }

    /// Where accumulator or index are.
    pub(crate) fn tail_place(&self, part: Part) -> Place {
        let records = 1 + self.sections.len() as u64 * self.count as u64;
        let after = self.accumulator.is_some() && part == Part::BlockIndex;
        let offset = self.tail_offset + if after { ACCUMULATOR_BYTES } else { 0 };
        self.place(records + u64::from(after), offset, part, None)
    }

    fn place(&self, record: u64, offset: u64, part: Part, height: Option<u64>) -> Place {
        Place { file: self.file.into(), record, offset, part, height }
    }

    /// Bytes of the file; memory grows with what is there.
    fn read(&mut self, offset: u64, needed: u64, place: &Place) -> Result<Vec<u8>, EthereumError> {
        let mut bytes = Vec::new();
        self.input.seek(SeekFrom::Start(offset)).map_err(EthereumError::io(self.file))?;
        let available = read_up_to(&mut self.input, needed, &mut bytes)
            .map_err(EthereumError::io(self.file))?;
        if available < needed {
            return Err(EthereumError::damaged(
                place.clone(),
                Fault::Truncated { needed, available },
            ));
        }
        Ok(bytes)
    }

    fn read_index(&mut self) -> Result<(), EthereumError> {
        let end = self.file_bytes.saturating_sub(16);
        let no_index = self.place(0, end, Part::BlockIndex, None);
        let no_index = move || EthereumError::damaged(no_index.clone(), Fault::NoIndex);
        let numbers = self.read(end, 16, &no_place(self.file))?;
        let (numbers, _) = numbers.as_chunks::<8>();
        let [per_block, count] = [numbers[0], numbers[1]].map(u64::from_le_bytes);
        if !(2..=5).contains(&per_block) || !(1..=EPOCH_BLOCKS as u64).contains(&count) {
            return Err(no_index());
        }
        let data_bytes = 8 * (INDEX_NUMBERS + per_block * count);
        let start = self.file_bytes.checked_sub(RECORD + data_bytes).ok_or_else(&no_index)?;
        let place = self.place(0, start, Part::BlockIndex, None);
        let index = self.read(start, RECORD + data_bytes, &place)?;
        let (header, numbers) = index.split_first_chunk().expect("longer than a header");
        let header = RecordHeader::from_bytes(*header).map_err(|_| no_index())?;
        if header.kind != kind::DYNAMIC_BLOCK_INDEX || u64::from(header.data_bytes) != data_bytes {
            return Err(no_index());
        }
        let damaged = |fault| EthereumError::damaged(place.clone(), fault);
        let (numbers, _) = numbers.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        self.start_height = numbers[0];
        if !numbers[0].is_multiple_of(EPOCH_BLOCKS as u64) || numbers[0] > u64::MAX / 2 {
            return Err(damaged(Fault::NotAnEpoch { found: numbers[0] }));
        }
        self.count = usize::try_from(count).expect("at most 8192");
        let columns = usize::try_from(per_block).expect("at most 5");
        let mut sections = Vec::with_capacity(columns);
        for column in 0..columns {
            let relative = numbers[1..].iter().skip(column).step_by(columns).take(self.count);
            let offsets: Vec<u64> = relative.map(|number| number.wrapping_add(start)).collect();
            sections.push(Section { part: Part::File, kind: 0, first_record: 0, offsets });
        }
        sections.sort_by_key(|section| section.offsets[0]);
        // each record lies behind the one before, the whole of them between the version and the index
        let mut previous = RECORD - 1;
        for offset in sections.iter().flat_map(|section| &section.offsets) {
            if *offset <= previous || *offset > start - RECORD.min(start) {
                return Err(damaged(Fault::IndexOrder { offset: *offset }));
            }
            previous = *offset;
        }
        if sections[0].offsets[0] != RECORD {
            return Err(damaged(Fault::IndexOrder { offset: sections[0].offsets[0] }));
        }
        for number in 0..columns {
            let first = sections[number].offsets[0];
            let first_record = 1 + number as u64 * count;
            let place = self.place(first_record, first, Part::File, Some(self.start_height));
            let header = self.record_header(first, &place)?;
            let part = part_of(header.kind).ok_or_else(|| {
                let expected = "a part of a block (0x03, 0x04, 0x0a, 0x06 or 0x0b)";
                EthereumError::damaged(
                    place.clone(),
                    Fault::RecordType { expected, found: header.kind },
                )
            })?;
            if sections[..number].iter().any(|section| section.part == part) {
                let fault = Fault::RecordType { expected: "another part", found: header.kind };
                return Err(EthereumError::damaged(place, fault));
            }
            let next = sections.get(number + 1).map(|section| section.offsets[0]);
            let section = &mut sections[number];
            (section.part, section.kind, section.first_record) = (part, header.kind, first_record);
            let last = *section.offsets.last().expect("a block at least");
            let end = match next {
                Some(next) => next,
                None => last + RECORD + u64::from(self.record_header(last, &place)?.data_bytes),
            };
            section.offsets.push(end);
            self.tail_offset = end;
        }
        self.sections = sections;
        for part in [Part::Header, Part::Body] {
            if !self.has(part) {
                return Err(damaged(Fault::EndsEarly(part)));
            }
        }
        self.read_accumulator(start)
    }

    /// What lies between the blocks and the index.
    fn read_accumulator(&mut self, index_start: u64) -> Result<(), EthereumError> {
        let place = self.tail_place(Part::Accumulator);
        match index_start.checked_sub(self.tail_offset) {
            Some(0) => Ok(()),
            Some(ACCUMULATOR_BYTES) => {
                let header = self.record_header(self.tail_offset, &place)?;
                if header.kind != kind::ACCUMULATOR || header.data_bytes != 32 {
                    let (expected, found) = ("the accumulator (0x07)", header.kind);
                    return Err(EthereumError::damaged(
                        place,
                        Fault::RecordType { expected, found },
                    ));
                }
                let root = self.read(self.tail_offset + RECORD, 32, &place)?;
                self.accumulator = Some(Hash32(fixed(&root, place)?));
                Ok(())
            }
            Some(count) => Err(EthereumError::damaged(place, Fault::OtherRecords { count })),
            None => {
                Err(EthereumError::damaged(place, Fault::IndexOrder { offset: self.tail_offset }))
            }
        }
    }

    fn record_header(&mut self, offset: u64, place: &Place) -> Result<RecordHeader, EthereumError> {
        let bytes = self.read(offset, RECORD, place)?;
        RecordHeader::from_bytes(fixed(&bytes, place.clone())?)
            .map_err(|fault| EthereumError::damaged(place.clone(), fault))
    }

    /// The next blocks; their bytes are those of each section after another. `None` after the last ones, and after an error.
    pub(crate) fn next_lot(&mut self) -> Option<Lot<Result<Batch, EthereumError>>> {
        if self.next == self.count {
            return None;
        }
        let batch = self.read_blocks().and_then(|batch| {
            self.hash_more(batch.bytes.len() as u64)?;
            Ok(batch)
        });
        let bytes = batch.as_ref().map_or(0, |batch| batch.bytes.len());
        self.next = batch.as_ref().map_or(self.count, |batch| self.next + batch.tuples.len());
        Some(Lot { items: batch, bytes })
    }

    fn read_blocks(&mut self) -> Result<Batch, EthereumError> {
        let (from, mut to, mut total) = (self.next, self.next, 0);
        while to < self.count && total < LOT_BYTES as u64 {
            for section in &self.sections {
                let needed = section.offsets[to + 1] - section.offsets[to];
                if needed > RECORD_BYTES_MAX {
                    let place = self.piece_place(section, to);
                    let fault = Fault::TooLong { bytes_max: RECORD_BYTES_MAX, found: needed };
                    return Err(EthereumError::damaged(place, fault));
                }
                total += needed;
            }
            to += 1;
        }
        let mut batch = Batch { offset: self.sections[0].offsets[from], ..Batch::default() };
        let mut columns = Vec::with_capacity(self.sections.len());
        for number in 0..self.sections.len() {
            columns.push(self.read_pieces(number, from, to, &mut batch.bytes)?);
        }
        for block in from..to {
            let mut tuple = Tuple {
                height: self.start_height + block as u64,
                header: Piece { data: 0..0, record: 0, offset: 0 },
                body: Piece { data: 0..0, record: 0, offset: 0 },
                receipts: None,
                proof: None,
                total: None,
            };
            for (section, column) in self.sections.iter().zip(&mut columns) {
                let piece = column.next().expect("one for each block of the batch");
                match section.part {
                    Part::Header => tuple.header = piece,
                    Part::Body => tuple.body = piece,
                    Part::Receipts => tuple.receipts = Some(ReceiptsPiece::Slim(piece)),
                    Part::Proof => tuple.proof = Some(piece),
                    _ => {
                        let place = self.piece_place(section, block);
                        let total = fixed(&batch.bytes[piece.data.clone()], place)?;
                        tuple.total = Some((U256::from_le_bytes(total), piece));
                    }
                }
            }
            batch.tuples.push(tuple);
        }
        Ok(batch)
    }

    /// Appends a section's records of some blocks to `out`.
    fn read_pieces(
        &mut self,
        section: usize,
        from: usize,
        to: usize,
        out: &mut Vec<u8>,
    ) -> Result<std::vec::IntoIter<Piece>, EthereumError> {
        let section = &self.sections[section];
        let (start, needed) = (section.offsets[from], section.offsets[to] - section.offsets[from]);
        self.input.seek(SeekFrom::Start(start)).map_err(EthereumError::io(self.file))?;
        let base = out.len();
        let available =
            read_up_to(&mut self.input, needed, out).map_err(EthereumError::io(self.file))?;
        if available < needed {
            let fault = Fault::Truncated { needed, available };
            return Err(EthereumError::damaged(self.piece_place(section, from), fault));
        }
        let mut pieces = Vec::with_capacity(to - from);
        for block in from..to {
            let damaged = |fault| EthereumError::damaged(self.piece_place(section, block), fault);
            let offset = section.offsets[block];
            let [at, end] = [offset, section.offsets[block + 1]]
                .map(|offset| base + usize::try_from(offset - start).expect("within a batch"));
            let data = at + HEADER_BYTES..end;
            let header = out[at..end].first_chunk().ok_or_else(|| {
                damaged(Fault::Truncated { needed: RECORD, available: (end - at) as u64 })
            })?;
            let header = RecordHeader::from_bytes(*header).map_err(damaged)?;
            if header.kind != section.kind {
                let (expected, found) = ("a record of its section", header.kind);
                return Err(damaged(Fault::RecordType { expected, found }));
            }
            if header.data_bytes as usize != data.len() {
                let (expected, found) = (data.len() as u64, header.data_bytes.into());
                return Err(damaged(Fault::RecordLength { expected, found }));
            }
            pieces.push(Piece { data, record: section.first_record + block as u64, offset });
        }
        Ok(pieces.into_iter())
    }

    fn piece_place(&self, section: &Section, block: usize) -> Place {
        let record = section.first_record + block as u64;
        let height = Some(self.start_height + block as u64);
        self.place(record, section.offsets[block], section.part, height)
    }
}

fn no_place(file: &str) -> Place {
    Place { file: file.into(), record: 0, offset: 0, part: Part::BlockIndex, height: None }
}

fn part_of(kind: u16) -> Option<Part> {
    match kind {
        kind::HEADER => Some(Part::Header),
        kind::BODY => Some(Part::Body),
        kind::SLIM_RECEIPTS => Some(Part::Receipts),
        kind::TOTAL_DIFFICULTY => Some(Part::TotalDifficulty),
        kind::PROOF => Some(Part::Proof),
        _ => None,
    }
}

//! The files of a node's folder `blocks`: which there are, and the records in each.
//!
//! ```text
//! file      records, then zeros up to a multiple of 16 MiB (blk) or 1 MiB (rev); a closed file has no zeros
//! record    magic (4 bytes), length u32, that many bytes, in rev files a checksum (32 bytes)
//! xor.dat   8 bytes: byte i of each file is XORed with byte i mod 8 of it, but the zeros at the end are not
//! ```
//! Core overwrites a file from its start after some crashes: what follows the last new record are the ends of older ones.
//! [`Records`] stops there, or, where it is asked to salvage, goes on with the next record that is whole.

use super::{
    block::{BLOCK_BYTES_MAX, Block, HEADER_BYTES, Header},
    error::{BitcoinError, Fault, Place},
    hash::Hash,
    network::Network,
    undo,
    wire::Reader,
};
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    fs::File,
    io::{BufReader, ErrorKind, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    str::FromStr,
};

/// Magic and length.
pub(crate) const HEAD_BYTES: usize = 8;
/// Core begins a new file before this one grows beyond 128 MiB; so no record is longer.
const RECORD_BYTES_MAX: usize = 128 << 20;
const BUFFER_BYTES: usize = 1 << 20;
/// A page: a block's header is read, its transactions are not.
const HEADER_BUFFER_BYTES: usize = 4 << 10;
/// So often is a file read at most in search of whole records.
const RESYNC_PASSES: u64 = 16;

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileKind {
    /// blocks
    Blk,
    /// undo data
    Rev,
}

impl FileKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Blk, Self::Rev];
}

/// The name of a file: `blk00012.dat`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileName {
    /// what it holds
    pub kind: FileKind,
    /// its number
    pub number: u32,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FileKind::Blk => "blk",
            FileKind::Rev => "rev",
        };
        write!(f, "{kind}{:05}.dat", self.number)
    }
}

/// A name that no block file has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the name of a block file, such as blk00000.dat")]
pub struct NotAFileName;

impl FromStr for FileName {
    type Err = NotAFileName;

    fn from_str(text: &str) -> Result<Self, NotAFileName> {
        let (kind, rest) = match text.split_at_checked(3) {
            Some(("blk", rest)) => (FileKind::Blk, rest),
            Some(("rev", rest)) => (FileKind::Rev, rest),
            _ => return Err(NotAFileName),
        };
        let digits = rest.strip_suffix(".dat").ok_or(NotAFileName)?;
        let name = Self { kind, number: digits.parse().map_err(|_| NotAFileName)? };
        if name.to_string() == text { Ok(name) } else { Err(NotAFileName) }
    }
}

/// A key of `xor.dat`; zeros where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct XorKey(pub [u8; 8]);

impl XorKey {
    /// Applies it to bytes that begin at `offset` of a file; the second time takes it away.
    pub(crate) fn apply(self, offset: u64, bytes: &mut [u8]) {
        let mut key = self.0;
        key.rotate_left((offset % 8) as usize);
        let number = u64::from_le_bytes(key);
        let (words, rest) = bytes.as_chunks_mut::<8>();
        words
            .iter_mut()
            .for_each(|word| *word = (u64::from_le_bytes(*word) ^ number).to_le_bytes());
        rest.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    }
}

impl fmt::Debug for XorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A folder with block files.
#[derive(Clone, Debug)]
pub struct Folder {
    /// where it is
    pub path: PathBuf,
    /// whose blocks these are
    pub network: Network,
    /// what is in `xor.dat`, where there is one
    pub xor: Option<XorKey>,
    /// numbers of the block files, ascending
    pub blk: Vec<u32>,
    /// numbers of the undo files, ascending
    pub rev: Vec<u32>,
}

impl Folder {
    /// Looks what is in a folder; the first record of the first file tells the network.
    ///
    /// # Errors
    /// No block files, another network than asked for, a key that is none, and those of the disk.
    pub fn open(path: &Path, asked: Option<Network>) -> Result<Self, BitcoinError> {
        let (mut blk, mut rev) = (Vec::new(), Vec::new());
        let entries = match std::fs::read_dir(path) {
            Err(e) if e.kind() == ErrorKind::NotADirectory => {
                return Err(BitcoinError::NoFiles { path: path.to_owned() });
            }
            entries => entries.map_err(BitcoinError::io(path))?,
        };
        for entry in entries {
            let name = entry.map_err(BitcoinError::io(path))?.file_name();
            match name.to_str().map(FileName::from_str) {
                Some(Ok(FileName { kind: FileKind::Blk, number })) => blk.push(number),
                Some(Ok(FileName { kind: FileKind::Rev, number })) => rev.push(number),
                _ => {}
            }
        }
        blk.sort_unstable();
        rev.sort_unstable();
        let Some(&first) = blk.first() else {
            return Err(BitcoinError::NoFiles { path: path.to_owned() });
        };
        if let Some(&number) = rev.iter().find(|number| blk.binary_search(number).is_err()) {
            let name = |kind| FileName { kind, number };
            return Err(BitcoinError::NoBlocks {
                rev: name(FileKind::Rev),
                blk: name(FileKind::Blk),
            });
        }
        let xor = read_xor_key(&path.join("xor.dat"))?;
        let file = FileName { kind: FileKind::Blk, number: first };
        let name = path.join(file.to_string());
        let mut found = [0; 4];
        let mut first = File::open(&name).map_err(BitcoinError::io(&name))?;
        first.read_exact(&mut found).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => BitcoinError::TooShort {
                path: name.clone(),
                bytes: first.metadata().map_or(0, |file| file.len()),
            },
            _ => BitcoinError::io(&name)(source),
        })?;
        xor.unwrap_or_default().apply(0, &mut found);
        let network =
            Network::of_magic(found).ok_or(BitcoinError::UnknownNetwork { file, found })?;
        if let Some(expected) = asked.filter(|&asked| asked != network) {
            return Err(BitcoinError::OtherNetwork { file, expected, found: network });
        }
        Ok(Self { path: path.to_owned(), network, xor, blk, rev })
    }

    /// Bytes of all its files.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn bytes(&self) -> Result<u64, BitcoinError> {
        let names = |kind, numbers: &[u32]| -> Vec<_> {
            numbers.iter().map(|&number| FileName { kind, number }).collect()
        };
        let all = [names(FileKind::Blk, &self.blk), names(FileKind::Rev, &self.rev)].concat();
        all.iter().try_fold(0, |sum, name| {
            let path = self.path.join(name.to_string());
            Ok(sum + std::fs::metadata(&path).map_err(BitcoinError::io(&path))?.len())
        })
    }

    /// Opens one of its files, to read and hash all of it.
    pub(crate) fn records(&self, name: FileName, salvage: bool) -> Result<Records, BitcoinError> {
        self.open_records(name, salvage, BUFFER_BYTES)
    }

    /// Opens one of its files, to skip most of it.
    pub(crate) fn headers(&self, name: FileName, salvage: bool) -> Result<Records, BitcoinError> {
        self.open_records(name, salvage, HEADER_BUFFER_BYTES)
    }

    fn open_records(
        &self,
        name: FileName,
        salvage: bool,
        buffer_bytes: usize,
    ) -> Result<Records, BitcoinError> {
        let path = self.path.join(name.to_string());
        let file = File::open(&path).map_err(BitcoinError::io(&path))?;
        let bytes = file.metadata().map_err(BitcoinError::io(&path))?.len();
        Ok(Records {
            input: BufReader::with_capacity(buffer_bytes, file),
            sha256: Some(Sha256::new()),
            path,
            name,
            network: self.network,
            key: self.xor.unwrap_or_default(),
            salvage,
            bytes,
            at: 0,
            records: 0,
            hashed: 0,
        })
    }
}

fn read_xor_key(path: &Path) -> Result<Option<XorKey>, BitcoinError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(BitcoinError::io(path)(e)),
    };
    let key = bytes[..]
        .try_into()
        .map_err(|_| BitcoinError::XorKey { path: path.to_owned(), bytes: bytes.len() as u64 })?;
    Ok(Some(XorKey(key)))
}

/// The next thing in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    Record(Record),
    /// padding
    Zeros {
        bytes: u64,
    },
    /// what is no record: kept as it is on the disk
    Verbatim {
        offset: u64,
        bytes: u64,
    },
}

/// Reads a file forward, and hashes it unless it is told not to.
pub(crate) struct Records {
    input: BufReader<File>,
    /// over the bytes on the disk; of a file that is only read for its records there is none
    sha256: Option<Sha256>,
    path: PathBuf,
    name: FileName,
    network: Network,
    key: XorKey,
    salvage: bool,
    bytes: u64,
    at: u64,
    records: u64,
    /// bytes that were read, and hashed, at least once
    hashed: u64,
}

/// A block, or an undo with its checksum; without the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) place: Place,
    pub(crate) payload: Vec<u8>,
    /// zeros for a block
    pub(crate) checksum: Hash,
}

impl Piece {
    /// What it takes of the memory.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Self::Record(record) => record.payload.len(),
            Self::Zeros { .. } | Self::Verbatim { .. } => 0,
        }
    }
}

impl Records {
    /// The same without the file's hash: for who knows each of its records by a digest.
    pub(crate) fn unhashed(self) -> Self {
        Self { sha256: None, ..self }
    }

    /// Length of the file.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes behind.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, BitcoinError> {
        if self.at == self.bytes {
            return Ok(None);
        }
        let start = self.at;
        match self.record()? {
            Ok(piece) if !self.salvage => Ok(Some(piece)),
            Ok(piece) if self.is_whole(&piece) => Ok(Some(piece)),
            Err(fault) if !self.salvage => Err(BitcoinError::damaged(self.place(start), fault)),
            _ => self.resync(start).map(Some),
        }
    }

    /// The next block's header with its proof of work, in a file of blocks, without reading the block: its length says where
    /// the next one is. `None` at the end.
    pub(crate) fn next_header(&mut self) -> Result<Option<(u64, Header)>, BitcoinError> {
        if self.salvage {
            return self.next_whole_header();
        }
        let start = self.at;
        let mut head = [0; HEAD_BYTES + HEADER_BYTES];
        let left = self.bytes - start;
        if left >= head.len() as u64 {
            self.input.read_exact(&mut head).map_err(BitcoinError::io(&self.path))?;
            self.key.apply(start, &mut head);
        }
        let (head, header) = head.split_first_chunk::<HEAD_BYTES>().expect("a head and a header");
        let [magic @ .., a, b, c, d] = *head;
        let length = u32::from_le_bytes([a, b, c, d]);
        let whole = HEADER_BYTES..=BLOCK_BYTES_MAX;
        if magic != self.network.magic()
            || !whole.contains(&(length as usize))
            || left < HEAD_BYTES as u64 + u64::from(length)
        {
            // the end, or what is wrong
            self.seek(start)?;
            return self.next_whole_header();
        }
        let header = header.try_into().expect("the rest is a header");
        let header = Header::verified(header, self.network)
            .map_err(|fault| BitcoinError::damaged(self.place(start), fault))?;
        let skip = i64::from(length) - HEADER_BYTES as i64;
        self.input.seek_relative(skip).map_err(BitcoinError::io(&self.path))?;
        self.at = start + HEAD_BYTES as u64 + u64::from(length);
        self.records += 1;
        Ok(Some((start, header)))
    }

    fn next_whole_header(&mut self) -> Result<Option<(u64, Header)>, BitcoinError> {
        while let Some(piece) = self.next()? {
            if let Piece::Record(Record { place, payload, .. }) = piece {
                let damaged = |fault| BitcoinError::damaged(place, fault);
                let header = Reader::new(&payload).array("header").map_err(damaged)?;
                let header = Header::verified(&header, self.network).map_err(damaged)?;
                return Ok(Some((place.offset, header)));
            }
        }
        Ok(None)
    }

    /// The block whose record begins there.
    pub(crate) fn block_at(&mut self, offset: u64) -> Result<Option<Vec<u8>>, BitcoinError> {
        self.seek(offset)?;
        Ok(match self.record()? {
            Ok(Piece::Record(record)) => Some(record.payload),
            _ => None,
        })
    }

    /// Reads all of it, for its hash.
    pub(crate) fn hash(mut self) -> Result<[u8; 32], BitcoinError> {
        self.skip_to_end()?;
        Ok(self.finish().expect("made to be hashed"))
    }

    /// Bytes as they are on the disk, at any place that was read before.
    pub(crate) fn verbatim(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), BitcoinError> {
        let at = self.at;
        self.seek(offset)?;
        self.read(buffer)?;
        self.seek(at)
    }

    /// SHA-256 of the file, once all of it was read; `None` if it is not hashed.
    pub(crate) fn finish(self) -> Option<[u8; 32]> {
        assert_eq!(self.hashed, self.bytes, "all was read");
        self.sha256.map(|sha256| sha256.finalize().into())
    }

    fn place(&self, offset: u64) -> Place {
        Place { file: self.name, record: self.records, offset, height: None }
    }

    /// Reads what begins here. On a fault, nothing but `at` has changed.
    fn record(&mut self) -> Result<Result<Piece, Fault>, BitcoinError> {
        let start = self.at;
        let left = self.bytes - start;
        let mut head = vec![0; HEAD_BYTES.min(usize::try_from(left).unwrap_or(HEAD_BYTES))];
        self.read(&mut head)?;
        if head.iter().all(|&byte| byte == 0) {
            return self.padding(start);
        }
        self.key.apply(start, &mut head);
        let expected = self.network.magic();
        let found = *head.first_chunk::<4>().unwrap_or(&[0; 4]);
        if found != expected {
            return Ok(Err(Fault::Magic { network: self.network, expected, found }));
        }
        let Some(length) = head.get(4..).and_then(|length| length.try_into().ok()) else {
            let found = head.len() as u64;
            return Ok(Err(Fault::Ends {
                what: "record's head",
                needed: HEAD_BYTES as u64,
                found,
            }));
        };
        let length = u32::from_le_bytes(length) as usize;
        let (max, behind) = match self.name.kind {
            FileKind::Blk => (BLOCK_BYTES_MAX, 0),
            FileKind::Rev => (RECORD_BYTES_MAX, undo::CHECKSUM_BYTES),
        };
        let (needed, found) = ((length + behind) as u64, self.bytes - self.at);
        if length > max {
            return Ok(Err(Fault::TooLong { bytes: length as u64 }));
        }
        if needed > found {
            return Ok(Err(Fault::Ends { what: "record", needed, found }));
        }
        let mut payload = vec![0; length + behind];
        let at = self.at;
        self.read(&mut payload)?;
        self.key.apply(at, &mut payload);
        let checksum = payload.split_off(length)[..].try_into().map(Hash).unwrap_or_default();
        let record = Record { place: self.place(start), payload, checksum };
        self.records += 1;
        Ok(Ok(Piece::Record(record)))
    }

    fn padding(&mut self, start: u64) -> Result<Result<Piece, Fault>, BitcoinError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        while self.at < self.bytes {
            let offset = self.at;
            let left = usize::try_from(self.bytes - offset).unwrap_or(BUFFER_BYTES);
            let chunk = &mut buffer[..left.min(BUFFER_BYTES)];
            self.read(chunk)?;
            if let Some(nonzero) = chunk.iter().position(|&byte| byte != 0) {
                let (offset, found) = (offset + nonzero as u64, chunk[nonzero]);
                return Ok(Err(Fault::Padding { offset, found }));
            }
        }
        Ok(Ok(Piece::Zeros { bytes: self.bytes - start }))
    }

    /// Looks for the next whole record, and gives what lies before it.
    fn resync(&mut self, start: u64) -> Result<Piece, BitcoinError> {
        let magic = self.network.magic();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut budget = RESYNC_PASSES * self.bytes;
        let mut from = start + 1;
        while from < self.bytes {
            self.seek(from)?;
            let left = usize::try_from(self.bytes - from).unwrap_or(BUFFER_BYTES);
            let window = &mut buffer[..left.min(BUFFER_BYTES)];
            self.read(window)?;
            self.key.apply(from, window);
            let found = window.windows(magic.len()).position(|bytes| *bytes == magic);
            let Some(found) = found else {
                // one may begin in the window's last bytes
                from += (window.len().saturating_sub(magic.len() - 1)).max(1) as u64;
                continue;
            };
            from += found as u64;
            self.seek(from)?;
            let records = self.records;
            let whole = self.record()?.is_ok_and(|piece| self.is_whole(&piece));
            self.records = records;
            let tried = self.at - from;
            self.seek(from)?;
            if whole {
                return Ok(Piece::Verbatim { offset: start, bytes: from - start });
            }
            // hostile bytes could have a record of the greatest length tried at each of them
            budget = budget.saturating_sub(tried);
            if budget == 0 {
                break;
            }
            from += 1;
        }
        self.skip_to_end()?;
        Ok(Piece::Verbatim { offset: start, bytes: self.bytes - start })
    }

    fn is_whole(&self, piece: &Piece) -> bool {
        match (piece, self.name.kind) {
            (Piece::Record(block), FileKind::Blk) => {
                Block::verified(&block.payload, self.network).is_ok()
            }
            (Piece::Record(undo), FileKind::Rev) => undo::spent(&undo.payload).is_ok(),
            _ => true,
        }
    }

    fn skip_to_end(&mut self) -> Result<(), BitcoinError> {
        self.seek(self.hashed)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        while self.at < self.bytes {
            let left = usize::try_from(self.bytes - self.at).unwrap_or(BUFFER_BYTES);
            self.read(&mut buffer[..left.min(BUFFER_BYTES)])?;
        }
        Ok(())
    }

    fn seek(&mut self, offset: u64) -> Result<(), BitcoinError> {
        self.input.seek(SeekFrom::Start(offset)).map_err(BitcoinError::io(&self.path))?;
        self.at = offset;
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), BitcoinError> {
        self.input.read_exact(buffer).map_err(BitcoinError::io(&self.path))?;
        let end = self.at + buffer.len() as u64;
        // what is read again was hashed before; what was skipped makes the hash one of nothing
        if let Some(known) = self.hashed.checked_sub(self.at) {
            let known = usize::try_from(known).unwrap_or(usize::MAX);
            if let Some(new) = buffer.get(known..) {
                if let Some(sha256) = &mut self.sha256 {
                    sha256.update(new);
                }
                self.hashed = end;
            }
        }
        self.at = end;
        Ok(())
    }
}

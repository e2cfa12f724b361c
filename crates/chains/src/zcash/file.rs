//! A file of blocks as `zcashd` keeps them: before each the network's magic and its length, in the order in which they came.
//!
//! The file is read twice: once for where each block is (100 bytes are kept of it), then block by block, lowest height first. Of two blocks of one height that is taken which
//! the one above it names; at the top, the one that came first.

use super::{
    block::{BLOCK_BYTES_MAX, Block, Network, split},
    fault::{Fault, FileError},
    verifier::{HEADER, TRANSACTIONS},
};
use crate::{
    bitcoin::Hash,
    contract::{ChainSource, RawBlock, RawPart},
};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// A file of blocks.
#[derive(Debug)]
pub struct BlockFile {
    path: PathBuf,
    file: File,
    blocks: Vec<Place>,
    next: usize,
}

/// Where a block is, and below what.
#[derive(Clone, Copy, Debug)]
struct Place {
    height: u64,
    hash: Hash,
    parent: Hash,
    offset: u64,
    bytes: usize,
}

impl BlockFile {
    /// Opens a file, and looks for its blocks.
    ///
    /// # Errors
    /// When it cannot be read, or has something else than blocks of this network.
    pub fn open(path: &Path, network: Network) -> Result<Self, FileError> {
        let io = |error| FileError::Io { path: path.into(), error };
        let file = File::open(path).map_err(io)?;
        let mut this = Self { path: path.into(), file, blocks: Vec::new(), next: 0 };
        let (mut offset, end) = (0, this.file.metadata().map_err(io)?.len());
        while offset < end {
            let frame = |what: String| FileError::Frame { path: path.into(), offset, what };
            let head: [u8; 8] = this.read(offset, 8)?.try_into().expect("8 bytes");
            let (magic, length) = head.split_at(4);
            if head == [0; 8] {
                break; // room that the node had not used yet
            }
            if magic != network.magic() {
                let found: String = magic.iter().map(|byte| format!("{byte:02x}")).collect();
                return Err(frame(format!("{found} is no block of {}", network.name())));
            }
            let bytes = u32::from_le_bytes(length.try_into().expect("4 bytes")) as usize;
            if bytes > BLOCK_BYTES_MAX {
                return Err(frame(format!(
                    "a block of {bytes} bytes, the longest has {BLOCK_BYTES_MAX}"
                )));
            }
            let block = this.read(offset + 8, bytes)?;
            let of_block = |fault: Fault| frame(fault.to_string());
            let (header, transactions) = split(&block).map_err(of_block)?;
            let block = Block::verified(header, transactions, network).map_err(of_block)?;
            let height = block.height.ok_or_else(|| frame("a block that says no height".into()))?;
            let (hash, parent) = (block.hash, block.parent);
            this.blocks.push(Place { height, hash, parent, offset: offset + 8, bytes });
            offset += 8 + bytes as u64;
        }
        this.blocks = one_each(std::mem::take(&mut this.blocks));
        Ok(this)
    }

    fn read(&mut self, offset: u64, bytes: usize) -> Result<Vec<u8>, FileError> {
        let mut buffer = vec![0; bytes];
        let read =
            self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(&mut buffer));
        match read {
            Ok(()) => Ok(buffer),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let what = format!("it ends within {bytes} bytes");
                Err(FileError::Frame { path: self.path.clone(), offset, what })
            }
            Err(error) => Err(FileError::Io { path: self.path.clone(), error }),
        }
    }
}

/// One block of each height, lowest first.
fn one_each(mut places: Vec<Place>) -> Vec<Place> {
    places.sort_by_key(|place| place.height);
    let mut chosen: Vec<Place> = Vec::new();
    for group in places.chunk_by(|a, b| a.height == b.height).rev() {
        let wanted = chosen.last().map(|above| above.parent);
        let named = group.iter().find(|place| Some(place.hash) == wanted);
        chosen.push(*named.unwrap_or(&group[0]));
    }
    chosen.reverse();
    chosen
}

impl ChainSource for BlockFile {
    type Error = FileError;

    fn next_block(&mut self) -> Result<Option<RawBlock>, FileError> {
        let Some(&place) = self.blocks.get(self.next) else { return Ok(None) };
        self.next += 1;
        let block = self.read(place.offset, place.bytes)?;
        let changed = |fault: Fault| FileError::Frame {
            path: self.path.clone(),
            offset: place.offset,
            what: fault.to_string(),
        };
        let (header, transactions) = split(&block).map_err(changed)?;
        let part = |table, bytes: &[u8]| RawPart { table, bytes: bytes.to_vec() };
        let parts = vec![part(HEADER, header), part(TRANSACTIONS, transactions)];
        Ok(Some(RawBlock { height: place.height, parts }))
    }

    fn rewind(&mut self) -> Result<(), FileError> {
        self.next = 0;
        Ok(())
    }

    fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }
}

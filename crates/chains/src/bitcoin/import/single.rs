//! Files of blocks that no node's folder has around them: one block as it is, or several, framed as in block files
//! (`bootstrap.dat`, and what [`crate::bitcoin::export_range`] writes).
//!
//! What is verified is the same. A block has a height if it is the genesis, follows a stored one, or says it in its
//! coinbase where that is a rule; else it is stored by its hash. Neighbours, in the file and in the store, must link. A
//! file is read twice: of one that is wrong nothing is stored.

use super::super::{
    block::{BLOCK_BYTES_MAX, Block, HEADER_BYTES, Header},
    error::{BitcoinError, Fault},
    files::HEAD_BYTES,
    hash::Hash,
    network::Network,
    put::{ChainBlock, put_block, put_side_block},
    query::{History, stored_height},
    tables::Tables,
};
use crate::{archive::Archive, parallel};
use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, ErrorKind, Read as _},
    num::NonZeroUsize,
    path::Path,
};

/// What became of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct BlocksReport {
    /// blocks in it
    pub blocks: u64,
    /// of them new
    pub blocks_stored: u64,
    /// blocks without a height
    pub side_blocks: u64,
    /// transactions in its blocks
    pub transactions: u64,
    /// its length
    pub bytes: u64,
}

/// Takes in a file with one block, or with framed ones, which `threads` verify; of a single block the network must be said, where it
/// is not mainnet. `progress` is told the bytes done.
///
/// # Errors
/// See [`BitcoinError`]; nothing of the file was stored.
pub fn import_blocks<A: Archive + ?Sized>(
    archive: &mut A,
    path: &Path,
    network: Option<Network>,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(u64),
) -> Result<(Network, BlocksReport), BitcoinError> {
    let first = Blocks::open(path, network)?;
    let (network, tables) = (first.network, Tables::of(first.network));
    let mut heights: HashMap<Hash, Option<u64>> = HashMap::new();
    let mut places: HashMap<u64, Header> = HashMap::new();
    first.each(threads, |offset, _, block| {
        let wrong = |fault| BitcoinError::in_file(path, offset, fault);
        let height = height_of(archive, &tables, network, &heights, block)?;
        if let (Some(expected), Some(found)) = (height, block.coinbase_height)
            && expected >= network.coinbase_heights_from()
            && expected != found
        {
            return Err(wrong(Fault::Height { expected, found: Some(found) }));
        }
        if let Some(height) = height {
            let history = History::of(archive, network, &tables);
            let at = |height: u64| match places.get(&height) {
                Some(header) => Ok(Some(*header)),
                None => history.header(height),
            };
            let contradicts =
                |height, stored, found| Err(BitcoinError::Contradicts { height, stored, found });
            let Header { hash, parent, .. } = block.header;
            if let Some(here) = at(height)?.filter(|here| here.hash != hash) {
                return contradicts(height, here.hash, hash);
            }
            if let Some(below) = height.checked_sub(1)
                && let Some(stored) = at(below)?.filter(|stored| stored.hash != parent)
            {
                return contradicts(below, stored.hash, parent);
            }
            if let Some(above) = at(height + 1)?.filter(|above| above.parent != hash) {
                return contradicts(height, above.parent, hash);
            }
            places.insert(height, block.header);
        }
        heights.insert(block.header.hash, height);
        progress(offset);
        Ok(())
    })?;
    let (second, mut report) = (Blocks::open(path, Some(network))?, BlocksReport::default());
    second.each(threads, |offset, bytes, block| {
        let hash = block.header.hash;
        let known = heights.get(&hash).copied();
        let missing = || BitcoinError::in_file(path, offset, Fault::Missing);
        let height = known.ok_or_else(missing)?;
        let stored = match height {
            None => put_side_block(archive, &tables, hash, bytes)?,
            Some(height) => put_block(
                archive,
                &tables,
                &ChainBlock {
                    hash,
                    height,
                    says_height: block.coinbase_height == Some(height),
                    transactions: &block.transactions,
                    bytes,
                    undo: None,
                },
            )?,
        };
        report.blocks += 1;
        report.blocks_stored += u64::from(stored);
        report.side_blocks += u64::from(height.is_none());
        report.transactions += block.transactions.len() as u64;
        report.bytes += bytes.len() as u64;
        progress(offset);
        Ok(())
    })?;
    archive.commit()?;
    Ok((network, report))
}

fn height_of<A: Archive + ?Sized>(
    archive: &A,
    tables: &Tables,
    network: Network,
    before: &HashMap<Hash, Option<u64>>,
    block: &Block,
) -> Result<Option<u64>, BitcoinError> {
    let parent = block.header.parent;
    if block.header.hash == network.genesis() {
        return Ok(Some(0));
    }
    if let Some(Some(height)) = before.get(&parent) {
        return Ok(Some(height + 1));
    }
    if let Some(height) = stored_height(archive, tables, parent)? {
        return Ok(Some(height + 1));
    }
    Ok(block.coinbase_height.filter(|&height| height >= network.coinbase_heights_from()))
}

/// The blocks of a file, one by one.
struct Blocks<'a> {
    path: &'a Path,
    input: BufReader<File>,
    network: Network,
    framed: bool,
    at: u64,
    bytes: u64,
}

impl<'a> Blocks<'a> {
    fn open(path: &'a Path, asked: Option<Network>) -> Result<Self, BitcoinError> {
        let mut file = File::open(path).map_err(BitcoinError::io(path))?;
        let bytes = file.metadata().map_err(BitcoinError::io(path))?.len();
        let mut magic = [0; 4];
        let short = |source: std::io::Error| match source.kind() {
            ErrorKind::UnexpectedEof => BitcoinError::TooShort { path: path.to_owned(), bytes },
            _ => BitcoinError::io(path)(source),
        };
        file.read_exact(&mut magic).map_err(short)?;
        let found = Network::of_magic(magic);
        let network = found.or(asked).unwrap_or(Network::Mainnet);
        if let Some(expected) = asked.filter(|&asked| asked != network) {
            return Err(BitcoinError::OtherNetworkIn {
                path: path.to_owned(),
                expected,
                found: network,
            });
        }
        let file = File::open(path).map_err(BitcoinError::io(path))?;
        let input = BufReader::with_capacity(1 << 20, file);
        Ok(Self { path, input, network, framed: found.is_some(), at: 0, bytes })
    }

    /// Verifies the blocks on all threads, and gives them one by one: where each begins, its bytes, and what it is.
    fn each(
        mut self,
        threads: NonZeroUsize,
        mut take: impl FnMut(u64, &[u8], &Block) -> Result<(), BitcoinError>,
    ) -> Result<(), BitcoinError> {
        let (path, network) = (self.path, self.network);
        parallel::in_order(
            &mut vec![(); threads.get()],
            parallel::lots(
                || self.next(),
                |(_, bytes): &(u64, Vec<u8>)| bytes.len(),
                parallel::LOT_BYTES,
            ),
            |(), _, (blocks, after)| {
                let verify = |(offset, bytes): (u64, Vec<u8>)| {
                    let wrong = |fault| BitcoinError::in_file(path, offset, fault);
                    let block = Block::verified(&bytes, network).map_err(wrong)?;
                    Ok((offset, bytes, block))
                };
                let verified: Vec<Result<_, BitcoinError>> =
                    blocks.into_iter().map(verify).collect();
                (verified, after)
            },
            |(verified, after)| {
                for verified in verified {
                    let (offset, bytes, block) = verified?;
                    take(offset, &bytes, &block)?;
                }
                after
            },
        )
    }

    /// Where a block begins, and its bytes.
    fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, BitcoinError> {
        let left = self.bytes - self.at;
        if left == 0 {
            return Ok(None);
        }
        let start = self.at;
        let wrong = |fault| BitcoinError::in_file(self.path, start, fault);
        let length = if self.framed {
            let mut head = [0; HEAD_BYTES];
            if left < HEAD_BYTES as u64 {
                let (what, needed) = ("record's head", HEAD_BYTES as u64);
                return Err(wrong(Fault::Ends { what, needed, found: left }));
            }
            self.input.read_exact(&mut head).map_err(BitcoinError::io(self.path))?;
            let [magic @ .., a, b, c, d] = head;
            let (network, expected) = (self.network, self.network.magic());
            if magic != expected {
                return Err(wrong(Fault::Magic { network, expected, found: magic }));
            }
            self.at += HEAD_BYTES as u64;
            u64::from(u32::from_le_bytes([a, b, c, d]))
        } else {
            left
        };
        let (needed, found) = (length.max(HEADER_BYTES as u64), self.bytes - self.at);
        if length > BLOCK_BYTES_MAX as u64 {
            return Err(wrong(Fault::TooLong { bytes: length }));
        }
        if needed > found {
            return Err(wrong(Fault::Ends { what: "block", needed, found }));
        }
        let mut bytes = vec![0; usize::try_from(length).expect("a block's length")];
        self.input.read_exact(&mut bytes).map_err(BitcoinError::io(self.path))?;
        self.at += length;
        Ok(Some((start, bytes)))
    }
}

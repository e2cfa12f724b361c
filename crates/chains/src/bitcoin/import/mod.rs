//! Block files into the store.
//!
//! ```text
//! headers    all block files: records, proof of work, links -> which block has which height
//! verify     one block file and its undo file: Merkle roots, witness commitments, checksums
//! store      the same two files again: blocks, transactions' places, undo data, how the files are made of them
//! ```
//! A file of which anything is wrong stores nothing. Files that were stored before are known by their hash. To verify and to store, one
//! thread at a time reads records, all of them verify or compare blocks, the caller's puts. Memory: the transactions' places of one file, up
//! to 30 MB, and a few blocks; with the headers of all files.

mod pieces;
mod single;
mod store;
mod verify;

pub use single::{BlocksReport, import_blocks};

use super::{
    block::Block,
    chain::{BlockPlace, Chain, Headers, Root},
    error::BitcoinError,
    files::{FileKind, FileName, Folder},
    network::Network,
    query::stored_height,
    tables::Tables,
};
use crate::archive::Archive;
use std::{num::NonZeroUsize, ops::RangeInclusive, path::Path};

/// How files are taken in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// refuse files of another network
    pub network: Option<Network>,
    /// blocks that must lie over one that gets its place by height; the network's own number without it
    pub confirmations: Option<u64>,
    /// take in what is whole of files that a crash left half overwritten, and keep the rest as it is
    pub salvage: bool,
    /// threads that verify
    pub threads: NonZeroUsize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        let threads = NonZeroUsize::MIN;
        Self { network: None, confirmations: None, salvage: false, threads }
    }
}

/// What an import is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Stage {
    /// reading all headers
    Headers,
    /// verifying a file
    Verifying,
    /// storing a file
    Storing,
    /// writing a file
    Exporting,
}

/// How far it is, in one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// what is done
    pub stage: Stage,
    /// with which file
    pub file: FileName,
    /// bytes done
    pub bytes_done: u64,
    /// bytes of the file
    pub bytes_total: u64,
}

/// What became of a block file and its undo file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileReport {
    /// number of the files
    pub number: u32,
    /// both were stored before
    pub skipped: bool,
    /// blocks in it
    pub blocks: u64,
    /// of them new
    pub blocks_stored: u64,
    /// blocks without a height: of abandoned branches, or too near the tip
    pub side_blocks: u64,
    /// transactions in its blocks
    pub transactions: u64,
    /// blocks whose undo data is there
    pub undos: u64,
    /// bytes of both files
    pub file_bytes: u64,
    /// bytes that are no record, kept as they are
    pub verbatim_bytes: u64,
}

/// What an import did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ImportReport {
    /// whose blocks they are
    pub network: Network,
    /// heights of the chain in these files, with those too near the tip
    pub heights: Option<RangeInclusive<u64>>,
    /// file by file
    pub files: Vec<FileReport>,
}

/// Takes the files of a node's folder `blocks` in.
///
/// # Errors
/// See [`BitcoinError`]; nothing of the file it names was stored. Files before it are whole.
pub fn import_folder<A: Archive + ?Sized>(
    archive: &mut A,
    path: &Path,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ImportReport, BitcoinError> {
    let folder = Folder::open(path, options.network)?;
    let network = folder.network;
    let tables = Tables::of(network);
    let headers = read_headers(&folder, options.salvage, progress)?;
    let confirmations = options.confirmations.unwrap_or_else(|| network.confirmations());
    let chain = headers.chain(confirmations, |root| height_of(archive, &tables, &folder, root))?;
    let mut import = Import { archive, tables, folder: &folder, chain: &chain, options, progress };
    let files = folder.blk.iter().map(|&number| import.file(number, &headers));
    let files = files.collect::<Result<_, _>>()?;
    Ok(ImportReport { network, heights: chain.heights, files })
}

fn read_headers(
    folder: &Folder,
    salvage: bool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Headers, BitcoinError> {
    let mut headers = Headers::default();
    for &number in &folder.blk {
        let file = FileName { kind: FileKind::Blk, number };
        let mut records = folder.headers(file, salvage)?;
        while let Some((offset, header)) = records.next_header()? {
            headers.push(BlockPlace { file: number, offset }, &header);
        }
        let (bytes_done, bytes_total) = (records.at(), records.bytes());
        progress(&Progress { stage: Stage::Headers, file, bytes_done, bytes_total });
    }
    Ok(headers)
}

/// The height of a block whose parent is in none of the files: the genesis, or it follows a stored block, or its coinbase
/// says it.
fn height_of<A: Archive + ?Sized>(
    archive: &A,
    tables: &Tables,
    folder: &Folder,
    root: Root,
) -> Result<Option<u64>, BitcoinError> {
    if root.hash == folder.network.genesis() {
        return Ok(Some(0));
    }
    if let Some(height) = stored_height(archive, tables, root.parent)? {
        return Ok(Some(height + 1));
    }
    let file = FileName { kind: FileKind::Blk, number: root.at.file };
    let Some(block) = folder.records(file, false)?.block_at(root.at.offset)? else {
        return Ok(None);
    };
    // what is wrong with it is said when its file is verified
    let block = Block::verified(&block, folder.network).ok();
    Ok(block.filter(|block| block.header.version >= 2).and_then(|block| block.coinbase_height))
}

/// An import of one folder.
struct Import<'a, A: ?Sized> {
    archive: &'a mut A,
    tables: Tables,
    folder: &'a Folder,
    chain: &'a Chain,
    options: &'a ImportOptions,
    progress: &'a mut dyn FnMut(&Progress),
}

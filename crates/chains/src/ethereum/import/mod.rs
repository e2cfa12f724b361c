//! History files into the store: verified as a whole first, then put block by block.
//!
//! Two passes over a file: the first verifies everything and stores nothing, the second stores and checks, run by run,
//! that it reads the bytes that were verified. So a bad file leaves no trace, and memory stays at the few runs that the threads
//! have in hand (64 KiB of the file each, or one block). In both, one thread at a time reads, all of them decompress, hash and decode, and
//! the caller's links and puts. Blocks are put in the chain's order, one block a put; an import that was interrupted goes on
//! where it stopped, because what is stored is compared instead of put.

mod era1;
mod ere;
mod file;
mod link;
mod original;
mod put;
mod rlp;
mod tuple;

pub(crate) use era1::era1_record;
pub use era1::{import_era1, verify_era1};
pub(crate) use ere::ere_record;
pub use ere::{import_ere, verify_ere};
pub use rlp::import_rlp;

use super::{
    block::Block,
    error::{EthereumError, Fault, Part},
    hash::Hash32,
    network::Network,
    snappy::FrameEncoder,
    tables::NewBlocks,
    tuple::Batch,
    uint::U256,
};
use std::num::NonZeroUsize;

/// How to import.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// The network, where the file's name does not say it; a name that says another is an error.
    pub network: Option<Network>,
    /// The SHA-256 that the file must have, as published.
    pub sha256: Option<Hash32>,
    /// Threads that verify.
    pub threads: NonZeroUsize,
}

impl Default for ImportOptions {
    /// Network by the file's name, no checksum, as many threads as the machine has.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { network: None, sha256: None, threads }
    }
}

/// What an import or export is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Stage {
    /// Comparing the file with the one imported before.
    Comparing,
    /// First pass: nothing is stored yet.
    Verifying,
    /// Second pass.
    Storing,
    /// Writing a file from what is stored.
    Exporting,
}

/// How far an import or export is; each stage counts from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What it does.
    pub stage: Stage,
    /// Bytes of the file done in this stage.
    pub bytes_done: u64,
    /// Size of the file.
    pub bytes_total: u64,
    /// Blocks done in this stage.
    pub blocks_done: u64,
}

/// What an import did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ImportReport {
    /// The file's name.
    pub file: String,
    /// Its network.
    pub network: Network,
    /// Its epoch, if it is an `.era1` or `.ere` file.
    pub epoch: Option<u64>,
    /// SHA-256 of the file.
    pub sha256: Hash32,
    /// Size of the file.
    pub file_bytes: u64,
    /// RLP of its headers, bodies and receipts.
    pub decoded_bytes: u64,
    /// Heights of its first and last block.
    pub heights: (u64, u64),
    /// Blocks in it.
    pub blocks: u64,
    /// Blocks of it that were not stored before, or not with their receipts.
    pub blocks_stored: u64,
    /// Transactions in it; 0 if it was skipped.
    pub transactions: u64,
    /// Bytes of values put.
    pub bytes_stored: u64,
    /// Ranges of heights that are missing between the file's blocks.
    pub gaps: u64,
    /// Whether the very same file had been imported before, so that nothing was done.
    pub skipped: bool,
    /// Bytes of the file that are kept as they are, because encoding its blocks again gives others.
    pub original_bytes_kept: Option<u64>,
    /// SHA-256 of the file that the epoch was imported from before, if that was another one (its blocks encoded
    /// otherwise, or fewer of them): the blocks agree and all are stored now, and export gives that first file.
    pub first_file: Option<Hash32>,
}

/// A verified block, as far as the next steps need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckedBlock {
    pub(crate) height: u64,
    pub(crate) hash: Hash32,
    pub(crate) parent_hash: Hash32,
    pub(crate) difficulty: U256,
    pub(crate) transactions: u64,
    pub(crate) decoded_bytes: u64,
    /// encoding it again gives the file's bytes
    pub(crate) identical: bool,
}

impl CheckedBlock {
    /// Verifies a block, with its receipts if there are any.
    pub(crate) fn verify(
        block: &Block<'_>,
        receipts: Option<&[u8]>,
        chain_id: Option<u64>,
    ) -> Result<Self, (Part, Fault)> {
        let transactions = block.verify_body(chain_id).map_err(|fault| (Part::Body, fault))?;
        if let Some(receipts) = receipts {
            block.verify_receipts(receipts).map_err(|fault| (Part::Receipts, fault))?;
        }
        let header = block.header();
        Ok(Self {
            height: header.number,
            hash: header.hash,
            parent_hash: header.parent_hash,
            difficulty: header.difficulty,
            transactions,
            decoded_bytes: 0,
            identical: true,
        })
    }
}

/// Buffers of one thread, used again and again.
pub(crate) struct Scratch {
    pub(crate) header: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) receipts: Vec<u8>,
    pub(crate) slim: Vec<u8>,
    pub(crate) proof: Vec<u8>,
    pub(crate) encoded: Vec<u8>,
    pub(crate) encoder: FrameEncoder,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            header: Vec::new(),
            body: Vec::new(),
            receipts: Vec::new(),
            slim: Vec::new(),
            proof: Vec::new(),
            encoded: Vec::new(),
            encoder: FrameEncoder::new(),
        }
    }

    pub(crate) fn of_threads(threads: NonZeroUsize) -> Vec<Self> {
        (0..threads.get()).map(|_| Self::new()).collect()
    }
}

/// The digest of each run of bytes, to see in the second pass that it reads the same.
#[derive(Default)]
pub(crate) struct Marks {
    marks: Vec<blake3::Hash>,
}

impl Marks {
    /// The digest of the next run.
    pub(crate) fn push(&mut self, mark: blake3::Hash) {
        self.marks.push(mark);
    }

    /// Whether these are the bytes of that run.
    pub(crate) fn matches(&self, run: usize, bytes: &[u8]) -> bool {
        self.marks.get(run) == Some(&blake3::hash(bytes))
    }

    /// The blocks of a run, ready for the store, if its bytes are those that were verified.
    pub(crate) fn decode(
        &self,
        file: &str,
        run: usize,
        batch: &Batch,
        scratch: &mut Scratch,
    ) -> Result<NewBlocks, EthereumError> {
        let changed = |offset| EthereumError::Changed { file: file.into(), offset };
        if !self.matches(run, &batch.bytes) {
            return Err(changed(batch.offset));
        }
        let mut new = NewBlocks::default();
        for tuple in &batch.tuples {
            tuple::decode_tuple(&batch.bytes, tuple, scratch, &mut new)
                .map_err(|_| changed(tuple.header.offset))?;
        }
        Ok(new)
    }

    /// How many runs there are.
    pub(crate) const fn len(&self) -> usize {
        self.marks.len()
    }
}

/// The hash of what went in so far.
pub(crate) fn finish(running: &sha2::Sha256) -> Hash32 {
    Hash32(sha2::Digest::finalize(running.clone()).into())
}

//! One block file and its undo file, read once: everything that can be told wrong.

use super::{
    super::{
        block::{Block, Transaction},
        error::{BitcoinError, Fault},
        files::{FileKind, FileName, Piece},
        hash::{Hash, sha256d},
        undo,
    },
    Import, Progress, Stage,
};
use crate::{archive::Archive, bitcoin::error::Place, parallel};
use std::collections::HashMap;

/// Blocks are verified side by side, so many bytes of them.
const BATCH_BYTES: usize = 8 << 20;
/// Blocks with which an undo is tried. A node connects blocks at most about 1,000 places away from where they lie.
const TRIES_MAX: usize = 4096;
/// The undo of a block that spends nothing.
const EMPTY: [u8; 1] = [0];

/// A file that is right.
pub(super) struct Verified<T> {
    pub(super) sha256: [u8; 32],
    pub(super) bytes: u64,
    pub(super) layout: Vec<Part<T>>,
}

/// What a file consists of, in order.
pub(super) enum Part<T> {
    Record(T),
    Zeros(u64),
    Verbatim { offset: u64, bytes: u64 },
}

/// A verified block, without its bytes.
pub(super) struct BlockFacts {
    pub(super) hash: Hash,
    pub(super) parent: Hash,
    /// its place, where it has one
    pub(super) height: Option<u64>,
    /// whether its coinbase says the same
    pub(super) says_height: bool,
    pub(super) transactions: Vec<Transaction>,
}

impl<A: Archive + ?Sized> Import<'_, A> {
    /// Reads and verifies a block file.
    pub(super) fn verify_blocks(
        &mut self,
        number: u32,
    ) -> Result<Verified<BlockFacts>, BitcoinError> {
        let file = FileName { kind: FileKind::Blk, number };
        let mut records = self.folder.records(file, self.options.salvage)?;
        let mut layout = Vec::new();
        let (mut batch, mut batch_bytes) = (Vec::new(), 0);
        while let Some(piece) = records.next()? {
            match piece {
                Piece::Record { place, payload, .. } => {
                    batch_bytes += payload.len();
                    batch.push((place, payload));
                }
                Piece::Zeros { bytes } => layout.push(Part::Zeros(bytes)),
                Piece::Verbatim { offset, bytes } => {
                    self.verify_batch(&mut batch, &mut layout)?;
                    layout.push(Part::Verbatim { offset, bytes });
                }
            }
            if batch_bytes >= BATCH_BYTES {
                self.verify_batch(&mut batch, &mut layout)?;
                batch_bytes = 0;
                self.report(Stage::Verifying, file, records.at(), records.bytes());
            }
        }
        let zeros = layout.pop_if(|part| matches!(part, Part::Zeros(_)));
        self.verify_batch(&mut batch, &mut layout)?;
        layout.extend(zeros);
        let bytes = records.bytes();
        self.report(Stage::Verifying, file, bytes, bytes);
        Ok(Verified { sha256: records.finish(), bytes, layout })
    }

    fn verify_batch(
        &self,
        batch: &mut Vec<(Place, Vec<u8>)>,
        layout: &mut Vec<Part<BlockFacts>>,
    ) -> Result<(), BitcoinError> {
        let network = self.folder.network;
        let mut scratches = vec![(); self.options.threads.get()];
        let verified =
            parallel::map(&mut scratches, batch, |(), (_, bytes)| Block::verified(bytes, network));
        for ((place, bytes), verified) in batch.drain(..).zip(verified) {
            let block = verified.map_err(|fault| {
                let header = bytes.first_chunk().map(|header| sha256d(&[header as &[u8; 80]]));
                let height = header.and_then(|hash| self.chain.height(hash));
                BitcoinError::damaged(Place { height, ..place }, fault)
            })?;
            let Block { header, transactions, coinbase_height } = block;
            let height = self.chain.height(header.hash);
            layout.push(Part::Record(BlockFacts {
                hash: header.hash,
                parent: header.parent,
                height,
                says_height: height.is_some() && height == coinbase_height,
                transactions,
            }));
        }
        Ok(())
    }

    /// Reads and verifies an undo file, and finds the block of each undo.
    pub(super) fn verify_undos(
        &mut self,
        number: u32,
        blocks: &Verified<BlockFacts>,
    ) -> Result<Verified<Hash>, BitcoinError> {
        let file = FileName { kind: FileKind::Rev, number };
        let mut records = self.folder.records(file, self.options.salvage)?;
        let mut candidates = Candidates::of(blocks);
        let (mut layout, mut said) = (Vec::new(), 0);
        while let Some(piece) = records.next()? {
            layout.push(match piece {
                Piece::Record { place, payload, checksum } => {
                    let damaged = |fault| BitcoinError::damaged(place, fault);
                    let spent = undo::spent(&payload).map_err(damaged)?;
                    match candidates.take(&spent, &payload, checksum) {
                        Some(hash) => Part::Record(hash),
                        None if self.options.salvage => Part::Verbatim {
                            offset: place.offset,
                            bytes: records.at() - place.offset,
                        },
                        None => {
                            let transactions = spent.len() as u64;
                            let blocks = FileName { kind: FileKind::Blk, number };
                            return Err(damaged(Fault::NoBlock { transactions, checksum, blocks }));
                        }
                    }
                }
                Piece::Zeros { bytes } => Part::Zeros(bytes),
                Piece::Verbatim { offset, bytes } => Part::Verbatim { offset, bytes },
            });
            if records.at() - said >= BATCH_BYTES as u64 {
                said = records.at();
                self.report(Stage::Verifying, file, said, records.bytes());
            }
        }
        let bytes = records.bytes();
        self.report(Stage::Verifying, file, bytes, bytes);
        Ok(Verified { sha256: records.finish(), bytes, layout })
    }

    pub(super) fn report(&mut self, stage: Stage, file: FileName, done: u64, total: u64) {
        (self.progress)(&Progress { stage, file, bytes_done: done, bytes_total: total });
    }
}

/// The blocks of a file, of which each has one undo at most.
struct Candidates<'a> {
    /// in the order in which nodes connect them
    blocks: Vec<&'a BlockFacts>,
    /// after the last one that was found
    next: usize,
    /// blocks that spend nothing, by the checksum of their undo: several where they have one parent, the chain's own last
    empty: HashMap<Hash, Vec<Hash>>,
    /// the checksum of the undo that a block has: of several it has the same one
    taken: HashMap<Hash, Hash>,
}

impl<'a> Candidates<'a> {
    fn of(file: &'a Verified<BlockFacts>) -> Self {
        let records = file.layout.iter().filter_map(|part| match part {
            Part::Record(block) => Some(block),
            _ => None,
        });
        let mut blocks: Vec<&BlockFacts> = records.collect();
        blocks.sort_by_key(|block| block.height.unwrap_or(u64::MAX));
        let mut empty: HashMap<Hash, Vec<Hash>> = HashMap::new();
        for block in blocks.iter().rev().filter(|block| block.transactions.len() == 1) {
            empty.entry(undo::checksum(&block.parent, &EMPTY)).or_default().push(block.hash);
        }
        Self { blocks, next: 0, empty, taken: HashMap::new() }
    }

    /// The block to which an undo belongs: it spends as many coins in each transaction, and the checksum is over its parent.
    fn take(&mut self, spent: &[u32], undo: &[u8], checksum: Hash) -> Option<Hash> {
        if undo == EMPTY {
            let blocks = self.empty.get_mut(&checksum)?;
            // a node that connects a block again writes its undo again
            return if blocks.len() > 1 { blocks.pop() } else { blocks.last().copied() };
        }
        let count = self.blocks.len();
        let fits = |block: &BlockFacts| {
            let inputs = block.transactions.iter().skip(1).map(|transaction| transaction.inputs);
            block.transactions.len() == spent.len() + 1 && inputs.eq(spent.iter().copied())
        };
        let found = (self.next..count)
            .chain(0..self.next)
            .filter(|&at| fits(self.blocks[at]))
            .filter(|&at| self.taken.get(&self.blocks[at].hash).is_none_or(|has| *has == checksum))
            .take(TRIES_MAX)
            .find(|&at| undo::checksum(&self.blocks[at].parent, undo) == checksum)?;
        self.next = found + 1;
        let hash = self.blocks[found].hash;
        self.taken.insert(hash, checksum);
        Some(hash)
    }
}

//! One block file and its undo file, read once: everything that can be told wrong.

use super::{
    super::{
        block::{Block, HEADER_BYTES, Transaction},
        chain::Chain,
        error::{BitcoinError, Fault, Place},
        files::{FileKind, FileName, Piece, Record},
        hash::{Hash, sha256d},
        network::Network,
        undo,
    },
    Import, Progress, Stage,
    pieces::{NumberedPiece, each_piece},
};
use crate::archive::Archive;
use std::collections::HashMap;

/// Progress is said so often.
const REPORT_BYTES: u64 = 8 << 20;
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

impl<T> Part<T> {
    fn of(
        piece: Piece,
        record: impl FnOnce(Record) -> Result<T, BitcoinError>,
    ) -> Result<Self, BitcoinError> {
        Ok(match piece {
            Piece::Record(found) => Self::Record(record(found)?),
            Piece::Zeros { bytes } => Self::Zeros(bytes),
            Piece::Verbatim { offset, bytes } => Self::Verbatim { offset, bytes },
        })
    }
}

impl<T> Verified<T> {
    /// The record that this piece is, if it is what was verified; for anything else that was, nothing.
    pub(super) fn unchanged(
        &self,
        file: FileName,
        numbered: NumberedPiece,
        digest: impl Fn(&T) -> blake3::Hash,
    ) -> Result<Option<(&T, Vec<u8>)>, BitcoinError> {
        match (self.layout.get(numbered.number), numbered.piece) {
            (Some(Part::Record(record)), Piece::Record(found))
                if digest(record) == blake3::hash(&found.payload) =>
            {
                Ok(Some((record, found.payload)))
            }
            (Some(Part::Zeros(expected)), Piece::Zeros { bytes }) if *expected == bytes => Ok(None),
            // it is compared by the whole file's hash
            (Some(Part::Verbatim { .. }), Piece::Verbatim { .. } | Piece::Record(_)) => Ok(None),
            _ => Err(BitcoinError::Changed { file }),
        }
    }

    /// Bytes that are no record.
    pub(super) fn verbatim_bytes(&self) -> u64 {
        let bytes = self.layout.iter().map(|part| match part {
            Part::Verbatim { bytes, .. } => *bytes,
            Part::Record(_) | Part::Zeros(_) => 0,
        });
        bytes.sum()
    }
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
    /// of its bytes
    pub(super) digest: blake3::Hash,
}

impl BlockFacts {
    fn verified(bytes: &[u8], network: Network, chain: &Chain) -> Result<Self, Fault> {
        let Block { header, transactions, coinbase_height } = Block::verified(bytes, network)?;
        let height = chain.height(header.hash);
        Ok(Self {
            hash: header.hash,
            parent: header.parent,
            height,
            says_height: height.is_some() && height == coinbase_height,
            transactions,
            digest: blake3::hash(bytes),
        })
    }
}

/// An undo that belongs to a block, without its bytes.
pub(super) struct UndoFacts {
    /// hash of the block
    pub(super) block: Hash,
    /// of its bytes
    pub(super) digest: blake3::Hash,
}

impl<A: Archive + ?Sized> Import<'_, A> {
    /// Reads and verifies a block file.
    pub(super) fn verify_blocks(
        &mut self,
        number: u32,
    ) -> Result<Verified<BlockFacts>, BitcoinError> {
        let file = FileName { kind: FileKind::Blk, number };
        let (network, chain, threads) = (self.folder.network, self.chain, self.options.threads);
        let records = self.folder.records(file, self.options.salvage)?;
        let (bytes, mut layout, mut said) = (records.bytes(), Vec::new(), 0);
        let records = each_piece(
            records,
            threads,
            |NumberedPiece { end, piece, .. }| {
                let part = Part::of(piece, |Record { place, payload, .. }| {
                    BlockFacts::verified(&payload, network, chain).map_err(|fault| {
                        let header = payload.first_chunk::<HEADER_BYTES>();
                        let hash = header.map(|header| sha256d(&[header]));
                        let height = hash.and_then(|hash| chain.height(hash));
                        BitcoinError::damaged(Place { height, ..place }, fault)
                    })
                });
                Ok((end, part?))
            },
            |(end, part)| {
                layout.push(part);
                self.report_now_and_then(Stage::Verifying, file, &mut said, end, bytes);
                Ok(())
            },
        )?;
        self.report(Stage::Verifying, file, bytes, bytes);
        let sha256 = records.finish().expect("made to be hashed");
        Ok(Verified { sha256, bytes, layout })
    }

    /// Reads and verifies an undo file, and finds the block of each undo.
    pub(super) fn verify_undos(
        &mut self,
        number: u32,
        blocks: &Verified<BlockFacts>,
    ) -> Result<Verified<UndoFacts>, BitcoinError> {
        let file = FileName { kind: FileKind::Rev, number };
        let (salvage, threads) = (self.options.salvage, self.options.threads);
        let records = self.folder.records(file, salvage)?;
        let mut candidates = Candidates::of(blocks);
        let (bytes, mut layout, mut said) = (records.bytes(), Vec::new(), 0);
        let records = each_piece(
            records,
            threads,
            |NumberedPiece { end, piece, .. }| {
                let part = Part::of(piece, |undo| {
                    let spent = undo::spent(&undo.payload);
                    let spent = spent.map_err(|fault| BitcoinError::damaged(undo.place, fault))?;
                    Ok((spent, blake3::hash(&undo.payload), undo))
                });
                Ok((end, part?))
            },
            |(end, part)| {
                layout.push(match part {
                    Part::Record((spent, digest, Record { place, payload, checksum })) => {
                        match candidates.take(&spent, &payload, checksum) {
                            Some(block) => Part::Record(UndoFacts { block, digest }),
                            None if salvage => {
                                let offset = place.offset;
                                Part::Verbatim { offset, bytes: end - offset }
                            }
                            None => {
                                let transactions = spent.len() as u64;
                                let blocks = FileName { kind: FileKind::Blk, number };
                                let fault = Fault::NoBlock { transactions, checksum, blocks };
                                return Err(BitcoinError::damaged(place, fault));
                            }
                        }
                    }
                    Part::Zeros(bytes) => Part::Zeros(bytes),
                    Part::Verbatim { offset, bytes } => Part::Verbatim { offset, bytes },
                });
                self.report_now_and_then(Stage::Verifying, file, &mut said, end, bytes);
                Ok(())
            },
        )?;
        self.report(Stage::Verifying, file, bytes, bytes);
        let sha256 = records.finish().expect("made to be hashed");
        Ok(Verified { sha256, bytes, layout })
    }

    pub(super) fn report(&mut self, stage: Stage, file: FileName, done: u64, total: u64) {
        (self.progress)(&Progress { stage, file, bytes_done: done, bytes_total: total });
    }

    /// Reports if it was long ago that it was `said`.
    pub(super) fn report_now_and_then(
        &mut self,
        stage: Stage,
        file: FileName,
        said: &mut u64,
        done: u64,
        total: u64,
    ) {
        if done - *said >= REPORT_BYTES {
            *said = done;
            self.report(stage, file, done, total);
        }
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

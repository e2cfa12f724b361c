//! One block after another: each must follow the one before, in the file or in the store, and contradict nothing stored.

use super::CheckedBlock;
use crate::{
    archive::Archive,
    ethereum::{
        block::Block,
        error::{EthereumError, Fault, Part, Place},
        hash::Hash32,
        network::Network,
        tables::Tables,
        uint::U256,
    },
};

/// Looks into a sequence table at rising heights, reading only what is there: a stretch of missing heights costs one read.
pub(crate) struct Cursor {
    ahead: Option<Ahead>,
}

struct Ahead {
    from: u64,
    /// the first record at or after `from`
    first: Option<(u64, Vec<u8>)>,
}

impl Cursor {
    pub(crate) const fn new() -> Self {
        Self { ahead: None }
    }

    /// The record at `height`, which is not below that of the call before.
    pub(crate) fn at<A: Archive + ?Sized>(
        &mut self,
        archive: &A,
        table: &str,
        height: u64,
    ) -> Result<Option<&[u8]>, EthereumError> {
        let knows = |ahead: &Ahead| {
            ahead.from <= height && ahead.first.as_ref().is_none_or(|&(at, _)| at >= height)
        };
        if !self.ahead.as_ref().is_some_and(knows) {
            let first = archive.range(table, height, 1)?.pop();
            self.ahead = Some(Ahead { from: height, first });
        }
        let first = self.ahead.as_ref().and_then(|ahead| ahead.first.as_ref());
        Ok(first.filter(|&&(at, _)| at == height).map(|(_, value)| &value[..]))
    }
}

struct Linked {
    height: u64,
    hash: Hash32,
    total: Option<U256>,
}

/// Takes a file's verified blocks in order.
pub(crate) struct Linker<'a, A: ?Sized> {
    archive: &'a A,
    tables: &'a Tables,
    network: &'a Network,
    file: &'a str,
    stored: Cursor,
    totals: Cursor,
    previous: Option<Linked>,
    pub(crate) gaps: u64,
}

impl<'a, A: Archive + ?Sized> Linker<'a, A> {
    pub(crate) fn new(
        archive: &'a A,
        tables: &'a Tables,
        network: &'a Network,
        file: &'a str,
    ) -> Self {
        let (stored, totals) = (Cursor::new(), Cursor::new());
        Self { archive, tables, network, file, stored, totals, previous: None, gaps: 0 }
    }

    /// Checks the next block against the one before and against what is stored. `total` is its total difficulty,
    /// `place` says where a part of it is.
    pub(crate) fn push(
        &mut self,
        block: &CheckedBlock,
        total: Option<U256>,
        place: impl Fn(Part) -> Place,
    ) -> Result<(), EthereumError> {
        let damaged = |part, fault| EthereumError::damaged(place(part), fault);
        let height = block.height;
        match &self.previous {
            Some(previous) if height <= previous.height => {
                let fault = Fault::NotRising { previous: previous.height, found: height };
                return Err(damaged(Part::Header, fault));
            }
            Some(previous) if height == previous.height + 1 => {
                if block.parent_hash != previous.hash {
                    let fault = Fault::Parent {
                        parent_height: previous.height,
                        expected: previous.hash,
                        found: block.parent_hash,
                    };
                    return Err(damaged(Part::Header, fault));
                }
                if let (Some(total), Some(before)) = (total, previous.total) {
                    let expected = before
                        .checked_add(block.difficulty)
                        .ok_or_else(|| damaged(Part::TotalDifficulty, range(total, block)))?;
                    if total != expected {
                        let fault = Fault::TotalDifficulty { expected, found: total };
                        return Err(damaged(Part::TotalDifficulty, fault));
                    }
                }
            }
            previous => {
                if previous.is_some() {
                    self.gaps += 1;
                    self.check_above()?;
                }
                if let Some(total) = total {
                    let exact = height == 0;
                    if total < block.difficulty || (exact && total != block.difficulty) {
                        return Err(damaged(Part::TotalDifficulty, range(total, block)));
                    }
                }
                self.check_below(block, total)?;
            }
        }
        if height == 0 {
            self.check_genesis(block.hash, &damaged)?;
        }
        let stored = self.stored.at(self.archive, &self.tables.block, height)?;
        if let Some(stored) = stored {
            let stored = header_of(&self.tables.block, height, stored)?.0;
            if stored != block.hash {
                let (file, found) = (self.file.into(), block.hash);
                return Err(EthereumError::Contradicts { file, height, found, stored });
            }
        }
        self.check_total(height, total)?;
        self.previous = Some(Linked { height, hash: block.hash, total });
        Ok(())
    }

    /// A total difficulty against the one that is stored of the same height.
    fn check_total(&mut self, height: u64, total: Option<U256>) -> Result<(), EthereumError> {
        let Some(found) = total else { return Ok(()) };
        let stored = self.totals.at(self.archive, &self.tables.total_difficulty, height)?;
        match stored.and_then(U256::from_be_slice) {
            Some(expected) if expected != found => {
                let file = self.file.into();
                Err(EthereumError::UnlinkedDifficulty { file, height, expected, found })
            }
            _ => Ok(()),
        }
    }

    /// After the last block: checks the one stored above it.
    pub(crate) fn finish(mut self) -> Result<u64, EthereumError> {
        self.check_above()?;
        Ok(self.gaps)
    }

    fn check_genesis(
        &self,
        found: Hash32,
        damaged: &impl Fn(Part, Fault) -> EthereumError,
    ) -> Result<(), EthereumError> {
        let Some(expected) = self.network.genesis().filter(|&expected| expected != found) else {
            return Ok(());
        };
        let network = self.network.name().to_owned();
        Err(match Network::of_genesis(found) {
            Some(other) => EthereumError::OtherNetwork {
                file: self.file.into(),
                expected: network,
                found: other.name().into(),
            },
            None => damaged(Part::Header, Fault::Genesis { network, expected, found }),
        })
    }

    /// The first block of a run against the block stored below it.
    fn check_below(
        &mut self,
        block: &CheckedBlock,
        total: Option<U256>,
    ) -> Result<(), EthereumError> {
        let Some(below) = block.height.checked_sub(1) else { return Ok(()) };
        let Some(stored) = self.stored.at(self.archive, &self.tables.block, below)? else {
            return Ok(());
        };
        let (hash, ..) = header_of(&self.tables.block, below, stored)?;
        if hash != block.parent_hash {
            return Err(EthereumError::Unlinked {
                file: self.file.into(),
                child_height: block.height,
                parent_hash: block.parent_hash,
                parent_height: below,
                hash,
                stored: below,
            });
        }
        let (Some(found), Some(before)) = (total, self.stored_total(below)?) else { return Ok(()) };
        match before.checked_add(block.difficulty) {
            Some(expected) if expected != found => Err(EthereumError::UnlinkedDifficulty {
                file: self.file.into(),
                height: block.height,
                expected,
                found,
            }),
            _ => Ok(()),
        }
    }

    /// The last block of a run against the block stored above it.
    fn check_above(&mut self) -> Result<(), EthereumError> {
        let Some(Linked { height, hash, total }) = &self.previous else { return Ok(()) };
        let Some(above) = height.checked_add(1) else { return Ok(()) };
        let Some(stored) = self.stored.at(self.archive, &self.tables.block, above)? else {
            return Ok(());
        };
        let (_, parent_hash, difficulty) = header_of(&self.tables.block, above, stored)?;
        if parent_hash != *hash {
            return Err(EthereumError::Unlinked {
                file: self.file.into(),
                child_height: above,
                parent_hash,
                parent_height: *height,
                hash: *hash,
                stored: above,
            });
        }
        let (Some(found), Some(after)) = (*total, self.stored_total(above)?) else { return Ok(()) };
        match after.checked_sub(difficulty) {
            Some(expected) if expected != found => Err(EthereumError::UnlinkedDifficulty {
                file: self.file.into(),
                height: *height,
                expected,
                found,
            }),
            _ => Ok(()),
        }
    }

    fn stored_total(&self, height: u64) -> Result<Option<U256>, EthereumError> {
        let value = self.archive.get(&self.tables.total_difficulty, &height.to_be_bytes())?;
        Ok(value.and_then(|bytes| U256::from_be_slice(&bytes)))
    }
}

fn range(total: U256, block: &CheckedBlock) -> Fault {
    Fault::TotalDifficultyRange { total, difficulty: block.difficulty }
}

/// Hash, parent hash and difficulty of a stored block.
fn header_of(
    table: &str,
    height: u64,
    stored: &[u8],
) -> Result<(Hash32, Hash32, U256), EthereumError> {
    let damaged = |fault| EthereumError::stored(table, height, fault);
    let block = Block::from_rlp(stored).map_err(damaged)?;
    let header = block.header();
    if header.number != height {
        return Err(damaged(Fault::Height { expected: height, found: header.number }));
    }
    Ok((header.hash, header.parent_hash, header.difficulty))
}

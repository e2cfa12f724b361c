//! A file's bytes: as reads see them, as the medium has them, and what lies between.

use super::{Chance, Unsynced, trace::Shape};
use std::collections::BTreeSet;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// What a file takes space by.
const BLOCK: u64 = 4096;

#[derive(Debug, Clone)]
pub(super) enum Change {
    /// offset, bytes
    Write(u64, Vec<u8>),
    Length(u64),
    /// offset, bytes
    Hole(u64, u64),
}

impl Change {
    pub(super) const fn is_write(&self) -> bool {
        matches!(self, Self::Write(..))
    }

    /// Bytes of a write.
    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::Write(_, bytes) => bytes.len() as u64,
            _ => 0,
        }
    }

    /// The first bytes of a write.
    pub(super) fn cut(self, bytes: u64) -> Self {
        match self {
            Self::Write(offset, mut data) => {
                data.truncate(size(bytes));
                Self::Write(offset, data)
            }
            other => other,
        }
    }

    pub(super) const fn shape(&self) -> Shape {
        match self {
            Self::Write(offset, bytes) => Shape::Write(*offset, bytes.len() as u64),
            Self::Length(bytes) => Shape::Length(*bytes),
            Self::Hole(offset, bytes) => Shape::Hole(*offset, *bytes),
        }
    }

    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write(_, bytes) if bytes.is_empty() => {}
            Self::Write(offset, bytes) => write(to, size(*offset), bytes),
            Self::Length(bytes) => to.resize(size(*bytes), 0),
            Self::Hole(offset, bytes) => {
                let end = size(offset.saturating_add(*bytes)).min(to.len());
                let start = size(*offset).min(end);
                to[start..end].fill(0);
            }
        }
    }

    /// Applies what a crash leaves of it.
    fn apply_torn(&self, to: &mut Vec<u8>, chance: &mut Chance, kept_of_four: u64) {
        let kept = |chance: &mut Chance| chance.below(4) < kept_of_four;
        match self {
            Self::Write(offset, bytes) => match chance.below(4) {
                0 if kept(chance) => {
                    let end = size(chance.below(bytes.len() as u64 + 1));
                    Self::Write(*offset, bytes[..end].to_vec()).apply(to);
                }
                1 => {
                    let mut done = 0;
                    while done < bytes.len() {
                        let here = size(*offset) + done;
                        let end = bytes.len().min(done + SECTOR - here % SECTOR);
                        if kept(chance) {
                            write(to, here, &bytes[done..end]);
                        }
                        done = end;
                    }
                }
                2 | 3 if kept(chance) => self.apply(to),
                _ => {}
            },
            other if kept(chance) => other.apply(to),
            _ => {}
        }
    }
}

fn write(to: &mut Vec<u8>, start: usize, bytes: &[u8]) {
    let end = start + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[start..end].copy_from_slice(bytes);
}

/// Files in memory are as long as memory allows.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a file in memory")
}

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// blocks that take space
    blocks: BTreeSet<u64>,
}

impl Content {
    /// A file whose bytes are on the medium.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        let blocks = (0..(bytes.len() as u64).div_ceil(BLOCK)).collect();
        Self { live: bytes.clone(), durable: bytes, pending: Vec::new(), blocks }
    }

    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.live.len());
        let count = buf.len().min(self.live.len() - start);
        buf[..count].copy_from_slice(&self.live[start..start + count]);
        count
    }

    pub(super) fn change(&mut self, change: Change) {
        match &change {
            Change::Write(_, bytes) if bytes.is_empty() => return,
            Change::Write(offset, bytes) => {
                self.blocks.extend(offset / BLOCK..(offset + bytes.len() as u64).div_ceil(BLOCK));
            }
            Change::Length(bytes) => _ = self.blocks.split_off(&bytes.div_ceil(BLOCK)),
            Change::Hole(offset, bytes) => {
                let holes = offset.div_ceil(BLOCK)..(offset + bytes) / BLOCK;
                self.blocks.retain(|block| !holes.contains(block));
            }
        }
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    /// How many bytes of a write fit where so many bytes are free.
    pub(super) fn fitting(&self, change: &Change, free_bytes: u64) -> u64 {
        let Change::Write(offset, bytes) = change else { return 0 };
        let end = offset + bytes.len() as u64;
        let mut left = free_bytes / BLOCK;
        for block in offset / BLOCK..end.div_ceil(BLOCK) {
            if !self.blocks.contains(&block) {
                if left == 0 {
                    return (block * BLOCK).saturating_sub(*offset);
                }
                left -= 1;
            }
        }
        bytes.len() as u64
    }

    pub(super) fn sync(&mut self) {
        self.pending.drain(..).for_each(|change| change.apply(&mut self.durable));
    }

    /// Some of what was pending reaches the medium, and none of it is pending any more. Memory keeps it, or does not.
    pub(super) fn fail_sync(&mut self, chance: &mut Chance) {
        let kept_of_four = chance.below(4);
        for change in std::mem::take(&mut self.pending) {
            change.apply_torn(&mut self.durable, chance, kept_of_four);
        }
        if chance.one_in(2) {
            self.drop_cached();
        }
    }

    /// Reads see the medium again, and what is pending.
    pub(super) fn drop_cached(&mut self) {
        self.live.clone_from(&self.durable);
        self.pending.iter().for_each(|change| change.apply(&mut self.live));
    }

    pub(super) fn flip(&mut self, at: usize, bits: u8) {
        self.live[at] ^= bits;
        if let Some(byte) = self.durable.get_mut(at) {
            *byte ^= bits;
        }
    }

    pub(super) fn crashed(&self, unsynced: Unsynced, chance: &mut Chance) -> Self {
        let mut bytes = self.durable.clone();
        match unsynced {
            Unsynced::Lost => {}
            Unsynced::Kept => self.pending.iter().for_each(|change| change.apply(&mut bytes)),
            Unsynced::Torn(_) => {
                // some files lose everything, some nothing, most a part
                let kept_of_four = chance.below(5);
                for change in &self.pending {
                    change.apply_torn(&mut bytes, chance, kept_of_four);
                }
            }
        }
        Self::durable(bytes)
    }
}

//! Blocks that are in memory already, as a source: what came from a live node.

use super::{ChainSource, RawBlock};
use std::convert::Infallible;

/// Blocks from memory, as a source.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    blocks: &'a [RawBlock],
    next: usize,
}

impl<'a> Blocks<'a> {
    /// These blocks, in this order.
    pub const fn new(blocks: &'a [RawBlock]) -> Self {
        Self { blocks, next: 0 }
    }
}

impl ChainSource for Blocks<'_> {
    type Error = Infallible;

    fn next_block(&mut self) -> Result<Option<RawBlock>, Infallible> {
        let block = self.blocks.get(self.next).cloned();
        self.next += 1;
        Ok(block)
    }

    fn rewind(&mut self) -> Result<(), Infallible> {
        self.next = 0;
        Ok(())
    }

    fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }
}

//! Bitcoin keeps the rules that every chain keeps.

use crate::synthetic::chain;
use prunedb_chains::{
    bitcoin::{BitcoinVerifier, Network},
    contract::{ChainSource, RawBlock, RawPart, conformance},
};
use std::convert::Infallible;

struct Source {
    blocks: Vec<RawBlock>,
    next: usize,
}

impl ChainSource for Source {
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

#[test]
fn the_contract_of_all_chains() {
    let made = chain(Network::Regtest.genesis(), 1, 20, 2, 0);
    let blocks = (1..).zip(made).map(|(height, made)| {
        let part = |table, bytes| RawPart { table, bytes };
        RawBlock { height, parts: vec![part("block", made.bytes), part("undo", made.undo)] }
    });
    let source = Source { blocks: blocks.collect(), next: 0 };
    conformance::check(source, &BitcoinVerifier::new(Network::Regtest), 40);
}

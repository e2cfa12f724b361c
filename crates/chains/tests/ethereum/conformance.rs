use crate::common::devnet;
use prunedb_chains::{
    contract::{ChainSource, RawBlock, RawPart, conformance},
    ethereum::{EthereumVerifier, synthetic::SyntheticChain},
};
use std::convert::Infallible;

/// A made-up chain as a source.
struct Synthetic {
    blocks: Vec<RawBlock>,
    next: usize,
}

impl ChainSource for Synthetic {
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
fn ethereum_keeps_the_contract() {
    let chain = SyntheticChain::new(&devnet(), 100, 3, 7);
    let blocks = chain.take(6).map(|block| RawBlock {
        height: block.height,
        parts: vec![
            RawPart { table: "block", bytes: block.rlp() },
            RawPart { table: "receipts", bytes: block.receipts },
        ],
    });
    let source = Synthetic { blocks: blocks.collect(), next: 0 };
    conformance::check(source, &EthereumVerifier::new(&devnet()), 40);
}

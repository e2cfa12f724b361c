use crate::common::devnet;
use prunedb_chains::{
    contract::{Blocks, RawBlock, RawPart, conformance},
    ethereum::{EthereumVerifier, synthetic::SyntheticChain},
};
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
    let blocks: Vec<_> = blocks.collect();
    conformance::check(Blocks::new(&blocks), &EthereumVerifier::new(&devnet()), 40);
}

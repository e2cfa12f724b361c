//! Bitcoin keeps the rules that every chain keeps.

use crate::synthetic::chain;
use prunedb_chains::{
    bitcoin::{BitcoinVerifier, Network},
    contract::{Blocks, RawBlock, RawPart, conformance},
};
#[test]
fn the_contract_of_all_chains() {
    let made = chain(Network::Regtest.genesis(), 1, 20, 2, 0);
    let blocks = (1..).zip(made).map(|(height, made)| {
        let part = |table, bytes| RawPart { table, bytes };
        RawBlock { height, parts: vec![part("block", made.bytes), part("undo", made.undo)] }
    });
    let blocks: Vec<_> = blocks.collect();
    conformance::check(Blocks::new(&blocks), &BitcoinVerifier::new(Network::Regtest), 40);
}

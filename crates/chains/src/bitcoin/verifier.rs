//! Bitcoin's blocks by the contract that all chains share: what `prunedb verify bitcoin --range` checks.

use super::{block::Block, error::Fault, network::Network, undo};
use crate::contract::{BadBlock, ChainVerifier, CheckedBlock, Level, RawBlock, one_by_one};

/// The part with the block itself.
pub(super) const BLOCK: &str = "block";
const UNDO: &str = "undo";

/// Verifies Bitcoin's blocks: proof of work, Merkle root and witness commitment at every level, and that undo data spends as many
/// coins as its block from `roots` on. It verifies no signature: scripts are not run here.
#[derive(Clone, Copy, Debug)]
pub struct BitcoinVerifier {
    network: Network,
}

impl BitcoinVerifier {
    /// Of a network.
    pub const fn new(network: Network) -> Self {
        Self { network }
    }

    fn check(&self, raw: &RawBlock, level: Level) -> Result<CheckedBlock, Fault> {
        let block = Block::verified(raw.part(BLOCK).ok_or(Fault::Missing)?, self.network)?;
        let (expected, found) = (raw.height, block.coinbase_height);
        if expected >= self.network.coinbase_heights_from() && found != Some(expected) {
            return Err(Fault::Height { expected, found });
        }
        if let Some(undo) = raw.part(UNDO).filter(|_| level >= Level::Roots) {
            let inputs = block.transactions.iter().skip(1).map(|transaction| transaction.inputs);
            if !inputs.eq(undo::spent(undo)?) {
                return Err(Fault::Undo);
            }
        }
        Ok(CheckedBlock {
            hash: block.header.hash.0,
            parent: block.header.parent.0,
            transactions: block.transactions.iter().map(|transaction| transaction.txid.0).collect(),
            signatures: 0,
        })
    }
}

impl ChainVerifier for BitcoinVerifier {
    type Fault = Fault;

    fn chain(&self) -> &'static str {
        "bitcoin"
    }

    fn network(&self) -> &str {
        self.network.name()
    }

    fn parts(&self) -> &'static [&'static str] {
        &[BLOCK, UNDO]
    }

    fn transactions_part(&self) -> &'static str {
        BLOCK
    }

    fn verify(
        &self,
        blocks: &[RawBlock],
        level: Level,
    ) -> Result<Vec<CheckedBlock>, BadBlock<Fault>> {
        one_by_one(blocks, |block| self.check(block, level))
    }
}

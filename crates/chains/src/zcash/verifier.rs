//! Zcash's blocks by the contract that all chains share.

use super::{
    block::{Block, Network},
    equihash,
    fault::Fault,
};
use crate::contract::{BadBlock, ChainVerifier, CheckedBlock, Level, RawBlock, one_by_one};

/// A header with its solution.
pub(super) const HEADER: &str = "header";
/// A block's transactions, with their count.
pub(super) const TRANSACTIONS: &str = "transactions";

/// Verifies Zcash's blocks.
#[derive(Clone, Copy, Debug)]
pub struct ZcashVerifier {
    network: Network,
}

impl ZcashVerifier {
    /// Of a network.
    pub const fn new(network: Network) -> Self {
        Self { network }
    }

    fn check(&self, raw: &RawBlock, level: Level) -> Result<CheckedBlock, Fault> {
        let part = |name| raw.part(name).ok_or(Fault::Missing(name));
        let block = Block::verified(part(HEADER)?, part(TRANSACTIONS)?, self.network)?;
        if block.height != Some(raw.height) {
            return Err(Fault::Height { expected: raw.height, found: block.height });
        }
        if level >= Level::Signatures {
            equihash::verify(block.header, block.solution)?;
        }
        Ok(CheckedBlock {
            hash: block.hash.0,
            parent: block.parent.0,
            transactions: block.transactions.iter().map(|id| id.0).collect(),
            signatures: 0,
        })
    }
}

impl ChainVerifier for ZcashVerifier {
    type Fault = Fault;

    fn chain(&self) -> &'static str {
        "zcash"
    }

    fn network(&self) -> &str {
        self.network.name()
    }

    fn parts(&self) -> &'static [&'static str] {
        &[HEADER, TRANSACTIONS]
    }

    fn transactions_part(&self) -> &'static str {
        TRANSACTIONS
    }

    fn verify(
        &self,
        blocks: &[RawBlock],
        level: Level,
    ) -> Result<Vec<CheckedBlock>, BadBlock<Fault>> {
        one_by_one(blocks, |block| self.check(block, level))
    }
}

//! Ethereum's blocks by the contract that all chains share: what `prunedb verify ethereum --range` checks.

use super::{
    block::{Block, envelopes},
    error::Fault,
    hash::keccak256,
    import::CheckedBlock as Checked,
    network::Network,
};
use crate::contract::{BadBlock, ChainVerifier, CheckedBlock, Level, RawBlock, one_by_one};

const BLOCK: &str = "block";
const RECEIPTS: &str = "receipts";

/// Verifies Ethereum's blocks: the header's hash and the roots of what is in its body at every level, the receipts' root from `roots` on. It
/// verifies no signature: those of transactions are not recovered here.
#[derive(Clone, Debug)]
pub struct EthereumVerifier {
    network: Network,
}

impl EthereumVerifier {
    /// Of a network.
    pub fn new(network: &Network) -> Self {
        Self { network: network.clone() }
    }

    fn check(&self, raw: &RawBlock, level: Level) -> Result<CheckedBlock, Fault> {
        let rlp = raw.part(BLOCK).ok_or(Fault::Missing)?;
        let block = Block::from_rlp(rlp)?;
        let (expected, found) = (raw.height, block.header().number);
        if expected != found {
            return Err(Fault::Height { expected, found });
        }
        let receipts = raw.part(RECEIPTS).filter(|_| level >= Level::Roots);
        let checked = Checked::verify(&block, receipts, self.network.chain_id())
            .map_err(|(_, fault)| fault)?;
        let transactions = envelopes(block.transactions(), "transactions")?;
        Ok(CheckedBlock {
            hash: checked.hash.0,
            parent: checked.parent_hash.0,
            transactions: transactions.into_iter().map(|bytes| keccak256(bytes).0).collect(),
            signatures: 0,
        })
    }
}

impl ChainVerifier for EthereumVerifier {
    type Fault = Fault;

    fn chain(&self) -> &'static str {
        "ethereum"
    }

    fn network(&self) -> &str {
        self.network.name()
    }

    fn parts(&self) -> &'static [&'static str] {
        &[BLOCK, RECEIPTS]
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

//! Transactions that wait for a block, first in, first out, each once, never more than the bounds.

use crate::{
    block::{BLOCK_BYTES_MAX, tx_cost},
    orderer::SubmitError,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most transactions that wait.
const TXS_MAX: usize = 100_000;
/// Most bytes of them.
const BYTES_MAX: usize = 32 << 20;

/// The order in which a transaction came.
type Turn = u64;
type TxHash = [u8; 32];

#[derive(Debug, Default)]
pub(crate) struct Pool {
    waiting: BTreeMap<Turn, (TxHash, Vec<u8>)>,
    turns: BTreeMap<TxHash, Turn>,
    next: Turn,
    bytes: usize,
}

fn hash(tx: &[u8]) -> TxHash {
    *blake3::hash(tx).as_bytes()
}

impl Pool {
    /// Takes a transaction in; says whether it is new.
    pub(crate) fn add(&mut self, tx: Vec<u8>) -> Result<bool, SubmitError> {
        let bytes_max = prunedb_registry::TX_BYTES_MAX;
        if tx.len() > bytes_max {
            return Err(SubmitError::Oversized { bytes: tx.len(), bytes_max });
        }
        let hash = hash(&tx);
        if self.turns.contains_key(&hash) {
            return Ok(false);
        }
        if self.waiting.len() >= TXS_MAX || self.bytes + tx_cost(&tx) > BYTES_MAX {
            return Err(SubmitError::Full { txs: self.waiting.len(), bytes: self.bytes });
        }
        self.bytes += tx_cost(&tx);
        self.turns.insert(hash, self.next);
        self.waiting.insert(self.next, (hash, tx));
        self.next += 1;
        Ok(true)
    }

    /// A block's worth of transactions, the oldest first, without those that are in blocks already. They stay until
    /// [`Self::remove`].
    pub(crate) fn block(&self, without: &BTreeSet<TxHash>) -> Vec<Vec<u8>> {
        let mut room = BLOCK_BYTES_MAX;
        let mut txs = Vec::new();
        for (_, tx) in self.waiting.values().filter(|(hash, _)| !without.contains(hash)) {
            let Some(left) = room.checked_sub(tx_cost(tx)) else { break };
            room = left;
            txs.push(tx.clone());
        }
        txs
    }

    /// Drops transactions: they are in a block that is final.
    pub(crate) fn remove<'a>(&mut self, txs: impl IntoIterator<Item = &'a Vec<u8>>) {
        for tx in txs {
            let Some(turn) = self.turns.remove(&hash(tx)) else { continue };
            self.waiting.remove(&turn).expect("every turn waits");
            self.bytes -= tx_cost(tx);
        }
    }

    /// Transactions and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.waiting.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_in_order_and_within_a_block() {
        let mut pool = Pool::default();
        let tx = |n: u8| vec![n; 500_000];
        for n in [3, 1, 2, 9, 8] {
            assert_eq!(pool.add(tx(n)), Ok(true));
            assert_eq!(pool.add(tx(3)), Ok(false), "it waits already");
        }
        assert_eq!(pool.size(), (5, 5 * 500_004));
        let block = pool.block(&BTreeSet::new());
        assert_eq!(block, [3, 1, 2, 9].map(tx), "four of them fill a block");
        assert_eq!(pool.block(&BTreeSet::from([hash(&tx(3))])), [1, 2, 9, 8].map(tx));
        pool.remove(&block);
        pool.remove(&block);
        assert_eq!(pool.block(&BTreeSet::new()), [tx(8)]);
        assert_eq!(pool.size(), (1, 500_004));
    }

    #[test]
    fn it_is_bounded() {
        let mut pool = Pool::default();
        let too_long = pool.add(vec![0; prunedb_registry::TX_BYTES_MAX + 1]);
        assert!(matches!(too_long, Err(SubmitError::Oversized { .. })));
        let mut taken = 0u64;
        let refused = loop {
            let mut tx = vec![0; 1 << 16];
            tx[..8].copy_from_slice(&taken.to_le_bytes());
            match pool.add(tx) {
                Ok(is_new) => assert!(is_new),
                Err(error) => break error,
            }
            taken += 1;
        };
        assert!(matches!(refused, SubmitError::Full { .. }), "{refused}");
        assert!(pool.size().1 <= BYTES_MAX && taken > 400, "{taken}");
    }
}

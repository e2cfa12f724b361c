//! Who sent the transactions of the blocks that were asked for last.
//!
//! Recovering them is by far the most of answering for a full block. Two generations: a full young one becomes the old one, whose
//! blocks come back when they are asked for; so what is asked for again and again stays, and memory is bounded.

use crate::{
    ethereum::{
        block::{Block, envelopes},
        error::Fault,
        hash::{Address, Hash32},
        sender::sender,
        transaction::Transaction,
    },
    parallel,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Most addresses of a generation: 21 bytes each.
const GENERATION_ADDRESSES: usize = 1 << 19;
/// Below this, one thread is as fast as several.
const THREAD_TRANSACTIONS: usize = 32;
/// Threads for one block.
const THREADS_MAX: usize = 4;

type Addresses = Arc<[Option<Address>]>;

/// Keeps what was recovered, by block hash.
#[derive(Debug, Default)]
pub(super) struct SenderCache {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Hash32, Addresses>,
    young_addresses: usize,
    old: HashMap<Hash32, Addresses>,
}

impl SenderCache {
    /// Who sent the transactions of a block.
    pub(super) fn of(&self, block: &Block<'_>) -> Result<Addresses, Fault> {
        let hash = block.header().hash;
        if let Some(known) = self.lock().get(&hash) {
            return Ok(known);
        }
        let recovered = recover(block)?;
        self.lock().insert(hash, Arc::clone(&recovered));
        Ok(recovered)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn get(&mut self, hash: &Hash32) -> Option<Addresses> {
        if let Some(known) = self.young.get(hash) {
            return Some(Arc::clone(known));
        }
        let known = self.old.remove(hash)?;
        self.insert(*hash, Arc::clone(&known));
        Some(known)
    }

    fn insert(&mut self, hash: Hash32, addresses: Addresses) {
        if self.young_addresses + addresses.len() > GENERATION_ADDRESSES {
            self.old = std::mem::take(&mut self.young);
            self.young_addresses = 0;
        }
        // an empty block takes a place, too
        self.young_addresses += addresses.len().max(4);
        self.young.insert(hash, addresses);
    }
}

fn recover(block: &Block<'_>) -> Result<Addresses, Fault> {
    let raw = envelopes(block.transactions(), "transactions")?;
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let threads = (raw.len() / THREAD_TRANSACTIONS).clamp(1, cores.min(THREADS_MAX));
    let mut scratches = vec![(); threads];
    let all = parallel::map(&mut scratches, &raw, |(), raw| Ok(sender(&Transaction::decode(raw)?)));
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_memory_is_bounded() {
        let mut kept = Generations::default();
        let addresses: Addresses = vec![None; 1000].into();
        let name = |number: u32| {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_le_bytes());
            Hash32(hash)
        };
        kept.insert(name(0), Arc::clone(&addresses));
        for number in 1..3000 {
            kept.insert(name(number), Arc::clone(&addresses));
            assert!(kept.get(&name(0)).is_some(), "{number}");
            assert!((kept.young.len() + kept.old.len()) * 1000 <= 2 * GENERATION_ADDRESSES);
        }
        assert!(kept.get(&name(1)).is_none());
    }
}

//! Who sent the transactions of the blocks that were asked for last.
//!
//! Recovering them is by far the most of answering for a full block.

use super::cache::Cache;
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
use std::sync::Arc;

/// Most addresses of a generation of the cache: 21 bytes each.
const GENERATION_ADDRESSES: usize = 1 << 19;
/// What a block counts for at least.
const BLOCK_ADDRESSES_MIN: usize = 4;
/// Below this, one thread is as fast as several.
const THREAD_TRANSACTIONS: usize = 32;
/// Threads for one block.
const THREADS_MAX: usize = 4;

type Addresses = Arc<[Option<Address>]>;

/// Keeps what was recovered, by block hash.
#[derive(Debug)]
pub(super) struct SenderCache {
    known: Cache<Hash32, Addresses>,
}

impl Default for SenderCache {
    fn default() -> Self {
        Self { known: Cache::new(GENERATION_ADDRESSES) }
    }
}

impl SenderCache {
    /// Who sent the transactions of a block.
    pub(super) fn of(&self, block: &Block<'_>) -> Result<Addresses, Fault> {
        let hash = block.header().hash;
        if let Some(known) = self.known.get(&hash) {
            return Ok(known);
        }
        let recovered = recover(block)?;
        let weight = recovered.len().max(BLOCK_ADDRESSES_MIN);
        self.known.insert(hash, Arc::clone(&recovered), weight);
        Ok(recovered)
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

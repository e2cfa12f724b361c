//! The cells on a light node's disk, and what was agreed on about those that are on their way.
//!
//! Bounds: [`AGREED_MAX`] cells are on their way at once, each for [`AGREED`]; a cell has the size that was agreed on, or
//! its contract is not signed.

use crate::{
    checks::places,
    heavy::unix_seconds,
    keys::{CELL_TERM, Keys, cells_lake},
    lookup::Wish,
    message::{Shown, Terms},
};
use prunedb_access::{CAPABILITY_BYTES, Capability, Operations, PublicKey, Scope};
use prunedb_core::{ContainerId, Digest, ShardId, ShardIndex};
use prunedb_node::{Node, NodeError, ShardInfo};
use prunedb_proof::SampleError;
use prunedb_registry::{Cell, Key, NodeId, RentedCell};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Cells on their way at once.
const AGREED_MAX: usize = 64;
/// How long an owner has from being let in to the contract's block.
const AGREED: Duration = Duration::from_secs(900);
/// Owners read their cells as long as a capability can last.
const READ_SECONDS: u64 = prunedb_access::LIFE_MAX.as_secs();
/// How long a heavy node may take with its probe.
const PROBE_SECONDS: u64 = 600;
/// The probe's shard: no cell gets this number.
const PROBE_NUMBER: u32 = u32::MAX;
/// Shards that are listed at once.
const PAGE: u32 = 1000;
/// A cell that is in no contract goes when it was so at this many looks, one after another.
const LOOKS: u8 = 3;

struct Agreed {
    number: u32,
    bytes: u64,
    price: prunedb_registry::Amount,
    epochs: u32,
    since: Instant,
}

#[derive(Default)]
struct State {
    /// by wish
    agreed: BTreeMap<Digest, Agreed>,
    /// cells that were in no contract, and how often that was seen
    unknown: BTreeMap<u32, u8>,
}

/// The cells.
pub(super) struct Cells {
    node: Node,
    keys: Arc<Keys>,
    state: Mutex<State>,
}

impl Cells {
    pub(super) fn new(node: Node, keys: Arc<Keys>) -> Self {
        Self { node, keys, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, number: u32) -> ShardId {
        let lake = cells_lake(self.keys.key());
        ShardId { lake, container: ContainerId::data(number), index: ShardIndex(0) }
    }

    fn all(&self) -> Result<Vec<ShardInfo>, NodeError> {
        let lake = cells_lake(self.keys.key());
        let mut all: Vec<ShardInfo> = Vec::new();
        loop {
            let page = self.node.list(lake, all.last().map(|last| last.id), PAGE)?;
            let is_last = page.len() < PAGE as usize;
            all.extend(page);
            if is_last {
                all.retain(|shard| shard.id.container.number != PROBE_NUMBER);
                return Ok(all);
            }
        }
    }

    pub(super) fn held(&self) -> Result<Vec<(Digest, u64)>, NodeError> {
        Ok(self.all()?.into_iter().map(|shard| (shard.name, shard.bytes)).collect())
    }

    /// What is free, less what owners are on their way with.
    pub(super) fn free_bytes(&self) -> u64 {
        let free = self.node.space().map_or(0, |s| s.capacity_bytes.saturating_sub(s.used_bytes));
        let state = self.lock();
        // what cannot be told is not free
        let is_coming = |a: &&Agreed| !matches!(self.node.stat(self.id(a.number)), Ok(Some(_)));
        let coming = state.agreed.values().filter(is_coming);
        free.saturating_sub(coming.map(|a| a.bytes).sum())
    }

    fn capability(
        &self,
        number: u32,
        holder: Key,
        operations: Operations,
        seconds: u64,
    ) -> [u8; CAPABILITY_BYTES] {
        let (id, issued) = (self.id(number), unix_seconds());
        let capability = Capability {
            lake: id.lake,
            holder: PublicKey(holder.0),
            operations,
            scope: Scope::Shard(id),
            term: CELL_TERM,
            issued,
            expires: issued + seconds,
        };
        *capability.sign(&self.keys.identity).as_bytes()
    }

    /// Lets the heavy node write, read and delete a sample; what an earlier one left is deleted.
    pub(super) fn probe(&self, heavy: Key) -> Result<[u8; CAPABILITY_BYTES], NodeError> {
        self.node.delete(self.id(PROBE_NUMBER), CELL_TERM)?;
        Ok(self.capability(PROBE_NUMBER, heavy, Operations::ALL, PROBE_SECONDS))
    }

    /// Makes room for a cell, and lets its owner write and read it.
    pub(super) fn grant(
        &self,
        wish: &Wish,
        terms: &Terms,
    ) -> Result<[u8; CAPABILITY_BYTES], String> {
        wish.check(unix_seconds()).map_err(|e| e.to_string())?;
        if wish.price_max < terms.price {
            return Err(format!("the price is {}", terms.price));
        }
        if self.free_bytes() < wish.bytes {
            return Err(format!("{} bytes are free", self.free_bytes()));
        }
        let all = self.all().map_err(|e| e.to_string())?;
        let taken: BTreeSet<u32> = all.iter().map(|s| s.id.container.number).collect();
        let mut state = self.lock();
        state.agreed.retain(|_, agreed| agreed.since.elapsed() < AGREED);
        if state.agreed.len() >= AGREED_MAX {
            return Err(format!("{AGREED_MAX} cells are on their way already"));
        }
        let coming = state.agreed.values().map(|a| a.number);
        let number =
            taken.iter().copied().chain(coming).max().map_or(Some(0), |n| n.checked_add(1));
        let number = number.filter(|&n| n != PROBE_NUMBER).ok_or("no numbers are left")?;
        let (bytes, price, epochs) = (wish.bytes, terms.price, wish.epochs);
        let agreed = Agreed { number, bytes, price, epochs, since: Instant::now() };
        state.agreed.insert(wish.digest(), agreed);
        let operations = "read,write".parse().expect("these are words for operations");
        Ok(self.capability(number, wish.owner, operations, READ_SECONDS))
    }

    /// Whether a contract is what was agreed on, and the cell is here as it says.
    pub(super) fn check(&self, wish: &Digest, cell: &Cell, own: NodeId) -> Result<(), String> {
        let state = self.lock();
        let agreed = state.agreed.get(wish).ok_or("nothing was agreed on for this wish")?;
        let fits = [
            ("holder", cell.holder == own),
            ("size", cell.bytes == agreed.bytes),
            ("price", cell.price == agreed.price),
            ("number of epochs", cell.epochs == agreed.epochs),
        ];
        if let Some((what, _)) = fits.iter().find(|(_, fits)| !fits) {
            return Err(format!("the contract has another {what} than was agreed on"));
        }
        let held = self.node.stat(self.id(agreed.number)).map_err(|e| e.to_string())?;
        let held = held.ok_or("the cell was not written")?;
        if (held.name, held.bytes) != (cell.root, cell.bytes) {
            return Err(format!(
                "the cell here has root {} and {} bytes, the contract {} and {}",
                held.name, held.bytes, cell.root, cell.bytes
            ));
        }
        Ok(())
    }

    /// Samples of a cell.
    pub(super) fn show(
        &self,
        root: &Digest,
        bytes: u64,
        seed: &[u8; 32],
        samples: u16,
    ) -> Result<Vec<Shown>, String> {
        let all = self.all().map_err(|e| e.to_string())?;
        let found = all.into_iter().find(|s| s.name == *root && s.bytes == bytes);
        let found = found.ok_or_else(|| format!("there is no cell with root {root} here"))?;
        let choose = |shard_bytes| match shard_bytes == bytes {
            true => Ok(places(seed, bytes, samples)),
            false => Err(SampleError::ShardBytes { shard_bytes }),
        };
        let shown = self.node.show(found.id, choose).map_err(|e| e.to_string())?;
        Ok(shown.into_iter().map(Shown::from).collect())
    }

    /// Deletes cells that are in no contract, and that nobody is on his way with. `contracts`: all those of this holder.
    pub(super) fn tidy(&self, contracts: &[RentedCell]) {
        let rented: BTreeSet<Digest> = contracts.iter().map(|c| c.cell.root).collect();
        let held = match self.all() {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(%error, "cells are not looked through");
                return;
            }
        };
        let mut state = self.lock();
        state.agreed.retain(|_, agreed| agreed.since.elapsed() < AGREED);
        let coming: BTreeSet<u32> = state
            .agreed
            .values()
            // once it is in a contract, the contract counts
            .filter(|a| {
                held.iter().all(|s| s.id.container.number != a.number || !rented.contains(&s.name))
            })
            .map(|a| a.number)
            .collect();
        state.agreed.retain(|_, a| coming.contains(&a.number));
        let is_idle =
            |s: &&ShardInfo| !rented.contains(&s.name) && !coming.contains(&s.id.container.number);
        let mut unknown = BTreeMap::new();
        for shard in held.iter().filter(is_idle) {
            let number = shard.id.container.number;
            let looks = state.unknown.get(&number).copied().unwrap_or(0) + 1;
            if looks < LOOKS {
                unknown.insert(number, looks);
                continue;
            }
            match self.node.delete(shard.id, CELL_TERM) {
                Ok(_) => {
                    tracing::info!(root = %shard.name, "a cell that is not rented any more goes")
                }
                Err(error) => tracing::warn!(%error, "a cell that is not rented any more stays"),
            }
        }
        state.unknown = unknown;
    }
}

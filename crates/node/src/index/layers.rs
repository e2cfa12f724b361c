//! The layers of the index, and reading through all of them.

use super::{Change, run::Run};
use crate::state::Entry;
use prunedb_core::ShardId;
use std::{collections::BTreeMap, io, ops::Bound, sync::Arc};

/// Changes by shard.
pub(super) type Changes = BTreeMap<ShardId, Change>;

/// What memory has of the index.
#[derive(Debug, Default)]
pub(crate) struct Shards {
    changes: Changes,
    layers: Layers,
    /// shards that are there
    count: u64,
}

/// The layers that do not change: shared with whoever reads them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// changes that are being merged
    pub(super) frozen: Option<Arc<Changes>>,
    /// newest first
    pub(super) runs: Arc<[Arc<Run>]>,
}

/// What the newest layer that knows a shard says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) change: Change,
    /// of the run that says so; `None`: memory does
    pub(crate) generation: Option<u64>,
}

impl Shards {
    /// What a snapshot says: runs, newest first, and how many shards count.
    pub(crate) fn new(runs: Vec<Arc<Run>>, count: u64) -> Self {
        let layers = Layers { frozen: None, runs: runs.into() };
        Self { changes: Changes::new(), layers, count }
    }

    /// Shards that are there.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Changes in memory, those that are being merged left out.
    pub(crate) fn changes(&self) -> usize {
        self.changes.len()
    }

    /// What memory knows; `None`: the runs know.
    pub(crate) fn in_memory(&self, id: ShardId) -> Option<Change> {
        let frozen = || self.layers.frozen.as_ref().and_then(|frozen| frozen.get(&id));
        self.changes.get(&id).or_else(frozen).copied()
    }

    /// What names its runs: generation and items, newest first.
    pub(crate) fn named(&self) -> Vec<(u64, u64)> {
        self.layers.runs.iter().map(|run| run.named()).collect()
    }

    /// The layers below the changes.
    pub(crate) fn layers(&self) -> Layers {
        self.layers.clone()
    }

    /// Puts a shard in, or in another's place; `was`: it was there.
    pub(crate) fn insert(&mut self, id: ShardId, entry: Entry, was: bool) {
        self.changes.insert(id, Some(entry));
        self.count += u64::from(!was);
    }

    /// Takes a shard out that was there.
    pub(crate) fn remove(&mut self, id: ShardId) {
        if self.layers.is_empty() {
            self.changes.remove(&id);
        } else {
            self.changes.insert(id, None);
        }
        self.count -= 1;
    }

    /// Begins a new layer of changes: those so far are to be merged.
    pub(super) fn freeze(&mut self) {
        assert!(self.layers.frozen.is_none(), "one merge at a time");
        self.layers.frozen = Some(Arc::new(std::mem::take(&mut self.changes)));
    }

    /// What was frozen is in the runs now.
    pub(super) fn merged(&mut self, runs: Vec<Arc<Run>>) {
        self.layers = Layers { frozen: None, runs: runs.into() };
    }

    /// It is not: the merge failed.
    pub(super) fn thaw(&mut self) {
        let Some(frozen) = self.layers.frozen.take() else { return };
        for (id, change) in Arc::unwrap_or_clone(frozen) {
            self.changes.entry(id).or_insert(change);
        }
    }

    /// Up to `count` changes behind a bound, as they are now.
    pub(crate) fn changes_from(
        &self,
        from: Bound<ShardId>,
        count: usize,
    ) -> Vec<(ShardId, Change)> {
        range(&self.changes, from, count)
    }
}

fn range(changes: &Changes, from: Bound<ShardId>, count: usize) -> Vec<(ShardId, Change)> {
    let behind = changes.range((from, Bound::Unbounded));
    behind.take(count).map(|(id, change)| (*id, *change)).collect()
}

impl Layers {
    /// Whether these are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let frozen = |layers: &Self| layers.frozen.as_ref().map(Arc::as_ptr);
        frozen(self) == frozen(other) && Arc::ptr_eq(&self.runs, &other.runs)
    }

    fn is_empty(&self) -> bool {
        self.frozen.is_none() && self.runs.is_empty()
    }

    /// What the newest run that knows a shard says.
    ///
    /// # Errors
    /// Those of the disk; `InvalidData` where a run is damaged.
    pub(crate) fn in_runs(&self, id: ShardId) -> io::Result<Option<Found>> {
        for run in &*self.runs {
            if let Some(change) = run.get(id)? {
                return Ok(Some(Found { change, generation: Some(run.generation) }));
            }
        }
        Ok(None)
    }

    /// What the layers say of the next shards behind a bound, up to `count` of each layer, with `newest` above them
    /// (also up to `count`); and from where to go on, if there is more.
    ///
    /// # Errors
    /// Those of [`Self::in_runs`].
    pub(crate) fn scan(
        &self,
        newest: Vec<(ShardId, Change)>,
        from: Bound<ShardId>,
        count: usize,
    ) -> io::Result<(BTreeMap<ShardId, Found>, Option<ShardId>)> {
        let mut layers = vec![(None, newest)];
        layers.extend(self.frozen.as_ref().map(|frozen| (None, range(frozen, from, count))));
        for run in &*self.runs {
            layers.push((Some(run.generation), run.range(from, count)?));
        }
        // a layer that has more says nothing of what is behind its last one
        let full = layers.iter().filter(|(_, some)| some.len() >= count);
        let through = full.filter_map(|(_, some)| some.last()).map(|(id, _)| *id).min();
        let mut found = BTreeMap::new();
        for (generation, some) in layers {
            let known = some.into_iter().take_while(|(id, _)| through.is_none_or(|end| *id <= end));
            for (id, change) in known {
                found.entry(id).or_insert(Found { change, generation });
            }
        }
        Ok((found, through))
    }
}

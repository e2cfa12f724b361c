//! What the manifest knows of the index in the lake.

use super::{Batch, Manifest, Retired};
use crate::error::Error;
use prunedb_core::{ContainerId, ContainerKind};
use prunedb_format::manifest::{Edit, INDEX_CONTAINER_PAGES, IndexEntry, IndexRun};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};

/// How many index containers a run of so many pages fills.
pub(crate) const fn containers_of(pages: u32) -> u32 {
    pages.div_ceil(INDEX_CONTAINER_PAGES)
}

impl Manifest {
    pub(super) fn load_index(&self) -> Result<(), Error> {
        *self.unindexed.write().unwrap_or_else(PoisonError::into_inner) = self.store.unindexed()?;
        let Some(number) = self.state().index_edit else { return Ok(()) };
        let Edit::Index(entry) = self.store.edit(number)? else {
            return Err(self.store.damaged(format!("edit {number} is not of an index")));
        };
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(*entry));
        Ok(())
    }

    /// The index in the lake, published or about to be.
    pub(crate) fn index(&self) -> Option<Arc<IndexEntry>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A run of the index in the lake.
    pub(crate) fn index_run(&self, number: u64) -> Option<IndexRun> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.as_ref()?.runs.iter().find(|run| run.number == number).copied()
    }

    /// Whether a head names the index in the lake.
    pub(crate) fn is_index_published(&self) -> bool {
        let state = self.state();
        state.index_edit.is_none_or(|edit| edit < state.body.next_edit)
    }

    /// Numbers for the index containers of a run of so many pages: those that it has, or new ones.
    pub(crate) fn reserve_index(&self, run: u64, pages: u32) -> Result<u32, Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&first) = self.store.index_runs()?.get(&run) {
            return Ok(first);
        }
        let mut state = self.state();
        let first = state.next_index;
        state.next_index = first
            .checked_add(containers_of(pages))
            .ok_or_else(|| self.store.damaged("no number is left for an index container".into()))?;
        self.store.write(&Batch {
            state: Some(&state),
            index_runs: (&[(run, first)], &[]),
            ..Batch::default()
        })?;
        self.set(state);
        Ok(first)
    }

    /// Index containers that the published index does not need any more are to be deleted after some heads. What is on
    /// its way into the lake for runs that are `alive`, with their pages, stays.
    pub(crate) fn retire_index(&self, head: u64, alive: &BTreeMap<u64, u32>) -> Result<(), Error> {
        let Some(entry) = self.index().filter(|_| self.is_index_published()) else { return Ok(()) };
        let containers = |first: u32, pages| first..first.saturating_add(containers_of(pages));
        let mut needed = BTreeSet::new();
        for run in &entry.runs {
            needed.extend(containers(run.first_container, pages_of(run)));
        }
        let mut forgotten = Vec::new();
        for (run, first) in self.store.index_runs()? {
            match alive.get(&run) {
                Some(&pages) => needed.extend(containers(first, pages)),
                None => forgotten.push(run),
            }
        }
        // shards that one was coded anew from are deleted first
        let retiring: BTreeSet<ContainerId> = self.retired()?.into_iter().map(|r| r.id).collect();
        let is_due = |id: &ContainerId| !needed.contains(&id.number) && !retiring.contains(id);
        let (mut retired, mut removed) = (Vec::new(), Vec::new());
        for id in self.index_containers()?.into_iter().filter(is_due) {
            let Some(container) = self.container(id)? else { continue };
            let stream = &container.entry.stream;
            let (group, policy) = (stream.group, stream.policy);
            retired.push(Retired { id, since_head: head, group, policy });
            removed.push(id);
        }
        if removed.is_empty() && forgotten.is_empty() {
            return Ok(());
        }
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.write(&Batch {
            retired: Some((&retired, &[])),
            remove_containers: &removed,
            index_runs: (&[], &forgotten),
            ..Batch::default()
        })?;
        let mut cached = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        removed.iter().for_each(|id| _ = cached.remove(id));
        Ok(())
    }

    /// A number above those of all runs that are in the lake or on their way.
    pub(crate) fn next_run(&self) -> Result<u64, Error> {
        let reserved = self.store.index_runs()?.keys().next_back().map_or(0, |last| last + 1);
        Ok(self.index().map_or(0, |index| index.next_run).max(reserved))
    }

    /// All index containers in the lake.
    pub(crate) fn index_containers(&self) -> Result<Vec<ContainerId>, Error> {
        let numbers = self.store.container_numbers(ContainerKind::Index, 0)?;
        Ok(numbers.into_iter().map(ContainerId::index).collect())
    }

    /// Data containers whose records are not in the index.
    pub(crate) fn unindexed(&self) -> BTreeSet<u32> {
        self.unindexed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a container's records are not in the index, or that they are.
    pub(crate) fn set_unindexed(&self, number: u32, unindexed: bool) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        if self.unindexed().contains(&number) == unindexed {
            return Ok(());
        }
        let change = Some((number, unindexed));
        self.store.write(&Batch { unindexed: change, ..Batch::default() })?;
        let mut noted = self.unindexed.write().unwrap_or_else(PoisonError::into_inner);
        if unindexed {
            noted.insert(number)
        } else {
            noted.remove(&number)
        };
        Ok(())
    }
}

/// Pages of a run in the lake, as its header has them.
fn pages_of(run: &IndexRun) -> u32 {
    // format: index page, run header
    let regions = run.header[28..44].chunks_exact(4);
    let pages = regions.map(|p| u32::from_le_bytes(p.try_into().expect("4 bytes")));
    pages.fold(1, u32::saturating_add)
}

//! Merging: the frozen changes and the newest runs become one run.
//!
//! A run is merged together with what is newer than it unless it has more than [`RATIO`] times as many items. So there
//! are few runs (seven where memory holds 2^18 changes and the disk 1e10 shards), and each item is written a few times.

use super::{
    Found, Layers, Shards,
    run::{Run, Writer},
};
use prunedb_disk::Disk;
use std::{collections::HashMap, io, ops::Bound, path::Path, sync::Arc};

/// How many times larger a run is than all that are newer.
const RATIO: u64 = 8;
/// Items that are taken from each layer at once.
const CHUNK_ITEMS: usize = 4096;

/// A merge under way. Given up unless it is ended by [`Merge::end`]: then the changes go back.
#[derive(Debug)]
pub(crate) struct Merge {
    layers: Layers,
    generation: u64,
}

/// Which entries of runs count: a segment's, from this generation on.
pub(crate) type Since = HashMap<u32, u64>;

impl Merge {
    /// Freezes the changes, to be merged into the run of this generation.
    pub(crate) fn begin(shards: &mut Shards, generation: u64) -> Self {
        shards.freeze();
        Self { layers: shards.layers(), generation }
    }

    /// The runs are durable and named by a snapshot: they take the place of the layers that were merged.
    pub(crate) fn end(self, shards: &mut Shards, runs: Vec<Arc<Run>>) {
        shards.merged(runs);
    }

    /// Nothing has happened.
    pub(crate) fn give_up(self, shards: &mut Shards) {
        shards.thaw();
    }
}

/// Writes the new run, durably, and says which runs there are then, newest first.
///
/// # Errors
/// Those of the disk; `InvalidData` where a run is damaged.
pub(crate) fn merge(
    merge: &Merge,
    disk: &dyn Disk,
    dir: &Path,
    since: &Since,
) -> io::Result<Vec<Arc<Run>>> {
    let Layers { frozen, runs } = &merge.layers;
    let mut items = frozen.as_ref().map_or(0, |frozen| frozen.len() as u64);
    if items == 0 {
        return Ok(runs.to_vec());
    }
    let mut merged = 0;
    for run in &**runs {
        if run.items > items.saturating_mul(RATIO) {
            break;
        }
        items += run.items;
        merged += 1;
    }
    let (with, kept) = runs.split_at(merged);
    let layers = Layers { frozen: frozen.clone(), runs: with.into() };
    let counts = |found: &Found| {
        let entry = found.change.as_ref()?;
        let at_least = since.get(&entry.segment)?;
        found.generation.is_none_or(|it| it >= *at_least).then_some(*entry)
    };
    let mut out = Writer::create(disk, dir, merge.generation)?;
    let mut from = Bound::Unbounded;
    loop {
        let (found, more) = layers.scan(Vec::new(), from, CHUNK_ITEMS)?;
        for (id, found) in &found {
            let change = counts(found);
            // what is gone has to hide what older runs say
            if change.is_some() || !kept.is_empty() {
                out.put(*id, change)?;
            }
        }
        let Some(last) = more else { break };
        from = Bound::Excluded(last);
    }
    let run = out.finish()?;
    disk.sync_dir(dir)?;
    Ok(run.map(Arc::new).into_iter().chain(kept.iter().cloned()).collect())
}

/// Removes the files of runs that are not named any more, from a generation on, as far as the disk lets us.
pub(crate) fn remove_strays(disk: &dyn Disk, dir: &Path, named: &[(u64, u64)], from: u64) {
    let names = disk.list(dir).unwrap_or_default();
    let is_stray = |name: &&String| {
        let generation = Run::parse_file_name(name);
        generation.is_some_and(|it| it >= from && named.iter().all(|(kept, _)| *kept != it))
    };
    for name in names.iter().filter(is_stray) {
        if let Err(e) = disk.remove(&dir.join(name)) {
            tracing::warn!(name, error = %e, "cannot remove a run that is not used any more");
        }
    }
}

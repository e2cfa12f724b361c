//! Taking a snapshot while the node works.
//!
//! ```text
//! cut      changes frozen; segments as they are now, without those that something is changing      locks, no I/O
//! write    changes and newest runs -> one run; the snapshot, beside                                 I/O, no locks
//! replace  list of what was being changed and has changed since, then the snapshot's name           others wait to change
//! ```
//! Until the snapshot has its name, the one before counts, with its list that is kept up all the time. A crash loses
//! nothing at any point: what is not in the snapshot that counts is in segments that its list has.

use crate::{
    NodeError,
    core::Inner,
    index::{Merge, Since, merge, remove_strays},
    snapshot::{QuietSegment, Snapshot},
    state::lock,
};
use std::{
    collections::BTreeSet,
    io,
    sync::{MutexGuard, atomic::Ordering},
};

/// The node at one moment.
struct Cut {
    /// without its runs, which are not written yet
    snapshot: Snapshot,
    merge: Merge,
    /// from which generation on runs count, by segment
    since: Since,
    /// segments that something was changing, or that may not be believed
    in_flux: BTreeSet<u32>,
}

impl Inner {
    /// Takes a snapshot, if anything has changed since the last one.
    pub(crate) fn take_snapshot(&self) -> Result<(), NodeError> {
        self.snapshot(&lock(&self.taking))
    }

    /// The same, by who alone may.
    pub(crate) fn snapshot(&self, _one: &MutexGuard<'_, ()>) -> Result<(), NodeError> {
        let failed = |e| NodeError::disk("write a snapshot", e);
        if self.index_damaged.load(Ordering::SeqCst) {
            return Err(failed(io::Error::other("the index is damaged: start the node anew")));
        }
        let Some(cut) = self.cut() else { return Ok(()) };
        let Cut { mut snapshot, merge: begun, since, in_flux } = cut;
        let (disk, dir) = (&*self.disk, &self.config.dir);
        let beside = dir.join("snapshot.tmp");
        let written = merge(&begun, disk, &self.index_dir, &since).and_then(|runs| {
            snapshot.runs = runs.iter().map(|run| run.named()).collect();
            snapshot.write(disk, &beside).map(|()| runs)
        });
        let mut changes = lock(&self.changes);
        let replaced = written.and_then(|runs| {
            changes.replace(disk, dir, snapshot.generation, &beside, in_flux).map(|()| runs)
        });
        let mut state = lock(&self.state);
        match replaced {
            Ok(runs) => {
                begun.end(&mut state.shards, runs);
                drop((state, changes));
                remove_strays(disk, &self.index_dir, &snapshot.runs, 0);
                Ok(())
            }
            Err(e) => {
                begun.give_up(&mut state.shards);
                changes.give_up();
                let named = state.shards.named();
                drop((state, changes));
                // where the disk is full, what is left of it takes the last room
                remove_strays(disk, &self.index_dir, &named, snapshot.generation);
                _ = disk.remove(&beside);
                Err(match e.kind() {
                    io::ErrorKind::InvalidData => self.index_failed(e),
                    _ => failed(e),
                })
            }
        }
    }

    /// Writes the changes into a run that no snapshot names yet, while the node starts, where they are many; whether it
    /// did. Runs of generations from `since` on are of this start.
    pub(crate) fn spill(&self, since: u64) -> Result<bool, NodeError> {
        let (begun, generation, counting) = {
            let mut state = lock(&self.state);
            if state.shards.changes() < self.config.changes_max {
                return Ok(false);
            }
            let generation = state.generation;
            state.generation += 1;
            (Merge::begin(&mut state.shards, generation), generation, state.since())
        };
        let merged = merge(&begun, &*self.disk, &self.index_dir, &counting);
        let mut state = lock(&self.state);
        match merged {
            Ok(runs) => {
                let (disk, dir) = (&*self.disk, &self.index_dir);
                begun.end(&mut state.shards, runs);
                let named = state.shards.named();
                drop(state);
                remove_strays(disk, dir, &named, since);
                Ok(true)
            }
            Err(e) => {
                begun.give_up(&mut state.shards);
                let named = state.shards.named();
                drop(state);
                remove_strays(&*self.disk, &self.index_dir, &named, generation);
                Err(NodeError::disk("write a run of the index", e))
            }
        }
    }

    fn cut(&self) -> Option<Cut> {
        let mut changes = lock(&self.changes);
        let mut state = lock(&self.state);
        if changes.count() == Some(0) && state.shards.changes() == 0 {
            return None;
        }
        changes.begin();
        let generation = state.generation;
        state.generation += 1;
        let mut in_flux: BTreeSet<u32> = state.stale.iter().map(|(_, segment)| *segment).collect();
        let mut snapshot = Snapshot {
            generation,
            sequence: state.sequence,
            durable_through: state.durable_through(),
            ..Snapshot::default()
        };
        for (&number, held) in &state.segments {
            // one that nothing is in may be removed without a word
            if held.is_quiet() && held.records > 0 && !in_flux.contains(&number) {
                let (records, used_bytes) = (held.records, held.used_bytes);
                let segment =
                    QuietSegment { mark: held.mark, records, used_bytes, since: held.since };
                snapshot.segments.insert(number, segment);
            } else {
                in_flux.insert(number);
            }
        }
        let since = state.since();
        let merge = Merge::begin(&mut state.shards, generation);
        Some(Cut { snapshot, merge, since, in_flux })
    }
}

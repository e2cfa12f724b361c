//! The thread that looks after the nodes, and repairs without being asked.
//!
//! It works when a read has found damage, when an offload has left shards to repair, and every [`TICK`]. What is known to
//! be missing or damaged on nodes that answer is rebuilt under any policy. A node that was out of reach for as long as
//! [`node_lost_after`](crate::Options::node_lost_after) is taken for lost, and its slots move once a group has lost as
//! many as its policy lets wait ([`lazy_losses`]). Once a day it looks for shards that nothing names (`crate::orphans`).

use crate::{
    db::{Db, Inner},
    error::Error,
    orphans::ORPHAN_AGE,
    repair::{Moving, RepairReport, lazy_losses},
};
use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

/// How often nodes are looked at, and what failed is tried again.
const TICK: Duration = Duration::from_secs(30);
/// After how long nodes are looked through the first time, and again.
const SWEEP_AFTER: Duration = Duration::from_secs(3600);
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What the thread is told.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    damage: bool,
    stop: bool,
}

impl Wanted {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// There is something to repair.
    pub(crate) fn repair(&self) {
        self.set(|state| state.damage = true);
    }

    /// Whether the thread is to end.
    pub(crate) fn stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stop
    }

    /// Waits for work or the next tick; whether to go on.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut State| !state.damage && !state.stop;
        let waited = self.changed.wait_timeout_while(state, TICK, idle);
        let (mut state, _timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.damage = false;
        !state.stop
    }
}

/// The running thread; dropping it ends it, after the container at hand.
#[derive(Debug)]
pub(crate) struct Healer {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

impl Healer {
    pub(crate) fn start(inner: Arc<Inner>) -> Self {
        inner.wanted.set(|state| state.stop = false);
        let worker = Arc::clone(&inner);
        let thread = std::thread::Builder::new()
            .name("prunedb-repair".into())
            .spawn(move || worker.heal_on());
        if let Err(e) = &thread {
            tracing::error!(error = %e, "no repair thread: repair by `repair`");
        }
        Self { inner, thread: thread.ok() }
    }
}

impl Drop for Healer {
    fn drop(&mut self) {
        self.inner.wanted.set(|state| state.stop = true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the repair thread panicked");
        }
        // a repair that is asked for from now on runs to its end
        self.inner.wanted.set(|state| state.stop = false);
    }
}

/// Which nodes are out of reach, and since when: what a round of healing hands to the next.
#[derive(Debug, Default)]
pub struct Outages(HashMap<String, Duration>);

impl Db {
    /// One round of what a database with a background does by itself again and again: looks at the nodes, moves the slots of
    /// those that are lost, and rebuilds what is known to be missing. For those who have no background.
    ///
    /// # Errors
    /// Those of [`Db::repair`].
    pub fn heal(&self, outages: &mut Outages) -> Result<RepairReport, Error> {
        if self.is_reader() {
            return Err(Error::ReadOnly);
        }
        self.inner.heal(outages)
    }
}

impl Inner {
    fn heal_on(&self) {
        let (mut outages, mut next_sweep) = (Outages::default(), self.lake.now() + SWEEP_AFTER);
        while self.wanted.wait() {
            if let Err(error) = self.heal(&mut outages) {
                tracing::warn!(%error, "repair failed, it is tried again");
            }
            if self.options.offload && self.lake.now() >= next_sweep {
                next_sweep = self.lake.now() + SWEEP_EVERY;
                if let Err(error) = self.sweep(SystemTime::now(), ORPHAN_AGE, false, &mut |_| {}) {
                    tracing::warn!(%error, "the nodes were not looked through");
                }
            }
        }
    }

    fn heal(&self, Outages(down): &mut Outages) -> Result<RepairReport, Error> {
        let (placement, reached, now) = (self.lake.placement(), self.space(), self.lake.now());
        let addresses = placement.nodes.iter().map(|node| &node.address);
        for (address, space) in addresses.zip(&reached) {
            match space {
                Some(_) => _ = down.remove(address),
                None => _ = down.entry(address.clone()).or_insert(now),
            }
        }
        let is_lost = |node: u32| {
            let since = placement.nodes.get(node as usize).and_then(|n| down.get(&n.address));
            since.is_some_and(|&since| now.saturating_sub(since) >= self.options.node_lost_after)
        };
        let done = self.repair(
            |inner| match inner.governance() {
                // the registry elects
                Some(_) => Ok(Moving::default()),
                None => {
                    inner.plan_moves(is_lost, &reached, |policy, lost| lost >= lazy_losses(policy))
                }
            },
            &mut |_| {},
        );
        let indexed = self.index_noted();
        let done = done?;
        indexed?;
        if done.moved_slots > 0 || !done.repaired.is_empty() {
            tracing::info!(
                moved_slots = done.moved_slots,
                repaired = done.repaired.len(),
                "repaired"
            );
        }
        for (container, reason) in &done.failed {
            tracing::warn!(%container, reason, "not repaired yet");
        }
        Ok(done)
    }
}

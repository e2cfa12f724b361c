//! Sealed containers that wait for their offload; puts wait for them where there are too many.

use crate::error::Error;
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    pub(crate) changed: Condvar,
    /// containers that may wait before puts wait
    limit: usize,
}

#[derive(Debug, Default)]
pub(crate) struct QueueState {
    pub(crate) waiting: usize,
    /// whether a background thread works on the queue
    pub(crate) served: bool,
    pub(crate) stop: bool,
    /// why the last offload failed
    pub(crate) failure: Option<String>,
    /// since when it is full
    full_since: Option<Instant>,
    /// puts that wait
    held: usize,
}

/// Why puts are not taken, or only as fast as the lake takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backpressure {
    /// since when
    pub since: Duration,
    /// puts that wait just now
    pub held_puts: usize,
    /// why
    pub reason: String,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more container waits.
    pub(crate) fn add(&self) {
        let mut state = self.lock();
        let waiting = state.waiting + 1;
        self.set_waiting(&mut state, waiting);
    }

    /// So many containers wait, and the last offload ended so.
    pub(crate) fn set(&self, waiting: usize, failure: Option<String>) {
        let mut state = self.lock();
        state.failure = failure;
        self.set_waiting(&mut state, waiting);
    }

    fn set_waiting(&self, state: &mut QueueState, waiting: usize) {
        state.waiting = waiting;
        let full = waiting >= self.limit;
        state.full_since = full.then(|| state.full_since.unwrap_or_else(Instant::now));
        self.changed.notify_all();
    }

    /// Waits while a served queue is full.
    ///
    /// # Errors
    /// [`Error::OffloadBehind`] where it will stay full because offloading fails.
    pub(crate) fn wait_for_room(&self) -> Result<(), Error> {
        let mut state = self.lock();
        while state.served && state.waiting >= self.limit {
            if let Some(reason) = &state.failure {
                let (waiting, reason) = (state.waiting, reason.clone());
                return Err(Error::OffloadBehind { waiting, reason });
            }
            state.held += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.held -= 1;
        }
        Ok(())
    }

    /// Whether puts wait for the queue, and why.
    pub(crate) fn backpressure(&self) -> Option<Backpressure> {
        let state = self.lock();
        let since = state.full_since.filter(|_| state.served)?.elapsed();
        let (waiting, limit) = (state.waiting, self.limit);
        let reason = match &state.failure {
            Some(failure) => format!("offloading fails: {failure}"),
            None => format!(
                "{waiting} containers wait for the lake, {limit} may: puts are faster than offloading"
            ),
        };
        Some(Backpressure { since, held_puts: state.held, reason })
    }
}

//! The thread that makes groups durable where nobody waits for them.

use super::{State, Writer};
use crate::error::Error;
use std::{
    sync::{Arc, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Runs until it is dropped; what is not durable by then is left to those who wait for it.
pub(crate) struct Flusher {
    writer: Arc<Writer>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts the thread; without an age of groups there is none, and whoever appends or waits writes them.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub(crate) fn start(writer: &Arc<Writer>) -> Result<Self, Error> {
        let mut thread = None;
        if !writer.group_age.is_zero() {
            let served = Arc::clone(writer);
            let spawned = std::thread::Builder::new()
                .name("prunedb-writer".into())
                .spawn(move || served.serve())
                .map_err(|source| Error::Io { path: "the writer's thread".into(), source })?;
            writer.lock().flushed = true;
            thread = Some(spawned);
        }
        Ok(Self { writer: Arc::clone(writer), thread })
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.writer.lock().stop = true;
        self.writer.work.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer's thread panicked");
        }
    }
}

/// Appends wait for the flusher only while it is there, however it ends.
struct Flushed<'a>(&'a Writer);

impl Drop for Flushed<'_> {
    fn drop(&mut self) {
        self.0.lock().flushed = false;
        self.0.synced.notify_all();
    }
}

impl Writer {
    fn serve(&self) {
        let _flushed = Flushed(self);
        let mut state = self.lock();
        // while puts come the thread looks each time a group gets old, and nobody has to wake it
        let mut watching = false;
        while !state.stop && state.poison.is_none() {
            state = match (self.due_in(&state), watching) {
                (Some(Duration::ZERO), _) => match self.sync_group(state) {
                    Ok(state) => state,
                    Err(error) => {
                        tracing::error!(%error, "writing stopped");
                        return;
                    }
                },
                (Some(left), _) => {
                    watching = true;
                    self.wait_work(state, left)
                }
                (None, true) => {
                    watching = false;
                    self.wait_work(state, self.group_age)
                }
                (None, false) => {
                    state.asleep = true;
                    let mut state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.asleep = false;
                    state
                }
            };
        }
    }

    /// When there is something to write, if anything comes to be written.
    fn due_in(&self, state: &State) -> Option<Duration> {
        if state.full.is_some() {
            return Some(Duration::ZERO);
        }
        let due = state.group.since? + self.group_age;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn wait_work<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: Duration,
    ) -> MutexGuard<'a, State> {
        self.work.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }
}

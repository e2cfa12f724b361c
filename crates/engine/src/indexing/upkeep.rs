//! The thread that writes the index and merges its runs, a little at a time, so that memory and run counts stay bounded.

use crate::{db::Inner, error::Error};
use std::{sync::PoisonError, time::Duration};

/// How often is looked whether there is something to do.
const TICK: Duration = Duration::from_millis(200);
/// After a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Inner {
    /// Until the background is stopped.
    pub(crate) fn serve_index(&self) {
        let mut wait = TICK;
        loop {
            let state = self.queue.lock();
            let (state, _timeout) = self
                .queue
                .changed
                .wait_timeout_while(state, wait, |state| !state.stop)
                .unwrap_or_else(PoisonError::into_inner);
            if state.stop {
                return;
            }
            drop(state);
            wait = match self.index_step() {
                Ok(true) => Duration::ZERO,
                Ok(false) => TICK,
                Err(error) => {
                    tracing::warn!(%error, "keeping the index in shape failed, it is tried again");
                    RETRY_AFTER
                }
            };
        }
    }

    /// Whether there is more to do.
    fn index_step(&self) -> Result<bool, Error> {
        if self.index_is_large() {
            self.write_index()?;
        }
        self.merge_index()
    }
}

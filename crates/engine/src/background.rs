//! The threads behind a database: one seals by age, offloads, publishes, and keeps the cache below its limit, or, for a
//! reader, follows the lake; one keeps the index in shape.

use crate::{db::Inner, error::Error, heal::Healer};
use std::{
    sync::{Arc, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

/// How often age and cache are looked at while nothing happens.
const TICK: Duration = Duration::from_secs(1);
/// After a failed offload the next try waits so long, then twice as long, up to the last.
const RETRY_AFTER: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

#[derive(Debug)]
pub(crate) struct Background {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
    _healer: Option<Healer>,
}

impl Background {
    pub(crate) fn start(inner: Arc<Inner>) -> Self {
        {
            let mut state = inner.queue.lock();
            (state.served, state.stop) = (inner.options.offload, false);
        }
        let worker = Arc::clone(&inner);
        let thread = std::thread::Builder::new().name("prunedb-offload".into()).spawn(move || {
            if worker.reader.is_some() { worker.follow_on() } else { worker.serve() }
        });
        if let Err(e) = &thread {
            tracing::error!(error = %e, "no background thread: offload by `flush`");
            inner.queue.lock().served = false;
        }
        let healer = inner.reader.is_none().then(|| Healer::start(Arc::clone(&inner)));
        let worker = Arc::clone(&inner);
        let index = std::thread::Builder::new()
            .name("prunedb-index".into())
            .spawn(move || worker.serve_index());
        if let Err(e) = &index {
            tracing::error!(error = %e, "no background thread: the index is merged by `flush`");
        }
        Self { inner, threads: thread.into_iter().chain(index).collect(), _healer: healer }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.inner.queue.lock().stop = true;
        self.inner.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a background thread panicked");
            }
        }
    }
}

/// Puts wait for the queue only while somebody works on it, and that ends with the thread, however it ends.
struct Served<'a>(&'a Inner);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().served = false;
        self.0.queue.changed.notify_all();
    }
}

impl Inner {
    /// A reader's work: looks at the lake again and again.
    fn follow_on(&self) {
        let mut failing = false;
        loop {
            let state = self.queue.lock();
            let (state, _timeout) = self
                .queue
                .changed
                .wait_timeout_while(state, self.options.follow_interval, |s| !s.stop)
                .unwrap_or_else(PoisonError::into_inner);
            if state.stop {
                return;
            }
            drop(state);
            let refreshed = self.refresh(&mut |_| {});
            if let Err(error) = &refreshed
                && !failing
            {
                tracing::warn!(%error, "the lake cannot be followed: what is here is served");
            }
            failing = refreshed.is_err();
        }
    }

    fn serve(&self) {
        let _served = Served(self);
        let mut failures = 0;
        loop {
            let wait =
                if failures == 0 { TICK } else { RETRY_AFTER[failures.min(RETRY_AFTER.len()) - 1] };
            {
                let state = self.queue.lock();
                let idle = |s: &mut crate::queue::QueueState| {
                    !s.stop && (failures > 0 || !s.served || s.waiting == 0)
                };
                let (state, _timeout) = self
                    .queue
                    .changed
                    .wait_timeout_while(state, wait, idle)
                    .unwrap_or_else(PoisonError::into_inner);
                if state.stop {
                    return;
                }
            }
            match self.upkeep() {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, "upkeep failed, it is tried again");
                }
            }
        }
    }

    /// One round of what keeps a database in shape. A step that fails does not keep the others from their work.
    fn upkeep(&self) -> Result<(), Error> {
        let sealed = self.writer.seal_if_old(self.options.seal_age).map(drop);
        let offloaded = loop {
            if !self.options.offload {
                break Ok(());
            }
            match self.offload_next() {
                Ok(Some(_)) if self.stopped() => return Ok(()),
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let indexed = self.offload_index_if_grown();
        // what an earlier round could not publish is published now; tables alone can wait
        let published = match self.manifest.has_unpublished_container() {
            Ok(true) if self.options.offload => self.publish(),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        sealed.and(offloaded).and(indexed).and(published).and(self.shrink_cache())
    }

    fn stopped(&self) -> bool {
        self.queue.lock().stop
    }
}

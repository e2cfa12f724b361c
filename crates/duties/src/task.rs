//! A loop in a thread of its own, which ends when its guard is dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// Whether a loop is to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A running loop. Dropping it ends it, after the step at hand.
#[derive(Debug)]
pub struct Task {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Task {
    /// Runs `step` again and again, until it is stopped.
    ///
    /// # Panics
    /// Where the system gives no thread.
    pub(crate) fn start(name: &str, mut step: impl FnMut(&Stop) + Send + 'static) -> Self {
        let stop = Stop::default();
        let asked = stop.clone();
        let run = move || {
            while !asked.is_asked() {
                step(&asked);
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        Self { stop, thread: Some(thread.expect("the system gives a thread")) }
    }

    /// Has the loop end, without waiting for it: for those who stop many.
    pub fn end_soon(&self) {
        self.stop.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.end_soon();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a loop of duties had panicked");
        }
    }
}

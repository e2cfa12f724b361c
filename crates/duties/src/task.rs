//! A loop in a thread of its own, which ends when its guard is dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Pause after something failed.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

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

    /// Runs `step` for height after height, until it is stopped; it says which one it has reached. What fails is said once, and
    /// tried again.
    pub(crate) fn each_height<E: std::fmt::Display>(
        name: &str,
        mut step: impl FnMut(u64, &Stop) -> Result<u64, E> + Send + 'static,
    ) -> Self {
        let (mut height, mut last_error) = (0, None);
        Self::start(name, move |stop| match step(height, stop) {
            Ok(reached) => (height, last_error) = (reached + 1, None),
            Err(error) => {
                let error = error.to_string();
                // once each, not with every block
                if last_error.as_ref() != Some(&error) {
                    tracing::warn!(
                        error,
                        "the registry's duties are not done, they are tried again"
                    );
                }
                last_error = Some(error);
                std::thread::sleep(PAUSE);
            }
        })
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

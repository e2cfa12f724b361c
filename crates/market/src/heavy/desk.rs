//! Jobs for children: they wait until the child asks, and whoever wants one waits until it is done.

use crate::message::{Job, Outcome};
use prunedb_registry::Key;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

/// Jobs that wait for one child.
const JOBS_MAX: usize = 256;
/// Jobs that a child gets at once.
const AT_ONCE: usize = 16;

/// The desk.
#[derive(Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    children: HashMap<Key, Child>,
    /// by number: whose it is, who waits
    open: HashMap<u64, (Key, oneshot::Sender<Outcome>)>,
}

#[derive(Default)]
struct Child {
    waiting: VecDeque<(u64, Job)>,
    came: Arc<Notify>,
}

/// Ends a job that nobody waits for any more.
struct Open<'a> {
    desk: &'a Desk,
    child: Key,
    job: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.open.remove(&self.job);
        if let Some(child) = state.children.get_mut(&self.child) {
            child.waiting.retain(|(job, _)| *job != self.job);
        }
        state.forget(self.child);
    }
}

impl State {
    /// A child for whom nothing waits, and who does not ask.
    fn forget(&mut self, child: Key) {
        let is_idle = |c: &Child| c.waiting.is_empty() && Arc::strong_count(&c.came) == 1;
        if self.children.get(&child).is_some_and(is_idle) {
            self.children.remove(&child);
        }
    }
}

impl Desk {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a child do a job; `None` where it does not in time, or has too many.
    pub(crate) async fn ask(&self, child: Key, job: Job, patience: Duration) -> Option<Outcome> {
        let (done, outcome) = oneshot::channel();
        let open = {
            let mut state = self.lock();
            let number = state.next;
            let place = state.children.entry(child).or_default();
            if place.waiting.len() >= JOBS_MAX {
                return None;
            }
            place.waiting.push_back((number, job));
            place.came.notify_one();
            state.next += 1;
            state.open.insert(number, (child, done));
            Open { desk: self, child, job: number }
        };
        let outcome = timeout(patience, outcome).await;
        drop(open);
        outcome.ok()?.ok()
    }

    /// The jobs of a child; waits for one.
    pub(crate) async fn take(&self, child: Key, wait: Duration) -> Vec<(u64, Job)> {
        let came = Arc::clone(&self.lock().children.entry(child).or_default().came);
        let found = async {
            loop {
                let jobs: Vec<(u64, Job)> = {
                    let mut state = self.lock();
                    let waiting = &mut state.children.entry(child).or_default().waiting;
                    let count = waiting.len().min(AT_ONCE);
                    waiting.drain(..count).collect()
                };
                if !jobs.is_empty() {
                    return jobs;
                }
                came.notified().await;
            }
        };
        let jobs = timeout(wait, found).await.unwrap_or_default();
        drop(came);
        self.lock().forget(child);
        jobs
    }

    /// A child says what came of a job; whether it was one of its own that somebody waits for.
    pub(crate) fn done(&self, child: Key, job: u64, outcome: Outcome) -> bool {
        let mut state = self.lock();
        if state.open.get(&job).is_none_or(|(whose, _)| *whose != child) {
            return false;
        }
        let (_, waits) = state.open.remove(&job).expect("looked up just now");
        waits.send(outcome).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunedb_core::Digest;

    const CHILD: Key = Key([1; 32]);
    const LONG: Duration = Duration::from_secs(60);

    fn job() -> Job {
        Job::Prove { root: Digest([1; 32]), bytes: 2048, seed: [2; 32], samples: 1 }
    }

    #[tokio::test]
    async fn a_job_goes_to_its_child_and_only_that_child_ends_it() {
        let desk = Desk::default();
        let refused = Outcome::Refused { reason: "no".into() };
        let child = async {
            let jobs = desk.take(CHILD, LONG).await;
            assert_eq!(jobs, [(0, job())]);
            assert!(!desk.done(Key([2; 32]), 0, refused.clone()), "another child's");
            assert!(!desk.done(CHILD, 1, refused.clone()), "no such job");
            assert!(desk.done(CHILD, 0, refused.clone()));
            assert!(!desk.done(CHILD, 0, refused.clone()), "it is done");
        };
        let (outcome, ()) = tokio::join!(desk.ask(CHILD, job(), LONG), child);
        assert_eq!(outcome, Some(refused));
    }

    #[tokio::test]
    async fn who_waits_too_long_goes_and_leaves_nothing_behind() {
        let (desk, short) = (Arc::new(Desk::default()), Duration::from_millis(20));
        assert_eq!(desk.ask(CHILD, job(), short).await, None);
        assert!(desk.take(CHILD, short).await.is_empty());
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..JOBS_MAX {
            let desk = Arc::clone(&desk);
            all.spawn(async move { desk.ask(CHILD, job(), LONG).await });
        }
        while desk.lock().open.len() < JOBS_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(desk.ask(CHILD, job(), LONG).await, None, "one too many");
        all.shutdown().await;
        assert!(desk.lock().open.is_empty());
        assert!(desk.take(Key([3; 32]), short).await.is_empty());
        assert!(desk.lock().children.is_empty(), "nobody asks, nothing waits");
    }
}

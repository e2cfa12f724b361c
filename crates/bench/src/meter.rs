//! Thread CPU time, best of several runs.
//!
//! A virtual machine's host may take its processor away; the system then takes that time off the thread's, but only at its
//! next tick. So a run should last a millisecond at least, better ten.

use std::{num::NonZero, sync::Barrier, thread};

/// How a job is measured.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    /// threads that do the same at once, each with its own bytes
    pub threads: NonZero<usize>,
    /// the best of so many runs counts
    pub runs: usize,
}

impl Meter {
    /// GB/s per core of a job that goes through `bytes` bytes; `prepare` makes it, on each thread.
    ///
    /// With several threads they begin each run together, and the figure is all bytes over all CPU time of a run.
    pub fn gbps<J: FnMut()>(&self, bytes: usize, prepare: impl Fn() -> J + Sync) -> f64 {
        let start = Barrier::new(self.threads.get());
        let on_thread = || {
            let mut job = prepare();
            job();
            (0..self.runs.max(1))
                .map(|_| {
                    start.wait();
                    let before = thread_seconds();
                    job();
                    thread_seconds() - before
                })
                .collect::<Vec<f64>>()
        };
        let seconds: Vec<Vec<f64>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads.get()).map(|_| scope.spawn(on_thread)).collect();
            let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
            joined.map(|seconds| seconds.expect("a measured job does not fail")).collect()
        });
        let least = (0..self.runs.max(1))
            .map(|run| seconds.iter().map(|thread| thread[run]).sum::<f64>())
            .fold(f64::INFINITY, f64::min);
        gigabytes(bytes) * seconds.len() as f64 / least
    }
}

fn gigabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e9
}

fn thread_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        hint::black_box,
        sync::atomic::{AtomicUsize, Ordering},
    };

    #[test]
    fn runs_on_each_thread_once_to_warm_up_and_then_as_often_as_asked() {
        let jobs = AtomicUsize::new(0);
        let meter = Meter { threads: NonZero::new(2).unwrap(), runs: 3 };
        let rate = meter.gbps(1000, || {
            || {
                jobs.fetch_add(1, Ordering::Relaxed);
                black_box(vec![1_u8; 1000]);
            }
        });
        assert_eq!(jobs.load(Ordering::Relaxed), 2 * (1 + 3));
        assert!(rate.is_finite() && rate > 0.0);
    }
}

//! How long jobs say what they have done.

use prunedb_core::ContainerId;

/// Work that is really done, out of what there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// the job, such as `offload`
    pub what: &'static str,
    /// bytes done
    pub done: u64,
    /// bytes in all
    pub total: u64,
    /// the container at hand
    pub container: Option<ContainerId>,
}

/// Called with each step of a job.
pub type OnProgress<'a> = dyn FnMut(Progress) + 'a;

/// Counts the bytes of one job.
pub(crate) struct Job<'a, 'b> {
    what: &'static str,
    done: u64,
    total: u64,
    report: &'a mut OnProgress<'b>,
}

impl<'a, 'b> Job<'a, 'b> {
    pub(crate) fn start(what: &'static str, total: u64, report: &'a mut OnProgress<'b>) -> Self {
        report(Progress { what, done: 0, total, container: None });
        Self { what, done: 0, total, report }
    }

    pub(crate) fn did(&mut self, bytes: u64, container: ContainerId) {
        self.done += bytes;
        (self.report)(Progress {
            what: self.what,
            done: self.done,
            total: self.total,
            container: Some(container),
        });
    }
}

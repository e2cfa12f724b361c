//! What happened, as a digest, and the last of it as text.

use prunedb_core::Digest;
use std::{collections::VecDeque, fmt::Write as _, time::Duration};

/// Lines that are kept to be shown when something fails.
const KEPT_LINES: usize = 40;

/// Everything that happened so far.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    last: VecDeque<String>,
    pub(crate) events: u64,
}

impl Trace {
    pub(crate) fn note(&mut self, now: Duration, what: std::fmt::Arguments<'_>) {
        let mut line = if self.last.len() == KEPT_LINES {
            self.last.pop_front().unwrap_or_default()
        } else {
            String::new()
        };
        line.clear();
        write!(line, "{:>12.6} {what}", now.as_secs_f64()).expect("writing to a string");
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        self.last.push_back(line);
        self.events += 1;
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    /// The last events, one a line.
    pub(crate) fn tail(&self) -> String {
        self.last.iter().fold(String::new(), |all, line| all + line + "\n")
    }
}

//! What a command may say and see: the same whether it runs in this process or in a running `prunedb up`.

use prunedb_engine::Progress;
use std::{
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Between two looks whether the caller has gone.
const TICK: Duration = Duration::from_millis(100);

/// How a command ended, where it was not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0
    Done,
    /// 1: absent, damaged, differs
    No,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
        }
    }

    /// `Done` where the answer is yes.
    pub(crate) const fn of(yes: bool) -> Self {
        if yes { Self::Done } else { Self::No }
    }
}

/// The exit code of an error.
pub(crate) const ERROR_CODE: u8 = 2;

/// Work done of a long job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) what: String,
    /// bytes; 0 for work that is not counted in bytes
    pub(crate) done: u64,
    /// bytes in all; 0: not known
    pub(crate) total: u64,
}

impl Step {
    /// Of a job that is counted in things other than bytes.
    pub(crate) fn counted(what: &str, done: u64, total: u64) -> Self {
        let what = match total {
            0 => what.to_owned(),
            _ => format!("{what}: {done} of {total}"),
        };
        Self { what, done: 0, total: 0 }
    }
}

/// Where a command's output goes.
pub(crate) trait Sink: Send {
    /// Bytes for stdout.
    ///
    /// # Errors
    /// Where the reader has gone.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// A line for stderr.
    fn note(&mut self, line: &str);
    /// How far a job is.
    fn step(&mut self, step: Step);
    /// The end of all output: makes it visible.
    ///
    /// # Errors
    /// Where the reader has gone.
    fn finish(&mut self) -> io::Result<()>;
}

/// A command's surroundings.
pub(crate) struct Io {
    pub(crate) sink: Box<dyn Sink>,
    /// results as JSON
    pub(crate) json: bool,
    /// the caller's working folder
    pub(crate) cwd: PathBuf,
    /// the caller's standard input, where the command reads it
    pub(crate) stdin: Vec<u8>,
    /// set when the caller has gone
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Io {
    /// Writes a line of data.
    pub(crate) fn line(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
        self.data(format!("{line}\n").as_bytes())
    }

    pub(crate) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.data(bytes)
    }

    /// Writes a line for people.
    pub(crate) fn note(&mut self, line: impl AsRef<str>) {
        self.sink.note(line.as_ref());
    }

    /// Writes a JSON document, indented.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(value)?;
        text.push(b'\n');
        Ok(self.data(&text)?)
    }

    /// A step of one of the engine's jobs.
    pub(crate) fn progress(&mut self, progress: Progress) {
        let what = match progress.container {
            Some(container) => format!("{} {container}", progress.what),
            None => progress.what.to_owned(),
        };
        self.sink.step(Step { what, done: progress.done, total: progress.total });
    }

    /// A path as the caller means it.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.cwd.join(path)
    }

    /// Waits, unless nobody waits for the command any more.
    pub(crate) fn wait(&self, time: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < time {
            self.check_cancelled()?;
            std::thread::sleep(TICK.min(time));
        }
        Ok(())
    }

    /// Stops a command between two steps when nobody waits for it any more.
    pub(crate) fn check_cancelled(&self) -> anyhow::Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            anyhow::bail!("cancelled: what was stored is safe, repeat the command to go on");
        }
        Ok(())
    }
}

/// `write!` into stdout data.
impl Write for Io {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.data(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

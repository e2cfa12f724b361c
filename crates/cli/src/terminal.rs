//! Stdout and stderr of this process: data, lines, and progress as a bar on a terminal, else as a line now and then.

use crate::io::{Sink, Step};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use prunedb_core::units::ByteSize;
use std::{
    io::{self, BufWriter, IsTerminal, Stdout, Write},
    time::{Duration, Instant},
};

/// Without a terminal, a job says so often how far it is.
const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR: &str = "{msg:28} {bar:30} {decimal_bytes:>9}/{decimal_total_bytes:9} {decimal_bytes_per_sec:>11} {eta:>4}";
/// For work that is not counted in bytes.
const WORKING: &str = "{msg} {spinner}";
const SPINNER: &str = "{msg:28} {spinner} {decimal_bytes:>9} {decimal_bytes_per_sec:>11}";

/// Nobody reads our stdout any more, as in `prunedb kv scan | head`: no failure of ours.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(crate) struct ReaderGone;

/// Tells a reader that has gone from every other broken pipe, such as a socket's.
fn told_apart(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe { io::Error::other(ReaderGone) } else { error }
}

pub(crate) struct Terminal {
    stdout: BufWriter<Stdout>,
    is_terminal: bool,
    bar: Option<(String, ProgressBar)>,
    line_due: Instant,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self {
            stdout: BufWriter::with_capacity(64 << 10, io::stdout()),
            is_terminal: io::stderr().is_terminal(),
            bar: None,
            line_due: Instant::now() + LINE_EVERY,
        }
    }

    fn draw(&mut self, step: &Step) {
        // the job's name without the container: one bar for each job
        let job = step.what.split(' ').next().unwrap_or_default();
        if self.bar.as_ref().is_none_or(|(of, _)| of != job) {
            self.clear();
            let bar = ProgressBar::with_draw_target(Some(step.total), ProgressDrawTarget::stderr());
            let template = match (step.done, step.total) {
                (0, 0) => WORKING,
                (_, 0) => SPINNER,
                _ => BAR,
            };
            let style =
                ProgressStyle::with_template(template).expect("a template known to be good");
            bar.set_style(style.progress_chars("=> "));
            self.bar = Some((job.to_owned(), bar));
        }
        let Some((_, bar)) = &self.bar else { return };
        bar.set_length(step.total);
        bar.set_message(step.what.clone());
        bar.set_position(step.done);
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Sink for Terminal {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.clear();
        self.stdout.write_all(bytes).map_err(told_apart)
    }

    fn note(&mut self, line: &str) {
        match &self.bar {
            Some((_, bar)) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn step(&mut self, step: Step) {
        if self.is_terminal {
            self.draw(&step);
        } else if Instant::now() >= self.line_due {
            self.line_due = Instant::now() + LINE_EVERY;
            let Step { what, done, total } = step;
            match (done, total) {
                (0, 0) => eprintln!("{what}"),
                (_, 0) => eprintln!("{what}: {}", ByteSize(done)),
                _ => eprintln!("{what}: {} of {}", ByteSize(done), ByteSize(total)),
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.clear();
        self.stdout.flush().map_err(told_apart)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.clear();
    }
}

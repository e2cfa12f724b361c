//! Telling a program of events: one after another, in the background, with a time limit. What the program does never
//! holds up a command; events that come faster than it takes them are dropped, and logged.
//!
//! It is run as `PROGRAM event instance arguments...`.

use crate::state::lock;
use bytes::Bytes;
use prunedb_wire::Reply;
use std::{
    collections::VecDeque,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{process::Command, sync::mpsc, time::timeout};

/// Events that wait.
const WAITING_MAX: usize = 256;
/// Runs that are remembered.
const REMEMBERED_MAX: usize = 64;
/// A program that runs longer is ended.
const RUN_SECONDS_MAX: u64 = 60;

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<Bytes>,
}

/// A run of the program.
#[derive(Clone, Debug)]
struct Run {
    event: Event,
    process: u32,
    started: u64,
    /// 0: it still runs
    finished: u64,
    status: i32,
}

/// The events' way out, and what became of the last ones.
#[derive(Debug)]
pub(crate) struct Hooks {
    out: Option<mpsc::Sender<Event>>,
    runs: Arc<Mutex<VecDeque<Run>>>,
}

impl Hooks {
    /// Begins to run a program for each event; without one, events are nothing. Must be called within a runtime if
    /// there is a program.
    pub(crate) fn start(program: Option<&Path>, instance: u32) -> Self {
        let runs = Arc::<Mutex<VecDeque<Run>>>::default();
        let out = program.map(|program| {
            let (out, events) = mpsc::channel(WAITING_MAX);
            tokio::spawn(run_all(program.to_owned(), instance, events, Arc::clone(&runs)));
            out
        });
        Self { out, runs }
    }

    /// Tells the program of an event.
    pub(crate) fn tell(&self, event: Event) {
        if let Some(out) = &self.out
            && let Err(e) = out.try_send(event)
        {
            tracing::warn!(error = %e, "the hook is too slow: an event is dropped");
        }
    }

    /// The last runs: name, arguments, process, started, finished, status.
    pub(crate) fn list(&self) -> Reply {
        let bulk = |bytes: &[u8]| Reply::Bulk(Bytes::copy_from_slice(bytes));
        let runs = lock(&self.runs).clone();
        let runs = runs.iter().map(|run| {
            let time = |seconds: u64| Reply::Integer(i64::try_from(seconds).unwrap_or(i64::MAX));
            Reply::Array(vec![
                bulk(run.event.name.as_bytes()),
                Reply::Array(run.event.arguments.iter().map(|argument| bulk(argument)).collect()),
                Reply::Integer(run.process.into()),
                time(run.started),
                time(run.finished),
                Reply::Integer(run.status.into()),
            ])
        });
        Reply::Array(runs.collect())
    }
}

async fn run_all(
    program: std::path::PathBuf,
    instance: u32,
    mut events: mpsc::Receiver<Event>,
    runs: Arc<Mutex<VecDeque<Run>>>,
) {
    while let Some(event) = events.recv().await {
        let spawned = Command::new(&program)
            .arg(event.name)
            .arg(instance.to_string())
            .args(event.arguments.iter().map(|argument| OsStr::from_bytes(argument)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let process = spawned.as_ref().ok().and_then(tokio::process::Child::id).unwrap_or_default();
        let run = Run { event, process, started: unix_seconds(), finished: 0, status: 0 };
        {
            let mut runs = lock(&runs);
            if runs.len() >= REMEMBERED_MAX {
                runs.pop_front();
            }
            runs.push_back(run);
        }
        let status = match spawned {
            Err(e) => {
                tracing::warn!(program = %program.display(), error = %e, "cannot run the hook");
                -1
            }
            Ok(mut child) => {
                let limit = Duration::from_secs(RUN_SECONDS_MAX);
                // a child that is dropped is killed
                let ended = timeout(limit, child.wait()).await;
                ended.ok().and_then(Result::ok).and_then(|status| status.code()).unwrap_or(-1)
            }
        };
        if let Some(run) = lock(&runs).back_mut() {
            (run.finished, run.status) = (unix_seconds(), status);
        }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

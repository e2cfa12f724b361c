//! The end in `prunedb up`: a thread that accepts, and one for each command that runs.

use super::{
    frame::{BODY_BYTES_MAX, Frame, Request},
    with_socket_path,
};
use crate::io::{ERROR_CODE, Io, Sink, Step};
use anyhow::{Context, bail, ensure};
use prunedb_core::units::VALUE_BYTES_MAX;
use std::{
    io::{self, BufWriter, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Commands at once.
const COMMANDS_MAX: usize = 64;
/// A request must be here within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Steps are sent so often at most.
const STEP_EVERY: Duration = Duration::from_millis(100);

/// Runs a client's command line; gives the exit code.
pub(crate) type Run = dyn Fn(&[String], &mut Io) -> u8 + Send + Sync;

/// Listens until it is stopped.
pub(crate) struct Server {
    dir: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    run: Box<Run>,
    stop: AtomicBool,
    running: AtomicUsize,
    /// set for every command when the server stops
    cancels: Mutex<Vec<Arc<AtomicBool>>>,
}

impl Server {
    /// Listens in the folder. The caller holds the folder's lock, so a socket that is there was left behind.
    pub(crate) fn start(dir: &Path, run: Box<Run>) -> anyhow::Result<Self> {
        let path = dir.join(super::SOCKET);
        let listener = match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => with_socket_path(dir, |path| UnixListener::bind(path)),
        };
        let listener = listener.with_context(|| format!("cannot listen on {}", path.display()))?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))
            .with_context(|| format!("cannot restrict {}", path.display()))?;
        let shared = Arc::new(Shared {
            run,
            stop: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            cancels: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let accepting = std::thread::Builder::new()
            .name("prunedb-control".into())
            .spawn(move || accept(&listener, &accepting))
            .context("cannot start a thread")?;
        Ok(Self { dir: dir.to_owned(), shared, accepting: Some(accepting) })
    }

    /// Takes no more commands, tells those that run to stop, waits for them.
    pub(crate) fn stop(mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for cancel in self.shared.cancels.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            cancel.store(true, Ordering::Relaxed);
        }
        // wakes the thread that accepts; it closes the connection at once
        _ = with_socket_path(&self.dir, |path| UnixStream::connect(path));
        if let Some(accepting) = self.accepting.take() {
            _ = accepting.join();
        }
        _ = std::fs::remove_file(self.dir.join(super::SOCKET));
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !shared.stop.load(Ordering::SeqCst) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a command");
                std::thread::sleep(STEP_EVERY);
                continue;
            }
        };
        threads.retain(|thread| !thread.is_finished());
        if shared.running.load(Ordering::SeqCst) >= COMMANDS_MAX {
            // dropping the stream tells the client
            tracing::warn!(COMMANDS_MAX, "too many commands at once: one was refused");
            continue;
        }
        shared.running.fetch_add(1, Ordering::SeqCst);
        let of_thread = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("prunedb-command".into()).spawn(move || {
            if let Err(error) = of_thread.serve(&stream) {
                tracing::debug!(%error, "a command's connection ended");
            }
            of_thread.running.fetch_sub(1, Ordering::SeqCst);
        });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                shared.running.fetch_sub(1, Ordering::SeqCst);
                tracing::warn!(%error, "cannot run a command");
            }
        }
    }
    for thread in threads {
        _ = thread.join();
    }
}

impl Shared {
    fn serve(&self, stream: &UnixStream) -> anyhow::Result<()> {
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let mut sink =
            RemoteSink { out: BufWriter::new(stream.try_clone()?), step_due: Instant::now() };
        let (request, stdin) = match read_request(&mut &*stream) {
            Ok(request) => request,
            Err(error) => {
                sink.note(&format!("error: {}", crate::text::error_line(&error)));
                Frame::End(ERROR_CODE).write(&mut sink.out)?;
                return Ok(sink.out.flush()?);
            }
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        self.register(&cancelled);
        let watch = watch(stream.try_clone()?, Arc::clone(&cancelled))?;
        let mut out = sink.out.get_ref().try_clone()?;
        let mut io = Io { sink: Box::new(sink), json: false, cwd: request.cwd, stdin, cancelled };
        let code = (self.run)(&request.args, &mut io);
        let ended = io.sink.finish().and_then(|()| Frame::End(code).write(&mut out));
        // ends the watching thread, too
        _ = stream.shutdown(std::net::Shutdown::Both);
        _ = watch.join();
        Ok(ended?)
    }

    fn register(&self, cancelled: &Arc<AtomicBool>) {
        let mut cancels = self.cancels.lock().unwrap_or_else(PoisonError::into_inner);
        cancels.retain(|c| Arc::strong_count(c) > 1);
        cancels.push(Arc::clone(cancelled));
        if self.stop.load(Ordering::SeqCst) {
            cancelled.store(true, Ordering::Relaxed);
        }
    }
}

fn read_request(input: &mut impl Read) -> anyhow::Result<(Request, Vec<u8>)> {
    let Frame::Request(request) = Frame::read(input)? else { bail!("a command was expected") };
    let ours = env!("CARGO_PKG_VERSION");
    ensure!(
        request.version == ours,
        "the running `prunedb up` is version {ours}, this command is {}: restart it",
        request.version
    );
    let mut stdin = Vec::new();
    let mut more = request.stdin;
    while more {
        let Frame::Stdin(part) = Frame::read(input)? else { bail!("stdin was expected") };
        more = !part.is_empty();
        stdin.extend(part);
        // one more than may be stored, so that the command can say what is wrong
        ensure!(stdin.len() <= VALUE_BYTES_MAX + BODY_BYTES_MAX, "stdin is over the limit");
    }
    Ok((request, stdin))
}

/// A thread that sees the client go: after its request it sends nothing more, so whatever comes is the end.
fn watch(mut stream: UnixStream, cancelled: Arc<AtomicBool>) -> anyhow::Result<JoinHandle<()>> {
    stream.set_read_timeout(None)?;
    let watch = move || {
        _ = stream.read(&mut [0]);
        cancelled.store(true, Ordering::Relaxed);
    };
    Ok(std::thread::Builder::new().name("prunedb-watch".into()).spawn(watch)?)
}

struct RemoteSink {
    out: BufWriter<UnixStream>,
    step_due: Instant,
}

impl Sink for RemoteSink {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(BODY_BYTES_MAX) {
            Frame::Data(part.to_vec()).write(&mut self.out)?;
        }
        Ok(())
    }

    fn note(&mut self, line: &str) {
        // a client that is gone is noticed by the watch
        _ = Frame::Note(line.chars().take(BODY_BYTES_MAX / 4).collect()).write(&mut self.out);
        _ = self.out.flush();
    }

    fn step(&mut self, step: Step) {
        let now = Instant::now();
        if now >= self.step_due {
            self.step_due = now + STEP_EVERY;
            _ = Frame::Step(step).write(&mut self.out);
            _ = self.out.flush();
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

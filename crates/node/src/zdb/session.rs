//! One connection's view: which namespace, which rights. It runs requests in batches, without a network.
//!
//! Sets and deletes that follow each other are one run under the namespace's writer, and everything that a batch wrote
//! is synced once, before any of it is answered. If a write or a sync fails, the commands that it was for are answered
//! with the error, and only these.

use super::{
    commands::{Call, Command, Next, Write, put_value},
    counters::Counters,
    error::ZdbError,
    feed::{Event, Feed},
    hook::Hooks,
    log::Log,
    namespace::Namespace,
    store::Store,
};
use bytes::{Bytes, BytesMut};
use prunedb_wire::{Reply, parse_u64};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Answers are handed over when so many bytes of them have gathered.
pub(crate) const OUT_BYTES: usize = 256 << 10;
/// Values up to this need no memory of their own.
pub(crate) const FREE_VALUE_BYTES: usize = 64 << 10;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) feed: Feed,
    pub(crate) hooks: Hooks,
    pub(crate) counters: Counters,
    pub(crate) instance: u32,
    /// since 1970
    pub(crate) started: Duration,
    pub(crate) damage_found: u64,
    pub(crate) sessions: AtomicU64,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) admin: bool,
    /// the namespace was selected with its password, or has none
    pub(crate) writable: bool,
    /// brings the commands of another server
    pub(crate) master: bool,
    /// what a proof must contain; for one proof
    pub(crate) nonce: Option<String>,
    /// keys that the running `MGET` has not answered, last first
    pub(crate) more_keys: Vec<Bytes>,
}

/// Requests that wait, and answers.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) requests: VecDeque<Vec<Bytes>>,
    pub(crate) out: BytesMut,
}

/// Around a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    /// since 1970
    pub(crate) now: Duration,
    /// memory for values that the connection has
    pub(crate) room_bytes: usize,
    /// bytes that may be written to the disk
    pub(crate) free_bytes: u64,
}

/// Replies from the first one on that needs a sync.
#[derive(Debug, Default)]
struct Unsynced {
    logs: Vec<(Arc<Log>, Arc<Namespace>)>,
    from: usize,
    replies: usize,
}

impl Session {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.counters.clients.add(1);
        Self {
            id: shared.sessions.fetch_add(1, Ordering::Relaxed) + 1,
            namespace: shared.store.default(),
            admin: shared.store.config.admin.is_none(),
            writable: true,
            master: false,
            nonce: None,
            more_keys: Vec::new(),
            shared: Arc::clone(shared),
        }
    }

    /// Whether the namespace may be read now.
    pub(crate) fn readable(&self) -> Result<(), ZdbError> {
        if self.namespace.settings().freeze { Err(ZdbError::Frozen) } else { Ok(()) }
    }

    /// Whether the namespace may be written to now.
    pub(crate) fn writable(&self) -> Result<(), ZdbError> {
        let settings = self.namespace.settings();
        match () {
            () if settings.freeze => Err(ZdbError::Frozen),
            () if settings.lock => Err(ZdbError::Locked),
            () if !self.writable => Err(ZdbError::ReadOnly),
            () => Ok(()),
        }
    }

    /// Counts a wrong password.
    pub(crate) fn denied(&self) -> ZdbError {
        self.shared.counters.unauthorized.add(1);
        ZdbError::WrongPassword
    }

    /// Runs requests until all are answered, the output is full, or the connection has something to do first.
    pub(crate) fn run(&mut self, batch: &mut Batch, around: Around) -> Next {
        self.shared.store.budget.set_free(around.free_bytes);
        let mut unsynced = Unsynced::default();
        let next = self.run_all(batch, around, &mut unsynced);
        if !self.shared.store.config.sync {
            return next;
        }
        for (log, namespace) in &unsynced.logs {
            if let Err(e) = log.sync() {
                let error = ZdbError::disk("sync data")(e);
                self.shared.counters.disk_errors.add(1);
                // the disk may have lost what was not synced: what is left of it decides
                if let Err(e) = namespace.load(&mut crate::OpenReport::default()) {
                    tracing::error!(namespace = namespace.id, error = %e, "cannot read it anew");
                }
                batch.out.truncate(unsynced.from);
                (0..unsynced.replies).for_each(|_| put_error(&error, &mut batch.out));
                // what an MGET has answered cannot be told from what it has not
                return if self.more_keys.is_empty() { next } else { Next::Close };
            }
        }
        next
    }

    fn run_all(&mut self, batch: &mut Batch, around: Around, unsynced: &mut Unsynced) -> Next {
        loop {
            while let Some(key) = self.more_keys.pop() {
                let mut call = self.call(&[], &mut batch.out, around);
                match put_value(&mut call, &key) {
                    Ok(Next::Done) => {}
                    Ok(room) => {
                        self.more_keys.push(key);
                        return room;
                    }
                    Err(e) => put_error(&e, &mut batch.out),
                }
                if batch.out.len() >= OUT_BYTES {
                    return Next::Done;
                }
            }
            if batch.out.len() >= OUT_BYTES {
                return Next::Done;
            }
            let Some(request) = batch.requests.pop_front() else { return Next::Done };
            if self.namespace.is_gone() {
                put_error(&ZdbError::Gone, &mut batch.out);
                return Next::Close;
            }
            let command = Command::find(&request[0]);
            if command.is_some_and(Command::is_write) {
                batch.requests.push_front(request);
                self.run_writes(batch, around, unsynced);
                continue;
            }
            unsynced.replies += 1;
            self.shared.counters.commands.add(1);
            let Some(command) = command else {
                self.failed(&ZdbError::Unknown, &mut batch.out);
                continue;
            };
            let (arguments, owner) = self.owner(&request[1..]);
            // whoever waits for a command is told which namespace it was run on
            let namespace = Arc::clone(&self.namespace);
            let before = batch.out.len();
            let mut call = self.call(arguments, &mut batch.out, around);
            match command.run(&mut call) {
                Ok(Next::Room(bytes)) => {
                    batch.out.truncate(before);
                    unsynced.replies -= 1;
                    batch.requests.push_front(request);
                    return Next::Room(bytes);
                }
                Ok(next) => {
                    self.tell(&namespace, command, &request, owner, around);
                    if !matches!(next, Next::Done) {
                        return next;
                    }
                }
                Err(e) => {
                    batch.out.truncate(before);
                    self.failed(&e, &mut batch.out);
                }
            }
        }
    }

    fn call<'a>(
        &'a mut self,
        arguments: &'a [Bytes],
        out: &'a mut BytesMut,
        around: Around,
    ) -> Call<'a> {
        let Around { now, room_bytes, .. } = around;
        Call { session: self, arguments, out, room_bytes, now }
    }

    /// The arguments of a command, and whose it is: a replica says so behind them.
    fn owner<'a>(&self, arguments: &'a [Bytes]) -> (&'a [Bytes], u64) {
        match arguments.split_last() {
            Some((last, rest)) if self.master => (rest, parse_u64(last).unwrap_or(self.id)),
            _ => (arguments, self.id),
        }
    }

    fn tell(
        &self,
        namespace: &Namespace,
        command: &Command,
        request: &[Bytes],
        owner: u64,
        around: Around,
    ) {
        if self.shared.feed.is_listened_to() {
            let arguments =
                if self.master { &request[..request.len().max(2) - 1] } else { request };
            self.shared.feed.tell(
                namespace,
                Event {
                    session: self.id,
                    owner,
                    command: command.name,
                    arguments,
                    seconds: around.now.as_secs(),
                },
            );
        }
    }

    fn failed(&self, error: &ZdbError, out: &mut BytesMut) {
        self.shared.counters.failed.add(1);
        if matches!(error, ZdbError::Disk { .. } | ZdbError::Damaged(_)) {
            self.shared.counters.disk_errors.add(1);
            self.namespace.disk_errors.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(namespace = self.namespace.id, error = %error, "a command failed");
        }
        put_error(error, out);
    }

    /// Runs the sets and deletes at the front.
    fn run_writes(&mut self, batch: &mut Batch, around: Around, unsynced: &mut Unsynced) {
        let namespace = Arc::clone(&self.namespace);
        let seconds = u32::try_from(around.now.as_secs()).unwrap_or(u32::MAX);
        if unsynced.logs.is_empty() {
            (unsynced.from, unsynced.replies) = (batch.out.len(), 0);
        }
        let mut run = namespace.write();
        // answers from here on are for what is not written yet
        let (mut safe, mut unsafe_replies) = (batch.out.len(), 0);
        loop {
            let request = match batch.requests.pop_front() {
                Some(request) if batch.out.len() < OUT_BYTES => request,
                Some(request) => {
                    batch.requests.push_front(request);
                    break;
                }
                None => break,
            };
            let command = Command::find(&request[0]);
            let Some(command) = command.filter(|command| command.is_write()) else {
                batch.requests.push_front(request);
                break;
            };
            self.shared.counters.commands.add(1);
            let (arguments, owner) = self.owner(&request[1..]);
            let mut flushed = false;
            let done = Write::parse(command, arguments, self, seconds).and_then(|write| {
                if run.must_flush(write.key()) {
                    run.flush()?;
                    flushed = true;
                }
                write.run(&mut run)
            });
            if flushed {
                (safe, unsafe_replies) = (batch.out.len(), 0);
            }
            if run.take_lost() {
                let error = done.as_ref().err();
                batch.out.truncate(safe);
                let error = error.expect("what is lost was an error");
                (0..unsafe_replies).for_each(|_| put_error(error, &mut batch.out));
                (safe, unsafe_replies) = (batch.out.len(), 0);
            }
            match done {
                Ok(reply) => {
                    if let [_, value, ..] = arguments {
                        self.shared.counters.value_bytes_written.add(value.len() as u64);
                    }
                    reply.encode(&mut batch.out);
                    self.tell(&namespace, command, &request, owner, around);
                }
                Err(e) => self.failed(&e, &mut batch.out),
            }
            unsynced.replies += 1;
            unsafe_replies += 1;
            if run.is_written() {
                (safe, unsafe_replies) = (batch.out.len(), 0);
            }
        }
        if let Err(e) = run.flush() {
            run.take_lost();
            batch.out.truncate(safe);
            (0..unsafe_replies).for_each(|_| self.failed(&e, &mut batch.out));
        }
        for log in run.finish() {
            if !unsynced.logs.iter().any(|(known, _)| Arc::ptr_eq(known, &log)) {
                unsynced.logs.push((log, Arc::clone(&namespace)));
            }
        }
    }
}

fn put_error(error: &ZdbError, out: &mut BytesMut) {
    Reply::Error(error.to_string().into()).encode(out);
}

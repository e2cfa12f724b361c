//! One connection: requests in, answers out, in order.
//!
//! Everything that has arrived is one batch: decoded, run on a blocking thread where it needs the database, answered.

use crate::{
    answer::Answers,
    client::Client,
    command::{Command, parse},
    door::Request,
    server::{Interrupted, Shared, stop},
};
use bytes::BytesMut;
use prunedb_core::units::VALUE_BYTES_MAX;
use prunedb_wire::{FrameError, Limits, Reply, RequestDecoder, take_inline};
use std::{collections::VecDeque, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, timeout_at},
};

/// What one request may take up: a largest value and its company, or a put of many records.
const LIMITS: Limits = Limits {
    count_max: 1 << 16,
    bulk_bytes_max: VALUE_BYTES_MAX,
    message_bytes_max: VALUE_BYTES_MAX + (1 << 20),
};
/// Room of one read.
const READ_BYTES: usize = 64 << 10;
/// Memory that each connection may use without asking.
const FREE_BYTES: usize = 64 << 10;
/// Requests of one batch.
const BATCH_REQUESTS: usize = 4096;
/// Slower clients than this are cut off.
const SECONDS_PER_MIB: u64 = 1;
/// What is read and thrown away so that a refused client sees why.
const LINGER_BYTES: usize = 64 << 10;

pub(crate) struct Connection {
    socket: TcpStream,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
    client: Client,
    decoder: RequestDecoder,
    input: BytesMut,
    /// memory of a long request
    room: Option<OwnedSemaphorePermit>,
    /// when the request that has begun must be here
    request_due: Option<Instant>,
}

/// Why a connection ended early.
#[derive(Debug)]
pub(crate) enum End {
    /// the network failed
    Io(#[expect(dead_code, reason = "shown by Debug")] io::Error),
    /// the other side took too long
    TimedOut,
    /// what it sent is no RESP
    Framing,
    /// a browser was made to talk to us
    CrossProtocol,
    /// work was given up: the server stops, or a bug made it panic
    Interrupted,
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<tokio::time::error::Elapsed> for End {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::TimedOut
    }
}

impl From<Interrupted> for End {
    fn from(Interrupted: Interrupted) -> Self {
        Self::Interrupted
    }
}

impl Connection {
    pub(crate) fn new(
        socket: TcpStream,
        id: u64,
        shared: Arc<Shared>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        // answers are whole messages: waiting to fill a packet only delays them
        _ = socket.set_nodelay(true);
        let client = Client::new(id, &shared.door.config.table);
        Self {
            socket,
            shared,
            stopped,
            client,
            decoder: RequestDecoder::new(LIMITS),
            input: BytesMut::new(),
            room: None,
            request_due: None,
        }
    }

    pub(crate) async fn run(mut self) -> Result<(), End> {
        loop {
            let mut requests = VecDeque::new();
            let decoded = self.decode(&mut requests);
            if !requests.is_empty() {
                self.shared.door.stats.commands.add(requests.len() as u64);
                self.request_due = None;
                self.answer(requests).await?;
                if self.client.leaves {
                    return Ok(());
                }
                if decoded.is_ok() {
                    continue;
                }
            }
            if let Err(end) = decoded {
                return self.refuse(end).await;
            }
            if !self.read().await? {
                return Ok(());
            }
        }
    }

    /// Takes the requests that are complete.
    fn decode(&mut self, requests: &mut VecDeque<Request>) -> Result<(), Fault> {
        while requests.len() < BATCH_REQUESTS {
            let inline =
                !self.decoder.in_request() && self.input.first().is_some_and(|b| *b != b'*');
            let arguments = if inline {
                take_inline(&mut self.input)?
            } else {
                self.decoder.decode(&mut self.input)?
            };
            let Some(arguments) = arguments else { break };
            let Some(name) = arguments.first() else { continue };
            if inline && (name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:"))
            {
                return Err(Fault::CrossProtocol);
            }
            requests.push_back(parse(arguments));
        }
        Ok(())
    }

    /// Runs a batch and sends its answers.
    async fn answer(&mut self, mut requests: VecDeque<Request>) -> Result<(), End> {
        let mut answers = Answers::default();
        while !requests.is_empty() && !self.client.leaves {
            let commands = || requests.iter().flatten();
            if commands().any(Command::is_blocking) {
                let writes = commands().any(Command::writes);
                let shared = Arc::clone(&self.shared);
                let door = Arc::clone(&self.shared.door);
                let table = &self.shared.door.config.table;
                let mut client = std::mem::replace(&mut self.client, Client::new(0, table));
                let run = move || {
                    door.run(&mut client, &mut requests, &mut answers);
                    (client, requests, answers)
                };
                (self.client, requests, answers) = shared.work(writes, run).await?;
            } else {
                self.shared.door.run(&mut self.client, &mut requests, &mut answers);
            }
            self.send(&mut answers).await?;
        }
        Ok(())
    }

    async fn send(&mut self, answers: &mut Answers) -> Result<(), End> {
        let (config, bytes) = (&self.shared.door.config, answers.bytes());
        // whoever has the room is cut off in the end
        let permit = match bytes.saturating_sub(FREE_BYTES) {
            0 => None,
            long => Some(self.shared.answer_room(long).await?),
        };
        let deadline = Instant::now() + patience(config.stall_timeout, bytes);
        for part in answers.take() {
            timeout_at(deadline, self.socket.write_all(&part)).await??;
        }
        drop(permit);
        Ok(())
    }

    /// Reads some more bytes; whether there are any.
    async fn read(&mut self) -> Result<bool, End> {
        let between = self.input.is_empty() && !self.decoder.in_request();
        if between {
            self.room = None;
            self.input = BytesMut::new();
        }
        let config = &self.shared.door.config;
        let request_bytes = self.decoder.request_bytes();
        let due = if between {
            Instant::now() + config.idle_timeout
        } else {
            let patience = patience(config.stall_timeout, request_bytes);
            *self.request_due.get_or_insert_with(Instant::now) + patience
        };
        // a long request has its memory before it comes: who has begun can end
        let held = self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needed = self.shared.kib(request_bytes.saturating_sub(FREE_BYTES));
        if needed > held {
            let more = timeout_at(due, self.shared.request_room(needed - held)).await??;
            match &mut self.room {
                None => self.room = Some(more),
                Some(room) => room.merge(more),
            }
        }
        if between {
            // who is idle holds no buffer
            tokio::select! {
                ready = timeout_at(due, self.socket.readable()) => ready??,
                () = stop(&mut self.stopped) => return Ok(false),
            }
        }
        // never much more than has arrived: what is only announced takes no memory
        let missing = self.decoder.missing(self.input.len());
        self.input.reserve(missing.min(self.input.len()).max(READ_BYTES));
        tokio::select! {
            read = timeout_at(due, self.socket.read_buf(&mut self.input)) => Ok(read?? > 0),
            () = stop(&mut self.stopped) => Ok(false),
        }
    }

    /// Says what is wrong with the framing, and ends.
    async fn refuse(&mut self, fault: Fault) -> Result<(), End> {
        let Fault::Framing(error) = fault else { return Err(End::CrossProtocol) };
        let mut answers = Answers::default();
        answers.push(Reply::Error(format!("ERR Protocol error: {error}").into()));
        self.send(&mut answers).await?;
        // closing while bytes are unread would throw the answer away
        self.socket.shutdown().await?;
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut seen = 0;
        while seen < LINGER_BYTES {
            self.input.clear();
            self.input.reserve(READ_BYTES);
            match timeout_at(deadline, self.socket.read_buf(&mut self.input)).await?? {
                0 => break,
                bytes => seen += bytes,
            }
        }
        Err(End::Framing)
    }
}

/// What makes a connection end.
enum Fault {
    Framing(FrameError),
    CrossProtocol,
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        Self::Framing(error)
    }
}

/// How long so many bytes may take.
fn patience(stall: Duration, bytes: usize) -> Duration {
    stall + Duration::from_secs((bytes >> 20) as u64 * SECONDS_PER_MIB)
}

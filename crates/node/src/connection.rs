//! One connection: requests in, answers out, in order. Uploads belong to it and end with it.
//!
//! Native commands run one by one (`native`); 0-db's run in batches, as many as have arrived.
//!
//! Memory: a read buffer of at most 128 KiB (264 KiB with uploads), answers of at most 256 KiB. Longer requests and
//! longer values take their part of a budget of the whole node first, and wait for it.

use crate::{
    Upload,
    door::Door,
    native::is_native,
    server::{Interrupted, Shared, stop},
    zdb::{
        Feed, Next,
        session::{Around, Batch, OUT_BYTES, Session},
    },
};
use bytes::{Bytes, BytesMut};
use prunedb_wire::{
    BULK_BYTES_MAX, CRLF, Limits, REQUEST_BYTES_MAX, Refusal, Reply, RequestDecoder,
};
use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

/// Read buffer of a connection with an upload: a chunk of 256 KiB and its header fit.
const UPLOAD_READ_BYTES: usize = (256 + 8) << 10;
/// Largest read buffer of others; longer requests ask first.
const BATCH_READ_BYTES: usize = 128 << 10;
/// Least room for a read.
const READ_BYTES: usize = 1 << 10;
/// A larger buffer is given back when the connection is idle.
const IDLE_BUFFER_BYTES: usize = 16 << 10;
/// Answers are sent when so many bytes of them have gathered, or no complete request is left.
const ANSWER_BYTES: usize = 64 << 10;
/// Requests of one batch.
const BATCH_REQUESTS_MAX: usize = 1024;
/// What is read and thrown away so that a refused client sees why: the rest of the request that was too long.
const LINGER_BYTES: usize = 2 * BULK_BYTES_MAX;
/// How long that may take.
const LINGER: Duration = Duration::from_secs(2);

/// TCP, a unix socket, TLS.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

pub(crate) struct Connection {
    socket: Box<dyn Socket>,
    pub(crate) door: Door,
    pub(crate) shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
    decoder: RequestDecoder,
    input: BytesMut,
    /// what the next read may take: grows with what comes
    ahead_bytes: usize,
    /// when the request that is not complete yet began
    begun: Option<Instant>,
    /// memory for a long request
    long: Option<OwnedSemaphorePermit>,
    pub(crate) output: BytesMut,
    pub(crate) uploads: HashMap<u32, Upload>,
    pub(crate) handles: u32,
    /// lent to a thread while a batch runs
    session: Option<Box<Session>>,
    batch: Batch,
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
    /// a disk operation was given up
    Interrupted,
    /// its namespace is gone, or it does not keep up
    Refused,
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
        socket: Box<dyn Socket>,
        door: Door,
        shared: Arc<Shared>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let session = Some(Box::new(Session::new(&shared.zdb)));
        Self {
            socket,
            door,
            shared,
            stopped,
            decoder: RequestDecoder::new(Limits::default()),
            input: BytesMut::new(),
            ahead_bytes: READ_BYTES,
            begun: None,
            long: None,
            output: BytesMut::new(),
            uploads: HashMap::new(),
            handles: 0,
            session,
            batch: Batch::default(),
        }
    }

    pub(crate) async fn run(mut self) -> Result<(), End> {
        let ended = self.serve().await;
        if !self.uploads.is_empty() {
            let uploads = std::mem::take(&mut self.uploads);
            self.shared.disk(move || drop(uploads)).await?;
        }
        ended
    }

    async fn serve(&mut self) -> Result<(), End> {
        loop {
            match self.decoder.decode(&mut self.input) {
                Ok(Some(arguments)) if is_native(&arguments[0]) => {
                    self.run_batch().await?;
                    self.native(&arguments).await?;
                    if self.output.len() >= ANSWER_BYTES {
                        self.flush(None).await?;
                    }
                }
                Ok(Some(_)) if !self.door.is_open() => {
                    let reason = "closed 0-db's commands are taken on the unix socket only";
                    self.refuse(&Refusal::Denied { reason: reason.into() });
                    if self.output.len() >= ANSWER_BYTES {
                        self.flush(None).await?;
                    }
                }
                Ok(Some(arguments)) => {
                    self.batch.requests.push_back(arguments);
                    if self.batch.requests.len() >= BATCH_REQUESTS_MAX {
                        self.run_batch().await?;
                    }
                }
                Ok(None) => {
                    self.run_batch().await?;
                    self.flush(None).await?;
                    if !self.read().await? {
                        return Ok(());
                    }
                }
                Err(e) => {
                    self.run_batch().await?;
                    let refusal = Refusal::Bad { reason: format!("Protocol error: {e}") };
                    self.refuse(&refusal);
                    self.flush(None).await?;
                    self.linger().await?;
                    return Err(End::Framing);
                }
            }
        }
    }

    /// Reads some more bytes; whether there are any.
    async fn read(&mut self) -> Result<bool, End> {
        let between = self.input.is_empty() && !self.decoder.in_request();
        if between {
            (self.begun, self.long) = (None, None);
            if self.uploads.is_empty() && self.input.capacity() > IDLE_BUFFER_BYTES {
                let last = self.ahead_bytes;
                if last <= READ_BYTES {
                    (self.input, self.output) = (BytesMut::new(), BytesMut::new());
                }
            }
        } else if self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
        if self.decoder.request_bytes() > BATCH_READ_BYTES && self.long.is_none() {
            // for the longest request at once: nobody holds a part and waits for the rest
            self.long = Some(self.shared.long_request(REQUEST_BYTES_MAX).await?);
        }
        // never more than has nearly arrived: a long bulk string that is only announced takes no memory
        let read_max = if self.uploads.is_empty() { BATCH_READ_BYTES } else { UPLOAD_READ_BYTES };
        let missing = self.decoder.missing(self.input.len()).min(UPLOAD_READ_BYTES);
        let ahead = if self.uploads.is_empty() { self.ahead_bytes } else { read_max };
        let want = if self.input.len() < READ_BYTES { ahead.max(missing) } else { missing };
        self.input.reserve(want.max(READ_BYTES));
        let config = self.shared.node.config();
        let idle = if between { config.idle_timeout } else { config.stall_timeout };
        let now = Instant::now();
        let mut deadline = now + idle;
        if let Some(begun) = self.begun {
            deadline = deadline.min(begun + config.request_timeout);
        }
        let room = self.input.capacity() - self.input.len();
        let read = tokio::select! {
            read = timeout_at(deadline, self.socket.read_buf(&mut self.input)) => read??,
            () = stop(&mut self.stopped) => return Ok(false),
        };
        self.ahead_bytes = match read {
            read if read >= room.min(self.ahead_bytes) => read_max.min(self.ahead_bytes * 4),
            read if read * 8 < self.ahead_bytes => READ_BYTES.max(self.ahead_bytes / 2),
            _ => self.ahead_bytes,
        };
        self.shared.zdb.counters.network_bytes_in.add(read as u64);
        Ok(read > 0)
    }

    /// Sends the answers that have gathered, and then a long bulk string.
    pub(crate) async fn flush(&mut self, bulk: Option<Bytes>) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.shared.node.config().stall_timeout;
        let sent = self.output.len() + bulk.as_ref().map_or(0, Bytes::len);
        self.shared.zdb.counters.network_bytes_out.add(sent as u64);
        match bulk {
            None => {
                timeout_at(deadline, self.socket.write_all(&self.output)).await??;
                self.output.clear();
                if self.output.capacity() > 2 * OUT_BYTES {
                    self.output = BytesMut::new();
                }
            }
            Some(bulk) => {
                let output = self.output.split().freeze();
                let mut all = bytes::Buf::chain(bytes::Buf::chain(output, bulk), CRLF);
                timeout_at(deadline, self.socket.write_all_buf(&mut all)).await??;
            }
        }
        timeout_at(deadline, self.socket.flush()).await??;
        Ok(())
    }

    /// Closing while bytes are unread would throw the last answer away: reads a little first.
    async fn linger(&mut self) -> Result<(), End> {
        self.socket.shutdown().await?;
        let deadline = Instant::now() + LINGER;
        let mut seen = 0;
        while seen < LINGER_BYTES {
            self.input.clear();
            self.input.reserve(READ_BYTES);
            match timeout_at(deadline, self.socket.read_buf(&mut self.input)).await?? {
                0 => break,
                bytes => seen += bytes,
            }
        }
        Ok(())
    }

    pub(crate) fn answer(&mut self, reply: &Reply) {
        reply.encode(&mut self.output);
    }

    pub(crate) fn refuse(&mut self, refusal: &Refusal) {
        self.answer(&Reply::from(refusal));
    }

    /// Runs the 0-db requests that have gathered.
    async fn run_batch(&mut self) -> Result<(), End> {
        let mut room = None;
        let mut room_bytes = 0;
        loop {
            let mut session = self.session.take().ok_or(End::Interrupted)?;
            if self.batch.requests.is_empty() && session.more_keys.is_empty() {
                self.session = Some(session);
                return Ok(());
            }
            let mut batch = std::mem::take(&mut self.batch);
            batch.out = std::mem::take(&mut self.output);
            let node = Arc::clone(&self.shared.node.inner);
            let (session, batch, next) = self
                .shared
                .disk(move || {
                    let free_bytes = node.value_free_bytes();
                    let around = Around { now: unix_time(), room_bytes, free_bytes };
                    let next = session.run(&mut batch, around);
                    (session, batch, next)
                })
                .await?;
            let id = session.id;
            let namespace = Arc::clone(&session.namespace);
            self.session = Some(session);
            self.batch = batch;
            self.output = std::mem::take(&mut self.batch.out);
            match next {
                Next::Done => {
                    if self.output.len() >= ANSWER_BYTES {
                        self.flush(None).await?;
                    }
                    (room, room_bytes) = (None, 0);
                }
                Next::Room(bytes) => {
                    // what others wait for is given back first
                    self.flush(None).await?;
                    drop(room.take());
                    let shared = Arc::clone(&self.shared);
                    room = Some(shared.room_owned(u32::try_from(bytes).unwrap_or(u32::MAX)).await?);
                    room_bytes = bytes;
                }
                Next::Wait { command, timeout_ms } => {
                    let told = self.shared.zdb.feed.watch(id, &namespace, command);
                    self.flush(None).await?;
                    let answer = self.wait(told, Duration::from_millis(timeout_ms)).await?;
                    self.answer(&answer);
                }
                Next::Mirror => return self.mirror().await,
                Next::Close => {
                    self.flush(None).await?;
                    self.linger().await?;
                    return Err(End::Refused);
                }
                Next::Stop => {
                    self.flush(None).await?;
                    self.shared.stop_asked.notify_one();
                }
            }
        }
    }

    /// Waits to be told of a command; meanwhile the client may send a little more, or go.
    async fn wait(
        &mut self,
        mut told: tokio::sync::oneshot::Receiver<&'static str>,
        patience: Duration,
    ) -> Result<Reply, End> {
        let deadline = sleep(patience);
        tokio::pin!(deadline);
        loop {
            self.input.reserve(READ_BYTES);
            let may_read = self.input.len() < BATCH_READ_BYTES;
            tokio::select! {
                command = &mut told => {
                    return Ok(command.map_or(
                        Reply::Error(Bytes::from_static(b"Timeout")),
                        |command| Reply::Simple(Bytes::from_static(command.as_bytes())),
                    ));
                }
                () = &mut deadline => return Ok(Reply::Error(Bytes::from_static(b"Timeout"))),
                () = stop(&mut self.stopped) => return Err(End::Interrupted),
                read = self.socket.read_buf(&mut self.input), if may_read => {
                    if read? == 0 {
                        return Err(End::Refused);
                    }
                }
            }
        }
    }

    /// Sends every command of everybody, until the client goes or does not keep up.
    async fn mirror(&mut self) -> Result<(), End> {
        let Some(mirror) = Feed::mirror(&self.shared.zdb.feed) else {
            self.refuse(&Refusal::Limit { reason: "too many mirrors".to_owned() });
            self.flush(None).await?;
            return Err(End::Refused);
        };
        // it listens already: what comes behind the answer is in the feed
        self.flush(None).await?;
        loop {
            self.input.clear();
            self.input.reserve(READ_BYTES);
            let item = tokio::select! {
                item = mirror.next() => item,
                read = self.socket.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Err(End::Refused);
                    }
                    continue;
                }
                () = stop(&mut self.stopped) => return Err(End::Interrupted),
            };
            let Some(item) = item else {
                self.refuse(&Refusal::Limit { reason: "the mirror is too slow".to_owned() });
                self.flush(None).await?;
                return Err(End::Refused);
            };
            let stall = self.shared.node.config().stall_timeout;
            timeout(stall, self.socket.write_all(&item)).await??;
        }
    }
}

pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

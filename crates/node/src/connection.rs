//! One connection: requests in, answers out, in order. Uploads belong to it and end with it.

use crate::{
    Head, Node, NodeError, ShardInfo, Upload,
    server::{Interrupted, Shared, stop},
};
use bytes::{BufMut, Bytes, BytesMut};
use prunedb_core::ShardId;
use prunedb_wire::{
    ARGUMENTS_MAX, CRLF, Command, DATA_BYTES_MAX, HEAD_BYTES_MAX, Limits, Refusal, Reply,
    RequestDecoder, answer,
};
use std::{collections::HashMap, io, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

/// Read buffer of a connection with an upload: a chunk of 256 KiB and its header fit.
const UPLOAD_READ_BYTES: usize = (256 + 8) << 10;
/// What one request may take up: the longest command is a chunk of data, or a head.
const LIMITS: Limits = {
    assert!(HEAD_BYTES_MAX <= DATA_BYTES_MAX);
    Limits {
        count_max: ARGUMENTS_MAX,
        bulk_bytes_max: DATA_BYTES_MAX,
        message_bytes_max: DATA_BYTES_MAX + (64 << 10),
    }
};
/// Least room for a read.
const READ_BYTES: usize = 1 << 10;
/// A larger buffer is given back when the connection is idle.
const IDLE_BUFFER_BYTES: usize = 16 << 10;
/// Answers are sent when so many bytes of them have gathered, or no complete request is left.
const ANSWER_BYTES: usize = 64 << 10;
/// Bulk strings up to this are copied beside other answers.
const COPY_BYTES: usize = 16 << 10;
/// Memory for a head: read, and copied into the answer.
const HEAD_ROOM_BYTES: u32 = 2 << 20;
/// Memory for a range beside its own bytes: blocks at both ends are read whole.
const BLOCKS_ROOM_BYTES: u32 = 33 << 10;
/// Uploads of one connection at once.
const UPLOADS_MAX: usize = 16;
/// What is read and thrown away so that a refused client sees why.
const LINGER_BYTES: usize = 64 << 10;

pub(crate) struct Connection {
    socket: TcpStream,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
    decoder: RequestDecoder,
    input: BytesMut,
    output: BytesMut,
    uploads: HashMap<u32, Upload>,
    handles: u32,
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
        shared: Arc<Shared>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        // answers are whole messages: waiting to fill a packet only delays them
        _ = socket.set_nodelay(true);
        Self {
            socket,
            shared,
            stopped,
            decoder: RequestDecoder::new(LIMITS),
            input: BytesMut::new(),
            output: BytesMut::new(),
            uploads: HashMap::new(),
            handles: 0,
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
                Ok(Some(arguments)) => {
                    self.request(&arguments).await?;
                    if self.output.len() >= ANSWER_BYTES {
                        self.flush(None).await?;
                    }
                }
                Ok(None) => {
                    self.flush(None).await?;
                    if !self.read().await? {
                        return Ok(());
                    }
                }
                Err(e) => {
                    Reply::Error(format!("ERR Protocol error: {e}").into())
                        .encode(&mut self.output);
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
        if between && self.uploads.is_empty() && self.input.capacity() > IDLE_BUFFER_BYTES {
            self.input = BytesMut::new();
        }
        // never more than has nearly arrived: a long bulk string that is only announced takes no memory
        let missing = self.decoder.missing(self.input.len()).min(UPLOAD_READ_BYTES);
        let ahead = !self.uploads.is_empty() && self.input.len() < READ_BYTES;
        self.input.reserve(if ahead { UPLOAD_READ_BYTES } else { missing.max(READ_BYTES) });
        let config = self.shared.node.config();
        let patience = if between { config.idle_timeout } else { config.stall_timeout };
        tokio::select! {
            read = timeout(patience, self.socket.read_buf(&mut self.input)) => Ok(read?? > 0),
            () = stop(&mut self.stopped) => Ok(false),
        }
    }

    /// Sends the answers that have gathered, and then a long bulk string.
    async fn flush(&mut self, bulk: Option<Bytes>) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.shared.node.config().stall_timeout;
        let output = self.output.split().freeze();
        match bulk {
            None => timeout_at(deadline, self.socket.write_all(&output)).await??,
            Some(bulk) => {
                let mut all = bytes::Buf::chain(bytes::Buf::chain(output, bulk), CRLF);
                timeout_at(deadline, self.socket.write_all_buf(&mut all)).await??;
            }
        }
        Ok(())
    }

    /// Closing while bytes are unread would throw the last answer away: reads a little first.
    async fn linger(&mut self) -> Result<(), End> {
        self.socket.shutdown().await?;
        let deadline = Instant::now() + std::time::Duration::from_secs(1);
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

    fn answer(&mut self, reply: &Reply) {
        reply.encode(&mut self.output);
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.answer(&Reply::from(refusal));
    }

    fn answer_or<T>(&mut self, done: Result<T, NodeError>, reply: impl FnOnce(T) -> Reply) {
        match done {
            Ok(value) => self.answer(&reply(value)),
            Err(e) => self.refuse(&Refusal::from(&e)),
        }
    }

    async fn request(&mut self, arguments: &[Bytes]) -> Result<(), End> {
        let command = match Command::parse(arguments) {
            Ok(command) => command,
            Err(e) => {
                self.refuse(&Refusal::Bad { reason: e.to_string() });
                return Ok(());
            }
        };
        let shared = Arc::clone(&self.shared);
        let node = shared.node.clone();
        match command {
            Command::Ping => self.answer(&Reply::Simple(Bytes::from_static(b"PONG"))),
            Command::Info => {
                let text = self.info();
                self.answer(&Reply::Bulk(text.into()));
            }
            Command::Put { id, term, bytes, mode } => {
                if self.uploads.len() >= UPLOADS_MAX {
                    let max = UPLOADS_MAX;
                    let e = NodeError::Limit { what: "uploads of one connection", max };
                    self.refuse(&Refusal::from(&e));
                } else {
                    let put = shared.disk(move || node.put(id, term, bytes, mode)).await?;
                    self.put(put);
                }
            }
            Command::Data { handle, offset, chunk } => self.data(handle, offset, chunk).await?,
            Command::Commit { handle, name, term } => match self.uploads.remove(&handle) {
                Some(upload) => {
                    let done = shared.disk(move || upload.commit(name, term)).await?;
                    self.answer_or(done, |()| Reply::OK);
                }
                None => self.no_such_handle(handle),
            },
            Command::Abort { handle } => match self.uploads.remove(&handle) {
                Some(upload) => {
                    shared.disk(move || drop(upload)).await?;
                    self.answer(&Reply::OK);
                }
                None => self.no_such_handle(handle),
            },
            Command::Get { id, offset, bytes } => self.get(&shared, id, offset, bytes).await?,
            Command::Stat { id } => {
                let info = node.stat(id).map(stat);
                self.answer(&answer::stat(info));
            }
            Command::List { lake, after, count } => {
                let list: Vec<_> = node.list(lake, after, count).into_iter().map(stat).collect();
                self.answer(&answer::list(&list));
            }
            Command::Delete { id, term } => {
                let done = shared.disk(move || node.delete(id, term)).await?;
                self.answer_or(done, answer::deleted);
            }
            Command::Fence { lake, term } => {
                let done = shared.disk(move || node.fence(lake, term)).await?;
                self.answer_or(done, |()| Reply::OK);
            }
            Command::HeadPut { lake, term, number, bytes } => {
                let head = Head { term, number, bytes };
                let done = shared.disk(move || node.put_head(lake, &head)).await?;
                self.answer_or(done, |()| Reply::OK);
            }
            Command::HeadGet { lake } => {
                let permit = shared.room(HEAD_ROOM_BYTES).await?;
                let done = shared.disk(move || node.head(lake)).await?;
                self.answer_or(done, |head| {
                    answer::head(head.map(|Head { term, number, bytes }| answer::Head {
                        term,
                        number,
                        bytes,
                    }))
                });
                self.flush(None).await?;
                drop(permit);
            }
            Command::Space => {
                let done = shared.disk(move || node.space()).await?;
                self.answer_or(done, |space| {
                    answer::space(answer::Space {
                        capacity_bytes: space.capacity_bytes,
                        used_bytes: space.used_bytes,
                        shards: space.shards,
                    })
                });
            }
        }
        Ok(())
    }

    fn put(&mut self, put: Result<Upload, NodeError>) {
        match put {
            Ok(upload) => {
                self.handles = self.handles.wrapping_add(1);
                while self.uploads.contains_key(&self.handles) {
                    self.handles = self.handles.wrapping_add(1);
                }
                let (handle, stored) = (self.handles, upload.stored());
                self.uploads.insert(handle, upload);
                self.answer(&answer::put(answer::PutAnswer { handle, stored }));
            }
            Err(e) => self.refuse(&Refusal::from(&e)),
        }
    }

    async fn data(&mut self, handle: u32, offset: u64, chunk: Bytes) -> Result<(), End> {
        let Some(mut upload) = self.uploads.remove(&handle) else {
            self.no_such_handle(handle);
            return Ok(());
        };
        let done = self.shared.disk(move || match upload.write(offset, &chunk) {
            Ok(()) => Ok(upload),
            // the upload ends here and now, while this thread may do I/O
            Err(e) => Err(e),
        });
        match done.await? {
            Ok(upload) => {
                let received = upload.received();
                self.uploads.insert(handle, upload);
                self.answer(&answer::data(received));
            }
            Err(e) => self.refuse(&Refusal::from(&e)),
        }
        Ok(())
    }

    async fn get(
        &mut self,
        shared: &Shared,
        id: ShardId,
        offset: u64,
        bytes: u32,
    ) -> Result<(), End> {
        let permit = shared.room(bytes.saturating_add(BLOCKS_ROOM_BYTES)).await?;
        let node = shared.node.clone();
        match shared.disk(move || node.get(id, offset, bytes)).await? {
            Ok(range) => {
                let long = Reply::Bulk(range).encode_head(COPY_BYTES, &mut self.output);
                if long.is_some() {
                    self.flush(long).await?;
                }
            }
            Err(e) => self.refuse(&Refusal::from(&e)),
        }
        drop(permit);
        Ok(())
    }

    fn no_such_handle(&mut self, handle: u32) {
        let reason = format!("no upload {handle} on this connection: it ended or failed");
        self.refuse(&Refusal::Bad { reason });
    }

    fn info(&self) -> BytesMut {
        let report = self.shared.node.report();
        let mut text = BytesMut::new();
        for (field, value) in [
            ("uptime_seconds", self.shared.started.elapsed().as_secs()),
            ("damage_found_at_start", report.damage_count),
            ("uploads_dropped_at_start", report.uploads_dropped),
        ] {
            text.put_slice(format!("{field}:{value}\r\n").as_bytes());
        }
        text.put_slice(concat!("prunedb_node:", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes());
        text
    }
}

fn stat(info: ShardInfo) -> answer::Stat {
    answer::Stat { id: info.id, bytes: info.bytes, term: info.term, name: info.name }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Node>();
    is_send::<Upload>();
};

//! One connection to a node: commands out, replies in, in order. No deadlines: the caller has them.

use bytes::{Buf, Bytes, BytesMut};
use prunedb_access::tls;
use prunedb_wire::{
    CRLF, Command, FrameError, GET_BYTES_MAX, HEAD_BYTES_MAX, LIST_COUNT_MAX, Limits, Reply,
    ReplyDecoder,
};
use std::{
    fmt::Debug,
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::Instant,
};
use tokio_rustls::{TlsConnector, rustls::ClientConfig};

/// Least room for a read.
const READ_BYTES: usize = 512;
/// A longer command is not worth copying into one buffer.
const SLICES_MAX: usize = 64;

/// TCP, or TLS over it.
trait Socket: AsyncRead + AsyncWrite + Debug + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Socket for S {}

#[derive(Debug)]
pub(super) struct Connection {
    socket: Box<dyn Socket>,
    /// the capability that was shown is good for so long
    fresh_until: Option<Instant>,
    decoder: ReplyDecoder,
    input: BytesMut,
    output: BytesMut,
    /// commands without a reply yet
    awaited: usize,
}

/// Why there is no answer. The connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the node closed the connection")]
    Closed,
    #[error(transparent)]
    Network(#[from] io::Error),
    #[error("no answer in time")]
    TimedOut,
    #[error("{0}")]
    Protocol(String),
}

impl From<FrameError> for Failure {
    fn from(e: FrameError) -> Self {
        Self::Protocol(format!("bad reply: {e}"))
    }
}

/// What the longest answers need: a range, a head, a list.
const LIMITS: Limits = {
    let range = GET_BYTES_MAX as usize;
    assert!(range >= HEAD_BYTES_MAX);
    Limits {
        count_max: LIST_COUNT_MAX as usize,
        bulk_bytes_max: range,
        message_bytes_max: range + (1 << 20),
    }
};

impl Connection {
    pub(super) async fn open(address: &str, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host(address).await? {
            match TcpStream::connect(address).await {
                Ok(socket) => return Self::new(socket, address, tls).await,
                Err(e) => failed = e,
            }
        }
        Err(failed)
    }

    async fn new(
        socket: TcpStream,
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        // asking for a free loopback port, TCP may connect a socket to itself
        if socket.local_addr()? == address {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        socket.set_nodelay(true)?;
        let socket: Box<dyn Socket> = match tls {
            None => Box::new(socket),
            Some(config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Box::new(connector.connect(tls::no_name(), socket).await?)
            }
        };
        Ok(Self {
            socket,
            fresh_until: None,
            decoder: ReplyDecoder::new(LIMITS),
            input: BytesMut::new(),
            output: BytesMut::new(),
            awaited: 0,
        })
    }

    /// Whether it can take another request: nothing is on its way.
    pub(super) fn is_clean(&self) -> bool {
        self.awaited == 0 && self.input.is_empty() && self.output.is_empty()
    }

    /// A capability was shown that is to be shown anew after so long, on another connection.
    pub(super) fn stale_after(&mut self, fresh: Duration) {
        self.fresh_until = Instant::now().checked_add(fresh);
    }

    /// Whether what was shown is still good.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh_until.is_none_or(|until| Instant::now() < until)
    }

    /// Queues a command; [`Connection::flush`] sends it.
    pub(super) fn queue(&mut self, command: &Command) {
        command.encode(&mut self.output);
        self.awaited += 1;
    }

    /// Sends what was queued.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        self.socket.write_all_buf(&mut self.output).await?;
        self.socket.flush().await?;
        self.output.clear();
        Ok(())
    }

    /// Sends a `PDB.DATA` whose chunk is in pieces, none of them empty, without copying them. Pieces are taken out.
    pub(super) async fn send_data(
        &mut self,
        handle: u32,
        offset: u64,
        bytes: usize,
        pieces: &mut Vec<Bytes>,
    ) -> Result<(), Failure> {
        debug_assert_eq!(bytes, pieces.iter().map(Bytes::len).sum::<usize>());
        prunedb_wire::encode_data_head(handle, offset, bytes, &mut self.output);
        self.awaited += 1;
        pieces.insert(0, self.output.split().freeze());
        pieces.push(Bytes::from_static(CRLF));
        let mut next = 0;
        while next < pieces.len() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&pieces[next..]) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            let mut sent = self.socket.write_vectored(&slices[..count]).await?;
            if sent == 0 {
                return Err(Failure::Closed);
            }
            while sent > 0 {
                let now = sent.min(pieces[next].len());
                pieces[next].advance(now);
                sent -= now;
                next += usize::from(pieces[next].is_empty());
            }
        }
        pieces.clear();
        self.socket.flush().await?;
        Ok(())
    }

    /// The next reply; `answer_bytes` of it are expected, and get room at once.
    pub(super) async fn reply(&mut self, answer_bytes: usize) -> Result<Reply, Failure> {
        loop {
            if let Some(reply) = self.decoder.decode(&mut self.input)? {
                self.awaited = self.awaited.saturating_sub(1);
                if self.input.is_empty() {
                    // do not hold on to the buffer of a long answer
                    self.input = BytesMut::new();
                }
                return Ok(reply);
            }
            let missing = self.decoder.missing(self.input.len()).min(answer_bytes + READ_BYTES);
            let expected = (answer_bytes + 32).saturating_sub(self.input.len());
            self.input.reserve(missing.max(expected).max(READ_BYTES));
            if self.socket.read_buf(&mut self.input).await? == 0 {
                return Err(Failure::Closed);
            }
        }
    }

    /// One command and its reply.
    pub(super) async fn exchange(
        &mut self,
        command: &Command,
        answer_bytes: usize,
    ) -> Result<Reply, Failure> {
        self.queue(command);
        self.flush().await?;
        self.reply(answer_bytes).await
    }
}

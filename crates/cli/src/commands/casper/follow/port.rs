//! A node's binary port over TCP: nodes close a connection after some seconds, whoever goes on opens another.

use prunedb_casper::binary_port::{
    MESSAGE_BYTES_MAX,
    node::{Port, is_throttled},
};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long one connection or answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Pauses between attempts: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A connection that is opened when it is needed, and again when it breaks.
#[derive(Debug)]
pub(super) struct TcpPort {
    address: String,
    open: Option<TcpStream>,
    patience: Duration,
    cancelled: Arc<AtomicBool>,
}

impl TcpPort {
    pub(super) const fn new(
        address: String,
        patience: Duration,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        Self { address, open: None, patience, cancelled }
    }

    fn once(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => connect(&self.address)?,
        };
        write_frame(&mut stream, request)?;
        let answer = read_frame(&mut stream)?;
        self.open = Some(stream);
        Ok(answer)
    }
}

impl Port for TcpPort {
    fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let (started, mut pause) = (Instant::now(), PAUSE_MIN);
        loop {
            let reused = self.open.is_some();
            let error = match self.once(request) {
                Ok(answer) if !is_throttled(&answer) => return Ok(answer),
                Ok(_) => io::Error::other("it is asked more often than it lets itself be"),
                // a connection that had come to its end
                Err(_) if reused => continue,
                Err(error) if error.kind() == ErrorKind::InvalidData => return Err(error),
                Err(error) => error,
            };
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(ErrorKind::Interrupted.into());
            }
            if started.elapsed() + pause > self.patience {
                let text = format!("no answer for {} s: {error}", self.patience.as_secs());
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
            std::thread::sleep(pause);
            pause = PAUSE_MAX.min(pause * 2);
        }
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER_WITHIN) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                stream.set_write_timeout(Some(ANSWER_WITHIN))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn write_frame(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).expect("a request has some 50 bytes");
    stream.write_all(&[&length.to_le_bytes()[..], message].concat())
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length == 0 || length as usize > MESSAGE_BYTES_MAX {
        let text = format!("an answer of {length} bytes: it is no node's binary port");
        return Err(io::Error::new(ErrorKind::InvalidData, text));
    }
    // as long as it says only once so much has come
    let mut message = Vec::new();
    stream.take(length.into()).read_to_end(&mut message)?;
    if message.len() < length as usize {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(message)
}

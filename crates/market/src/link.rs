//! TLS between pinned keys, and asking a heavy node over it.

use crate::{
    keys::{HeavyAddress, Keys},
    message::{ANSWER_BYTES_MAX, Answer, Refusal, Request},
};
use prunedb_access::{PublicKey, tls};
use prunedb_registry::canonical::Canonical;
use prunedb_validator::{read_frame, write_frame};
use std::{
    io::{self, ErrorKind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client};

/// How long a connection may take, with its handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// Idle connections that are kept to a heavy node.
const IDLE_MAX: usize = 4;

/// Why a heavy node did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It does not answer.
    #[error("heavy node {address} does not answer: {source}")]
    Unreachable {
        /// which
        address: String,
        /// why
        #[source]
        source: io::Error,
    },
    /// It refused.
    #[error("{}", plain(&.0.to_string()))]
    Refused(Refusal),
    /// It answered another question.
    #[error("heavy node {address} gave an answer to another question")]
    Confused {
        /// which
        address: String,
    },
}

/// Longest text of somebody else's that is shown.
const TEXT_CHARS_MAX: usize = 500;

/// A text that may be somebody else's, as it can be shown: no control characters, not too long.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(TEXT_CHARS_MAX).map(shown).collect()
}

/// A heavy node that is asked.
#[derive(Debug)]
pub(crate) struct Link {
    address: HeavyAddress,
    keys: Arc<Keys>,
    idle: Mutex<Vec<client::TlsStream<TcpStream>>>,
}

impl Link {
    pub(crate) fn new(address: HeavyAddress, keys: Arc<Keys>) -> Self {
        Self { address, keys, idle: Mutex::default() }
    }

    pub(crate) const fn address(&self) -> &HeavyAddress {
        &self.address
    }

    #[cfg(feature = "iroh")]
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    fn unreachable(&self, source: io::Error) -> LinkError {
        LinkError::Unreachable { address: self.address.to_string(), source }
    }

    pub(crate) fn confused(&self) -> LinkError {
        LinkError::Confused { address: self.address.to_string() }
    }

    async fn connect(&self) -> io::Result<client::TlsStream<TcpStream>> {
        let config = tls::client(&self.keys.identity, PublicKey(self.address.key.0));
        let connected = async {
            let socket = TcpStream::connect(&self.address.server).await?;
            socket.set_nodelay(true)?;
            TlsConnector::from(config).connect(tls::no_name(), socket).await
        };
        timeout(CONNECT, connected).await?
    }

    async fn over(
        mut socket: client::TlsStream<TcpStream>,
        request: &Request,
        patience: Duration,
    ) -> io::Result<(Answer, client::TlsStream<TcpStream>)> {
        let asked = async {
            write_frame(&mut socket, request).await?;
            let bytes = read_frame(&mut socket, ANSWER_BYTES_MAX).await?;
            let bytes = bytes.ok_or(ErrorKind::UnexpectedEof)?;
            Answer::from_bytes("answer", &bytes)
                .map_err(|e| io::Error::new(ErrorKind::InvalidData, e.to_string()))
        };
        let answer = timeout(patience, asked).await??;
        Ok((answer, socket))
    }

    /// Asks, and gives the connection back with the answer; a refusal is an error.
    ///
    /// # Errors
    /// [`LinkError`].
    pub(crate) async fn ask_for_good(
        &self,
        request: &Request,
        patience: Duration,
    ) -> Result<(Answer, client::TlsStream<TcpStream>), LinkError> {
        let socket = self.connect().await.map_err(|e| self.unreachable(e))?;
        let asked = Self::over(socket, request, patience).await;
        match asked.map_err(|e| self.unreachable(e))? {
            (Answer::Refused { refusal }, _) => Err(LinkError::Refused(refusal)),
            answered => Ok(answered),
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// [`LinkError`].
    pub(crate) async fn ask(
        &self,
        request: &Request,
        patience: Duration,
    ) -> Result<Answer, LinkError> {
        let lock = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lock().pop();
        let mut answered = None;
        if let Some(socket) = kept {
            answered = match Self::over(socket, request, patience).await {
                // it has the question, and takes too long
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Err(self.unreachable(error));
                }
                // one that was kept may have been closed meanwhile: a new one tells
                asked => asked.ok(),
            };
        }
        let (answer, socket) = match answered {
            Some(answered) => answered,
            None => {
                let asked = async {
                    let socket = self.connect().await?;
                    Self::over(socket, request, patience).await
                };
                asked.await.map_err(|e| self.unreachable(e))?
            }
        };
        let mut idle = lock();
        if idle.len() < IDLE_MAX {
            idle.push(socket);
        }
        drop(idle);
        match answer {
            Answer::Refused { refusal } => Err(LinkError::Refused(refusal)),
            answer => Ok(answer),
        }
    }
}

//! Reaching a light node that nobody reaches from outside, through its heavy node.
//!
//! ```text
//! light ── Park ──> heavy <── Connect{light} ── owner        the heavy node joins the two and counts the bytes
//!   └─ its own storage door                       └─ a port on loopback that the owner's client of storage nodes dials
//! ```
//! What passes is TLS between owner and light node: the heavy node sees its length. Bounds: [`PARKED_PER_LIGHT`]
//! connections wait for each light node, [`PARKED_MAX`] in all, [`STRANGERS_MAX`] of them of light nodes that have not registered
//! yet, each for [`PARKED`]; joined ones end where nothing passes for [`IDLE`].

use crate::{
    link::{Link, LinkError},
    message::{Answer, Request},
};
use prunedb_registry::Key;
use prunedb_validator::write_frame;
use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// Connections that wait for each light node.
const PARKED_PER_LIGHT: usize = 2;
/// Connections that wait, of all.
const PARKED_MAX: usize = 2048;
/// Connections that wait, of those who are no children yet: a light node has to be reached to become one.
const STRANGERS_MAX: usize = 64;
/// How long one waits: the light node lends another one before.
const PARKED: Duration = Duration::from_secs(90);
/// Joined connections over which nothing passes for so long are closed.
const IDLE: Duration = Duration::from_secs(120);
/// How long somebody waits for a light node to lend a connection.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a heavy node may take to join two connections.
const JOINED: Duration = Duration::from_secs(30);
/// Connections through one port at once.
pub(crate) const THROUGH_MAX: usize = 32;

/// A connection of any kind.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A connection that waits.
struct Parked {
    socket: Box<dyn Socket>,
    since: Instant,
    is_child: bool,
}

/// The connections that wait at a heavy node.
#[derive(Default)]
pub(crate) struct Relay {
    parked: Mutex<HashMap<Key, VecDeque<Parked>>>,
    came: Notify,
    /// bytes that were passed on
    bytes: AtomicU64,
}

impl Relay {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, VecDeque<Parked>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection that a light node lends; the oldest ones of it make room.
    pub(crate) fn park(&self, light: Key, is_child: bool, socket: Box<dyn Socket>) {
        let mut parked = self.lock();
        parked.retain(|_, own| {
            own.retain(|p| p.since.elapsed() < PARKED);
            !own.is_empty()
        });
        let waiting = || parked.values().flatten();
        let strangers = waiting().filter(|p| !p.is_child).count();
        if waiting().count() < PARKED_MAX && (is_child || strangers < STRANGERS_MAX) {
            let own = parked.entry(light).or_default();
            if own.len() >= PARKED_PER_LIGHT {
                own.pop_front();
            }
            own.push_back(Parked { socket, since: Instant::now(), is_child });
        }
        drop(parked);
        self.came.notify_waiters();
    }

    /// The newest connection that a light node lends; its other end knows that it is used now.
    ///
    /// # Errors
    /// Where it lends none in time.
    pub(crate) async fn lent(&self, light: Key) -> io::Result<Box<dyn Socket>> {
        let found = async {
            loop {
                let came = self.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                let next = self.lock().get_mut(&light).and_then(VecDeque::pop_back);
                match next {
                    // one that has ended meanwhile: the next one
                    Some(Parked { mut socket, .. }) => {
                        if write_frame(&mut socket, &Answer::Through {}).await.is_ok() {
                            return socket;
                        }
                    }
                    None => came.await,
                }
            }
        };
        Ok(timeout(PATIENCE, found).await?)
    }

    /// Bytes passed on so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Passes on between two connections, and counts.
    pub(crate) async fn pass(
        &self,
        mut one: impl Socket,
        other: Box<dyn Socket>,
    ) -> io::Result<()> {
        let passed = AtomicU64::new(0);
        let mut other = Counted { socket: other, bytes: [&self.bytes, &passed] };
        tokio::select! {
            copied = copy_bidirectional(&mut one, &mut other) => copied.map(|_| ()),
            () = silence(&passed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Returns when nothing was counted for a while.
async fn silence(passed: &AtomicU64) {
    let mut before = None;
    loop {
        let now = passed.load(Ordering::Relaxed);
        if before.replace(now) == Some(now) {
            return;
        }
        tokio::time::sleep(IDLE).await;
    }
}

/// A connection whose bytes are counted as they pass, in both directions.
struct Counted<'a> {
    socket: Box<dyn Socket>,
    /// of all connections, and of this one
    bytes: [&'a AtomicU64; 2],
}

impl Counted<'_> {
    fn count(&self, bytes: usize) {
        for counter in self.bytes {
            counter.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Counted<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, out);
        self.count(out.filled().len() - before);
        read
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = written {
            self.count(written);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Who leads to a light node.
pub(crate) enum Way {
    /// its heavy node, from outside
    Link(Arc<Link>),
    /// we are its heavy node
    Own(Arc<Relay>),
    /// a connection of its own
    #[cfg(feature = "iroh")]
    Hole(crate::hole::Hole),
}

#[cfg(feature = "iroh")]
impl Way {
    /// The shorter way, where there is one.
    async fn or_hole(self, light: Key) -> Self {
        match &self {
            Self::Link(link) => crate::hole::Hole::to(light, link).await.map_or(self, Self::Hole),
            Self::Own(_) | Self::Hole(_) => self,
        }
    }
}

/// A port on loopback whose connections come out at a light node. Dropping it closes it.
pub(crate) struct Tunnel {
    local_addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Tunnel {
    pub(crate) async fn open(way: Way, light: Key) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let local_addr = listener.local_addr()?;
        #[cfg(feature = "iroh")]
        let way = way.or_hole(light).await;
        let way = Arc::new(way);
        let task = tokio::spawn(async move {
            let mut through = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                while through.try_join_next().is_some() {}
                if through.len() < THROUGH_MAX {
                    let way = Arc::clone(&way);
                    through.spawn(async move {
                        if let Err(error) = pass(&way, light, socket).await {
                            tracing::debug!(%error, "a relayed connection ended");
                        }
                    });
                }
            }
        });
        Ok(Self { local_addr, task })
    }

    pub(crate) const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(way: &Way, light: Key, mut socket: TcpStream) -> Result<(), LinkError> {
    socket.set_nodelay(true).map_err(|source| ended(way, source))?;
    match way {
        Way::Own(relay) => {
            let lent = relay.lent(light).await.map_err(|source| ended(way, source))?;
            relay.pass(socket, lent).await.map_err(|source| ended(way, source))
        }
        #[cfg(feature = "iroh")]
        Way::Hole(hole) => hole.pass(socket).await.map_err(|source| ended(way, source)),
        Way::Link(link) => {
            let request = Request::Connect { holder: light };
            let (answer, mut through) = link.ask_for_good(&request, JOINED).await?;
            if answer != (Answer::Through {}) {
                return Err(link.confused());
            }
            let passed = copy_bidirectional(&mut socket, &mut through).await;
            passed.map(|_| ()).map_err(|source| ended(way, source))
        }
    }
}

fn ended(way: &Way, source: io::Error) -> LinkError {
    let address = match way {
        Way::Link(link) => link.address().to_string(),
        Way::Own(_) => "(own)".into(),
        #[cfg(feature = "iroh")]
        Way::Hole(_) => "(iroh)".into(),
    };
    LinkError::Unreachable { address, source }
}

/// Lends connections to a heavy node, one after another; what comes in on one goes to the own storage door.
pub(crate) async fn lend(link: Arc<Link>, door: SocketAddr) {
    let mut passing = JoinSet::new();
    loop {
        while passing.try_join_next().is_some() {}
        // the answer comes when somebody wants to reach us
        match link.ask_for_good(&Request::Park {}, LENT).await {
            Ok((Answer::Through {}, mut lent)) if passing.len() < THROUGH_MAX => {
                passing.spawn(async move {
                    let passed = async {
                        let mut own = TcpStream::connect(door).await?;
                        own.set_nodelay(true)?;
                        copy_bidirectional(&mut lent, &mut own).await
                    };
                    if let Err(error) = passed.await {
                        tracing::debug!(%error, "a relayed connection ended");
                    }
                });
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "no connection is lent for now");
                tokio::time::sleep(LEND_PAUSE).await;
            }
        }
    }
}

/// How long a lent connection waits before a new one takes its place.
const LENT: Duration = Duration::from_secs(60);
/// Pause after the heavy node took none.
const LEND_PAUSE: Duration = Duration::from_millis(500);

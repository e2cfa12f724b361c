//! Reaching a light node behind a router through a hole in it, by iroh (feature `iroh`).
//!
//! ```text
//! light ── QUIC, by its key ──> heavy's own iroh relay <── QUIC, by its key ── owner
//!   └───────────── a direct path, as soon as both routers let it through ─────────────┘
//! ```
//! An iroh endpoint's id is its ed25519 key: here the participant's own. The relay is the heavy node's, known by the key of the
//! heavy node; there is no other relay, no discovery service and no public server in it. What passes is the same TLS
//! between owner and light node as over every other way, one stream of QUIC for each connection.
//!
//! Bounds: [`THROUGH_MAX`] connections at a light node; the relay takes who has an account in the registry, each at
//! [`RELAYED_BYTES_PER_SECOND`].

use crate::{
    chain::Chain,
    keys::Keys,
    link::Link,
    message::{Answer, Request},
    relay::THROUGH_MAX,
};
use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayMode, RelayUrl, SecretKey,
    endpoint::{Connection, Incoming, presets},
};
use iroh_relay::{
    RelayConfig, RelayMap, RelayQuicConfig,
    server::{self, Access, AccessControl, ClientRequest, Server},
    tls::CaTlsConfig,
};
use prunedb_access::{PublicKey, tls};
use prunedb_registry::{Endpoint as Place, Key};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional, join},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

/// Names what is spoken.
const ALPN: &[u8] = b"prunedb/cell/1";
/// Most bytes that the relay takes from one client in a second.
const RELAYED_BYTES_PER_SECOND: NonZeroU32 = NonZeroU32::new(32 << 20).expect("not zero");
/// How long a light node may take to be reached; then its heavy node relays over TCP.
const REACHED: Duration = Duration::from_secs(10);
/// How long a short question may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before a heavy node that has no relay, or does not answer, is asked again.
const PAUSE: Duration = Duration::from_secs(60);

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// A heavy node's relay.
pub(crate) struct HoleRelay {
    server: Server,
    port: u16,
}

/// Who may use it: accounts of the registry.
#[derive(Debug)]
struct Accounts(Chain);

impl AccessControl for Accounts {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let key = Key(*request.endpoint_id().as_bytes());
        match self.0.client.account(key).await {
            Ok((_, Some(_))) => Access::Allow,
            Ok((_, None)) => Access::Deny { reason: Some("no account in the registry".into()) },
            Err(error) => Access::Deny { reason: Some(format!("the registry: {error}")) },
        }
    }
}

impl HoleRelay {
    /// Listens at an address, for TCP and, at the same port, UDP.
    pub(crate) async fn start(listen: SocketAddr, keys: &Keys, chain: Chain) -> io::Result<Self> {
        let server_config = tls::server_for_all(&keys.identity);
        let cert = server::CertConfig::Manual { server_config };
        // whether there is a network at all is asked here without TLS; nobody has to
        let mut relay = server::RelayConfig::new((Ipv4Addr::LOCALHOST, 0));
        relay.tls = Some(server::TlsConfig::new(listen, cert));
        relay.limits.client_rx = Some(server::ClientRateLimit::new(RELAYED_BYTES_PER_SECOND));
        relay.access = Arc::new(Accounts(chain));
        let mut config = server::ServerConfig::default();
        config.relay = Some(relay);
        config.quic = Some(server::QuicConfig::new(listen));
        let server = Server::spawn(config).await.map_err(failed)?;
        let port = server.https_addr().map_or(0, |address| address.port());
        Ok(Self { server, port })
    }

    /// Its port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Bytes passed on so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.server.metrics().server.bytes_sent.get()
    }
}

/// The place of a heavy node's relay, where it has one.
async fn relay_of(link: &Link) -> io::Result<Option<Place>> {
    match link.ask(&Request::Status {}, PATIENCE).await.map_err(failed)? {
        Answer::Status { status } => Ok(status.hole.map(|hole| hole.relay)),
        _ => Err(failed(link.confused())),
    }
}

/// An endpoint with one's own key, whose one relay is a heavy node's.
async fn endpoint(link: &Link, relay: &Place) -> io::Result<(Endpoint, RelayUrl)> {
    let port = relay.as_str().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port: u16 = port.ok_or_else(|| failed("the relay's address has no port"))?;
    let url: RelayUrl = format!("https://{}", relay.as_str()).parse().map_err(failed)?;
    let quic = RelayQuicConfig::new(port);
    let map: RelayMap = RelayConfig::new(url.clone(), Some(quic)).into();
    let heavy = PublicKey(link.address().key.0);
    let pinned =
        CaTlsConfig::custom_server_cert_verifier(Arc::new(move |_| Ok(tls::pinned(heavy))));
    let endpoint = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(link.keys().seed()))
        .alpns(vec![ALPN.to_vec()])
        .relay_mode(RelayMode::Custom(map))
        .ca_tls_config(pinned)
        .bind()
        .await
        .map_err(failed)?;
    Ok((endpoint, url))
}

/// A way to a light node.
pub(crate) struct Hole {
    _endpoint: Endpoint,
    connection: Connection,
}

impl Hole {
    /// To a light node of a heavy node that has a relay; `None`: there is no such way, for now.
    pub(crate) async fn to(light: Key, link: &Link) -> Option<Self> {
        let reached = async {
            let Some(relay) = relay_of(link).await? else { return Ok(None) };
            let (endpoint, url) = endpoint(link, &relay).await?;
            let id = EndpointId::from_bytes(&light.0).map_err(failed)?;
            let address = EndpointAddr::new(id).with_relay_url(url);
            let connection = endpoint.connect(address, ALPN).await.map_err(failed)?;
            Ok::<_, io::Error>(Some(Self { _endpoint: endpoint, connection }))
        };
        match timeout(REACHED, reached).await.unwrap_or_else(|late| Err(late.into())) {
            Ok(hole) => hole,
            Err(error) => {
                tracing::debug!(%error, %light, "not reached by iroh: its heavy node relays");
                None
            }
        }
    }

    /// Passes a connection on.
    pub(crate) async fn pass(
        &self,
        mut socket: impl AsyncRead + AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let (send, receive) = self.connection.open_bi().await.map_err(failed)?;
        copy_bidirectional(&mut socket, &mut join(receive, send)).await.map(|_| ())
    }
}

/// Lets those in who come by a heavy node's relay, or through the hole that it helped to make: to the own storage door.
pub(crate) async fn let_in(link: Arc<Link>, door: SocketAddr) {
    loop {
        let taken = async {
            let Some(relay) = relay_of(&link).await? else { return Ok(()) };
            let (endpoint, _) = endpoint(&link, &relay).await?;
            let mut connections = JoinSet::new();
            while let Some(incoming) = endpoint.accept().await {
                while connections.try_join_next().is_some() {}
                if connections.len() < THROUGH_MAX {
                    connections.spawn(converse(incoming, door));
                }
            }
            Ok::<_, io::Error>(())
        };
        if let Err(error) = taken.await {
            tracing::debug!(%error, heavy = %link.address(), "nobody comes in by iroh");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn converse(incoming: Incoming, door: SocketAddr) {
    let passed = async {
        let connection = incoming.await.map_err(failed)?;
        // as many at once as QUIC's limit of streams lets the other side open
        let mut streams = JoinSet::new();
        while let Ok((send, receive)) = connection.accept_bi().await {
            while streams.try_join_next().is_some() {}
            streams.spawn(async move {
                let mut own = TcpStream::connect(door).await?;
                own.set_nodelay(true)?;
                copy_bidirectional(&mut own, &mut join(receive, send)).await
            });
        }
        Ok::<_, io::Error>(())
    };
    if let Err(error) = passed.await {
        tracing::debug!(%error, "a connection by iroh ended");
    }
}

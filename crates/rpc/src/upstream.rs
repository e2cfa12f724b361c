//! The client: requests to a node, over connections that are kept.

use crate::{http::json_type, message::Authorization, tls};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
    http::request::Builder,
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::RootCertStore;
use std::{error::Error, fmt, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};

/// Requests under way at a time; more wait.
const REQUESTS_MAX: usize = 32;
/// Most bytes of a response.
const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a whole response may take, waiting for a place included.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that nobody uses are closed after this.
const IDLE: Duration = Duration::from_secs(30);

/// A node that is asked by JSON-RPC over HTTP, or HTTPS. Clones share its connections.
#[derive(Clone)]
pub struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
    patience: Duration,
    places: Arc<Semaphore>,
}

/// What a node answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// As HTTP says it.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

/// An address that cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no URL.
    #[error("`{url}` is not a URL such as http://127.0.0.1:8545")]
    Malformed {
        /// what was given, without a password
        url: String,
    },
    /// It wants something else than HTTP.
    #[error("`{scheme}://` is not spoken here: give an http:// or https:// URL")]
    Scheme {
        /// what it wants
        scheme: String,
    },
    /// There is nobody whose word counts for a certificate.
    #[error(
        "this system has no certificates of authorities ({reason}): install them (Debian: ca-certificates), or name a file in SSL_CERT_FILE"
    )]
    NoAuthorities {
        /// what was looked for
        reason: String,
    },
    /// A name or password that cannot be sent.
    #[error("the name or the password has characters that cannot be sent")]
    Credentials,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// No connection, or it broke.
    #[error("{upstream} cannot be reached: {reason}")]
    Unreachable {
        /// the node
        upstream: String,
        /// what the system says
        reason: String,
    },
    /// It takes too long.
    #[error("{upstream} did not answer within {} s", patience.as_secs_f32())]
    Slow {
        /// the node
        upstream: String,
        /// how long it had
        patience: Duration,
    },
    /// It sends too much.
    #[error("{upstream} answers with more than {bytes_max} bytes")]
    TooLong {
        /// the node
        upstream: String,
        /// the limit
        bytes_max: usize,
    },
    /// What it sends is no answer.
    #[error(
        "{upstream} answers HTTP {status} with something that is no JSON-RPC response: {reason}"
    )]
    NotAResponse {
        /// the node
        upstream: String,
        /// as HTTP says it
        status: StatusCode,
        /// what is wrong
        reason: String,
    },
}

impl Upstream {
    /// The node at `http[s]://[USER:PASSWORD@]HOST[:PORT][/PATH]`. Nothing is sent yet. An `https` node must show a certificate for its name by an
    /// authority that this system trusts, or that `SSL_CERT_FILE` names.
    ///
    /// # Errors
    /// When it is not such a URL, or it is an `https` one and this system trusts nobody.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        Self::trusting(url, tls::authorities_of_the_system)
    }

    /// As [`Self::new`], where the authorities are those that are given; they are asked for with an `https` URL only.
    ///
    /// # Errors
    /// When it is not such a URL, or there are no authorities.
    pub fn trusting(
        url: &str,
        authorities: impl FnOnce() -> Result<RootCertStore, UrlError>,
    ) -> Result<Self, UrlError> {
        let malformed = || UrlError::Malformed { url: without_credentials(url) };
        let given: Uri = url.parse().map_err(|_| malformed())?;
        let authority = given.authority().ok_or_else(malformed)?;
        let (scheme, authorities) = match given.scheme_str() {
            Some("http") => ("http", RootCertStore::empty()),
            Some("https") => ("https", authorities()?),
            Some(scheme) => return Err(UrlError::Scheme { scheme: scheme.into() }),
            None => return Err(malformed()),
        };
        let (credentials, host) = match authority.as_str().rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials), host),
            None => (None, authority.as_str()),
        };
        let path = given.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path).build();
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_MAX));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let upstream = Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(REQUESTS_MAX)
                .build(tls::connector(connector, authorities)),
            uri: uri.map_err(|_| malformed())?,
            authorization: None,
            patience: PATIENCE,
            places: Arc::new(Semaphore::new(REQUESTS_MAX)),
        };
        match credentials {
            None => Ok(upstream),
            Some(credentials) => {
                let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
                let decoded = |text| percent_decoded(text).ok_or(UrlError::Credentials);
                upstream.with_basic_auth(&decoded(user)?, &decoded(password)?)
            }
        }
    }

    /// Names itself to the node in every request.
    ///
    /// # Errors
    /// When the name has a colon.
    pub fn with_basic_auth(self, user: &str, password: &str) -> Result<Self, UrlError> {
        if user.contains(':') {
            return Err(UrlError::Credentials);
        }
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let value = HeaderValue::from_str(&format!("Basic {encoded}"));
        let mut value = value.map_err(|_| UrlError::Credentials)?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }

    /// Waits longer, or less long, for a response.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Names itself as a client did, unless it has credentials of its own.
    #[must_use]
    pub fn on_behalf(self, client: Option<&Authorization>) -> Self {
        let client = client.map(|client| client.0.clone());
        Self { authorization: self.authorization.or(client), ..self }
    }

    /// Asks for something else than JSON-RPC at the same address: a path from the root.
    ///
    /// # Errors
    /// When there is no whole response; what it says is not looked at.
    pub async fn get(&self, path: &str) -> Result<Reply, UpstreamError> {
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = path.parse().ok();
        let uri = Uri::from_parts(parts).map_err(|error| self.unreachable(&error))?;
        let exchange = self.exchange(Request::get(uri), Bytes::new(), None);
        timeout(self.patience, exchange).await.map_err(|_| self.slow())?
    }

    fn slow(&self) -> UpstreamError {
        UpstreamError::Slow { upstream: self.to_string(), patience: self.patience }
    }

    fn unreachable(&self, error: &dyn Error) -> UpstreamError {
        UpstreamError::Unreachable { upstream: self.to_string(), reason: causes(error) }
    }

    /// Sends a body and waits for the response. Without credentials of its own it names itself as the client did.
    ///
    /// # Errors
    /// When there is no whole response; what it says is not looked at.
    pub async fn post(
        &self,
        body: Bytes,
        authorization: Option<&HeaderValue>,
    ) -> Result<Reply, UpstreamError> {
        let request = Request::post(self.uri.clone()).header(CONTENT_TYPE, json_type());
        let exchange = self.exchange(request, body, authorization);
        timeout(self.patience, exchange).await.map_err(|_| self.slow())?
    }

    async fn exchange(
        &self,
        mut request: Builder,
        body: Bytes,
        authorization: Option<&HeaderValue>,
    ) -> Result<Reply, UpstreamError> {
        let unreachable = |error: &dyn Error| self.unreachable(error);
        let _place = self.places.acquire().await.map_err(|closed| unreachable(&closed))?;
        if let Some(authorization) = self.authorization.as_ref().or(authorization) {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(authority) = self.uri.authority() {
            request = request.header(HOST, authority.as_str());
        }
        let request = request.body(Full::new(body)).map_err(|error| unreachable(&error))?;
        let response = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        match Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await {
            Ok(body) => Ok(Reply { status, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => {
                let (upstream, bytes_max) = (self.to_string(), RESPONSE_BYTES_MAX);
                Err(UpstreamError::TooLong { upstream, bytes_max })
            }
            Err(error) => Err(unreachable(&*error)),
        }
    }

    pub(crate) fn not_a_response(
        &self,
        status: StatusCode,
        reason: impl fmt::Display,
    ) -> UpstreamError {
        UpstreamError::NotAResponse {
            upstream: self.to_string(),
            status,
            reason: reason.to_string(),
        }
    }
}

/// Where it is, without a password.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // a path may be a key to the node
        let scheme = self.uri.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}", self.uri.authority().map_or("", |authority| authority.as_str()))
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("uri", &self.to_string()).finish_non_exhaustive()
    }
}

/// What happened, and why.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn without_credentials(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://...@{rest}"),
        _ => url.into(),
    }
}

/// `%40` and its like, as they are in a URL's name and password.
fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || (bytes.next()? as char).to_digit(16);
        let value = digit()? << 4 | digit()?;
        out.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let upstream = Upstream::new("http://al%69ce:p%40ss@node.example:8332/wallet/x").unwrap();
        assert_eq!(upstream.to_string(), "http://node.example:8332");
        assert_eq!(upstream.uri, "http://node.example:8332/wallet/x");
        // alice:p@ss
        assert_eq!(upstream.authorization.unwrap(), "Basic YWxpY2U6cEBzcw==");
        assert!(Upstream::new("http://[::1]:8545").is_ok());
        let refused = |url| Upstream::new(url).unwrap_err().to_string();
        let trusting = |url| Upstream::trusting(url, || Ok(RootCertStore::empty())).unwrap();
        assert_eq!(trusting("https://eth.example/KEY").to_string(), "https://eth.example");
        assert!(refused("wss://eth.example").contains("`wss://` is not spoken here"));
        for url in ["", "node:8545", "127.0.0.1:8545", "/path", "http://", "http://a b"] {
            assert!(refused(url).contains("is not a URL"), "{url}");
        }
        assert!(!refused("http://alice:secret@a b").contains("secret"));
        assert!(refused("http://a%zz:x@host").contains("cannot be sent"));
    }
}

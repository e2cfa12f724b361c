//! The server: HTTP/1.1 connections, their limits, and bodies.

use crate::patient::Patient;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// Connections at a time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 256;
/// Between two requests of a connection, and for a request's head.
const HEAD_MAX: Duration = Duration::from_secs(60);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// For a request's body.
const BODY_MAX: Duration = Duration::from_secs(30);
/// For a client that does not take its response.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The body of a response.
pub type Body = BoxBody<Bytes, io::Error>;

/// A body that is there already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

pub(crate) fn json_type() -> HeaderValue {
    HeaderValue::from_static("application/json")
}

/// A response that says in plain words what is wrong.
pub(crate) fn plain(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{message}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Reads a request's body, of at most so many bytes.
///
/// # Errors
/// The response that says why it cannot be read.
pub async fn read_body(body: Incoming, bytes_max: usize) -> Result<Bytes, Box<Response<Body>>> {
    let too_large = || {
        let message = format!("a request has at most {bytes_max} bytes");
        Box::new(plain(StatusCode::PAYLOAD_TOO_LARGE, &message))
    };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    match timeout(BODY_MAX, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Box::new(plain(StatusCode::BAD_REQUEST, &error.to_string()))),
        Err(_) => {
            Err(Box::new(plain(StatusCode::REQUEST_TIMEOUT, "the request's body does not come")))
        }
    }
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one; what goes wrong is a response, too.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// A listener that answers clients until it is stopped.
#[derive(Debug)]
pub struct HttpServer {
    local_addr: SocketAddr,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Starts listening; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be taken.
    pub async fn start(listen: SocketAddr, handler: impl Handler) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { local_addr, task: tokio::spawn(accept(listener, Arc::new(handler))) })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops it, its clients too.
    pub async fn stop(self) {
        self.task.abort();
        // it was stopped: that is all that it can say
        _ = self.task.await;
    }
}

async fn accept(listener: TcpListener, handler: Arc<impl Handler>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // dropped with this task, and all clients with it
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let handler = Arc::clone(&handler);
                clients.spawn(async move {
                    let _place = place;
                    if let Err(error) = connection(stream, handler).await {
                        tracing::debug!(%error, "a client is gone");
                    }
                });
            }
            // out of descriptors, most likely: some client will go
            Err(error) => {
                tracing::warn!(%error, "cannot take a client");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, handler: Arc<impl Handler>) -> hyper::Result<()> {
    // it only makes answers faster
    _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(handler.handle(request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream, WRITE_MAX)), service)
        .await
}

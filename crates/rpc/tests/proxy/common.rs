//! A chain with few words, a node that says what the test wants, and a client that sends any bytes.

use bytes::Bytes;
use hyper::{Request, Response, StatusCode, body::Incoming, header::HeaderMap};
use prunedb_rpc::{
    Answer, Body, Call, Chain, ErrorObject, Handler, HttpServer, Proxy, Upstream, full, read_body,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Knows `old`, and that `damaged` is damaged.
struct Archive;

impl Chain for Archive {
    fn answer(&self, call: &Call) -> Answer {
        match call.method.as_str() {
            "old" => Answer::result(&("archived", call.argument(0, "n"))),
            "damaged" => Answer::Error(ErrorObject::new(4444, "block 7 is damaged")),
            "panic" => panic!("a fault of the chain's own"),
            _ => Answer::PassOn,
        }
    }
}

type Script = Arc<dyn Fn(&str) -> Response<Body> + Send + Sync>;
type Heard = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// A node that answers by a script, and remembers what it heard.
#[derive(Clone)]
struct Node {
    script: Script,
    heard: Heard,
}

impl Handler for Node {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let headers = request.headers().clone();
        let body: Bytes = read_body(request.into_body(), 1 << 20).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let response = (self.script)(&body);
        let pause =
            response.headers().get("pause-ms").map(|ms| ms.to_str().unwrap().parse().unwrap());
        self.heard.lock().unwrap().push((body, headers));
        tokio::time::sleep(Duration::from_millis(pause.unwrap_or(0))).await;
        response
    }
}

/// A proxy before such a node.
pub(crate) struct Stage {
    pub(crate) proxy: HttpServer,
    pub(crate) node: HttpServer,
    heard: Heard,
}

pub(crate) fn ok(body: impl Into<String>) -> Response<Body> {
    Response::new(full(body.into()))
}

pub(crate) fn status(status: u16, body: &str) -> Response<Body> {
    let mut response = ok(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

pub(crate) async fn proxy(upstream: Upstream) -> HttpServer {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    HttpServer::start(listen, Proxy::new(Archive, upstream)).await.unwrap()
}

impl Stage {
    pub(crate) async fn new(
        script: impl Fn(&str) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        Self::with_credentials("", script).await
    }

    pub(crate) async fn with_credentials(
        credentials: &str,
        script: impl Fn(&str) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let heard = Heard::default();
        let node = Node { script: Arc::new(script), heard: Arc::clone(&heard) };
        let node = HttpServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), node).await.unwrap();
        let upstream =
            Upstream::new(&format!("http://{credentials}{}", node.local_addr())).unwrap();
        let upstream = upstream.with_patience(Duration::from_millis(500));
        Self { proxy: proxy(upstream).await, node, heard }
    }

    /// Posts a body; gives status and body of the answer.
    pub(crate) async fn post(&self, body: &str) -> (u16, String) {
        self.post_with("", body).await
    }

    pub(crate) async fn post_with(&self, headers: &str, body: &str) -> (u16, String) {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        raw(self.proxy.local_addr(), request.as_bytes()).await
    }

    /// What the node was sent.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().iter().map(|(body, _)| body.clone()).collect()
    }

    /// What the node was told about who asks.
    pub(crate) fn heard_authorization(&self) -> Vec<Option<String>> {
        let heard = self.heard.lock().unwrap();
        let header = |headers: &HeaderMap| {
            headers.get("authorization").map(|value| value.to_str().unwrap().to_owned())
        };
        heard.iter().map(|(_, headers)| header(headers)).collect()
    }
}

/// Sends bytes, reads the response to its end.
pub(crate) async fn raw(to: SocketAddr, bytes: &[u8]) -> (u16, String) {
    let mut socket = TcpStream::connect(to).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    read_response(&mut socket).await
}

pub(crate) async fn read_response(socket: &mut TcpStream) -> (u16, String) {
    let mut response = Vec::new();
    // a server that closes early may reset; what it said before counts
    _ = socket.read_to_end(&mut response).await;
    let response = String::from_utf8(response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").expect("a response");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

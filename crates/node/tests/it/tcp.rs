//! Nodes and their client over real sockets, and clients that do not behave.

use crate::support::bytes;
use bytes::{Bytes, BytesMut};
use prunedb_core::{ContainerId, Digest, LakeId, ShardId, ShardIndex, Term};
use prunedb_disk::RealDisk;
use prunedb_node::{NodeConfig, NodeServer, ServeError};
use prunedb_store::{
    NodeOptions, NodeStore, PutMode, ShardStore, StoreError, StoredHead, conformance,
};
use prunedb_wire::{Command, Limits, Reply, ReplyDecoder};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const LAKE: LakeId = LakeId([4; 16]);

fn id(number: u32) -> ShardId {
    ShardId { lake: LAKE, container: ContainerId::data(number), index: ShardIndex(1) }
}

fn config(dir: &Path) -> NodeConfig {
    NodeConfig::new("127.0.0.1:0".parse().unwrap(), dir, 1 << 30)
}

async fn start_with(config: NodeConfig) -> NodeServer {
    NodeServer::start(config, Arc::new(RealDisk)).await.unwrap()
}

async fn start(dir: &Path) -> NodeServer {
    start_with(config(dir)).await
}

fn client(server: &NodeServer) -> NodeStore {
    NodeStore::new(server.local_addr().to_string(), NodeOptions::default())
}

async fn put(store: &NodeStore, id: ShardId, term: u64, shard: &Bytes) -> Result<(), StoreError> {
    let put = store.put(id, Term(term), shard.len() as u64, PutMode::IfAbsent);
    let mut upload = put.await?;
    for at in (0..shard.len()).step_by(100_000) {
        upload.write(shard.slice(at..shard.len().min(at + 100_000))).await?;
    }
    upload.commit(Digest(*blake3::hash(shard).as_bytes())).await
}

/// A client that sends what it likes.
struct Raw {
    socket: TcpStream,
    decoder: ReplyDecoder,
    input: BytesMut,
}

impl Raw {
    async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        Self { socket, decoder: ReplyDecoder::new(Limits::default()), input: BytesMut::new() }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    async fn command(&mut self, command: Command) -> Reply {
        let mut out = BytesMut::new();
        command.encode(&mut out);
        self.send(&out).await;
        self.reply().await.expect("an answer")
    }

    /// The next reply; `None` where the node closed.
    async fn reply(&mut self) -> Option<Reply> {
        loop {
            if let Some(reply) = self.decoder.decode(&mut self.input).unwrap() {
                return Some(reply);
            }
            let read = timeout(Duration::from_secs(20), self.socket.read_buf(&mut self.input));
            if read.await.expect("an answer in time").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn error(&mut self) -> String {
        match self.reply().await.expect("an answer") {
            Reply::Error(text) => String::from_utf8(text.into()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    conformance::run(&client(&server), 0).await;
    server.shutdown().await;
    let server = start(dir.path()).await;
    assert_eq!(server.node().report().damage, []);
    conformance::run(&client(&server), 1).await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_four_nodes_live_in_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = Vec::new();
    for n in 0..24 {
        let server = start(&dir.path().join(n.to_string())).await;
        nodes.push((Arc::new(client(&server)), server));
    }
    let shard = Bytes::from(bytes(1, 1_500_000));
    let mut tasks = Vec::new();
    for (store, _) in &nodes {
        for number in 0..3 {
            let (store, shard) = (Arc::clone(store), shard.clone());
            tasks.push(tokio::spawn(async move {
                put(&store, id(number), 1, &shard).await.unwrap();
                assert_eq!(
                    store.get(id(number), 400_000, 1_100_000).await.unwrap(),
                    shard[400_000..]
                );
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    for (store, server) in nodes {
        assert_eq!(store.space().await.unwrap().shards, 3);
        server.shutdown().await;
        assert!(store.space().await.unwrap_err().is_unreachable());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_and_heads_hold_across_a_restart_and_clients_find_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let address = server.local_addr();
    let store = client(&server);
    let shard = Bytes::from(bytes(1, 50_000));
    put(&store, id(0), 3, &shard).await.unwrap();
    store.fence(LAKE, Term(5)).await.unwrap();
    let head = StoredHead { term: Term(5), number: 1, bytes: shard.slice(..500) };
    store.put_head(LAKE, head.clone()).await.unwrap();
    server.shutdown().await;

    let mut config = config(dir.path());
    config.listen = address;
    let server = start_with(config).await;
    // the same client, whose kept connections are all dead
    assert_eq!(store.get(id(0), 0, 50_000).await.unwrap(), shard);
    let old = put(&store, id(1), 4, &shard).await;
    assert!(matches!(old, Err(StoreError::Fenced { term: Term(4), seen: Term(5), .. })), "{old:?}");
    assert_eq!(store.head(LAKE).await.unwrap(), Some(head));
    put(&store, id(1), 5, &shard).await.unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn a_folder_in_use_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let second = NodeServer::start(config(dir.path()), Arc::new(RealDisk)).await;
    let Err(ServeError::Open(e)) = second else { panic!("{second:?}") };
    assert!(e.to_string().contains(dir.path().to_str().unwrap()), "{e}");
    let mut taken = config(&dir.path().join("other"));
    taken.listen = server.local_addr();
    let second = NodeServer::start(taken, Arc::new(RealDisk)).await;
    assert!(matches!(second, Err(ServeError::Listen { .. })));
    server.shutdown().await;
    let server = start(dir.path()).await;
    // dropping a server stops it as well, only nobody waits for it
    drop(server);
    for _ in 0..500 {
        match NodeServer::start(config(dir.path()), Arc::new(RealDisk)).await {
            Ok(server) => return server.shutdown().await,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("the folder is still in use");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_are_answered_and_the_node_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let address = server.local_addr();
    let mut too_many = b"*1025\r\n".to_vec();
    (0..1025).for_each(|_| too_many.extend_from_slice(b"$1\r\nx\r\n"));
    let broken: [&[u8]; 13] = [
        b"PING\r\n",
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"*0\r\n",
        b"*-1\r\n",
        b"*1\r\n*1\r\n$4\r\nPING\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$99999999999\r\n",
        b"*1\r\n$8388609\r\n",
        b"*2147483647\r\n",
        b"*1\r\n$4\r\nPINGPING\r\n",
        b"*x\r\n",
        &too_many,
    ];
    for bytes in broken {
        let mut raw = Raw::connect(address).await;
        raw.send(bytes).await;
        let error = raw.error().await;
        assert!(error.starts_with("ERR Protocol error: "), "{error}");
        assert_eq!(raw.reply().await, None, "closed after {}", bytes[..9].escape_ascii());
    }

    // requests that make no sense: answered, and the connection goes on
    let mut raw = Raw::connect(address).await;
    let id24 = "\0".repeat(24);
    for (request, start) in [
        (vec!["PIN"], "Command not supported"),
        (vec!["flushall"], "Command not supported"),
        (vec![""], "Command not supported"),
        (vec!["PDB.GET"], "ERR wrong number of arguments for 'PDB.GET'"),
        (vec!["PDB.GET", "short", "0", "1"], "ERR 'PDB.GET' wants a shard id"),
        (vec!["PDB.GET", &id24, "-1", "1"], "ERR 'PDB.GET' wants a whole number"),
        (vec!["PDB.GET", &id24, "0", "99999999"], "ERR 'PDB.GET' wants 1 byte to 4 MiB"),
        (vec!["PDB.GET", &id24, "18446744073709551615", "1"], "ABSENT"),
        (vec!["PDB.PUT", &id24, "0", "1", "MAYBE"], "ERR 'PDB.PUT' wants ABSENT or REPLACE"),
        (vec!["PDB.PUT", &id24, "0", "0", "ABSENT"], "RANGE"),
        (vec!["PDB.PUT", &id24, "0", "18446744073709551615", "ABSENT"], "RANGE"),
        (vec!["PDB.DATA", "7", "0", "x"], "ERR no upload 7"),
        (vec!["PDB.COMMIT", "7", &"n".repeat(32), "0"], "ERR no upload 7"),
        (vec!["PDB.ABORT", "7"], "ERR no upload 7"),
        (vec!["PDB.LIST", &"l".repeat(16), "", "1001"], "ERR 'PDB.LIST' wants a count"),
    ] {
        let mut out = format!("*{}\r\n", request.len());
        for argument in &request {
            out += &format!("${}\r\n{argument}\r\n", argument.len());
        }
        raw.send(out.as_bytes()).await;
        let error = raw.error().await;
        assert!(error.starts_with(start), "{request:?}: {error}");
    }
    let pong = Reply::Simple(Bytes::from_static(b"PONG"));
    assert_eq!(raw.command(Command::Ping).await, pong);
    let Reply::Bulk(info) = raw.command(Command::Info).await else { panic!("info") };
    assert!(info.starts_with(b"# server\n"));

    // byte by byte, and many at once
    for byte in b"*1\r\n$4\r\nPING\r\n" {
        raw.send(&[*byte]).await;
    }
    raw.send(&b"*1\r\n$4\r\nPING\r\n".repeat(5000)).await;
    for _ in 0..5001 {
        assert_eq!(raw.reply().await, Some(pong.clone()));
    }
    // half a request, then gone; a client that only closes its sending side
    Raw::connect(address).await.send(b"*3\r\n$8\r\nPDB.D").await;
    let mut half = Raw::connect(address).await;
    half.send(b"*1\r\n$4\r\nPING\r\n").await;
    half.socket.shutdown().await.unwrap();
    assert_eq!(half.reply().await, Some(pong));
    assert_eq!(half.reply().await, None);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_belongs_to_its_connection_and_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let used = || server.node().space().unwrap().used_bytes;
    let begin = |number| Command::Put {
        id: id(number),
        term: Term(1),
        bytes: 1_000_000,
        mode: prunedb_wire::PutMode::IfAbsent,
    };
    let mut raw = Raw::connect(server.local_addr()).await;
    let mut other = Raw::connect(server.local_addr()).await;
    let Reply::Array(answer) = raw.command(begin(0)).await else { panic!("put") };
    let Reply::Integer(handle) = answer[0] else { panic!("handle") };
    let handle = u32::try_from(handle).unwrap();
    let data = |offset| Command::Data { handle, offset, chunk: bytes(1, 300_000).into() };
    assert_eq!(raw.command(data(0)).await, Reply::Integer(300_000));
    assert!(matches!(other.command(data(300_000)).await, Reply::Error(_)), "not its upload");
    assert!(used() > 1_000_000);
    // a chunk out of order ends the upload
    let Reply::Error(e) = raw.command(data(1)).await else { panic!("out of order") };
    assert!(e.starts_with(b"MISMATCH"), "{e:?}");
    assert!(matches!(raw.command(data(300_000)).await, Reply::Error(_)));
    assert!(used() < 100_000);

    // uploads per connection are limited
    for number in 0..16 {
        assert!(matches!(raw.command(begin(number)).await, Reply::Array(_)));
    }
    let Reply::Error(e) = raw.command(begin(16)).await else { panic!("too many") };
    assert!(e.starts_with(b"LIMIT"), "{e:?}");
    assert!(used() > 16_000_000);
    drop(raw);
    for _ in 0..1000 {
        if used() < 1_000_000 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(used() < 1_000_000, "closing gives the room back");
    assert!(server.node().list(LAKE, None, 10).unwrap().is_empty());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited_and_silent_ones_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.connections_max = 4;
    config.idle_timeout = Duration::from_millis(300);
    config.stall_timeout = Duration::from_millis(200);
    let server = start_with(config).await;
    let address = server.local_addr();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::connect(address).await;
        raw.command(Command::Ping).await;
        clients.push(raw);
    }
    let mut fifth = Raw::connect(address).await;
    assert_eq!(fifth.error().await, "ERR max number of clients reached");
    assert_eq!(fifth.reply().await, None);
    // one stops in the middle of a request, the others say nothing
    clients[0].send(b"*1\r\n$4\r\nPI").await;
    for mut raw in clients {
        assert_eq!(raw.reply().await, None);
    }
    Raw::connect(address).await.command(Command::Ping).await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_node_does_not_wait_for_idle_clients() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let mut raw = Raw::connect(server.local_addr()).await;
    raw.command(Command::Ping).await;
    timeout(Duration::from_secs(3), server.shutdown()).await.expect("stops at once");
    assert_eq!(raw.reply().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_and_fullness_are_told_over_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.capacity_bytes = 500_000;
    let server = start_with(config).await;
    let store = client(&server);
    let shard = Bytes::from(bytes(1, 200_000));
    put(&store, id(0), 1, &shard).await.unwrap();
    put(&store, id(1), 1, &shard).await.unwrap();
    let full = put(&store, id(2), 1, &shard).await;
    assert!(matches!(full, Err(StoreError::Full { free_bytes: 1.., .. })), "{full:?}");
    assert_eq!(store.get(id(0), 0, 200_000).await.unwrap(), shard);

    let path = dir.path().join("segments/00000000.seg");
    let mut segment = std::fs::read(&path).unwrap();
    segment[4096 + 256 + 16_388 + 5] ^= 1;
    std::fs::write(&path, segment).unwrap();
    let damaged = store.get(id(0), 0, 200_000).await;
    let at = 16_384;
    assert!(matches!(damaged, Err(StoreError::Damaged { offset, .. }) if offset == at));
    // replacing needs room beside the damaged copy
    assert!(store.delete(id(1), Term(1)).await.unwrap());
    let mut upload = store.put(id(0), Term(1), 200_000, PutMode::Replace).await.unwrap();
    upload.write(shard.clone()).await.unwrap();
    upload.commit(Digest(*blake3::hash(&shard).as_bytes())).await.unwrap();
    assert_eq!(store.get(id(0), 0, 200_000).await.unwrap(), shard);
    server.shutdown().await;
}

/// Answers every connection with the same bytes.
async fn liar(answer: &'static [u8]) -> NodeStore {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut some = [0; 1000];
            if socket.read(&mut some).await.is_ok() && socket.write_all(answer).await.is_ok() {
                // keeps the connection until the client gives it up
                _ = socket.read(&mut some).await;
            }
        }
    });
    let request_timeout = Duration::from_millis(300);
    NodeStore::new(address.to_string(), NodeOptions { request_timeout, ..Default::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_believe_nothing_that_does_not_fit() {
    let answers: [&'static [u8]; 11] = [
        b"+PONG\r\n",
        b":-5\r\n",
        b"$3\r\nabc\r\n",
        b"$99999999999\r\n",
        b"*1000000\r\n",
        b"*1\r\n*1\r\n",
        b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"-NOPE what\r\n",
        b"-FENCED x\r\n",
        b"",
    ];
    for answer in answers {
        let store = liar(answer).await;
        let shown = answer.escape_ascii();
        let refused = |e: &StoreError| match answer {
            b"" => e.is_unreachable(),
            _ => matches!(e, StoreError::Rejected { .. }),
        };
        let errors = [
            store.get(id(0), 0, 5).await.map(drop),
            store.stat(id(0)).await.map(drop),
            store.list(LAKE, None, 5).await.map(drop),
            store.delete(id(0), Term(1)).await.map(drop),
            store.fence(LAKE, Term(1)).await,
            store.head(LAKE).await.map(drop),
            store.space().await.map(drop),
            store.put(id(0), Term(1), 5, PutMode::IfAbsent).await.map(drop),
        ];
        for (nth, error) in errors.into_iter().enumerate() {
            let error = error.expect_err("nonsense");
            assert!(refused(&error), "call {nth}, answer {shown}: {error}");
        }
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let options =
        NodeOptions { connect_timeout: Duration::from_millis(500), ..NodeOptions::default() };
    for address in [address.as_str(), "no.such.host.invalid:1", "nonsense"] {
        let error = NodeStore::new(address, options).space().await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_up_requests_leave_the_store_usable() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let options = NodeOptions { requests_max: 2, uploads_max: 2, ..NodeOptions::default() };
    let store = NodeStore::new(server.local_addr().to_string(), options);
    let shard = Bytes::from(bytes(1, 4_000_000));
    put(&store, id(0), 1, &shard).await.unwrap();
    for round in 0..50_u64 {
        let patience = Duration::from_micros(round * 40);
        _ = timeout(patience, store.get(id(0), 0, 4_000_000)).await;
        _ = timeout(patience, put(&store, id(1), 1, &shard)).await;
    }
    for _ in 0..5 {
        assert_eq!(store.get(id(0), 1_000_000, 3_000_000).await.unwrap(), shard[1_000_000..]);
    }
    put(&store, id(1), 1, &shard).await.unwrap();
    server.shutdown().await;
}

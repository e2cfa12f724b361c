//! Nodes that speak TLS, open and closed, and clients that may not do what they try.

use crate::support::{bytes, name};
use bytes::Bytes;
use prunedb_access::{
    Capability, Credentials, Identity, LIFE_MAX, Operations, Owner, PublicKey, Scope,
};
use prunedb_core::{ContainerId, LakeId, ShardId, ShardIndex, Term};
use prunedb_disk::RealDisk;
use prunedb_node::{NodeConfig, NodeServer, ServeError};
use prunedb_proof::Audit;
use prunedb_store::{
    NodeOptions, NodeStore, PutMode, ShardStore, StoreError, StoredHead, conformance,
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use zeroize::Zeroizing;

const LAKE: LakeId = LakeId([4; 16]);
const OWNER: u8 = 1;
const NODE: u8 = 2;
const HOLDER: u8 = 3;

fn identity(seed: u8) -> Identity {
    Identity::from_seed(Zeroizing::new([seed; 32]))
}

fn id(number: u32) -> ShardId {
    ShardId { lake: LAKE, container: ContainerId::data(number), index: ShardIndex(1) }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn config(dir: &Path, lakes: &[LakeId]) -> NodeConfig {
    let mut config = NodeConfig::new("127.0.0.1:0".parse().unwrap(), dir, 1 << 30);
    config.tls = Some(Arc::new(identity(NODE)));
    config.owners =
        lakes.iter().map(|&lake| Owner { lake, key: identity(OWNER).public() }).collect();
    config
}

async fn start(config: NodeConfig) -> NodeServer {
    NodeServer::start(config, Arc::new(RealDisk)).await.unwrap()
}

fn with(server: &NodeServer, key: PublicKey, credentials: Credentials) -> NodeStore {
    let address = server.local_addr().to_string();
    NodeStore::with_tls("the node", address, key, credentials, NodeOptions::default())
}

fn client(server: &NodeServer, credentials: Credentials) -> NodeStore {
    with(server, server.key().unwrap(), credentials)
}

fn capability() -> Capability {
    Capability {
        lake: LAKE,
        holder: identity(HOLDER).public(),
        operations: Operations::ALL,
        scope: Scope::Lake,
        term: Term(5),
        issued: now(),
        expires: now() + 600,
    }
}

fn given(capability: Capability) -> Credentials {
    Credentials::given(identity(HOLDER), capability.sign(&identity(OWNER)))
}

async fn put(store: &NodeStore, id: ShardId, term: u64, shard: &Bytes) -> Result<(), StoreError> {
    let put = store.put(id, Term(term), shard.len() as u64, PutMode::IfAbsent);
    let mut upload = put.await?;
    upload.write(shard.clone()).await?;
    upload.commit(name(shard)).await
}

/// The first word that a denial gives as its reason.
fn denied<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Denied { store, reason }) => {
            assert_eq!(store, "the node");
            reason.split(' ').next().unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_node_conforms_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path(), &[])).await;
    conformance::run(&client(&server, Credentials::anonymous(identity(HOLDER))), 0).await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_is_needed_and_says_what_may_be_done() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path(), &[LAKE])).await;
    let shard = Bytes::from(bytes(1, 32 << 10));
    let owner = Credentials::owner(identity(9), LAKE, identity(OWNER), Operations::ALL);
    let owner = client(&server, owner);
    put(&owner, id(1), 3, &shard).await.unwrap();
    let other = LakeId([5; 16]);
    assert_eq!(denied(owner.fence(other, Term(1)).await), "lake");

    let stranger = client(&server, Credentials::anonymous(identity(HOLDER)));
    assert_eq!(denied(stranger.get(id(1), 0, 1).await), "closed");
    assert_eq!(denied(stranger.space().await), "closed");
    assert_eq!(denied(stranger.fence(LAKE, Term(9)).await), "closed");

    let reads = Capability { operations: Operations::READ, ..capability() };
    let reader = client(&server, given(reads));
    assert_eq!(reader.get(id(1), 0, 32 << 10).await.unwrap(), shard);
    assert_eq!(reader.list(LAKE, None, 10).await.unwrap().len(), 1);
    assert_eq!(reader.head(LAKE).await.unwrap(), None);
    let audit = Audit { shard: id(1), seed: [1; 32], samples: 2 };
    audit.verify(&name(&shard), 32 << 10, &reader.prove(audit).await.unwrap()).unwrap();
    assert_eq!(denied(put(&reader, id(2), 5, &shard).await), "operation");
    assert_eq!(denied(reader.delete(id(1), Term(5)).await), "operation");
    assert_eq!(denied(reader.fence(LAKE, Term(5)).await), "operation");
    let head = StoredHead { term: Term(5), number: 1, bytes: Bytes::from_static(b"head") };
    assert_eq!(denied(reader.put_head(LAKE, head.clone()).await), "operation");
    assert_eq!(denied(reader.stat(ShardId { lake: LakeId([5; 16]), ..id(1) }).await), "lake");

    let one = client(&server, given(Capability { scope: Scope::Shard(id(1)), ..capability() }));
    assert!(one.stat(id(1)).await.unwrap().is_some());
    assert_eq!(denied(one.stat(id(2)).await), "shard");
    assert_eq!(denied(one.list(LAKE, None, 1).await), "shard");
    assert_eq!(denied(one.put_head(LAKE, head).await), "shard");

    let writer = client(&server, given(capability()));
    put(&writer, id(2), 5, &shard).await.unwrap();
    assert_eq!(denied(put(&writer, id(3), 6, &shard).await), "term");
    assert_eq!(denied(writer.fence(LAKE, Term(6)).await), "term");
    // a capability of an older term than the lake has seen: the fence answers
    let old = client(&server, given(Capability { term: Term(4), ..capability() }));
    let fenced = put(&old, id(3), 4, &shard).await;
    assert!(matches!(fenced, Err(StoreError::Fenced { seen: Term(5), .. })), "{fenced:?}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capabilities_that_are_not_good_open_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path(), &[LAKE])).await;
    let shown = async |credentials| denied(client(&server, credentials).space().await);
    let past = Capability { issued: now() - 1000, expires: now() - 400, ..capability() };
    assert_eq!(shown(given(past)).await, "expired");
    let within_skew = Capability { issued: now() - 1000, expires: now() - 100, ..capability() };
    client(&server, given(within_skew)).space().await.unwrap();
    let future = Capability { issued: now() + 400, expires: now() + 1000, ..capability() };
    assert_eq!(shown(given(future)).await, "early");
    let signed = capability().sign(&identity(8));
    assert_eq!(shown(Credentials::given(identity(HOLDER), signed)).await, "foreign");
    let elsewhere = Capability { lake: LakeId([5; 16]), ..capability() };
    assert_eq!(shown(given(elsewhere)).await, "foreign");
    // a node that was shown a capability cannot use it at another node: it does not hold the key
    let stolen = capability().sign(&identity(OWNER));
    assert_eq!(shown(Credentials::given(identity(8), stolen)).await, "holder");
    let long = Capability { expires: now() + LIFE_MAX.as_secs() + 10, ..capability() };
    assert_eq!(shown(given(long)).await, "malformed");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_under_the_address_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path(), &[])).await;
    let other = identity(9).public();
    let store = with(&server, other, Credentials::anonymous(identity(HOLDER)));
    let error = store.space().await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
    let told = format!("the node there has key {}, not {other}", identity(NODE).public());
    assert!(error.to_string().contains(&told), "{error}");
    // who does not speak TLS gets no answer, and who says nothing keeps nobody waiting
    let silent = TcpStream::connect(server.local_addr()).await.unwrap();
    let mut plain = TcpStream::connect(server.local_addr()).await.unwrap();
    plain.write_all(b"*1\r\n$9\r\nPDB.SPACE\r\n").await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(20), plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"*"), "{read:?} {answer:?}");
    client(&server, Credentials::anonymous(identity(HOLDER))).space().await.unwrap();
    drop(silent);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_node_takes_0_db_on_its_unix_socket_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir.path().join("node"), &[LAKE]);
    let path = dir.path().join("socket");
    config.socket = Some(path.clone());
    let server = start(config).await;
    let mut unix = UnixStream::connect(&path).await.unwrap();
    let set = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    unix.write_all(set).await.unwrap();
    let mut answer = [0; 7];
    unix.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"$1\r\nk\r\n");

    let connector = tokio_rustls::TlsConnector::from(prunedb_access::tls::client(
        &identity(HOLDER),
        server.key().unwrap(),
    ));
    let tcp = TcpStream::connect(server.local_addr()).await.unwrap();
    let mut tcp = connector.connect(prunedb_access::tls::no_name(), tcp).await.unwrap();
    tcp.write_all(set).await.unwrap();
    tcp.flush().await.unwrap();
    let mut answer = [0; 14];
    tcp.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"-DENIED closed");
    server.shutdown().await;
}

#[tokio::test]
async fn a_closed_node_does_not_start_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), &[LAKE]);
    config.tls = None;
    let started = NodeServer::start(config, Arc::new(RealDisk)).await;
    assert!(matches!(started, Err(ServeError::ClosedWithoutTls)));
}

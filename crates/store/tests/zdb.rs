//! A 0-db server (our node speaks its protocol) passes the suite that all stores pass; where it fails, that is said.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use bytes::Bytes;
use prunedb_core::{ContainerId, Digest, LakeId, ShardId, ShardIndex, Term};
use prunedb_disk::RealDisk;
use prunedb_node::{NodeConfig, NodeServer};
use prunedb_store::{NodeOptions, PutMode, ShardStore, StoreError, conformance, connect};
use std::{path::Path, sync::Arc};

async fn server(dir: &Path) -> NodeServer {
    let listen = "127.0.0.1:0".parse().unwrap();
    NodeServer::start(NodeConfig::new(listen, dir, 10_000_000_000), Arc::new(RealDisk))
        .await
        .unwrap()
}

fn zdb(server: &NodeServer) -> Arc<dyn ShardStore> {
    let address = format!("zdb://{}/shards", server.local_addr());
    connect(&address, NodeOptions::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_0_db_namespace_conforms_and_keeps_what_it_took() {
    let dir = tempfile::tempdir().unwrap();
    let node = server(dir.path()).await;
    conformance::run(&*zdb(&node), 0).await;
    let before = zdb(&node).space().await.unwrap();
    node.shutdown().await;
    let node = server(dir.path()).await;
    let store = zdb(&node);
    assert_eq!(store.space().await.unwrap().shards, before.shards);
    conformance::run(&*store, 1).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_is_out_of_reach_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = server(dir.path()).await;
    let store = zdb(&node);
    let container = ContainerId::data(1);
    let id = ShardId { lake: LakeId([5; 16]), container, index: ShardIndex(0) };
    let shard = Bytes::from(vec![9; 700_000]);
    let mut upload = store.put(id, Term(1), 700_000, PutMode::IfAbsent).await.unwrap();
    upload.write(shard.clone()).await.unwrap();
    upload.commit(Digest(*blake3::hash(&shard).as_bytes())).await.unwrap();
    assert_eq!(store.get(id, 300_000, 100_000).await.unwrap(), shard[300_000..400_000]);
    node.shutdown().await;
    let gone = store.get(id, 0, 1).await.unwrap_err();
    assert!(matches!(gone, StoreError::Unreachable { .. }), "{gone}");
}

//! Nodes and their client over real sockets.

use prunedb_disk::RealDisk;
use prunedb_node::{NodeConfig, NodeServer};
use prunedb_store::{NodeOptions, NodeStore, conformance};
use std::{path::Path, sync::Arc};

async fn start(dir: &Path) -> NodeServer {
    let config = NodeConfig::new("127.0.0.1:0".parse().unwrap(), dir, 1 << 30);
    NodeServer::start(config, Arc::new(RealDisk)).await.unwrap()
}

fn client(server: &NodeServer) -> NodeStore {
    NodeStore::new(server.local_addr().to_string(), NodeOptions::default())
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

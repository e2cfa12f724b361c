//! Scrubbing finds damage that nobody has read, goes on after a restart, and the node tells about itself.

use crate::support::{FIRST, bytes, get, id, open, put, put_as};
use prunedb_disk::{RealDisk, faulty::FaultyDisk};
use prunedb_node::{NodeConfig, NodeError, NodeServer, PutMode};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const NOW: u64 = 1_800_000_000;

#[test]
fn scrubbing_finds_damage_that_nobody_read() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    for number in 0..10 {
        put(&node, id(number), 1, &bytes(number.into(), 50_000)).unwrap();
    }
    // in the data of the third shard: each takes 13 pages, behind the segment's first
    disk.flip(FIRST, 4096 + 2 * 13 * 4096 + 20_000, 1);
    let mut checked = 0;
    while let Some(shard_bytes) = node.scrub_step(NOW).unwrap() {
        checked += shard_bytes;
    }
    assert_eq!(checked, 500_000);
    let status = node.scrub_status();
    assert_eq!((status.rounds, status.damaged_count), (1, 1));
    assert_eq!((status.last_ended, status.began, status.bytes), (NOW, 0, 0));
    assert_eq!(status.damaged, [id(2)]);
    assert!(matches!(get(&node, id(2)), Err(NodeError::Damaged { .. })));
    // and a put mends it
    put_as(&node, id(2), 1, &bytes(2, 50_000), PutMode::IfAbsent).unwrap();
    while node.scrub_step(NOW).unwrap().is_some() {}
    assert_eq!(node.scrub_status().damaged_count, 1);
}

#[test]
fn a_round_goes_on_after_a_restart() {
    let disk = FaultyDisk::default();
    let node = open(&disk);
    for number in 0..10 {
        put(&node, id(number), 1, &bytes(1, 1000)).unwrap();
    }
    for _ in 0..4 {
        node.scrub_step(NOW).unwrap().unwrap();
    }
    node.checkpoint().unwrap();
    drop(node);
    let node = open(&disk);
    let status = node.scrub_status();
    assert_eq!((status.began, status.shards, status.bytes), (NOW, 4, 4000));
    for _ in 4..10 {
        assert!(node.scrub_step(NOW).unwrap().is_some());
    }
    assert_eq!((node.scrub_step(NOW).unwrap(), node.scrub_status().rounds), (None, 1));
    drop(node);
    disk.flip("/node/scrub", 10, 1);
    // a damaged note costs a round
    let node = open(&disk);
    assert_eq!((node.report().damage_count, node.scrub_status().rounds), (0, 0));
    assert!(node.scrub_step(NOW).unwrap().is_some());
}

#[tokio::test]
async fn a_node_tells_how_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let mut config = NodeConfig::new(listen, dir.path(), 1 << 30);
    config.metrics = Some(listen);
    let server = NodeServer::start(config, Arc::new(RealDisk)).await.unwrap();
    let ask = async |request: &[u8]| {
        let mut socket = TcpStream::connect(server.metrics_addr().unwrap()).await.unwrap();
        socket.write_all(request).await.unwrap();
        let mut text = String::new();
        // a reset is an answer, too
        _ = socket.read_to_string(&mut text).await;
        text
    };
    let metrics = ask(b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n").await;
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("\nprunedb_node_shards 0\n"), "{metrics}");
    assert!(metrics.contains("# TYPE prunedb_node_commands_total counter\n"), "{metrics}");
    let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    assert!(ask(b"GET /healthz HTTP/1.1\r\n\r\n").await.ends_with("\r\n\r\nok\n"));
    assert!(ask(b"GET /other HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
    assert!(ask(b"POST /metrics HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
    assert!(ask(b"rubbish\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
    assert_eq!(ask(&[b'x'; 20_000]).await, "");
    server.shutdown().await;
}

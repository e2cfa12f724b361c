//! 24 nodes in one process, shards put and read over loopback TCP, in the clear and over TLS: MB/s and CPU seconds per
//! GB, both ends together.
//!
//! `cargo bench -p prunedb-node --bench throughput [-- FOLDER]`; the folder should be on tmpfs.
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use bytes::Bytes;
use prunedb_access::{Credentials, Identity};
use prunedb_core::{ContainerId, Digest, LakeId, ShardId, ShardIndex, Term};
use prunedb_disk::RealDisk;
use prunedb_node::{NodeConfig, NodeServer};
use prunedb_store::{NodeOptions, NodeStore, PutMode, ShardStore};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use zeroize::Zeroizing;

const NODES: u8 = 24;
const CONTAINERS: u32 = 10;
const SHARD_BYTES: usize = 5 << 20;
const PIECE_BYTES: usize = 64 << 10;

/// User and system seconds of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1000
}

struct Measure {
    start: Instant,
    cpu: f64,
}

impl Measure {
    fn start() -> Self {
        Self { start: Instant::now(), cpu: cpu_seconds() }
    }

    fn report(&self, what: &str) {
        let bytes = f64::from(u32::from(NODES) * CONTAINERS) * SHARD_BYTES as f64;
        let (seconds, cpu) = (self.start.elapsed().as_secs_f64(), cpu_seconds() - self.cpu);
        println!(
            "{what}: {:.0} MB/s, {:.2} CPU-s per GB, peak {} MB",
            bytes / seconds / 1e6,
            cpu / bytes * 1e9,
            peak_mb()
        );
    }
}

fn id(container: u32, index: u8) -> ShardId {
    let container = ContainerId::data(container);
    ShardId { lake: LakeId([9; 16]), container, index: ShardIndex(index) }
}

async fn all<F: Future<Output = ()> + Send + 'static>(tasks: impl Iterator<Item = F>) {
    let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn main() {
    let dir = std::env::args().skip(1).find(|a| !a.starts_with("--")).map(PathBuf::from);
    let dir = tempfile::tempdir_in(dir.unwrap_or_else(std::env::temp_dir)).unwrap();
    let mut bytes = vec![0; SHARD_BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let shard = Bytes::from(bytes);
    let name = Digest(*blake3::hash(&shard).as_bytes());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for tls in [false, true] {
        println!("{}", if tls { "over TLS" } else { "in the clear" });
        let dir = dir.path().join(if tls { "tls" } else { "clear" });
        runtime.block_on(run(&dir, tls, &shard, name));
        std::fs::remove_dir_all(dir).unwrap();
    }
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(Zeroizing::new([seed; 32]))
}

async fn run(dir: &Path, tls: bool, shard: &Bytes, name: Digest) {
    let mut servers = Vec::new();
    let mut stores = Vec::new();
    for node in 0..NODES {
        let listen = "127.0.0.1:0".parse().unwrap();
        let mut config = NodeConfig::new(listen, dir.join(node.to_string()), 1 << 40);
        config.tls = tls.then(|| Arc::new(identity(1)));
        let server = NodeServer::start(config, Arc::new(RealDisk)).await.unwrap();
        let address = server.local_addr().to_string();
        let options = NodeOptions::default();
        stores.push(Arc::new(match server.key() {
            Some(key) => {
                let credentials = Credentials::anonymous(identity(2));
                NodeStore::with_tls(address.clone(), address, key, credentials, options)
            }
            None => NodeStore::new(address, options),
        }));
        servers.push(server);
    }
    let each = || stores.iter().zip(0_u8..).map(|(store, index)| (Arc::clone(store), index));

    let measure = Measure::start();
    all(each().map(|(store, index)| {
        let shard = shard.clone();
        async move {
            for container in 0..CONTAINERS {
                let id = id(container, index);
                let put = store.put(id, Term(1), shard.len() as u64, PutMode::IfAbsent);
                let mut upload = put.await.unwrap();
                for at in (0..shard.len()).step_by(PIECE_BYTES) {
                    let end = shard.len().min(at + PIECE_BYTES);
                    upload.write(shard.slice(at..end)).await.unwrap();
                }
                upload.commit(name).await.unwrap();
            }
        }
    }))
    .await;
    measure.report("put, 24 nodes, 5 MiB shards in 64 KiB pieces");

    for (what, range) in [("get 1 MiB", 1 << 20), ("get 64 KiB", 64 << 10)] {
        let measure = Measure::start();
        all(each().map(|(store, index)| {
            let shard = shard.clone();
            async move {
                for container in 0..CONTAINERS {
                    for at in (0..SHARD_BYTES).step_by(range) {
                        let count = u32::try_from(range).unwrap();
                        let got = store.get(id(container, index), at as u64, count);
                        assert!(got.await.unwrap().len() == shard[at..at + range].len());
                    }
                }
            }
        }))
        .await;
        measure.report(what);
    }
    for server in servers {
        server.shutdown().await;
    }
}

//! How long a node takes to start, and the memory it has then: from the snapshot of a clean stop, and by looking at every
//! record, as after the loss of the snapshot.
//!
//! `cargo bench -p prunedb-node --bench start [-- SHARDS [FOLDER]]`; a million shards of 1 KiB by default, 4 GiB of disk.
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use prunedb_core::{ContainerId, Digest, LakeId, ShardId, ShardIndex, Term};
use prunedb_disk::RealDisk;
use prunedb_node::{Node, NodeConfig, PutMode};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

/// Tells this program that it is to open a folder and to leave.
const OPEN: &str = "open-folder";

fn open(dir: &Path) -> Node {
    let config = NodeConfig::new("127.0.0.1:0".parse().unwrap(), dir, 1 << 50);
    Node::open(config, Arc::new(RealDisk)).unwrap()
}

fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let [first, dir] = &arguments[..]
        && first == OPEN
    {
        let before = peak_bytes();
        let start = Instant::now();
        let node = open(dir.as_ref());
        let (seconds, peak) = (start.elapsed().as_secs_f64(), peak_bytes() - before);
        let report = node.report();
        println!(
            "{} shards, {} of {} segments walked: {seconds:.2} s, {:.0} bytes of memory a shard at the peak",
            report.shards,
            report.segments_walked,
            report.segments,
            peak as f64 / report.shards as f64
        );
        return;
    }
    let shards: u32 = arguments.first().map_or(1_000_000, |count| count.parse().unwrap());
    let dir = arguments.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(dir).unwrap();
    let shard = [7; 1024];
    let name = Digest(*blake3::hash(&shard).as_bytes());
    let node = open(dir.path());
    for number in 0..shards {
        let container = ContainerId::data(number);
        let id = ShardId { lake: LakeId([9; 16]), container, index: ShardIndex(0) };
        let mut upload = node.put(id, Term(1), 1024, PutMode::IfAbsent).unwrap();
        upload.write(0, &shard).unwrap();
        upload.commit(name, Term(1)).unwrap();
    }
    let start = Instant::now();
    node.checkpoint().unwrap();
    println!("stopped in {:.2} s", start.elapsed().as_secs_f64());
    drop(node);
    let open_elsewhere = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        assert!(command.arg(OPEN).arg(dir.path()).status().unwrap().success());
    };
    open_elsewhere();
    std::fs::remove_file(dir.path().join("snapshot")).unwrap();
    open_elsewhere();
}

//! The whole way of 512 MB into a lake of 24 real nodes over loopback, and back.
//!
//! `cargo bench -p prunedb-engine --bench offload [-- --mb 512] [--policy 16+4] [--dir D] [--json]`
//!
//! The writer is one process, all nodes are another; they share the machine's cores. The nodes' folders and the database's
//! are on tmpfs (`/dev/shm`) unless `--dir` says otherwise, so that the machine and not its disk is measured. Three inputs:
//! one that does not compress (compression gives up on it at once), one that compresses to two thirds, as modern blocks
//! do, and zeros. CPU seconds are user and system time, the writer's and the nodes' apart. Peak memory is the writer's, in a
//! run of its own for each input. At the end one node is emptied and healed: repair is told in MB that it has to read of
//! the others, by second and by CPU second, nodes and writing included.

use prunedb_disk::RealDisk;
use prunedb_engine::{Db, Depth, LakeSecret, Options, TableKind};
use prunedb_node::{NodeConfig, NodeServer};
use prunedb_store::{NodeOptions, NodeStore, ShardStore};
use serde_json::json;
use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Instant,
};

const INPUTS: [&str; 3] = ["incompressible", "two thirds", "zeros"];
const VALUE_BYTES: usize = 100_000;

struct Arguments {
    mb: u64,
    policy: String,
    dir: PathBuf,
    json: bool,
    /// run this input only, and print one line of JSON: what the parent starts
    input: Option<usize>,
    /// be so many nodes in the folder, print their addresses, and end with stdin: what that one starts
    nodes: Option<usize>,
}

fn main() {
    let arguments = arguments();
    if let Some(count) = arguments.nodes {
        return be_nodes(&arguments.dir, count);
    }
    if let Some(input) = arguments.input {
        println!("{}", run(&arguments, input));
        return;
    }
    let mut rows = Vec::new();
    for input in 0..INPUTS.len() {
        // a process of its own, so that its peak memory is its own
        let output = Command::new(std::env::current_exe().expect("the running program has a path"))
            .args(["--input", &input.to_string(), "--mb", &arguments.mb.to_string()])
            .args(["--policy", &arguments.policy, "--dir"])
            .arg(&arguments.dir)
            .output()
            .expect("the benchmark starts itself");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        rows.push(
            serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("a line of JSON"),
        );
    }
    if arguments.json {
        println!("{}", json!({ "mb": arguments.mb, "policy": arguments.policy, "inputs": rows }));
        return;
    }
    println!(
        "offload of {} MB at {}, nodes on {}",
        arguments.mb,
        arguments.policy,
        arguments.dir.display()
    );
    println!(
        "{:<15} {:>7} {:>12} {:>12} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11} {:>9}",
        "input",
        "coded",
        "offload MB/s",
        "read MB/s",
        "put MB/s",
        "offl CPU/GB",
        "  its nodes",
        "read CPU/GB",
        "  its nodes",
        "repair MB/s",
        "MB/CPU-s",
        "peak MB"
    );
    for row in rows {
        let number = |name: &str| row[name].as_f64().expect("a number");
        println!(
            "{:<15} {:>6.1}% {:>12.0} {:>12.0} {:>11.0} {:>11.2} {:>11.2} {:>11.2} {:>11.2} {:>11.0} {:>11.0} {:>9.0}",
            row["input"].as_str().expect("a name"),
            number("coded_share") * 100.0,
            number("offload_mbps"),
            number("read_back_mbps"),
            number("put_mbps"),
            number("offload_cpu_s_per_gb"),
            number("offload_nodes_cpu_s_per_gb"),
            number("read_back_cpu_s_per_gb"),
            number("read_back_nodes_cpu_s_per_gb"),
            number("repair_read_mbps"),
            number("repair_read_mb_per_cpu_s"),
            number("peak_mb"),
        );
    }
}

fn arguments() -> Arguments {
    let mut out = Arguments {
        mb: 512,
        policy: "16+4".into(),
        dir: "/dev/shm".into(),
        json: false,
        input: None,
        nodes: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--mb" => out.mb = value().parse().expect("a number of MB"),
            "--policy" => out.policy = value(),
            "--dir" => out.dir = value().into(),
            "--input" => out.input = Some(value().parse().expect("a number")),
            "--nodes" => out.nodes = Some(value().parse().expect("a number")),
            "--json" => out.json = true,
            "--bench" => {} // cargo says so
            other => panic!("unknown argument {other}"),
        }
    }
    out
}

fn run(arguments: &Arguments, input: usize) -> serde_json::Value {
    let dir = tempfile::Builder::new()
        .prefix("prunedb-bench-")
        .tempdir_in(&arguments.dir)
        .expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let policy: prunedb_core::Policy = arguments.policy.parse().expect("a policy");
    let count = policy.total_shards() + 4;
    let nodes = Nodes::start(dir.path(), count);
    let addresses = nodes.addresses.clone();
    let options = Options::new(dir.path().join("db"), policy);
    let secret = || LakeSecret::new(prunedb_codec::Key::new([3; 32]));
    let disk: Arc<dyn prunedb_disk::Disk> = Arc::new(RealDisk);
    Db::create(&disk, &options, secret().lake_id(), addresses).expect("a new database");
    let connect = |address: &str| {
        Arc::new(NodeStore::new(address, NodeOptions::default())) as Arc<dyn ShardStore>
    };
    let db =
        Db::open(disk, options, secret(), &connect, runtime.handle().clone()).expect("it opens");

    let table = db.ensure_table("bench", TableKind::Sequence).expect("a table");
    let records = arguments.mb * 1_000_000 / VALUE_BYTES as u64;
    let start = Instant::now();
    for record in 0..records {
        let value = value(input, record);
        db.append(&[(&table, &record.to_be_bytes(), &value)]).expect("a put");
    }
    db.commit().expect("durable");
    let put_seconds = start.elapsed().as_secs_f64();

    let (_, offloaded) = nodes.measure(|| db.flush(&mut |_| {}).expect("offloaded"));
    let (evicted, read) = nodes.measure(|| db.evict(&mut |_| {}).expect("evicted"));
    assert!(evicted.kept.is_empty(), "{evicted:?}");
    let status = db.status().expect("a status");
    assert_eq!((status.local_data_bytes, status.waiting_offload), (0, 0));
    // a few records through the front door, so that what was measured is known to be right
    for record in (0..records).step_by(usize::try_from(records / 7 + 1).expect("few")) {
        let found = db.get(&table, &record.to_be_bytes()).expect("a read").expect("a record");
        assert!(found == value(input, record), "record {record}");
    }
    let (repaired, read_mb) = repair(&db, &nodes, &runtime);
    let mb = arguments.mb as f64;
    let per_gb = |seconds: f64| seconds / (mb / 1000.0);
    json!({
        "input": INPUTS[input],
        "coded_share": status.coded_bytes as f64 / status.container_bytes as f64,
        "put_mbps": mb / put_seconds,
        "offload_mbps": mb / offloaded.seconds,
        "offload_cpu_s_per_gb": per_gb(offloaded.writer_cpu),
        "offload_nodes_cpu_s_per_gb": per_gb(offloaded.nodes_cpu),
        "read_back_mbps": mb / read.seconds,
        "read_back_cpu_s_per_gb": per_gb(read.writer_cpu),
        "read_back_nodes_cpu_s_per_gb": per_gb(read.nodes_cpu),
        "repair_read_mbps": read_mb / repaired.seconds,
        "repair_read_mb_per_cpu_s": read_mb / (repaired.writer_cpu + repaired.nodes_cpu).max(0.01),
        "peak_mb": peak_bytes() as f64 / 1e6,
    })
}

/// What something took.
struct Took {
    seconds: f64,
    writer_cpu: f64,
    nodes_cpu: f64,
}

/// Another process, which is all the nodes.
struct Nodes {
    process: Child,
    addresses: Vec<String>,
}

impl Nodes {
    fn start(dir: &Path, count: usize) -> Self {
        let program = std::env::current_exe().expect("the running program has a path");
        let mut process = Command::new(program)
            .args(["--nodes", &count.to_string(), "--dir"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the nodes start");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines().take(count);
        let addresses: Vec<String> = lines.map(|line| line.expect("an address")).collect();
        assert_eq!(addresses.len(), count, "not all nodes came up");
        Self { process, addresses }
    }

    fn measure<T>(&self, what: impl FnOnce() -> T) -> (T, Took) {
        let nodes = self.process.id().to_string();
        let (start, writer_cpu, nodes_cpu) =
            (Instant::now(), cpu_seconds("self"), cpu_seconds(&nodes));
        let done = what();
        let took = Took {
            seconds: start.elapsed().as_secs_f64(),
            writer_cpu: cpu_seconds("self") - writer_cpu,
            nodes_cpu: cpu_seconds(&nodes) - nodes_cpu,
        };
        (done, took)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("the nodes end");
    }
}

/// The process of the nodes.
fn be_nodes(dir: &Path, count: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let servers: Vec<NodeServer> = (0..count).map(|n| runtime.block_on(start(dir, n))).collect();
    servers.iter().for_each(|server| println!("{}", server.local_addr()));
    std::io::stdin().read_to_end(&mut Vec::new()).expect("until the writer ends");
}

/// Empties one node and heals it: what that took, and MB that had to be read of the other nodes.
fn repair(db: &Db, nodes: &Nodes, runtime: &tokio::runtime::Runtime) -> (Took, f64) {
    let node = NodeStore::new(nodes.addresses[3].clone(), NodeOptions::default());
    let term = db.status().expect("a status").term;
    let lost: u64 = runtime.block_on(async {
        let mut bytes = 0;
        loop {
            let shards = node.list(db.lake(), None, 1000).await.expect("a list");
            if shards.is_empty() {
                return bytes;
            }
            for shard in shards {
                bytes += shard.bytes;
                node.delete(shard.id, term).await.expect("deleted");
            }
        }
    });
    let faults = db.verify(Depth::Quick, &mut |_| {}).expect("verified").faults;
    let (report, took) = nodes.measure(|| db.repair(false, &mut |_| {}).expect("repaired"));
    assert!(report.failed.is_empty() && report.repaired.len() == faults.len(), "{report:?}");
    let policy = db.status().expect("a status").policy;
    (took, (lost * policy.data_shards() as u64) as f64 / 1e6)
}

async fn start(dir: &Path, number: usize) -> NodeServer {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let config = NodeConfig::new(listen, dir.join(format!("nodes/{number:02}")), 100_000_000_000);
    NodeServer::start(config, Arc::new(RealDisk)).await.expect("a node")
}

/// A value of one of the inputs.
fn value(input: usize, record: u64) -> Vec<u8> {
    let mut state = record.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = vec![0; VALUE_BYTES];
    for (i, chunk) in out.chunks_mut(8).enumerate() {
        let random = match input {
            0 => true,
            1 => i % 3 != 0,
            _ => false,
        };
        if random {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let bytes = state.to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
    out
}

/// User and system time of a process.
fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux");
    // behind the name in parentheses: fields 14 and 15, in ticks of 10 ms
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|&f| fields[f].parse::<u64>().expect("ticks")).sum();
    ticks as f64 / 100.0
}

/// Most memory that this process ever held.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmHWM")).expect("peak resident memory");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("kB") * 1024
}

//! `prunedb bench node`: a storage node in a process of its own, and two threads that keep it busy.
//!
//! Each thread has a connection and sends its next requests while answers are on their way, a window of them at once.
//! The node's CPU time is read from the system, so that what the threads here take does not count.

use crate::{
    io::{Exit, Io, Step},
    text::rounded,
};
use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

const SMALL_BYTES: usize = 4 << 10;
const LARGE_BYTES: usize = 1 << 20;
/// Bytes of requests or answers that a thread has under way.
const WINDOW_BYTES: usize = 512 << 10;

#[derive(Args, Debug, Clone)]
pub(crate) struct BenchNode {
    /// Folder for the node [default: that of temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Connections, each with a thread
    #[arg(long, default_value = "2")]
    threads: NonZero<usize>,
    /// Keys of 4 KiB that each thread sets, and then gets in another order
    #[arg(long, default_value = "50000")]
    keys: u32,
    /// Values of 1 MiB that each thread gets
    #[arg(long, default_value = "1000")]
    large: u32,
}

/// One figure.
struct Figure {
    what: &'static str,
    operations: u64,
    bytes: usize,
    seconds: f64,
    cpu_seconds: f64,
}

impl Figure {
    fn json(&self) -> Value {
        json!({
            "what": self.what,
            "operations": self.operations,
            "value_bytes": self.bytes,
            "seconds": rounded(self.seconds),
            "node_cpu_seconds": rounded(self.cpu_seconds),
            "per_second": self.per(self.seconds).round(),
            "per_cpu_second": self.per(self.cpu_seconds).round(),
            "mb_per_cpu_second": (self.per(self.cpu_seconds) * self.bytes as f64 / 1e6).round(),
        })
    }

    fn per(&self, seconds: f64) -> f64 {
        self.operations as f64 / seconds.max(0.001)
    }
}

pub(super) fn run(args: &BenchNode, io: &mut Io) -> anyhow::Result<Exit> {
    let parent = args.dir.as_deref().map_or_else(std::env::temp_dir, |dir| io.path(dir));
    std::fs::create_dir_all(&parent)?;
    let mut figures = Vec::new();
    for (sync, set, get) in [
        (false, "SET of 4 KiB, without syncs", Some("GET of 4 KiB")),
        (true, "SET of 4 KiB, synced before it is answered", None),
    ] {
        let folder = tempfile::tempdir_in(&parent)?;
        let node = Node::start(folder.path(), sync)?;
        let mut measure =
            |what, operations, bytes, work: &(dyn Fn(u32) -> anyhow::Result<()> + Sync)| {
                io.sink.step(Step { what: format!("measuring {what}"), done: 0, total: 0 });
                figures.push(node.measure(what, args.threads.get(), operations, bytes, work)?);
                anyhow::Ok(())
            };
        let keys = args.keys;
        measure(set, keys, SMALL_BYTES, &|thread| node.set(thread, 0..keys, SMALL_BYTES))?;
        if let Some(get) = get {
            // a stride that meets every key once, in an order that no cache foresees
            let order = |n: u32| n.wrapping_mul(2_654_435_761) % keys;
            measure(get, keys, SMALL_BYTES, &|thread| node.get(thread, keys, order, SMALL_BYTES))?;
            let (held, first) = (64, keys);
            node.set(0, first..first + held, LARGE_BYTES)?;
            measure("GET of 1 MiB", args.large, LARGE_BYTES, &|_| {
                node.get(0, args.large, |n| first + n % held, LARGE_BYTES)
            })?;
        }
    }
    if io.json {
        let figures: Vec<Value> = figures.iter().map(Figure::json).collect();
        io.json(&json!({ "threads": args.threads, "figures": figures }))?;
        return Ok(Exit::Done);
    }
    io.line(format_args!(
        "{:44}{:>12}{:>16}{:>14}",
        "", "per second", "per CPU second", "MB per CPU-s"
    ))?;
    for figure in &figures {
        let (wall, cpu) = (figure.per(figure.seconds), figure.per(figure.cpu_seconds));
        let mb = cpu * figure.bytes as f64 / 1e6;
        io.line(format_args!("{:44}{wall:>12.0}{cpu:>16.0}{mb:>14.0}", figure.what))?;
    }
    Ok(Exit::Done)
}

/// A node's process; ended with it.
pub(super) struct Node {
    process: Child,
    pub(super) address: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Node {
    pub(super) fn start(dir: &Path, sync: bool) -> anyhow::Result<Self> {
        let this = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(this);
        command.args(["node", "run", "--json", "--listen", "127.0.0.1:0", "--capacity", "1TB"]);
        command.arg("--dir").arg(dir).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // generated shards have no bytes that its scrubber could find
        command.env("RUST_LOG", "warn,prunedb_node::scrub=off");
        if !sync {
            command.arg("--zdb-no-sync");
        }
        let mut process = command.spawn().context("cannot start a node")?;
        let out = process.stdout.take().context("the node's output is a pipe")?;
        let said = serde_json::Deserializer::from_reader(out).into_iter::<Value>().next();
        let said = said.context("the node did not start")?.context("the node did not start")?;
        let address = said["listen"].as_str().context("the node says where it listens")?.to_owned();
        Ok(Self { process, address })
    }

    fn measure(
        &self,
        what: &'static str,
        threads: usize,
        operations: u32,
        bytes: usize,
        work: &(dyn Fn(u32) -> anyhow::Result<()> + Sync),
    ) -> anyhow::Result<Figure> {
        let (begun, cpu) = (Instant::now(), self.cpu_seconds()?);
        thread::scope(|scope| {
            let threads = u32::try_from(threads)?;
            let running: Vec<_> = (0..threads).map(|nth| scope.spawn(move || work(nth))).collect();
            running.into_iter().try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(_) => bail!("a thread panicked"),
            })
        })?;
        let (seconds, cpu_seconds) = (begun.elapsed().as_secs_f64(), self.cpu_seconds()? - cpu);
        let operations = u64::from(operations) * threads as u64;
        Ok(Figure { what, operations, bytes, seconds, cpu_seconds })
    }

    /// User and system seconds of the node's process.
    fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: Vec<f64> =
            fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
        ensure!(ticks.len() == 2, "the system does not say how much CPU the node took");
        Ok((ticks[0] + ticks[1]) / 100.0)
    }

    /// Memory that the node's process had at most.
    pub(super) fn peak_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.context("the system does not say how much memory the node has")? * 1024)
    }

    fn set(&self, thread: u32, keys: std::ops::Range<u32>, bytes: usize) -> anyhow::Result<()> {
        let mut value = vec![0; bytes];
        getrandom::fill(&mut value).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
        let answer_bytes = b"$14\r\n".len() + 14 + 2;
        self.exchange(keys, bytes, answer_bytes, |n, out| {
            out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
            put_key(thread, n, out);
            // no two values are the same
            value[..4].copy_from_slice(&n.to_le_bytes());
            write!(out, "${bytes}\r\n")?;
            out.extend_from_slice(&value);
            out.extend_from_slice(b"\r\n");
            Ok(())
        })
    }

    fn get(
        &self,
        thread: u32,
        count: u32,
        key: impl Fn(u32) -> u32,
        bytes: usize,
    ) -> anyhow::Result<()> {
        let answer_bytes = format!("${bytes}\r\n").len() + bytes + 2;
        self.exchange(0..count, bytes, answer_bytes, |n, out| {
            out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
            put_key(thread, key(n), out);
            Ok(())
        })
    }

    /// Sends requests, a window at a time, and counts the bytes of their answers.
    fn exchange(
        &self,
        requests: std::ops::Range<u32>,
        bytes: usize,
        answer_bytes: usize,
        mut put: impl FnMut(u32, &mut Vec<u8>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut socket = TcpStream::connect(&self.address)?;
        socket.set_nodelay(true)?;
        let window = u32::try_from((WINDOW_BYTES / bytes).max(2))?;
        let half = (window / 2).max(1);
        let (mut out, mut input) = (Vec::new(), vec![0; 256 << 10]);
        let (mut sent, mut answered, mut read) = (requests.start, requests.start, 0);
        while answered < requests.end {
            if sent - answered <= half && sent < requests.end {
                out.clear();
                for _ in 0..half.min(requests.end - sent) {
                    put(sent, &mut out)?;
                    sent += 1;
                }
                socket.write_all(&out)?;
            }
            let count = socket.read(&mut input)?;
            ensure!(count > 0, "the node closed the connection");
            ensure!(read > 0 || input[0] == b'$', "the node refuses: {}", refusal(&input[..count]));
            read += count;
            while answered < sent && read >= answer_bytes {
                read -= answer_bytes;
                answered += 1;
            }
        }
        Ok(())
    }
}

fn put_key(thread: u32, n: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("$14\r\nkey-{thread:02}{n:08}\r\n").as_bytes());
}

fn refusal(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned()
}

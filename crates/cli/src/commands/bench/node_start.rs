//! `prunedb bench node-start`: how long a storage node with very many shards takes to start, the memory that it needs, and
//! what finding a shard costs.
//!
//! The index is a real one of shards that are not there. The node is a process of its own, asked over loopback, so each
//! figure stands beside a PING on the same connection.

use super::node::Node;
use crate::{
    io::{Exit, Io, Step},
    text::{rounded, size},
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_disk::{Disk, Open, RealDisk};
use prunedb_node::GeneratedIndex;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Instant,
};

/// Lookups and PINGs that are measured, by hand in turn.
const LOOKUPS: u64 = 20_000;
/// Those where no page was in the system's memory before.
const COLD_LOOKUPS: u64 = 2_000;
/// What the index takes on the disk for each shard, about.
const INDEX_BYTES: u64 = 82;
const PONG: &[u8] = b"+PONG\r\n";
/// A shard's id, bytes, term and name, as a bulk string.
const STAT_BYTES: usize = 79;

#[derive(Args, Debug, Clone)]
pub(crate) struct BenchNodeStart {
    /// How many shards of 5 MB the node is made to believe in, such as 1e8
    #[arg(long, default_value = "1e7", value_parser = super::scale::count)]
    shards: u64,
    /// Folder for the node; 80 bytes a shard are written there [default: that of temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Microseconds of many of something.
struct Micros(Vec<f64>);

impl Micros {
    fn of(count: u64, mut each: impl FnMut(u64) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let mut micros = Vec::new();
        for nth in 0..count {
            let begun = Instant::now();
            each(nth)?;
            micros.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        micros.sort_by(f64::total_cmp);
        Ok(Self(micros))
    }

    fn percentile(&self, percent: usize) -> f64 {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }

    fn json(&self) -> Value {
        json!({ "p50_us": rounded(self.percentile(50)), "p99_us": rounded(self.percentile(99)) })
    }

    fn line(&self, io: &mut Io, what: &str) -> anyhow::Result<()> {
        let (half, most) = (self.percentile(50), self.percentile(99));
        Ok(io.line(format_args!("{what:44}{half:10.1}{most:10.1}"))?)
    }
}

pub(super) fn run(args: &BenchNodeStart, io: &mut Io) -> anyhow::Result<Exit> {
    let parent = args.dir.as_deref().map_or_else(std::env::temp_dir, |dir| io.path(dir));
    let made = std::fs::create_dir_all(&parent).and_then(|()| tempfile::tempdir_in(&parent));
    let folder = made.with_context(|| {
        format!("cannot create a folder in {}: choose another one with --dir", parent.display())
    })?;
    let dir = folder.path();
    let it = GeneratedIndex { shards: args.shards };
    it.write(&RealDisk, dir, &mut |done| {
        io.sink.step(Step::counted("writing an index", done, args.shards));
    })
    .with_context(|| {
        let (bytes, parent) = (size(INDEX_BYTES * args.shards), parent.display());
        format!("cannot write {bytes} of index into {parent}: choose a larger disk with --dir, or fewer --shards")
    })?;

    drop_cached(dir)?;
    let begun = Instant::now();
    let node = Node::start(dir, true)?;
    let cold_start = begun.elapsed().as_secs_f64();
    let memory_at_start = node.peak_bytes()?;
    let mut client = Client::connect(&node.address)?;
    drop_cached(dir)?;
    // a stride that is prime to any count of shards meets them in an order that no cache foresees
    let number = |nth: u64| nth.wrapping_mul(0x9E37_79B9_7F4A_7C15) % it.shards;
    let cold = Micros::of(COLD_LOOKUPS, |nth| client.stat(&it, number(nth)))?;
    for nth in 0..LOOKUPS {
        client.stat(&it, number(nth))?;
    }
    let warm = Micros::of(LOOKUPS, |nth| client.stat(&it, number(nth)))?;
    let ping = Micros::of(LOOKUPS, |_| client.ping())?;
    let memory = node.peak_bytes()?;
    drop(node);
    let begun = Instant::now();
    let node = Node::start(dir, true)?;
    let warm_start = begun.elapsed().as_secs_f64();
    drop(node);

    if io.json {
        io.json(&json!({
            "shards": it.shards,
            "shard_bytes": it.bytes(),
            "segments": it.segments(),
            "start_cold_seconds": rounded(cold_start),
            "start_warm_seconds": rounded(warm_start),
            "memory_at_start_bytes": memory_at_start,
            "memory_bytes": memory,
            "lookup_cold": cold.json(),
            "lookup_warm": warm.json(),
            "ping": ping.json(),
        }))?;
        return Ok(Exit::Done);
    }
    io.line(format_args!(
        "{} shards, {}, in {} segments",
        it.shards,
        size(it.bytes()),
        it.segments()
    ))?;
    io.line(format_args!(
        "start {cold_start:.2} s with nothing cached, {warm_start:.2} s again; memory {}, {} after the lookups",
        size(memory_at_start),
        size(memory)
    ))?;
    io.line(format_args!("{:44}{:>10}{:>10}", "round trips, us", "p50", "p99"))?;
    cold.line(io, "PDB.STAT of any shard, pages not cached")?;
    warm.line(io, "PDB.STAT of any shard, cached")?;
    ping.line(io, "PING")?;
    Ok(Exit::Done)
}

/// Takes the index out of the system's memory.
fn drop_cached(dir: &Path) -> anyhow::Result<()> {
    prunedb_bench::process::drop_cached(&dir.join("index"))?;
    Ok(RealDisk.open(&dir.join("snapshot"), Open::Read)?.drop_cached()?)
}

/// One connection, one request at a time.
struct Client(TcpStream);

impl Client {
    fn connect(address: &str) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        Ok(Self(socket))
    }

    fn ping(&mut self) -> anyhow::Result<()> {
        self.0.write_all(b"*1\r\n$4\r\nPING\r\n")?;
        let mut answer = [0; PONG.len()];
        self.0.read_exact(&mut answer)?;
        ensure!(answer == PONG, "the node refuses a PING");
        Ok(())
    }

    fn stat(&mut self, it: &GeneratedIndex, number: u64) -> anyhow::Result<()> {
        let id = it.id(number).to_bytes();
        self.0.write_all(&[b"*2\r\n$8\r\nPDB.STAT\r\n$24\r\n", &id[..], b"\r\n"].concat())?;
        let mut answer = [0; STAT_BYTES];
        // a refusal is shorter, but the id tells
        self.0.read_exact(&mut answer[..5])?;
        ensure!(answer.starts_with(b"$72\r\n"), "the node does not find shard {number}");
        self.0.read_exact(&mut answer[5..])?;
        ensure!(answer[5..].starts_with(&id), "the node finds another shard than {number}");
        Ok(())
    }
}

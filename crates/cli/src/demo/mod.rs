//! `prunedb demo`: the whole story on one machine, with the code that runs everywhere else.
//!
//! ```text
//! put (offloading meanwhile) -> evict every local byte -> stop three nodes, damage a fourth one's disk
//!   -> read everything back and compare -> repair, slots of stopped nodes move away -> check every shard -> report
//! ```
//! What was put is remembered as digests only, so what is compared comes from the lake.

mod bitcoin;
mod ledger;
mod market;
mod report;

use crate::{
    archive::DbArchive,
    args::{Demo, Init},
    commands::{find_files, import_files, init},
    config::{Layers, Source},
    io::{Exit, Io, Step},
    session::Session,
    temporary,
    text::{count, size},
};
use anyhow::{Context, bail, ensure};
use ledger::{Ledger, ReadBack};
use prunedb_chains::ethereum::{Hash32, Network, write_era1};
use prunedb_engine::{Depth, Status, TableKind, Verified};
use prunedb_local::{flip_bytes, local_address, local_index, record};
use report::Report;
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// Small enough that two of them take well under a minute.
const CONTAINER_BYTES: u64 = 64_000_000;
/// Containers that are filled.
const CONTAINERS: u64 = 2;
/// Nodes that are stopped; with the damaged one as many as 16+4 survives.
const STOPPED_NODES: usize = 3;
/// Rounds of repair and verification until everything is healthy.
const REPAIR_ROUNDS: usize = 3;

/// Runs the story; gives `No` where a byte differs.
pub(crate) fn run(
    args: &Demo,
    dir: Option<PathBuf>,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let temporary = if dir.is_none() { Some(temporary::folder(None, runtime)?) } else { None };
    let (dir, kept) = match (&dir, &temporary) {
        (Some(dir), _) => (dir.as_path(), true),
        (None, Some(temporary)) => (temporary.path(), false),
        (None, None) => bail!("a folder is needed"),
    };
    if let Ok(mut entries) = std::fs::read_dir(dir) {
        ensure!(
            entries.next().is_none(),
            "{} is not empty: the demo wants a new folder",
            dir.display()
        );
    }
    if args.marketplace {
        return market::run(args.cell, dir, runtime, io);
    }
    let mut layers = Layers::default();
    layers.set("container_bytes", CONTAINER_BYTES.to_string(), Source::Flag)?;
    let init = Init { policy: None, nodes: Vec::new(), local: Some(init::LOCAL_NODES) };
    let config = init::create(&init, layers, dir)?;
    let session = Session::open(dir, config, runtime.handle(), false)?;
    let told = tell(args, session, io)?;
    let exit = Exit::of(told.is_good());
    told.write(kept.then_some(dir), io)?;
    Ok(exit)
}

fn tell(args: &Demo, mut session: Session, io: &mut Io) -> anyhow::Result<Report> {
    let started = Instant::now();
    let ports = session.nodes.as_ref().map(|n| n.ports().to_vec()).unwrap_or_default();
    if let (Some(first), Some(last)) = (ports.first(), ports.last()) {
        io.note(format!(
            "{} nodes at {}, TCP {first} ... {last}",
            ports.len(),
            session.config.policy
        ));
    }
    let input = match &args.from {
        Some(path) => put_history(&io.path(path), &session, io)?,
        None => put_records(&session, io)?,
    };
    let status = session.db.status()?;
    let containers = count(status.containers, "container");
    io.note(format!("stored {} in {containers}, offloaded", size(input.ledger.value_bytes)));

    let evicted = session.db.evict(&mut |p| io.progress(p))?;
    ensure!(evicted.kept.is_empty(), "containers could not be evicted: {:?}", evicted.kept);
    let local_bytes = session.db.status()?.local_data_bytes;
    io.note(format!(
        "read back from random shards, compared, evicted: {local_bytes} local bytes are left"
    ));

    let (stopped, damaged, flipped) = break_nodes(&input.ledger, &mut session)?;
    io.note(format!(
        "stopped {}; flipped {flipped} bytes on the disk of {damaged}",
        stopped.join(", ")
    ));

    let reading = Instant::now();
    let total = input.ledger.value_bytes;
    let read_back = input.ledger.read_back(&session.db, |done| {
        io.sink.step(Step { what: "read back".into(), done, total });
    });
    let read_in = reading.elapsed();
    let files_identical = export_again(&input.files, &session)?;
    io.note(format!(
        "read everything back: {} of {} identical",
        read_back.identical,
        input.ledger.len()
    ));

    let healing = Instant::now();
    let healed = heal(&session, io)?;
    let healed_in = healing.elapsed();
    io.note("healed, every byte of every shard checked");

    let report = Report {
        took: started.elapsed(),
        policy: session.config.policy,
        nodes: ports.len(),
        local_bytes,
        stopped,
        damaged,
        flipped,
        read_back,
        read_in,
        files_identical,
        shards_rebuilt: healed.shards_rebuilt,
        slots_moved: healed.slots_moved,
        verified: healed.verified,
        healed_in,
        records: input.ledger.len(),
        value_bytes: input.ledger.value_bytes,
        stored_in: input.took,
        story: input.story,
        status,
    };
    session.close()?;
    Ok(report)
}

/// What was put, and how long it took until all of it was in the lake.
struct Input {
    ledger: Ledger,
    took: Duration,
    story: String,
    /// network, epoch and SHA-256 of each `.era1` file
    files: Vec<(Network, u64, Hash32)>,
}

/// A real Bitcoin block, and made-up records until two containers are full.
fn put_records(session: &Session, io: &mut Io) -> anyhow::Result<Input> {
    let started = Instant::now();
    let db = session.offloading();
    let mut ledger = Ledger::default();
    let raw = bitcoin::raw_block();
    let block = bitcoin::parse(raw).context("the Bitcoin block in this binary")?;
    let blocks = db.ensure_table("bitcoin/mainnet/block", TableKind::Sequence)?;
    let transactions = db.ensure_table("bitcoin/mainnet/transaction", TableKind::Keyed)?;
    let made_up = db.ensure_table("demo/made-up", TableKind::Keyed)?;
    let mut put = |table, key: &[u8], value: &[u8]| {
        ledger.note(table, key, value);
        db.append(&[(table, key, value)])
    };
    put(&blocks, &bitcoin::HEIGHT.to_be_bytes(), raw)?;
    for transaction in &block.transactions {
        put(&transactions, &transaction.id, &raw[transaction.bytes.clone()])?;
    }
    let total = CONTAINERS * CONTAINER_BYTES;
    let mut bytes = 2 * raw.len() as u64;
    for number in 0.. {
        let (key, value) = record(number);
        // what a container holds besides values is looked at now and then only
        if bytes >= total && number % 16 == 0 && db.containers()?.len() as u64 > CONTAINERS {
            break;
        }
        put(&made_up, &key, &value)?;
        bytes += value.len() as u64;
        io.sink.step(Step { what: "put".into(), done: bytes.min(total), total });
    }
    db.commit()?;
    db.flush(&mut |p| io.progress(p))?;
    let story = format!(
        "Bitcoin block {} ({}, {} transactions, Merkle root checked) and made-up records",
        bitcoin::HEIGHT,
        block.hash,
        block.transactions.len()
    );
    Ok(Input { ledger, took: started.elapsed(), story, files: Vec::new() })
}

/// Ethereum history, verified.
fn put_history(path: &Path, session: &Session, io: &mut Io) -> anyhow::Result<Input> {
    let files = find_files(&[path.to_owned()])?;
    let started = Instant::now();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let noted = Arc::clone(&ledger);
    let db = session.offloading();
    let observer = move |table: &_, key: &[u8], value: &[u8]| {
        noted.lock().unwrap_or_else(PoisonError::into_inner).note(table, key, value);
    };
    let archive = DbArchive::new(db.clone(), Arc::clone(&io.cancelled));
    let mut archive = archive.observed(Box::new(observer));
    let imported = import_files(&mut archive, &files, None, None, session.config.threads, io)?;
    drop(archive);
    db.flush(&mut |p| io.progress(p))?;
    let took = started.elapsed();
    let ledger = Arc::into_inner(ledger).context("the import has ended")?;
    let blocks: u64 = imported.files.iter().map(|f| f.blocks).sum();
    let era1 = imported.files.iter().filter(|f| f.first_file.is_none());
    Ok(Input {
        ledger: ledger.into_inner().unwrap_or_else(PoisonError::into_inner),
        took,
        story: format!("{blocks} Ethereum blocks of {} files, verified", imported.files.len()),
        files: era1.filter_map(|f| Some((f.network.clone(), f.epoch?, f.sha256))).collect(),
    })
}

/// Makes every imported `.era1` file again; gives how many came out bit-identical.
fn export_again(files: &[(Network, u64, Hash32)], session: &Session) -> anyhow::Result<u64> {
    let archive = DbArchive::new(session.db.clone(), Arc::default());
    let threads = NonZeroUsize::new(session.config.threads).unwrap_or(NonZeroUsize::MIN);
    let mut identical = 0;
    for (network, epoch, sha256) in files {
        let mut nowhere = std::io::sink();
        let made = write_era1(&archive, network, *epoch, &mut nowhere, threads, &mut |_| ());
        let made = made.with_context(|| format!("export of {network} epoch {epoch}"))?;
        identical += u64::from(made.sha256 == *sha256);
    }
    ensure!(
        identical == files.len() as u64,
        "{} files came out different",
        files.len() as u64 - identical
    );
    Ok(identical)
}

/// Stops three nodes that hold data shards of the first record's container, and damages the disk of a fourth.
fn break_nodes(
    ledger: &Ledger,
    session: &mut Session,
) -> anyhow::Result<(Vec<String>, String, u64)> {
    let (table, key) = ledger.first().context("nothing was stored: the input is empty")?;
    let place = session.db.explain(table, key)?.context("the first record is gone")?;
    let data_shards = session.config.policy.data_shards();
    let holders: Vec<&str> =
        place.shards.iter().take(data_shards).map(|s| s.node.as_str()).collect();
    // spread over the data shards, so that reads from all over need rebuilding
    let victims: Vec<u16> = (0..=STOPPED_NODES)
        .map(|n| n * data_shards / (STOPPED_NODES + 1))
        .filter_map(|shard| local_index(holders.get(shard)?))
        .collect();
    let [stopped @ .., damaged] = &victims[..] else {
        bail!("the record's shards lie on no nodes")
    };
    let nodes = session.nodes.as_mut().context("the demo's nodes are local")?;
    let dir = nodes.node_dir(*damaged);
    let flipped = flip_bytes(&dir).with_context(|| format!("cannot damage {}", dir.display()))?;
    stopped.iter().for_each(|&index| nodes.stop(index));
    let names = stopped.iter().map(|&index| local_address(index));
    Ok((names.collect(), local_address(*damaged), flipped))
}

struct Healed {
    shards_rebuilt: u64,
    slots_moved: u64,
    verified: Verified,
}

/// Rebuilds what reading found, then what a deep verification finds, until everything is healthy.
fn heal(session: &Session, io: &mut Io) -> anyhow::Result<Healed> {
    let (mut shards_rebuilt, mut slots_moved) = (0, 0);
    for _ in 0..REPAIR_ROUNDS {
        let repaired = session.db.repair(true, &mut |p| io.progress(p))?;
        shards_rebuilt += repaired.repaired.len() as u64;
        slots_moved += repaired.moved_slots;
        let verified = session.db.verify(Depth::Deep, &mut |p| io.progress(p))?;
        if verified.is_healthy() {
            return Ok(Healed { shards_rebuilt, slots_moved, verified });
        }
    }
    let verified = session.db.verify(Depth::Deep, &mut |p| io.progress(p))?;
    Ok(Healed { shards_rebuilt, slots_moved, verified })
}

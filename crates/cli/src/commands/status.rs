//! `prunedb status`: what is stored, where, and how the nodes are.

use crate::{
    args,
    io::{Exit, Io},
    session::Session,
    text::{count, ratio, show_bytes, show_key, size},
};
use prunedb_engine::{
    Backpressure, ContainerPlace, ContainerStatus, Contender, Duplicate, HeadName, NodeState,
    NodeStatus, ReaderStatus, Status, TableKind,
};
use prunedb_local::LocalNodes;
use prunedb_node::ScrubStatus;
use prunedb_validator::{Client, DoorAddress};
use serde_json::{Value, json};

pub(super) fn run(args: &args::Status, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let status = session.db.status()?;
    let checked = (!args.registry.is_empty()).then(|| head_in_registry(&args.registry, session));
    let checked = checked.transpose()?;
    let exit = Exit::of(checked.as_ref().is_none_or(|checked| checked.problem.is_none()));
    let containers = if args.containers { Some(session.db.containers()?) } else { None };
    if io.json {
        let mut out = status_json(&status, &session.db.duplicates()?);
        out["local_scrub"] = scrubs(session).map(|(node, s)| scrub_json(&node, &s)).collect();
        if let Some(containers) = &containers {
            out["container_list"] = containers.iter().map(container_json).collect();
        }
        if let Some(HeadInRegistry { height, number, problem }) = &checked {
            out["registry"] =
                json!({ "height": height, "head_number": number, "problem": problem });
        }
        io.json(&out)?;
        return Ok(exit);
    }
    write(&status, io)?;
    if let Some(HeadInRegistry { height, number, problem }) = &checked {
        let head = number.map_or_else(|| "no head yet".into(), |number| format!("head {number}"));
        let found = problem.as_deref().unwrap_or("the manifest here is as new");
        io.line(format_args!("registry  {head} at height {height}: {found}"))?;
    }
    write_scrubs(session, io)?;
    for duplicate in session.db.duplicates()?.iter().take(DUPLICATES_SHOWN) {
        write_duplicate(duplicate, io)?;
    }
    for container in containers.iter().flatten() {
        write_container(container, io)?;
    }
    Ok(exit)
}

/// The manifest's newest head that validators know of.
struct HeadInRegistry {
    height: u64,
    number: Option<u64>,
    /// what is wrong with the manifest here
    problem: Option<String>,
}

/// Asks all of them: the newest head counts, since none of them knows of a head that was not committed.
fn head_in_registry(
    validators: &[DoorAddress],
    session: &Session,
) -> anyhow::Result<HeadInRegistry> {
    let client = Client::new(validators.iter().map(ToString::to_string));
    let mut problems = Vec::new();
    let mut newest: Option<prunedb_validator::Status> = None;
    for (address, answer) in session.runtime.block_on(client.statuses()) {
        match answer {
            Ok(status) if status.lake != session.db.lake() => {
                problems
                    .push(format!("{address} has the registry of another lake, {}", status.lake));
            }
            Ok(status) => {
                let order =
                    |s: &prunedb_validator::Status| (s.head.map(|head| head.number), s.height);
                if newest.as_ref().is_none_or(|known| order(known) < order(&status)) {
                    newest = Some(status);
                }
            }
            Err(error) => problems.push(format!("{address}: {error}")),
        }
    }
    let Some(newest) = newest else {
        anyhow::bail!("no validator of this lake's registry answers: {}", problems.join("; "));
    };
    let committed =
        newest.head.map(|head| HeadName { lease: head.term, number: head.number, root: head.root });
    let compared = committed.map_or(Ok(()), |head| session.db.check_head(&head));
    Ok(HeadInRegistry {
        height: newest.height,
        number: committed.map(|head| head.number),
        problem: compared.err().map(|error| error.to_string()),
    })
}

/// How far the local nodes are with checking what they hold.
fn scrubs(session: &Session) -> impl Iterator<Item = (String, ScrubStatus)> + '_ {
    session.nodes.iter().flat_map(LocalNodes::scrubs)
}

fn scrub_json(node: &str, scrub: &ScrubStatus) -> Value {
    json!({
        "address": node,
        "rounds": scrub.rounds,
        "last_ended": (scrub.last_ended > 0).then_some(scrub.last_ended),
        "round_shards": scrub.shards,
        "round_bytes": scrub.bytes,
        "damaged_shards": scrub.damaged_count,
    })
}

fn write_scrubs(session: &Session, io: &mut Io) -> anyhow::Result<()> {
    let all: Vec<ScrubStatus> = scrubs(session).map(|(_, scrub)| scrub).collect();
    let Some(rounds) = all.iter().map(|scrub| scrub.rounds).min() else { return Ok(()) };
    let bytes = all.iter().map(|scrub| scrub.bytes).sum();
    let damaged = all.iter().map(|scrub| scrub.damaged_count).sum();
    io.line(format_args!(
        "scrub     {} completed by all local nodes, {} checked in this one, {} found damaged so far",
        count(rounds, "round"),
        size(bytes),
        count(damaged, "shard")
    ))?;
    Ok(())
}

/// Of those keys under which different values were put; the rest is only counted.
const DUPLICATES_SHOWN: usize = 10;

fn duplicate_json(duplicate: &Duplicate) -> Value {
    let contender = |c: &Contender| {
        json!({
            "container": c.container.to_string(),
            "offset": c.offset,
            "digest": c.digest.to_string(),
        })
    };
    json!({
        "table": duplicate.table,
        "key": show_bytes(&duplicate.key),
        "first": contender(&duplicate.first),
        "second": contender(&duplicate.second),
    })
}

fn write_duplicate(duplicate: &Duplicate, io: &mut Io) -> anyhow::Result<()> {
    let Duplicate { table, key, first, second } = duplicate;
    io.line(format_args!("twice     {} of {table}", show_bytes(key)))?;
    for (which, Contender { container, offset, digest }) in [("read", first), ("not read", second)]
    {
        io.line(format_args!("          {which:8} {container} at {offset}, value {digest}"))?;
    }
    Ok(())
}

fn status_json(status: &Status, duplicates: &[Duplicate]) -> Value {
    let tables: Vec<Value> = status
        .tables
        .iter()
        .map(|t| json!({ "name": t.name, "kind": kind(t.kind), "records": t.records }))
        .collect();
    json!({
        "lake": status.lake.to_string(),
        "policy": status.policy.to_string(),
        "term": status.term.0,
        "head_number": status.head_number,
        "records": status.records,
        "containers": status.containers,
        "waiting_offload": status.waiting_offload,
        "active_bytes": status.active_bytes,
        "local_data_bytes": status.local_data_bytes,
        "metadata_bytes": status.metadata_bytes,
        "container_bytes": status.container_bytes,
        "coded_bytes": status.coded_bytes,
        "lake_bytes": status.lake_bytes,
        "damaged_shards": status.damaged_shards,
        "repair": {
            "containers": status.repair.containers,
            "spare_min": status.repair.spare_min,
            "running": status.repair.running.map(|p| json!({
                "done_bytes": p.done,
                "total_bytes": p.total,
                "container": p.container.map(|id| id.to_string()),
            })),
        },
        "unindexed": status.unindexed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "orphans": status.orphans,
        "orphan_bytes": status.orphan_bytes,
        "duplicates": duplicates.iter().map(duplicate_json).collect::<Vec<_>>(),
        "offload_failure": status.offload_failure,
        "reader": status.reader.as_ref().map(reader_json),
        "backpressure": status.backpressure.as_ref().map(|b| json!({
            "seconds": b.since.as_secs_f64(), "held_puts": b.held_puts, "reason": b.reason,
        })),
        "tables": tables,
        "nodes": status.nodes.iter().map(node_json).collect::<Vec<_>>(),
    })
}

fn reader_json(reader: &ReaderStatus) -> Value {
    json!({
        "confirmed_s_ago": reader.confirmed_ago.map(|ago| ago.as_secs_f64()),
        "nodes_answered": reader.nodes_answered,
        "nodes_needed": reader.nodes_needed,
        "failure": reader.failure,
    })
}

fn node_json(node: &NodeStatus) -> Value {
    match &node.state {
        NodeState::Up { capacity_bytes, used_bytes, shards } => json!({
            "address": node.address,
            "state": "up",
            "capacity_bytes": capacity_bytes,
            "used_bytes": used_bytes,
            "shards": shards,
        }),
        NodeState::Down { reason } => {
            json!({ "address": node.address, "state": "down", "reason": reason })
        }
    }
}

fn container_json(container: &ContainerStatus) -> Value {
    let tables: Vec<Value> = container
        .tables
        .iter()
        .map(|t| {
            json!({
                "name": t.table.name,
                "records": t.records,
                "first_key": show_key(t.table.kind, &t.first_key),
                "last_key": show_key(t.table.kind, &t.last_key),
            })
        })
        .collect();
    let local_bytes = match container.place {
        ContainerPlace::Lake { local_bytes } => local_bytes,
        _ => container.container_bytes,
    };
    json!({
        "container": container.id.to_string(),
        "place": place(container.place),
        "records": container.records,
        "container_bytes": container.container_bytes,
        "local_bytes": local_bytes,
        "read_back": container.read_back,
        "damaged_shards": container.damaged_shards.iter().map(|s| s.0).collect::<Vec<_>>(),
        "tables": tables,
    })
}

/// Where a container is, in a word.
pub(super) const fn place(place: ContainerPlace) -> &'static str {
    match place {
        ContainerPlace::Active => "active",
        ContainerPlace::Sealed => "sealed",
        ContainerPlace::Lake { .. } => "lake",
    }
}

const fn kind(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Keyed => "keyed",
        TableKind::Sequence => "sequence",
    }
}

fn write(status: &Status, io: &mut Io) -> anyhow::Result<()> {
    let Status { lake, policy, term, head_number, .. } = status;
    io.line(format_args!("lake      {lake} at {policy}, head {head_number} of term {term}"))?;
    if let Some(reader) = &status.reader {
        write_reader(reader, io)?;
    }
    io.line(format_args!(
        "records   {} in {} ({} waiting for the lake)",
        status.records,
        count(status.containers, "container"),
        status.waiting_offload
    ))?;
    io.line(format_args!(
        "local     {} of data, {} of metadata",
        size(status.local_data_bytes),
        size(status.metadata_bytes)
    ))?;
    io.line(format_args!(
        "stored    {} in the lake for {} of containers ({} after compression): {} %",
        size(status.lake_bytes),
        size(status.container_bytes),
        size(status.coded_bytes),
        crate::text::rounded(ratio(status.lake_bytes, status.container_bytes) * 100.0)
    ))?;
    if status.damaged_shards > 0 {
        let shards = count(status.damaged_shards, "shard");
        io.line(format_args!(
            "damage    {shards} known to be missing or damaged: `prunedb repair` rebuilds them"
        ))?;
        if let Some(spare) = status.repair.spare_min {
            let containers = count(status.repair.containers, "container");
            let worst = count(spare, "more shard");
            io.line(format_args!("          in {containers}, the worst may lose {worst}"))?;
        }
    }
    if let Some(first) = status.unindexed.first() {
        io.line(format_args!(
            "unseen    {} that nobody could look into, {first} first: keys that may be there are an error until their nodes are back",
            count(status.unindexed.len() as u64, "container")
        ))?;
    }
    if status.orphans > 0 {
        let shards = count(status.orphans, "shard");
        io.line(format_args!(
            "orphans   {shards} on the nodes that nothing names ({}): `prunedb sweep` deletes them a day after it noted them",
            size(status.orphan_bytes)
        ))?;
    }
    if status.duplicates > 0 {
        io.line(format_args!(
            "twice     {} with two different values; the first one is read",
            count(status.duplicates, "key")
        ))?;
    }
    if let Some(running) = &status.repair.running {
        let (done, total) = (size(running.done), size(running.total));
        io.line(format_args!("repair    {done} of {total} done"))?;
    }
    if let Some(failure) = &status.offload_failure {
        io.line(format_args!("stalled   offloading: {failure}"))?;
    }
    if let Some(Backpressure { since, held_puts, reason }) = &status.backpressure {
        let (seconds, puts) = (since.as_secs(), count(*held_puts as u64, "put"));
        io.line(format_args!("held      for {seconds} s, {puts} waiting: {reason}"))?;
    }
    for table in &status.tables {
        io.line(format_args!(
            "table     {:40} {:8} {}",
            table.name,
            kind(table.kind),
            table.records
        ))?;
    }
    for node in &status.nodes {
        match &node.state {
            NodeState::Up { capacity_bytes, used_bytes, shards } => io.line(format_args!(
                "node      {:24} up    {:>9} of {:>9}, {}",
                node.address,
                size(*used_bytes),
                size(*capacity_bytes),
                count(*shards, "shard")
            ))?,
            NodeState::Down { reason } => {
                io.line(format_args!("node      {:24} DOWN  {reason}", node.address))?;
            }
        }
    }
    Ok(())
}

fn write_reader(reader: &ReaderStatus, io: &mut Io) -> anyhow::Result<()> {
    let ReaderStatus { nodes_answered, nodes_needed, .. } = reader;
    match reader.confirmed_ago {
        Some(ago) => io.line(format_args!(
            "reader    nothing newer {} s ago ({nodes_answered} nodes answered, {nodes_needed} are enough)",
            ago.as_secs()
        ))?,
        None => io.line(format_args!(
            "reader    STALE: whether there is something newer is not known ({nodes_answered} of {nodes_needed} nodes)"
        ))?,
    }
    if let Some(failure) = &reader.failure {
        io.line(format_args!("stalled   following: {failure}"))?;
    }
    Ok(())
}

fn write_container(container: &ContainerStatus, io: &mut Io) -> anyhow::Result<()> {
    let damage = match container.damaged_shards.len() {
        0 => String::new(),
        n => format!(", {} damaged", count(n as u64, "shard")),
    };
    let read_back = if container.read_back { ", read back" } else { "" };
    io.line(format_args!(
        "container {:6} {:6} {:>9}, {}{read_back}{damage}",
        container.id.to_string(),
        place(container.place),
        size(container.container_bytes),
        count(container.records, "record")
    ))?;
    for table in &container.tables {
        let (kind, name) = (table.table.kind, &table.table.name);
        let (first, last) = (show_key(kind, &table.first_key), show_key(kind, &table.last_key));
        io.line(format_args!("          {name:40} {} {first} ... {last}", table.records))?;
    }
    Ok(())
}

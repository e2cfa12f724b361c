//! `prunedb explain KEY`: key -> container -> frame -> shard -> node, and each one's health.

use super::status::place;
use crate::{
    archive::known,
    args,
    io::{Exit, Io},
    session::Session,
    text::{kind_name, parse_key, show_key, size},
};
use prunedb_engine::{ContainerPlace, Explanation, Table, TableKind};
use serde_json::{Value, json};

/// A record that was found, and where it is.
struct Found {
    table: Table,
    key: Vec<u8>,
    place: Explanation,
}

pub(super) fn run(args: &args::Explain, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let tables = match &args.table {
        Some(name) => vec![session.db.table(name)?],
        None => session.db.tables(),
    };
    let mut found = Vec::new();
    for table in tables {
        let key = match parse_key(table.kind(), &args.key) {
            Ok(key) if !key.is_empty() => key,
            // a key that cannot be in this table; with --table it is the user's mistake
            Err(error) if args.table.is_some() => return Err(error),
            _ => continue,
        };
        if key.len() <= prunedb_core::units::KEY_BYTES_MAX {
            explain(table, key, session, &mut found)?;
        }
    }
    if io.json {
        io.json(
            &json!({ "key": args.key, "found": found.iter().map(found_json).collect::<Vec<_>>() }),
        )?;
    } else {
        for (position, found) in found.iter().enumerate() {
            if position > 0 {
                io.line(format_args!(""))?;
            }
            write(found, io)?;
        }
    }
    if found.is_empty() {
        let where_not =
            args.table.as_ref().map_or_else(|| "any table".into(), |t| format!("table `{t}`"));
        io.note(format!("{} is not in {where_not}", args.key));
    }
    Ok(Exit::of(!found.is_empty()))
}

/// Adds the record, and the block that it leads to.
fn explain(
    table: Table,
    key: Vec<u8>,
    session: &Session,
    found: &mut Vec<Found>,
) -> anyhow::Result<()> {
    let Some(place) = session.db.explain(&table, &key)? else { return Ok(()) };
    let block_table = ["/tx-hash", "/block-hash"]
        .iter()
        .find_map(|end| table.name().strip_prefix("ethereum/")?.strip_suffix(end))
        .map(|network| format!("ethereum/{network}/block"));
    let value = if block_table.is_some() { session.db.get(&table, &key)? } else { None };
    found.push(Found { table, key, place });
    // both hash tables begin their values with the block's height
    let height = value.as_ref().and_then(|value| value.first_chunk::<8>());
    let (Some(name), Some(height)) = (block_table, height) else { return Ok(()) };
    let Some(table) = known(&session.db, &name)? else { return Ok(()) };
    if let Some(place) = session.db.explain(&table, height)? {
        found.push(Found { table, key: height.to_vec(), place });
    }
    Ok(())
}

fn found_json(found: &Found) -> Value {
    let Found { table, key, place: at } = found;
    let shards: Vec<Value> = at
        .shards
        .iter()
        .map(|s| json!({ "shard": s.shard.0, "node": s.node, "state": s.state, "touched": s.touched }))
        .collect();
    let nodes: Vec<&str> =
        at.shards.iter().filter(|s| s.touched).map(|s| s.node.as_str()).collect();
    let local_bytes = match at.place {
        ContainerPlace::Lake { local_bytes } => Some(local_bytes),
        _ => None,
    };
    json!({
        "table": table.name(),
        "kind": kind_name(table),
        "key": show_key(table.kind(), key),
        "container": at.container.to_string(),
        "place": place(at.place),
        "local_bytes": local_bytes,
        "offset": at.offset,
        "record_bytes": at.record_bytes,
        "frames": [at.frames.start, at.frames.end],
        "coded": [at.coded.start, at.coded.end],
        "touched_shards": at.touched.iter().map(|s| s.0).collect::<Vec<_>>(),
        "touched_nodes": nodes,
        "shards": shards,
    })
}

fn write(found: &Found, io: &mut Io) -> anyhow::Result<()> {
    let Found { table, key, place: at } = found;
    let what = if table.kind() == TableKind::Sequence { "position" } else { "key" };
    io.line(format_args!("{} {what} {}", table.name(), show_key(table.kind(), key)))?;
    let local = match at.place {
        ContainerPlace::Active => "being written, on this disk only".into(),
        ContainerPlace::Sealed => "sealed, on this disk only".into(),
        ContainerPlace::Lake { local_bytes: 0 } => "in the lake, nothing of it cached here".into(),
        ContainerPlace::Lake { local_bytes } => {
            format!("in the lake, {} of it cached here", size(local_bytes))
        }
    };
    io.line(format_args!("  container {}: {local}", at.container))?;
    io.line(format_args!("  record    {} at byte {}", size(at.record_bytes), at.offset))?;
    if at.shards.is_empty() {
        return Ok(());
    }
    let frames = match at.frames.end - at.frames.start {
        1 => format!("frame {}", at.frames.start),
        _ => format!("frames {}-{}", at.frames.start, at.frames.end - 1),
    };
    io.line(format_args!(
        "  {frames}: bytes {}..{} of the coded stream",
        at.coded.start, at.coded.end
    ))?;
    for shard in &at.shards {
        let read = if shard.touched { "  <- a read asks this one" } else { "" };
        io.line(format_args!(
            "  shard {:>3}  {:24} {}{read}",
            shard.shard.0, shard.node, shard.state
        ))?;
    }
    Ok(())
}

//! `prunedb kv`: records of any table.

use crate::{
    archive::known,
    args::{KvGet, KvPut, KvScan},
    io::{Exit, Io},
    session::Session,
    text::{hex, kind_name, parse_bytes, parse_key, show_bytes, show_key},
};
use anyhow::Context;
use prunedb_engine::{Db, Entry, Error, Table, TableKind};
use serde_json::{Value, json};

pub(super) fn put(args: &KvPut, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let value =
        if args.value == "-" { std::mem::take(&mut io.stdin) } else { parse_bytes(&args.value)? };
    let kind = match known(&session.db, &args.table)? {
        Some(table) if !args.sequence => table.kind(),
        _ if args.sequence => TableKind::Sequence,
        _ => TableKind::Keyed,
    };
    let key = parse_key(kind, &args.key)?;
    // a refused record leaves no empty table behind
    check_limits(kind, &key, &value)?;
    let table = session.db.ensure_table(&args.table, kind)?;
    let new = match session.db.put_checked(&table, &key, &value) {
        Ok(new) => new,
        Err(error @ Error::Contradiction { .. }) => {
            io.note(format!("{error}: {}", show_key(kind, &key)));
            return Ok(Exit::No);
        }
        Err(error) => return Err(error.into()),
    };
    if io.json {
        io.json(&json!({
            "table": args.table, "key": show_key(kind, &key), "value_bytes": value.len(), "new": new,
        }))?;
    } else if !new {
        io.note("stored before, with this value");
    }
    Ok(Exit::Done)
}

fn check_limits(kind: TableKind, key: &[u8], value: &[u8]) -> Result<(), Error> {
    use prunedb_core::units::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
    if kind == TableKind::Keyed && !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Err(Error::Key { bytes: key.len(), limit: "a keyed table takes 1 to 1,024 bytes" });
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(Error::ValueTooLong { bytes: value.len(), bytes_max: VALUE_BYTES_MAX });
    }
    Ok(())
}

pub(super) fn get(args: &KvGet, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let Some(table) = table(&args.table, session, io)? else { return Ok(Exit::No) };
    let key = parse_key(table.kind(), &args.key)?;
    let (value, trace) = session.db.get_traced(&table, &key)?;
    let Some(value) = value else {
        io.note(format!("table `{}` has no key {}", table.name(), show_key(table.kind(), &key)));
        return Ok(Exit::No);
    };
    if !io.json {
        io.data(&value)?;
        return Ok(Exit::Done);
    }
    let mut out = entry_json(&table, &Entry { key, value });
    out["asked"] = json!(trace.asked);
    out["frames_fetched"] = json!(trace.frames_fetched);
    out["rebuilt"] = json!(trace.rebuilt);
    io.json(&out)?;
    Ok(Exit::Done)
}

/// Records read at a time: what a scan holds in memory while it writes lines.
const PAGE_RECORDS: usize = 64;

pub(super) fn scan(args: &KvScan, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let Some(table) = table(&args.table, session, io)? else { return Ok(Exit::No) };
    let (mut left, mut from) = (usize::try_from(args.limit)?, args.from.clone());
    let mut entries = Vec::new();
    loop {
        let (page, next) = page(&table, from.as_deref(), left.min(PAGE_RECORDS), &session.db)?;
        left -= page.len();
        from = next;
        for entry in &page {
            if io.json {
                entries.push(entry_json(&table, entry));
            } else {
                let (key, value) = (show_key(table.kind(), &entry.key), show_bytes(&entry.value));
                io.line(format_args!("{key}\t{value}"))?;
            }
        }
        if from.is_none() || left == 0 {
            break;
        }
        io.check_cancelled()?;
    }
    if io.json {
        io.json(&json!({
            "table": table.name(), "kind": kind_name(&table), "entries": entries, "next": from,
        }))?;
    } else if let Some(next) = from {
        io.note(format!("there are more: --from {next}"));
    }
    Ok(Exit::Done)
}

/// Some records from a place on, and where to go on.
fn page(
    table: &Table,
    from: Option<&str>,
    limit: usize,
    db: &Db,
) -> anyhow::Result<(Vec<Entry>, Option<String>)> {
    if table.kind() == TableKind::Keyed {
        let from = from.map(str::parse).transpose().context("--from")?;
        let scan = db.scan(table, from, limit)?;
        return Ok((scan.entries, scan.next.map(|next| next.to_string())));
    }
    let from = from.map(|from| parse_key(TableKind::Sequence, from)).transpose()?;
    let from = from.and_then(|key| key.try_into().ok()).map_or(0, u64::from_be_bytes);
    // one more shows whether there are more
    let mut found = db.range(table, from, limit + 1)?;
    let next = found.get(limit).map(|(position, _)| position.to_string());
    found.truncate(limit);
    let entry =
        |(position, value): (u64, Vec<u8>)| Entry { key: position.to_be_bytes().into(), value };
    Ok((found.into_iter().map(entry).collect(), next))
}

/// The table, or a note that there is none.
fn table(name: &str, session: &Session, io: &mut Io) -> anyhow::Result<Option<Table>> {
    let table = known(&session.db, name)?;
    if table.is_none() {
        io.note(Error::UnknownTable { name: name.into() }.to_string());
    }
    Ok(table)
}

/// Key and value as text where they are text, and the value as hex in any case.
fn entry_json(table: &Table, entry: &Entry) -> Value {
    let mut out = json!({
        "key": show_key(table.kind(), &entry.key),
        "value_bytes": entry.value.len(),
        "value_hex": hex(&entry.value),
    });
    if let Ok(text) = std::str::from_utf8(&entry.value) {
        out["value"] = json!(text);
    }
    out
}

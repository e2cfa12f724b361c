//! `INFO`: sections of `field:value` lines, as redis writes them, and one of our own.

use crate::door::Door;
use bytes::Bytes;
use prunedb_engine::{Error, TableKind};
use std::fmt::Write;

const SECTIONS: [&str; 6] = ["server", "clients", "stats", "replication", "prunedb", "keyspace"];

/// The text of the sections that are asked for; of all, where none is.
pub(crate) fn text(door: &Door, wanted: &[Bytes]) -> Result<String, Error> {
    let all = ["all", "default", "everything"];
    let asked = |name: &str| wanted.iter().any(|w| w.eq_ignore_ascii_case(name.as_bytes()));
    let every = wanted.is_empty() || all.into_iter().any(asked);
    let mut out = String::new();
    for section in SECTIONS.into_iter().filter(|name| every || asked(name)) {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        let fields = match section {
            "server" => server(door),
            "clients" => clients(door),
            "stats" => stats(door),
            "replication" => replication(door),
            "prunedb" => prunedb(door)?,
            _ => keyspace(door)?,
        };
        let title = if section == "prunedb" { "PruneDB".to_owned() } else { capital(section) };
        _ = write!(out, "# {title}\r\n{fields}");
    }
    Ok(out)
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// Lines of fields.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        _ = write!(self.0, "{name}:{value}\r\n");
        self
    }
}

fn server(door: &Door) -> String {
    let mut fields = Fields::default();
    fields
        // clients read it to know which commands there are
        .add("redis_version", "7.0.0")
        .add("redis_mode", "standalone")
        .add("prunedb_version", env!("CARGO_PKG_VERSION"))
        .add("process_id", std::process::id())
        .add("tcp_port", door.port)
        .add("uptime_in_seconds", door.started.elapsed().as_secs());
    fields.0
}

fn clients(door: &Door) -> String {
    let mut fields = Fields::default();
    fields
        .add("connected_clients", door.stats.connections_now.get())
        .add("maxclients", door.config.connections_max);
    fields.0
}

fn stats(door: &Door) -> String {
    let stats = &door.stats;
    let mut fields = Fields::default();
    fields
        .add("total_connections_received", stats.connections.get())
        .add("rejected_connections", stats.connections_refused.get())
        .add("total_commands_processed", stats.commands.get())
        .add("keyspace_hits", stats.hits.get())
        .add("keyspace_misses", stats.misses.get());
    fields.0
}

fn replication(door: &Door) -> String {
    let mut fields = Fields::default();
    match door.db.reader_status() {
        None => fields.add("role", "master"),
        Some(reader) => fields
            .add("role", "slave")
            .add("master_link_status", if reader.failure.is_none() { "up" } else { "down" })
            .add("slave_read_only", 1),
    };
    fields.0
}

fn prunedb(door: &Door) -> Result<String, Error> {
    let mut fields = Fields::default();
    fields.add("lake", door.db.lake());
    if let Some(reader) = door.db.reader_status() {
        fields.add("head_number", reader.head_number).add("term", reader.term);
        let ago = reader.confirmed_ago.map_or(-1.0, |ago| ago.as_secs_f64());
        fields
            .add("confirmed_seconds_ago", format_args!("{ago:.1}"))
            .add("nodes_answered", reader.nodes_answered)
            .add("nodes_needed", reader.nodes_needed)
            .add("follow_failure", reader.failure.unwrap_or_default().replace(['\r', '\n'], " "));
    }
    for table in door.db.tables() {
        let kind = match table.kind() {
            TableKind::Keyed => "keyed",
            TableKind::Sequence => "sequence",
        };
        fields.add(
            &format!("table{}", table.id()),
            format_args!("name={},kind={kind}", table.name()),
        );
    }
    Ok(fields.0)
}

fn keyspace(door: &Door) -> Result<String, Error> {
    let mut fields = Fields::default();
    for table in door.db.table_records()? {
        if let Ok(id) = door.db.table(&table.name).map(|t| t.id())
            && table.records > 0
        {
            fields.add(
                &format!("db{id}"),
                format_args!("keys={},expires=0,avg_ttl=0", table.records),
            );
        }
    }
    Ok(fields.0)
}

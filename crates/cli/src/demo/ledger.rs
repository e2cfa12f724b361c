//! What was put, as digests: the judge of what comes back.

use crate::text::{rounded, show_key};
use prunedb_engine::{Db, Table};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Every record that was put.
#[derive(Default)]
pub(super) struct Ledger {
    tables: Vec<Table>,
    numbers: HashMap<String, usize>,
    entries: Vec<Entry>,
    pub(super) value_bytes: u64,
}

struct Entry {
    table: usize,
    key: Box<[u8]>,
    digest: blake3::Hash,
    value_bytes: u64,
}

/// What reading everything back gave.
#[derive(Debug, Default)]
pub(super) struct ReadBack {
    pub(super) identical: u64,
    /// what differs or cannot be read: the first few
    pub(super) differing: Vec<String>,
    pub(super) differing_count: u64,
    /// reads that one or two nodes answered
    pub(super) direct: Reads,
    /// reads for which a range was rebuilt from other shards
    pub(super) rebuilt: Reads,
    pub(super) frames_fetched: u64,
    pub(super) ranges_rebuilt: u64,
}

/// Reads that went to the lake.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub(super) count: u64,
    pub(super) nodes_asked: u64,
}

/// So many differences are told one by one.
const DIFFERENCES_SHOWN: usize = 10;

impl Reads {
    fn add(&mut self, nodes_asked: usize) {
        self.count += 1;
        self.nodes_asked += nodes_asked as u64;
    }

    /// Nodes asked for one read, on average.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn nodes_per_read(&self) -> f64 {
        if self.count == 0 { 0.0 } else { rounded(self.nodes_asked as f64 / self.count as f64) }
    }

    pub(super) fn json(&self) -> Value {
        json!({ "reads": self.count, "nodes_per_read": self.nodes_per_read() })
    }
}

impl Ledger {
    /// Notes a record that is put.
    pub(super) fn note(&mut self, table: &Table, key: &[u8], value: &[u8]) {
        let number = match self.numbers.get(table.name()) {
            Some(&number) => number,
            None => {
                self.tables.push(table.clone());
                self.numbers.insert(table.name().to_owned(), self.tables.len() - 1);
                self.tables.len() - 1
            }
        };
        let value_bytes = value.len() as u64;
        self.value_bytes += value_bytes;
        let digest = blake3::hash(value);
        self.entries.push(Entry { table: number, key: key.into(), digest, value_bytes });
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Some record of the first container.
    pub(super) fn first(&self) -> Option<(&Table, &[u8])> {
        self.entries.first().map(|entry| (&self.tables[entry.table], &*entry.key))
    }

    /// Reads every record and compares it. `progress` is told the bytes done.
    pub(super) fn read_back(&self, db: &Db, mut progress: impl FnMut(u64)) -> ReadBack {
        let (mut out, mut done) = (ReadBack::default(), 0);
        for entry in &self.entries {
            let table = &self.tables[entry.table];
            let name = || format!("{} {}", table.name(), show_key(table.kind(), &entry.key));
            let difference = match db.get_traced(table, &entry.key) {
                Ok((Some(value), trace)) => {
                    if trace.rebuilt > 0 {
                        out.rebuilt.add(trace.asked.len());
                    } else if !trace.asked.is_empty() {
                        out.direct.add(trace.asked.len());
                    }
                    out.frames_fetched += trace.frames_fetched;
                    out.ranges_rebuilt += trace.rebuilt;
                    (blake3::hash(&value) != entry.digest)
                        .then(|| format!("{}: other bytes", name()))
                }
                Ok((None, _)) => Some(format!("{}: not found", name())),
                Err(error) => Some(format!("{}: {error}", name())),
            };
            match difference {
                None => out.identical += 1,
                Some(difference) => {
                    out.differing_count += 1;
                    if out.differing.len() < DIFFERENCES_SHOWN {
                        out.differing.push(difference);
                    }
                }
            }
            done += entry.value_bytes;
            progress(done);
        }
        out
    }
}

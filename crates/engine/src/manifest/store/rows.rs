//! What the manifest's rows say.

use crate::{error::Error, verify::shards_bytes};
use prunedb_core::{ContainerId, Digest, Policy, ShardId, TableId};
use prunedb_format::manifest::ContainerEntry;
use std::{collections::BTreeMap, sync::Arc};

/// Sums over the data containers of the lake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) containers: u64,
    pub(crate) records: u64,
    pub(crate) container_bytes: u64,
    pub(crate) coded_bytes: u64,
    pub(crate) lake_bytes: u64,
    pub(crate) table_records: Arc<BTreeMap<TableId, u64>>,
}

impl Totals {
    pub(crate) fn add(&mut self, entry: &ContainerEntry) -> Result<(), Error> {
        self.containers += 1;
        self.records += u64::from(entry.record_count);
        self.container_bytes += entry.stream.container_bytes;
        self.coded_bytes += entry.stream.coded_bytes;
        self.lake_bytes += shards_bytes(&entry.stream)?;
        let tables = Arc::make_mut(&mut self.table_records);
        for table in &entry.tables {
            *tables.entry(table.table.id).or_default() += u64::from(table.records);
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, entry: &ContainerEntry) -> Result<(), Error> {
        self.containers -= 1;
        self.records -= u64::from(entry.record_count);
        self.container_bytes -= entry.stream.container_bytes;
        self.coded_bytes -= entry.stream.coded_bytes;
        self.lake_bytes -= shards_bytes(&entry.stream)?;
        let tables = Arc::make_mut(&mut self.table_records);
        for table in &entry.tables {
            *tables.entry(table.table.id).or_default() -= u64::from(table.records);
        }
        Ok(())
    }
}

/// A container that newer ones replaced; its shards are deleted after some heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retired {
    pub(crate) id: ContainerId,
    pub(crate) since_head: u64,
    pub(crate) group: u32,
    pub(crate) policy: Policy,
}

/// A shard on a node that nothing names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orphan {
    /// the node's address
    pub(crate) node: String,
    pub(crate) id: ShardId,
    pub(crate) name: Digest,
    pub(crate) bytes: u64,
    /// Unix time at which it was seen first
    pub(crate) since_s: u64,
}

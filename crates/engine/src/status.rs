//! What is where, and how it is.

use crate::{
    db::{Db, Inner},
    error::{At, Error},
    local::Kind,
    manifest::Totals,
    queue::Backpressure,
    reader::ReaderStatus,
    repair::RepairStatus,
};
use prunedb_core::{ContainerId, Digest, LakeId, Policy, ShardIndex, TableId, Term};
use prunedb_format::container::{TableKind, TableSummary};
use std::{collections::BTreeMap, path::Path};

/// The state of a database and its lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// the lake
    pub lake: LakeId,
    /// policy of new containers
    pub policy: Policy,
    /// term of the last writer
    pub term: Term,
    /// number of the last published head; 0: none
    pub head_number: u64,
    /// records in all containers
    pub records: u64,
    /// containers, the active one counted
    pub containers: u64,
    /// sealed containers that are not in the lake yet
    pub waiting_offload: u64,
    /// bytes of the active container
    pub active_bytes: u64,
    /// bytes of disk in the data folder
    pub local_data_bytes: u64,
    /// bytes of disk in the metadata folder
    pub metadata_bytes: u64,
    /// bytes of all containers in the lake before compression
    pub container_bytes: u64,
    /// the same after compression
    pub coded_bytes: u64,
    /// bytes that their shards take on the nodes
    pub lake_bytes: u64,
    /// shards known to be missing or damaged
    pub damaged_shards: u64,
    /// what of that is to be repaired, and how far it is
    pub repair: RepairStatus,
    /// containers that could not be looked into: what is not found, and may be in one of them, is an error
    pub unindexed: Vec<ContainerId>,
    /// shards on the nodes that nothing names, as the last [`Db::sweep`] left them
    pub orphans: u64,
    /// their bytes
    pub orphan_bytes: u64,
    /// keys under which different values were put, as far as was found; see [`Db::duplicates`]
    pub duplicates: u64,
    /// why the last offload failed, where it did
    pub offload_failure: Option<String>,
    /// how far a reader is; `None` for a writer
    pub reader: Option<ReaderStatus>,
    /// whether puts wait for the lake, since when and why
    pub backpressure: Option<Backpressure>,
    /// the tables
    pub tables: Vec<TableStatus>,
    /// the nodes
    pub nodes: Vec<NodeStatus>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStatus {
    /// its name
    pub name: String,
    /// its kind
    pub kind: TableKind,
    /// its records
    pub records: u64,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// its address
    pub address: String,
    /// how it is
    pub state: NodeState,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// It answers.
    Up {
        /// bytes it may hold
        capacity_bytes: u64,
        /// bytes it holds
        used_bytes: u64,
        /// shards it holds
        shards: u64,
    },
    /// It does not.
    Down {
        /// why
        reason: String,
    },
}

/// A data container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    /// which
    pub id: ContainerId,
    /// records in it
    pub records: u64,
    /// its length so far
    pub container_bytes: u64,
    /// where it is
    pub place: ContainerPlace,
    /// read back from its shards and found equal
    pub read_back: bool,
    /// shards known to be missing or damaged
    pub damaged_shards: Vec<ShardIndex>,
    /// what it holds of each table; empty for the active one
    pub tables: Vec<TableSummary>,
    /// its root, once it is in the lake: what fixes every byte of its shards
    pub root: Option<Digest>,
}

/// Where a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerPlace {
    /// being written, on this disk only
    Active,
    /// sealed, on this disk only
    Sealed,
    /// in the lake
    Lake {
        /// bytes of it that are cached here
        local_bytes: u64,
    },
}

impl Db {
    /// The state of everything; asks each node how full it is.
    ///
    /// # Errors
    /// Those of the disk. A node that does not answer is part of the answer.
    pub fn status(&self) -> Result<Status, Error> {
        self.inner.status()
    }

    /// The tables and how many records were put into each; asks no node.
    ///
    /// Cost: the manifest entry of each container.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn table_records(&self) -> Result<Vec<TableStatus>, Error> {
        Ok(self.inner.table_statuses(&self.inner.counts()?.table_records))
    }

    /// Every data container, oldest first.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn containers(&self) -> Result<Vec<ContainerStatus>, Error> {
        self.inner.container_statuses()
    }
}

impl Inner {
    fn status(&self) -> Result<Status, Error> {
        let state = self.manifest.state();
        let Counts { containers, records, waiting, active_bytes, table_records, totals } =
            self.counts()?;
        let tables = self.table_statuses(&table_records);
        let offload_failure = self.queue.lock().failure.clone();
        let orphans = self.manifest.orphans()?;
        Ok(Status {
            lake: self.lake.id,
            policy: state.body.policy,
            term: state.term,
            head_number: state.head_number,
            records,
            containers,
            waiting_offload: waiting,
            active_bytes,
            local_data_bytes: self.files.total_bytes()?,
            metadata_bytes: folder_bytes(&*self.disk, &self.options.metadata_dir)?,
            container_bytes: totals.container_bytes,
            coded_bytes: totals.coded_bytes,
            lake_bytes: totals.lake_bytes,
            damaged_shards: self.manifest.damage()?.len() as u64,
            repair: self.repair_status()?,
            unindexed: self.manifest.unindexed().into_iter().map(ContainerId::data).collect(),
            orphans: orphans.len() as u64,
            orphan_bytes: orphans.iter().map(|orphan| orphan.bytes).sum(),
            duplicates: self.manifest.duplicate_count()?,
            reader: self.reader_status(),
            offload_failure,
            backpressure: self.queue.backpressure(),
            tables,
            nodes: self.node_statuses(),
        })
    }

    /// What is where, without looking at the containers of the lake one by one.
    fn counts(&self) -> Result<Counts, Error> {
        let mut tries = 0;
        loop {
            let before = self.manifest.state();
            let counts = self.counts_beside(before.totals)?;
            // a container that went into the lake meanwhile would count twice, or not at all
            tries += 1;
            if self.manifest.state().next_edit == before.next_edit || tries == COUNT_TRIES {
                return Ok(counts);
            }
        }
    }

    fn counts_beside(&self, totals: Totals) -> Result<Counts, Error> {
        let mut table_records = BTreeMap::clone(&totals.table_records);
        let (mut containers, mut records) = (totals.containers, totals.records);
        let (mut unsealed, active_tables) = (self.writer.unsealed(), self.writer.active_tables());
        let waiting = self.sealed_waiting()?;
        for &number in &waiting {
            let Some(sealed) = self.files.sealed(number)? else { continue };
            let footer = self.files.footer(&sealed)?;
            containers += 1;
            records += u64::from(footer.trailer().record_count);
            for summary in footer.tables() {
                *table_records.entry(summary.table.id).or_default() += u64::from(summary.records);
            }
        }
        unsealed.retain(|(number, ..)| !waiting.contains(number));
        if !unsealed.is_empty() {
            for (table, records) in active_tables {
                *table_records.entry(table).or_default() += records;
            }
        }
        containers += unsealed.len() as u64;
        records += unsealed.iter().map(|(.., records)| records).sum::<u64>();
        let active_bytes = unsealed.last().map_or(0, |(_, bytes, _)| *bytes);
        let waiting = waiting.len() as u64;
        Ok(Counts { containers, records, waiting, active_bytes, table_records, totals })
    }

    fn table_statuses(&self, records: &BTreeMap<TableId, u64>) -> Vec<TableStatus> {
        let tables = self.manifest.tables().into_iter().map(|t| TableStatus {
            records: records.get(&t.id).copied().unwrap_or(0),
            name: t.name,
            kind: t.kind,
        });
        tables.collect()
    }

    pub(crate) fn node_statuses(&self) -> Vec<NodeStatus> {
        let answers = self.lake.all(|store| Box::pin(async move { store.space().await }));
        let placement = self.lake.placement();
        placement
            .nodes
            .iter()
            .zip(answers)
            .map(|(node, answer)| NodeStatus {
                address: node.store.name().into(),
                state: match answer {
                    Ok(space) => NodeState::Up {
                        capacity_bytes: space.capacity_bytes,
                        used_bytes: space.used_bytes,
                        shards: space.shards,
                    },
                    Err(e) => NodeState::Down { reason: e.to_string() },
                },
            })
            .collect()
    }

    fn container_statuses(&self) -> Result<Vec<ContainerStatus>, Error> {
        // in the order of a container's life, so that one that goes a step on meanwhile is not missed
        let mut out = BTreeMap::new();
        for (number, container_bytes, records) in self.writer.unsealed() {
            let status = ContainerStatus {
                id: ContainerId::data(number),
                records,
                container_bytes,
                place: ContainerPlace::Active,
                read_back: false,
                damaged_shards: Vec::new(),
                tables: Vec::new(),
                root: None,
            };
            out.insert(number, status);
        }
        for number in self.files.numbers(Kind::Sealed) {
            if self.manifest.is_offloaded(number)? {
                continue;
            }
            let Some(sealed) = self.files.sealed(number)? else { continue };
            let footer = self.files.footer(&sealed)?;
            let status = ContainerStatus {
                id: ContainerId::data(number),
                records: footer.trailer().record_count.into(),
                container_bytes: sealed.container_bytes,
                place: ContainerPlace::Sealed,
                read_back: false,
                damaged_shards: Vec::new(),
                tables: footer.tables().to_vec(),
                root: None,
            };
            out.insert(number, status);
        }
        for number in self.manifest.container_numbers()? {
            let id = ContainerId::data(number);
            let Some(container) = self.manifest.container(id)? else { continue };
            let place = ContainerPlace::Lake { local_bytes: self.files.allocated_bytes(number)? };
            let status = ContainerStatus {
                id,
                records: container.entry.record_count.into(),
                container_bytes: container.entry.stream.container_bytes,
                place,
                read_back: self.manifest.is_read_back(id)?,
                damaged_shards: self.manifest.damage_of(id)?,
                tables: container.entry.tables.clone(),
                root: Some(container.entry.stream.root),
            };
            out.insert(number, status);
        }
        Ok(out.into_values().collect())
    }
}

/// Times that [`Inner::counts`] counts while containers move.
const COUNT_TRIES: u32 = 5;

/// Sums over all containers, wherever they are; `totals` over those of the lake.
struct Counts {
    containers: u64,
    records: u64,
    waiting: u64,
    active_bytes: u64,
    table_records: BTreeMap<TableId, u64>,
    totals: Totals,
}

/// Bytes of disk of a folder's files, and of the folders in it.
fn folder_bytes(disk: &dyn prunedb_disk::Disk, dir: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for name in disk.list(dir).at(dir)? {
        let path = dir.join(&name);
        match disk.open(&path, prunedb_disk::Open::Read).and_then(|f| f.allocated_bytes()) {
            Ok(b) => bytes += b,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { path, source }),
        }
        if let Ok(names) = disk.list(&path)
            && !names.is_empty()
        {
            bytes += folder_bytes(disk, &path)?;
        }
    }
    Ok(bytes)
}

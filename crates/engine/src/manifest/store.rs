//! The files behind the local manifest, through the same `Disk` door as everything else.
//!
//! ```text
//! manifest.edits  the edits' bytes, one after another, only appended to
//! manifest.redb   where each edit is, which one names which container, and everything small
//! ```
//! An edit is about 7 KB, most of it the frame table, and a lake has a million: in the tree they would make each commit
//! longer, since it writes the state of the file's allocator. Beside it, a commit costs the same at any size.
//!
//! Atomic: the commit of the tree. Edits are durable before the tree names them; what a crash leaves behind the last
//! named one is overwritten.

use super::{State, pages::Pages};
use crate::{
    error::{At, Error},
    indexing::Found,
    verify::shards_bytes,
};
use prunedb_core::{
    ContainerId, ContainerKind, Digest, LakeId, Policy, ShardId, ShardIndex, TableId, Term,
};
use prunedb_disk::{Disk, File, Open};
use prunedb_format::{
    head::HeadBody,
    manifest::{ContainerEntry, Edit},
};
use prunedb_index::{Location, Suspect};
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableError,
    WriteTransaction,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

const FILE: &str = "manifest.redb";
/// Its name until it is complete.
const UNFINISHED: &str = "manifest.redb.new";
const CACHE_BYTES: usize = 8 << 20;

const EDITS_FILE: &str = "manifest.edits";

/// Where an edit is in its file: offset and length.
type Place = (u64, u32);
const EDITS: TableDefinition<u64, Place> = TableDefinition::new("edits");
const CONTAINERS: TableDefinition<ContainerKey, u64> = TableDefinition::new("containers");
const TABLES: TableDefinition<u32, u64> = TableDefinition::new("tables");
/// Records of each table in the containers of the lake.
const RECORDS: TableDefinition<u32, u64> = TableDefinition::new("records");
const DAMAGE: TableDefinition<(u8, u32, u8), ()> = TableDefinition::new("damage");
const READ_BACK: TableDefinition<ContainerKey, ()> = TableDefinition::new("read back");
/// Since which head, group, p, q.
type RetiredRow = (u64, u32, u8, u8);
const RETIRED: TableDefinition<ContainerKey, RetiredRow> = TableDefinition::new("retired");
/// The places of two records: table, digests of their values, key.
const DUPLICATES: TableDefinition<Places, DuplicateRow<'_>> = TableDefinition::new("duplicates");
/// Container and offset of the first record, then of the second.
type Places = (u32, u32, u32, u32);
type DuplicateRow<'a> = (u32, [u8; 32], [u8; 32], &'a [u8]);

fn places_of((first, second): Suspect) -> Places {
    (first.container, first.offset, second.container, second.offset)
}

fn pair_of((container, offset, other_container, other_offset): Places) -> Suspect {
    let other = Location { container: other_container, offset: other_offset };
    (Location { container, offset }, other)
}

/// More are not kept: a program that puts its keys twice would fill the disk.
const DUPLICATES_MAX: u64 = 10_000;
/// Pairs of records that may have one key and could not be compared yet.
const SUSPECTS: TableDefinition<Places, ()> = TableDefinition::new("suspects");
/// Shards on a node that nothing names: address, shard; name, length, Unix seconds since when.
const ORPHANS: TableDefinition<OrphanKey<'_>, OrphanRow> = TableDefinition::new("orphans");
type OrphanKey<'a> = (&'a str, u8, u32, u8);
type OrphanRow = ([u8; 32], u64, u64);
/// Node, kind, number and shard of a row, and the row.
type OrphanEntry = (String, u8, u32, u8, OrphanRow);
/// The index container that begins with the first page of a run that is copied into the lake, or about to be.
const INDEX_RUNS: TableDefinition<u64, u32> = TableDefinition::new("index runs");
/// Containers whose records are not in the index: their footers could not be read.
const UNINDEXED: TableDefinition<u32, ()> = TableDefinition::new("unindexed");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
const BODY: TableDefinition<(), &[u8]> = TableDefinition::new("body");
const LAKE: TableDefinition<(), [u8; 16]> = TableDefinition::new("lake");

/// Longer than any edit.
const EDIT_BYTES_MAX: u32 = 64 << 20;

/// Kind and number.
type ContainerKey = (u8, u32);

const fn key(id: ContainerId) -> ContainerKey {
    (id.kind as u8, id.number)
}

/// All keys of a kind from a number on.
const fn keys_from(kind: ContainerKind, number: u32) -> RangeInclusive<ContainerKey> {
    (kind as u8, number)..=(kind as u8, u32::MAX)
}

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
    pub(super) fn add(&mut self, entry: &ContainerEntry) -> Result<(), Error> {
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

    pub(super) fn remove(&mut self, entry: &ContainerEntry) -> Result<(), Error> {
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

/// One transaction.
#[derive(Default)]
pub(super) struct Batch<'a> {
    pub(super) state: Option<&'a State>,
    /// where the state's body is not the one that is stored
    pub(super) body: Option<&'a HeadBody>,
    /// with the number of the first
    pub(super) edits: Option<(u64, &'a [Edit])>,
    pub(super) damage: Option<(&'a [(ContainerId, ShardIndex)], bool)>,
    pub(super) read_back: Option<ContainerId>,
    pub(super) retired: Option<(&'a [Retired], &'a [ContainerId])>,
    pub(super) duplicates: &'a [Found],
    /// all of them
    pub(super) suspects: Option<&'a [Suspect]>,
    /// all of them
    pub(super) orphans: Option<&'a [Orphan]>,
    /// runs that get index containers, and runs that are forgotten
    pub(super) index_runs: (&'a [(u64, u32)], &'a [u64]),
    /// containers that no run needs any more
    pub(super) remove_containers: &'a [ContainerId],
    pub(super) unindexed: Option<(u32, bool)>,
}

#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    database: Database,
    /// what failed first: redb says no more than that something did
    failure: OnceLock<String>,
    edits_path: PathBuf,
    edits: Arc<dyn File>,
    /// where the next edit goes
    edits_end: AtomicU64,
    /// a sync of the edits failed: nothing is known of them any more
    poisoned: AtomicBool,
}

impl Store {
    pub(super) fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, Error> {
        let path = dir.join(FILE);
        disk.exists(&path).at(&path)
    }

    /// A new file, which no one takes for a manifest before [`Self::finish`].
    pub(super) fn create(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self, Error> {
        let path = dir.join(UNFINISHED);
        if disk.exists(&path).at(&path)? {
            disk.remove(&path).at(&path)?;
        }
        let file = disk.open(&path, Open::CreateNew).at(&path)?;
        let edits_path = dir.join(EDITS_FILE);
        if disk.exists(&edits_path).at(&edits_path)? {
            disk.remove(&edits_path).at(&edits_path)?;
        }
        let edits = disk.open(&edits_path, Open::CreateNew).at(&edits_path)?;
        Self::with(path, file, edits_path, edits)
    }

    /// Gives a new file its name.
    pub(super) fn finish(&self, disk: &dyn Disk) -> Result<(), Error> {
        let path = self.path.with_file_name(FILE);
        let dir = path.parent().expect("it was made in a folder");
        // no crash may keep this name and lose that of the edits
        disk.sync_dir(dir).at(dir)?;
        disk.rename(&self.path, &path).at(&path)?;
        disk.sync_dir(dir).at(dir)
    }

    /// Takes the name away again.
    pub(super) fn unfinish(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
        let path = dir.join(FILE);
        disk.rename(&path, &dir.join(UNFINISHED)).at(&path)?;
        disk.sync_dir(dir).at(dir)
    }

    pub(super) fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let file = match disk.open(&path, Open::ReadWrite) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotADatabase { path: dir.into() });
            }
            Err(source) => return Err(Error::Io { path, source }),
        };
        // where a sync of an earlier process failed, memory may show pages that the disk never got; of the edits, those
        // that the tree names were durable before it did
        file.sync_data().and_then(|()| file.drop_cached()).at(&path)?;
        let edits_path = dir.join(EDITS_FILE);
        let edits = disk.open(&edits_path, Open::ReadWrite).at(&edits_path)?;
        let store = Self::with(path, file, edits_path, edits)?;
        let end = store.read_edits_end().map_err(|e| store.failed(e))?;
        store.edits_end.store(end, Relaxed);
        if store.edits.len().at(&store.edits_path)? < end {
            return Err(store.damaged_edits(format!("shorter than the {end} bytes that count")));
        }
        Ok(store)
    }

    fn with(
        path: PathBuf,
        file: Arc<dyn File>,
        edits_path: PathBuf,
        edits: Arc<dyn File>,
    ) -> Result<Self, Error> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(Pages::new(file))
            .map_err(|e| failed(&path, e))?;
        let failure = OnceLock::new();
        let (edits_end, poisoned) = Default::default();
        Ok(Self { path, database, failure, edits_path, edits, edits_end, poisoned })
    }

    fn read_edits_end(&self) -> Result<u64, redb::Error> {
        let table = self.database.begin_read()?.open_table(EDITS)?;
        let last = table.last()?.map(|row| row.1.value());
        Ok(last.map_or(0, |(offset, bytes)| offset + u64::from(bytes)))
    }

    fn damaged_edits(&self, reason: String) -> Error {
        Error::Manifest { path: self.edits_path.clone(), reason }
    }

    pub(super) fn damaged(&self, reason: String) -> Error {
        Error::Manifest { path: self.path.clone(), reason }
    }

    fn failed(&self, error: impl Into<redb::Error>) -> Error {
        let error = failed(&self.path, error);
        let first = self.failure.get_or_init(|| error.to_string()).clone();
        match error {
            Error::Poisoned { .. } => Error::Poisoned { reason: first },
            error => error,
        }
    }

    /// One transaction; the caller makes sure that there is one at a time.
    pub(super) fn write(&self, batch: &Batch<'_>) -> Result<(), Error> {
        let places = self.append(batch.edits.map_or(&[], |(_, edits)| edits))?;
        let mut transaction = self.database.begin_write().map_err(|e| self.failed(e))?;
        // the allocator's state is committed too, so that opening after a crash does not scan the file
        transaction.set_quick_repair(true);
        write_batch(&transaction, batch, &places).map_err(|e| self.failed(e))?;
        transaction.commit().map_err(|e| self.failed(e))?;
        if let Some(&(offset, bytes)) = places.last() {
            self.edits_end.store(offset + u64::from(bytes), Relaxed);
        }
        Ok(())
    }

    /// Makes edits durable behind those that count; where they are.
    fn append(&self, edits: &[Edit]) -> Result<Vec<Place>, Error> {
        if edits.is_empty() {
            return Ok(Vec::new());
        }
        if self.poisoned.load(Relaxed) {
            let reason = format!("an earlier sync of {} failed", self.edits_path.display());
            return Err(Error::Poisoned { reason });
        }
        let start = self.edits_end.load(Relaxed);
        let (mut bytes, mut places) = (Vec::new(), Vec::with_capacity(edits.len()));
        for edit in edits {
            let edit_bytes = edit.encode();
            let length = u32::try_from(edit_bytes.len()).expect("an edit is far below 4 GB");
            places.push((start + bytes.len() as u64, length));
            bytes.extend_from_slice(&edit_bytes);
        }
        self.edits.write_all_at(&bytes, start).at(&self.edits_path)?;
        self.edits
            .sync_data()
            .inspect_err(|_| self.poisoned.store(true, Relaxed))
            .at(&self.edits_path)?;
        Ok(places)
    }

    pub(super) fn state(&self) -> Result<State, Error> {
        let (lake, bytes, numbers) = self.read_state().map_err(|e| self.failed(e))?;
        let [
            head_number,
            term,
            next_edit,
            head_dirty,
            containers,
            records,
            container_bytes,
            coded_bytes,
            lake_bytes,
            index_edit,
            next_index,
            reader,
        ] = numbers;
        let body = HeadBody::decode(&bytes).map_err(|e| self.damaged(e.to_string()))?;
        if body.groups.is_empty() {
            return Err(self.damaged("the placement has no group".into()));
        }
        let table_records = Arc::new(self.table_records().map_err(|e| self.failed(e))?);
        let totals =
            Totals { containers, records, container_bytes, coded_bytes, lake_bytes, table_records };
        Ok(State {
            lake: LakeId(lake),
            body: Arc::new(body),
            head_number,
            term: Term(term),
            next_edit,
            head_dirty: head_dirty != 0,
            index_edit: index_edit.checked_sub(1),
            next_index: u32::try_from(next_index)
                .map_err(|_| self.damaged(format!("index container {next_index}")))?,
            reader: reader != 0,
            totals,
        })
    }

    fn table_records(&self) -> Result<BTreeMap<TableId, u64>, redb::Error> {
        let table = self.database.begin_read()?.open_table(RECORDS)?;
        let rows = table.iter()?.map(|row| row.map(|(id, n)| (TableId(id.value()), n.value())));
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn read_state(&self) -> Result<StateRow, redb::Error> {
        let read = self.database.begin_read()?;
        let body = read.open_table(BODY)?.get(())?.map(|g| g.value().to_vec()).unwrap_or_default();
        let table = read.open_table(NUMBERS)?;
        let mut numbers = [0; NUMBER_NAMES.len()];
        for (number, name) in numbers.iter_mut().zip(NUMBER_NAMES) {
            *number = table.get(name)?.map_or(0, |g| g.value());
        }
        let lake = read.open_table(LAKE)?.get(())?.map(|g| g.value()).unwrap_or_default();
        Ok((lake, body, numbers))
    }

    pub(super) fn edit(&self, number: u64) -> Result<Edit, Error> {
        let place = self.edit_place(number).map_err(|e| self.failed(e))?;
        let place = place.ok_or_else(|| self.damaged(format!("edit {number} is missing")))?;
        Ok(self.read_edit(number, place)?.0)
    }

    /// An edit and its bytes, which were checked.
    fn read_edit(&self, number: u64, place: Place) -> Result<(Edit, Vec<u8>), Error> {
        let bytes = self.edit_bytes(place)?;
        let edit =
            Edit::decode(&bytes).map_err(|e| self.damaged_edits(format!("edit {number}: {e}")))?;
        Ok((edit, bytes))
    }

    fn edit_place(&self, number: u64) -> Result<Option<Place>, redb::Error> {
        let table = self.database.begin_read()?.open_table(EDITS)?;
        Ok(table.get(number)?.map(|g| g.value()))
    }

    fn edit_bytes(&self, (offset, bytes): Place) -> Result<Vec<u8>, Error> {
        if bytes > EDIT_BYTES_MAX {
            return Err(self.damaged(format!("names an edit of {bytes} bytes")));
        }
        let mut out = vec![0; bytes as usize];
        self.edits.read_exact_at(&mut out, offset).at(&self.edits_path)?;
        Ok(out)
    }

    pub(super) fn edits_from(
        &self,
        first: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let places = self.places_from(first, bytes_max).map_err(|e| self.failed(e))?;
        // checked: they are about to be published
        let edit = |(number, place)| Ok((number, self.read_edit(number, place)?.1));
        places.into_iter().map(edit).collect()
    }

    fn places_from(&self, first: u64, bytes_max: usize) -> Result<Vec<(u64, Place)>, redb::Error> {
        let table = self.database.begin_read()?.open_table(EDITS)?;
        let (mut out, mut bytes) = (Vec::new(), 0);
        for row in table.range(first..)? {
            let (number, place) = row?;
            bytes += place.value().1 as usize;
            if bytes > bytes_max && !out.is_empty() {
                break;
            }
            out.push((number.value(), place.value()));
        }
        Ok(out)
    }

    pub(super) fn table_edits(&self) -> Result<Vec<u64>, Error> {
        let read = || -> Result<Vec<u64>, redb::Error> {
            let read = self.database.begin_read()?;
            read.open_table(TABLES)?.iter()?.map(|row| Ok(row?.1.value())).collect()
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn container_edit(&self, id: ContainerId) -> Result<Option<u64>, Error> {
        let read = || -> Result<Option<u64>, redb::Error> {
            let read = self.database.begin_read()?;
            Ok(read.open_table(CONTAINERS)?.get(key(id))?.map(|g| g.value()))
        };
        read().map_err(|e| self.failed(e))
    }

    /// Numbers of the containers of a kind, from one on, rising.
    pub(super) fn container_numbers(
        &self,
        kind: ContainerKind,
        first: u32,
    ) -> Result<Vec<u32>, Error> {
        let read = || -> Result<Vec<u32>, redb::Error> {
            let table = self.database.begin_read()?.open_table(CONTAINERS)?;
            table.range(keys_from(kind, first))?.map(|row| Ok(row?.0.value().1)).collect()
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn last_container(&self, kind: ContainerKind) -> Result<Option<u32>, Error> {
        let read = || -> Result<Option<u32>, redb::Error> {
            let table = self.database.begin_read()?.open_table(CONTAINERS)?;
            let last = table.range(keys_from(kind, 0))?.next_back().transpose()?;
            Ok(last.map(|row| row.0.value().1))
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn damage(&self) -> Result<BTreeSet<(ContainerId, ShardIndex)>, Error> {
        let read = || -> Result<Vec<(u8, u32, u8)>, redb::Error> {
            let read = self.database.begin_read()?;
            read.open_table(DAMAGE)?.iter()?.map(|row| Ok(row?.0.value())).collect()
        };
        let rows = read().map_err(|e| self.failed(e))?;
        rows.into_iter()
            .map(|(kind, number, shard)| {
                Ok((ContainerId { kind: self.kind(kind)?, number }, ShardIndex(shard)))
            })
            .collect()
    }

    fn kind(&self, kind: u8) -> Result<ContainerKind, Error> {
        ContainerKind::from_byte(kind).ok_or_else(|| self.damaged(format!("container kind {kind}")))
    }

    pub(super) fn damage_of(&self, container: ContainerId) -> Result<Vec<ShardIndex>, Error> {
        let of = |shard: u8| (container.kind as u8, container.number, shard);
        let read = || -> Result<Vec<ShardIndex>, redb::Error> {
            let table = self.database.begin_read()?.open_table(DAMAGE)?;
            let rows = table.range(of(0)..=of(u8::MAX))?;
            rows.map(|row| Ok(ShardIndex(row?.0.value().2))).collect()
        };
        read().map_err(|e| self.failed(e))
    }

    /// Those of the shards whose damage is not noted (or, for `damaged` false, not cleared) yet.
    pub(super) fn not_in_damage(
        &self,
        shards: impl IntoIterator<Item = (ContainerId, ShardIndex)>,
        damaged: bool,
    ) -> Result<Vec<(ContainerId, ShardIndex)>, Error> {
        let read = || -> Result<Vec<(ContainerId, ShardIndex)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(DAMAGE)?;
            let mut out = Vec::new();
            for (container, shard) in shards {
                let noted = table.get((container.kind as u8, container.number, shard.0))?;
                if noted.is_some() != damaged {
                    out.push((container, shard));
                }
            }
            Ok(out)
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn has_container_edit_from(&self, first: u64) -> Result<bool, Error> {
        let read = || -> Result<Option<u64>, redb::Error> {
            let table = self.database.begin_read()?.open_table(EDITS)?;
            let last = table.last()?.map(|row| row.0.value());
            Ok(last)
        };
        let end = read().map_err(|e| self.failed(e))?.map_or(0, |last| last + 1);
        for number in first..end {
            if matches!(self.edit(number)?, Edit::Container(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn is_read_back(&self, id: ContainerId) -> Result<bool, Error> {
        let read = || -> Result<bool, redb::Error> {
            let read = self.database.begin_read()?;
            Ok(read.open_table(READ_BACK)?.get(key(id))?.is_some())
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn duplicates(&self) -> Result<Vec<Found>, Error> {
        let read = || -> Result<Vec<Found>, redb::Error> {
            let table = self.database.begin_read()?.open_table(DUPLICATES)?;
            let found = table.iter()?.map(|row| {
                let (places, row) = row?;
                let (table, first, second, key) = row.value();
                Ok(Found {
                    places: pair_of(places.value()),
                    table: TableId(table),
                    digests: [Digest(first), Digest(second)],
                    key: key.to_vec(),
                })
            });
            found.collect()
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn suspects(&self) -> Result<Vec<Suspect>, Error> {
        let read = || -> Result<Vec<Suspect>, redb::Error> {
            let table = match self.database.begin_read()?.open_table(SUSPECTS) {
                // nothing was written since there is such a table
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            table.iter()?.map(|row| Ok(pair_of(row?.0.value()))).collect()
        };
        read().map_err(|e| self.failed(e))
    }

    /// Shards of a lake that nothing names.
    pub(super) fn orphans(&self, lake: LakeId) -> Result<Vec<Orphan>, Error> {
        let read = || -> Result<Vec<OrphanEntry>, redb::Error> {
            let table = match self.database.begin_read()?.open_table(ORPHANS) {
                // nothing was written since there is such a table
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let rows = table.iter()?.map(|row| {
                let (key, row) = row?;
                let (node, kind, number, index) = key.value();
                Ok((node.to_owned(), kind, number, index, row.value()))
            });
            rows.collect()
        };
        let rows = read().map_err(|e| self.failed(e))?;
        rows.into_iter()
            .map(|(node, kind, number, index, (name, bytes, since_s))| {
                let container = ContainerId { kind: self.kind(kind)?, number };
                let id = ShardId { lake, container, index: ShardIndex(index) };
                Ok(Orphan { node, id, name: Digest(name), bytes, since_s })
            })
            .collect()
    }

    /// Runs that have index containers, with the number of the first one.
    pub(super) fn index_runs(&self) -> Result<BTreeMap<u64, u32>, Error> {
        let read = || -> Result<BTreeMap<u64, u32>, redb::Error> {
            let table = self.database.begin_read()?.open_table(INDEX_RUNS)?;
            table
                .iter()?
                .map(|row| row.map(|(run, n)| (run.value(), n.value())).map_err(Into::into))
                .collect()
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn unindexed(&self) -> Result<BTreeSet<u32>, Error> {
        let read = || -> Result<BTreeSet<u32>, redb::Error> {
            let table = self.database.begin_read()?.open_table(UNINDEXED)?;
            table.iter()?.map(|row| Ok(row?.0.value())).collect()
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn duplicate_count(&self) -> Result<u64, Error> {
        let read = || -> Result<u64, redb::Error> {
            Ok(self.database.begin_read()?.open_table(DUPLICATES)?.len()?)
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn retired(&self) -> Result<Vec<Retired>, Error> {
        let read = || -> Result<Vec<(ContainerKey, RetiredRow)>, redb::Error> {
            let read = self.database.begin_read()?;
            let table = read.open_table(RETIRED)?;
            table
                .iter()?
                .map(|row| row.map(|(k, v)| (k.value(), v.value())).map_err(Into::into))
                .collect()
        };
        let rows = read().map_err(|e| self.failed(e))?;
        rows.into_iter()
            .map(|((kind, number), (since_head, group, p, q))| {
                let policy =
                    Policy::new(p.into(), q.into()).map_err(|e| self.damaged(e.to_string()))?;
                let id = ContainerId { kind: self.kind(kind)?, number };
                Ok(Retired { id, since_head, group, policy })
            })
            .collect()
    }
}

/// What redb's error means: a disk that refuses, now or earlier in this process, or damage.
fn failed(path: &Path, error: impl Into<redb::Error>) -> Error {
    match error.into() {
        // redb's own words for a file that is not one of its
        redb::Error::Io(e) if e.kind() != io::ErrorKind::InvalidData => {
            Err::<(), _>(e).at(path).expect_err("it is one")
        }
        e @ redb::Error::PreviousIo => {
            Error::Poisoned { reason: format!("{}: {e}", path.display()) }
        }
        e => Error::Manifest { path: path.into(), reason: e.to_string() },
    }
}

/// Lake, body, numbers.
type StateRow = ([u8; 16], Vec<u8>, [u64; NUMBER_NAMES.len()]);

const NUMBER_NAMES: [&str; 12] = [
    "head number",
    "term",
    "next edit",
    "head dirty",
    "containers",
    "records",
    "container bytes",
    "coded bytes",
    "lake bytes",
    "index edit, plus one",
    "next index container",
    "reader",
];

fn write_batch(
    transaction: &WriteTransaction,
    batch: &Batch<'_>,
    places: &[Place],
) -> Result<(), redb::Error> {
    // every table is opened, so that all of them exist after the first transaction
    let mut edits = transaction.open_table(EDITS)?;
    let mut containers = transaction.open_table(CONTAINERS)?;
    let mut tables = transaction.open_table(TABLES)?;
    let mut records = transaction.open_table(RECORDS)?;
    let mut damage = transaction.open_table(DAMAGE)?;
    let mut read_back = transaction.open_table(READ_BACK)?;
    let mut retired = transaction.open_table(RETIRED)?;
    let mut duplicates = transaction.open_table(DUPLICATES)?;
    let mut suspects = transaction.open_table(SUSPECTS)?;
    let mut orphans = transaction.open_table(ORPHANS)?;
    let mut index_runs = transaction.open_table(INDEX_RUNS)?;
    let mut unindexed = transaction.open_table(UNINDEXED)?;
    let mut numbers = transaction.open_table(NUMBERS)?;
    let mut body = transaction.open_table(BODY)?;
    let mut lake = transaction.open_table(LAKE)?;
    if let Some(state) = batch.state {
        let values = [
            state.head_number,
            state.term.0,
            state.next_edit,
            state.head_dirty.into(),
            state.totals.containers,
            state.totals.records,
            state.totals.container_bytes,
            state.totals.coded_bytes,
            state.totals.lake_bytes,
            state.index_edit.map_or(0, |edit| edit + 1),
            state.next_index.into(),
            state.reader.into(),
        ];
        for (name, value) in NUMBER_NAMES.iter().zip(values) {
            numbers.insert(name, value)?;
        }
        lake.insert((), state.lake.0)?;
    }
    if let Some(new) = batch.body {
        body.insert((), new.encode().as_slice())?;
    }
    let (first_edit, new_edits) = batch.edits.unwrap_or_default();
    for ((number, edit), place) in (first_edit..).zip(new_edits).zip(places) {
        edits.insert(number, place)?;
        match edit {
            Edit::Table(table) => _ = tables.insert(table.id.0, number)?,
            Edit::Container(entry) => _ = containers.insert(key(entry.stream.id), number)?,
            _ => {}
        }
    }
    if let Some(state) = batch.state.filter(|_| !new_edits.is_empty()) {
        for (table, count) in &*state.totals.table_records {
            records.insert(table.0, count)?;
        }
    }
    if let Some((shards, damaged)) = batch.damage {
        for (container, shard) in shards {
            let key = (container.kind as u8, container.number, shard.0);
            if damaged {
                damage.insert(key, ())?;
            } else {
                damage.remove(key)?;
            }
        }
    }
    if let Some(id) = batch.read_back {
        read_back.insert(key(id), ())?;
    }
    for (run, first_container) in batch.index_runs.0 {
        index_runs.insert(run, first_container)?;
    }
    for run in batch.index_runs.1 {
        index_runs.remove(run)?;
    }
    for &id in batch.remove_containers {
        containers.remove(key(id))?;
        read_back.remove(key(id))?;
    }
    match batch.unindexed {
        Some((number, true)) => _ = unindexed.insert(number, ())?,
        Some((number, false)) => _ = unindexed.remove(number)?,
        None => {}
    }
    if let Some(pairs) = batch.suspects {
        suspects.retain(|_, ()| false)?;
        for &pair in pairs {
            suspects.insert(places_of(pair), ())?;
        }
    }
    if let Some(all) = batch.orphans {
        orphans.retain(|_, _| false)?;
        for orphan in all {
            let ContainerId { kind, number } = orphan.id.container;
            let key = (orphan.node.as_str(), kind as u8, number, orphan.id.index.0);
            orphans.insert(key, (orphan.name.0, orphan.bytes, orphan.since_s))?;
        }
    }
    for Found { places, table, digests, key } in batch.duplicates {
        if duplicates.len()? < DUPLICATES_MAX {
            duplicates.insert(
                places_of(*places),
                (table.0, digests[0].0, digests[1].0, key.as_slice()),
            )?;
        }
    }
    if let Some((add, remove)) = batch.retired {
        for r in add {
            let shards = |n: usize| u8::try_from(n).expect("a policy has at most 255 shards");
            let policy = (shards(r.policy.data_shards()), shards(r.policy.parity_shards()));
            retired.insert(key(r.id), (r.since_head, r.group, policy.0, policy.1))?;
        }
        for &id in remove {
            retired.remove(key(id))?;
        }
    }
    Ok(())
}

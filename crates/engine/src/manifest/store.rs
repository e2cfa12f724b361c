//! The file behind the local manifest: redb, through the same `Disk` door as everything else.

use super::{State, pages::Pages};
use crate::error::{At, Error};
use prunedb_core::{ContainerId, ContainerKind, LakeId, Policy, ShardIndex, Term};
use prunedb_disk::{Disk, File, Open};
use prunedb_format::{
    head::HeadBody,
    manifest::{ContainerEntry, Edit},
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

const FILE: &str = "manifest.redb";
/// Its name until it is complete.
const UNFINISHED: &str = "manifest.redb.new";
const CACHE_BYTES: usize = 8 << 20;

const EDITS: TableDefinition<u64, &[u8]> = TableDefinition::new("edits");
const CONTAINERS: TableDefinition<u32, u64> = TableDefinition::new("containers");
const TABLES: TableDefinition<u32, u64> = TableDefinition::new("tables");
const DAMAGE: TableDefinition<(u8, u32, u8), ()> = TableDefinition::new("damage");
const READ_BACK: TableDefinition<u32, ()> = TableDefinition::new("read back");
/// Since which head, group, p, q.
type RetiredRow = (u64, u32, u8, u8);
const RETIRED: TableDefinition<u32, RetiredRow> = TableDefinition::new("retired");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
const BODY: TableDefinition<(), &[u8]> = TableDefinition::new("body");
const LAKE: TableDefinition<(), [u8; 16]> = TableDefinition::new("lake");

/// Sums over the data containers of the lake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) containers: u64,
    pub(crate) records: u64,
    pub(crate) container_bytes: u64,
    pub(crate) coded_bytes: u64,
}

impl Totals {
    pub(super) fn add(&mut self, entry: &ContainerEntry) {
        self.containers += 1;
        self.records += u64::from(entry.record_count);
        self.container_bytes += entry.stream.container_bytes;
        self.coded_bytes += entry.stream.coded_bytes;
    }

    pub(super) fn remove(&mut self, entry: &ContainerEntry) {
        self.containers -= 1;
        self.records -= u64::from(entry.record_count);
        self.container_bytes -= entry.stream.container_bytes;
        self.coded_bytes -= entry.stream.coded_bytes;
    }
}

/// A manifest container that a newer one replaced; its shards are deleted after some heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retired {
    pub(crate) number: u32,
    pub(crate) since_head: u64,
    pub(crate) group: u32,
    pub(crate) policy: Policy,
}

/// One transaction.
#[derive(Default)]
pub(super) struct Batch<'a> {
    pub(super) state: Option<&'a State>,
    /// with the number of the first
    pub(super) edits: Option<(u64, &'a [Edit])>,
    pub(super) damage: Option<(&'a [(ContainerId, ShardIndex)], bool)>,
    pub(super) read_back: Option<u32>,
    pub(super) retired: Option<(&'a [Retired], &'a [u32])>,
}

#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    database: Database,
    /// what failed first: redb says no more than that something did
    failure: OnceLock<String>,
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
        Self::with(path, file)
    }

    /// Gives a new file its name.
    pub(super) fn finish(&self, disk: &dyn Disk) -> Result<(), Error> {
        let path = self.path.with_file_name(FILE);
        let dir = path.parent().expect("it was made in a folder");
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
        match disk.open(&path, Open::ReadWrite) {
            Ok(file) => {
                // where a sync of an earlier process failed, memory may show pages that the disk never got
                file.sync_data().and_then(|()| file.drop_cached()).at(&path)?;
                Self::with(path, file)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(Error::NotADatabase { path: dir.into() })
            }
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    fn with(path: PathBuf, file: Arc<dyn File>) -> Result<Self, Error> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(Pages::new(file))
            .map_err(|e| failed(&path, e))?;
        Ok(Self { path, database, failure: OnceLock::new() })
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

    pub(super) fn write(&self, batch: &Batch<'_>) -> Result<(), Error> {
        let mut transaction = self.database.begin_write().map_err(|e| self.failed(e))?;
        // the allocator's state is committed too, so that opening after a crash does not scan the file
        transaction.set_quick_repair(true);
        write_batch(&transaction, batch).map_err(|e| self.failed(e))?;
        transaction.commit().map_err(|e| self.failed(e))
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
        ] = numbers;
        let body = HeadBody::decode(&bytes).map_err(|e| self.damaged(e.to_string()))?;
        if body.groups.is_empty() {
            return Err(self.damaged("the placement has no group".into()));
        }
        Ok(State {
            lake: LakeId(lake),
            body,
            head_number,
            term: Term(term),
            next_edit,
            head_dirty: head_dirty != 0,
            totals: Totals { containers, records, container_bytes, coded_bytes },
        })
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
        let bytes = self.edit_bytes(number).map_err(|e| self.failed(e))?;
        let bytes = bytes.ok_or_else(|| self.damaged(format!("edit {number} is missing")))?;
        Edit::decode(&bytes).map_err(|e| self.damaged(format!("edit {number}: {e}")))
    }

    fn edit_bytes(&self, number: u64) -> Result<Option<Vec<u8>>, redb::Error> {
        let read = self.database.begin_read()?;
        Ok(read.open_table(EDITS)?.get(number)?.map(|g| g.value().to_vec()))
    }

    pub(super) fn edits_from(
        &self,
        first: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.read_edits_from(first, bytes_max).map_err(|e| self.failed(e))
    }

    fn read_edits_from(
        &self,
        first: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
        let read = self.database.begin_read()?;
        let (mut out, mut bytes): (Vec<(u64, Vec<u8>)>, usize) = (Vec::new(), 0);
        for row in read.open_table(EDITS)?.range(first..)? {
            let (number, edit) = row?;
            bytes += edit.value().len();
            if bytes > bytes_max && !out.is_empty() {
                break;
            }
            out.push((number.value(), edit.value().to_vec()));
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

    pub(super) fn container_edit(&self, number: u32) -> Result<Option<u64>, Error> {
        let read = || -> Result<Option<u64>, redb::Error> {
            let read = self.database.begin_read()?;
            Ok(read.open_table(CONTAINERS)?.get(number)?.map(|g| g.value()))
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn container_numbers(&self) -> Result<Vec<u32>, Error> {
        let read = || -> Result<Vec<u32>, redb::Error> {
            let read = self.database.begin_read()?;
            read.open_table(CONTAINERS)?.iter()?.map(|row| Ok(row?.0.value())).collect()
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
                let kind = ContainerKind::from_byte(kind)
                    .ok_or_else(|| self.damaged(format!("container kind {kind}")))?;
                Ok((ContainerId { kind, number }, ShardIndex(shard)))
            })
            .collect()
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

    pub(super) fn is_read_back(&self, number: u32) -> Result<bool, Error> {
        let read = || -> Result<bool, redb::Error> {
            let read = self.database.begin_read()?;
            Ok(read.open_table(READ_BACK)?.get(number)?.is_some())
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn retired(&self) -> Result<Vec<Retired>, Error> {
        let read = || -> Result<Vec<(u32, RetiredRow)>, redb::Error> {
            let read = self.database.begin_read()?;
            let table = read.open_table(RETIRED)?;
            table
                .iter()?
                .map(|row| row.map(|(k, v)| (k.value(), v.value())).map_err(Into::into))
                .collect()
        };
        let rows = read().map_err(|e| self.failed(e))?;
        rows.into_iter()
            .map(|(number, (since_head, group, p, q))| {
                let policy =
                    Policy::new(p.into(), q.into()).map_err(|e| self.damaged(e.to_string()))?;
                Ok(Retired { number, since_head, group, policy })
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

const NUMBER_NAMES: [&str; 8] = [
    "head number",
    "term",
    "next edit",
    "head dirty",
    "containers",
    "records",
    "container bytes",
    "coded bytes",
];

fn write_batch(transaction: &WriteTransaction, batch: &Batch<'_>) -> Result<(), redb::Error> {
    // every table is opened, so that all of them exist after the first transaction
    let mut edits = transaction.open_table(EDITS)?;
    let mut containers = transaction.open_table(CONTAINERS)?;
    let mut tables = transaction.open_table(TABLES)?;
    let mut damage = transaction.open_table(DAMAGE)?;
    let mut read_back = transaction.open_table(READ_BACK)?;
    let mut retired = transaction.open_table(RETIRED)?;
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
        ];
        for (name, value) in NUMBER_NAMES.iter().zip(values) {
            numbers.insert(name, value)?;
        }
        body.insert((), state.body.encode().as_slice())?;
        lake.insert((), state.lake.0)?;
    }
    let (first_edit, new_edits) = batch.edits.unwrap_or_default();
    for (number, edit) in (first_edit..).zip(new_edits) {
        edits.insert(number, edit.encode().as_slice())?;
        match edit {
            Edit::Table(table) => _ = tables.insert(table.id.0, number)?,
            Edit::Container(entry) => _ = containers.insert(entry.stream.id.number, number)?,
            _ => {}
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
    if let Some(number) = batch.read_back {
        read_back.insert(number, ())?;
    }
    if let Some((add, remove)) = batch.retired {
        for r in add {
            let shards = |n: usize| u8::try_from(n).expect("a policy has at most 255 shards");
            let policy = (shards(r.policy.data_shards()), shards(r.policy.parity_shards()));
            retired.insert(r.number, (r.since_head, r.group, policy.0, policy.1))?;
        }
        for number in remove {
            retired.remove(number)?;
        }
    }
    Ok(())
}

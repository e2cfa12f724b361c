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

mod read;
mod rows;
mod tables;
mod write;

pub(crate) use rows::{Orphan, Retired, Totals};
pub(super) use write::Batch;

use super::{State, pages::Pages};
use crate::error::{At, Error};
use prunedb_core::{LakeId, TableId, Term};
use prunedb_disk::{Disk, File, Open};
use prunedb_format::{head::HeadBody, manifest::Edit};
use redb::{Database, ReadableDatabase, ReadableTable};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};
use tables::{BODY, EDITS, LAKE, NUMBER_NAMES, NUMBERS, Place, RECORDS};
use write::write_batch;

const FILE: &str = "manifest.redb";
/// Its name until it is complete.
const UNFINISHED: &str = "manifest.redb.new";
const CACHE_BYTES: usize = 8 << 20;

const EDITS_FILE: &str = "manifest.edits";

/// Longer than any edit.
const EDIT_BYTES_MAX: u32 = 64 << 20;

/// Lake, body, numbers.
type StateRow = ([u8; 16], Vec<u8>, [u64; NUMBER_NAMES.len()]);

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

//! The index at work: lookups, what it does not cover yet, and building it anew where it is damaged.

mod duplicates;
mod lake;
mod unindexed;
mod upkeep;

pub use duplicates::{Contender, Duplicate};
pub(crate) use duplicates::{Found, Suspects};
use lake::LakePages;
pub(crate) use lake::adopt_index;

use crate::{
    db::{Inner, Table},
    error::{At, Error},
    lake::{Lake, Trace},
    local::{Directory, Kind},
    manifest::Manifest,
    progress::{Job, OnProgress},
    record::Record,
    writer::{Position, Written},
};
use prunedb_core::{ContainerId, TableId};
use prunedb_disk::{Disk, create_dir_durable};
use prunedb_format::container::{DirectoryEntry, Footer, TableKind};
use prunedb_index::{Index, Location, RemotePages, Seed};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, PoisonError},
};

const INDEX_DIR: &str = "index";
/// Entries that one step of a merge moves.
const MERGE_STEP_ENTRIES: u64 = 1 << 20;
/// Steps of merges that follow a write of the index where nobody merges in the background.
const MERGE_STEPS: u32 = 16;
/// Records in memory from which the index is written.
const INDEX_RECORDS: u64 = 1_000_000;

/// What the lake said, where pages of the index were asked of it.
fn from_lake(error: Error) -> Error {
    match error {
        Error::Index(prunedb_index::Error::Io { doing, path, source }) => {
            match source.downcast::<Error>() {
                Ok(error) => error,
                Err(source) => Error::Index(prunedb_index::Error::Io { doing, path, source }),
            }
        }
        error => error,
    }
}

/// Puts the places of records into the index.
pub(crate) fn insert_all<'a>(index: &Index, records: impl Iterator<Item = Written<'a>>) {
    index.insert_many(records.filter_map(|Written { table, kind, key, at }| {
        match (kind, key.try_into()) {
            (TableKind::Sequence, Ok(key)) => {
                index.insert_sequence(table, u64::from_be_bytes(key), at);
                None
            }
            _ => Some((table, key, at)),
        }
    }));
}

/// Puts the places of all records of a container into the index.
pub(crate) fn insert_footer(index: &Index, number: u32, footer: &Footer) {
    let kinds: HashMap<TableId, TableKind> =
        footer.tables().iter().map(|t| (t.table.id, t.table.kind)).collect();
    insert_all(
        index,
        footer.entries().map(|DirectoryEntry { table, offset, key }| {
            let at = Location { container: number, offset };
            Written { table, kind: kinds[&table], key, at }
        }),
    );
}

pub(crate) fn open_index(
    disk: &Arc<dyn Disk>,
    metadata_dir: &Path,
    lake: &Arc<Lake>,
    manifest: &Arc<Manifest>,
) -> Result<Index, Error> {
    let dir = metadata_dir.join(INDEX_DIR);
    if !disk.exists(&dir).at(&dir)? {
        create_dir_durable(&**disk, &dir).at(&dir)?;
    }
    let seed = Seed::new(*lake.secret.index_seed());
    let options = prunedb_index::Options::default();
    let (lake, manifest) = (Arc::clone(lake), Arc::clone(manifest));
    let remote = Some(Arc::new(LakePages::new(lake, manifest)) as Arc<dyn RemotePages>);
    match Index::open_with(Arc::clone(disk), &dir, &seed, options, remote.clone()) {
        Err(error) if error.is_damage() => {
            tracing::warn!(%error, "the index is damaged: built anew from footers");
            Ok(Index::create_with(Arc::clone(disk), &dir, &seed, options, remote)?)
        }
        Err(prunedb_index::Error::WrongSeed { .. }) => {
            // the manifest vouches for the secret, so it is the index that came from elsewhere
            tracing::warn!(dir = %dir.display(), "the index is another lake's: built anew from footers");
            Ok(Index::create_with(Arc::clone(disk), &dir, &seed, options, remote)?)
        }
        opened => opened.map_err(|error| from_lake(error.into())),
    }
}

impl Inner {
    /// The first record of a key, where it lies before `end`: its place and itself.
    ///
    /// # Errors
    /// [`Error::Unindexed`] where it was not found but may be in a container that could not be indexed.
    pub(crate) fn find(
        &self,
        table: &Table,
        key: &[u8],
        end: Position,
        trace: &mut Trace,
    ) -> Result<Option<(Location, Record)>, Error> {
        // before the index is asked: one that gets into it meanwhile counts as noted
        let noted = self.manifest.unindexed();
        let found = self.find_indexed(table, key, end, trace)?;
        if found.is_none() {
            self.refuse_noted(&noted, table, key..=key)?;
        }
        Ok(found)
    }

    fn find_indexed(
        &self,
        table: &Table,
        key: &[u8],
        end: Position,
        trace: &mut Trace,
    ) -> Result<Option<(Location, Record)>, Error> {
        self.healing(|| match (table.kind, key.try_into()) {
            (TableKind::Sequence, Ok(key)) => {
                let at = self.index.lookup_sequence(table.id, u64::from_be_bytes(key))?;
                self.first(table, key.as_slice(), at.into_iter().map(Ok), end, trace)
            }
            _ => self.first(table, key, self.index.candidates(table.id, key), end, trace),
        })
    }

    /// Whether the record at a place is the first one of its key.
    pub(crate) fn is_first(
        &self,
        table: &Table,
        key: &[u8],
        at: Location,
        trace: &mut Trace,
    ) -> Result<bool, Error> {
        let end = Position::before(at);
        Ok(self.find_indexed(table, key, end, trace)?.is_none())
    }

    /// The first candidate that is the record of the key. They come oldest first.
    fn first(
        &self,
        table: &Table,
        key: &[u8],
        candidates: impl Iterator<Item = Result<Location, prunedb_index::Error>>,
        end: Position,
        trace: &mut Trace,
    ) -> Result<Option<(Location, Record)>, Error> {
        for at in candidates {
            let at = at?;
            if !end.is_behind(at) {
                return Ok(None);
            }
            if !self.is_known(at)? {
                continue;
            }
            let record = self.record(table.id, at, trace)?;
            let view = record.view();
            if view.table == table.id && view.key == key {
                return Ok(Some((at, record)));
            }
        }
        Ok(None)
    }

    /// Work with the index; where it turns out to be damaged it is read from the lake, or built anew from footers, and the
    /// work done again.
    /// Nobody looks things up meanwhile, nor after that failed in its middle: half an index would say "not there".
    pub(crate) fn healing<T>(
        &self,
        mut work: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut attempt = || {
            let whole = self.index_whole.read().unwrap_or_else(PoisonError::into_inner);
            whole.then(|| work().map_err(from_lake))
        };
        let mut rebuilt = false;
        loop {
            match attempt() {
                None => self.rebuild_index()?,
                // each time one file fewer
                Some(Err(Error::Index(error))) if self.index.evict_damaged(&error)? => {
                    tracing::warn!(%error, "a run of the index is damaged: read from the lake");
                }
                Some(Err(Error::Index(error))) if error.is_damage() && !rebuilt => {
                    tracing::warn!(%error, "the index is damaged");
                    self.rebuild_index()?;
                    rebuilt = true;
                }
                Some(answer) => return answer,
            }
        }
    }

    fn rebuild_index(&self) -> Result<(), Error> {
        let mut whole = self.index_whole.write().unwrap_or_else(PoisonError::into_inner);
        tracing::warn!("the index is built anew from footers");
        let active = self.writer.first_unsealed();
        *whole = false;
        self.index.reset()?;
        self.index_missing(Some(active), &mut |_| {})?;
        self.index_active(active)?;
        *whole = true;
        Ok(())
    }

    /// Adds the durable records of the container that was active before the index was emptied. What was put behind
    /// them, in later containers too, went into the emptied one.
    fn index_active(&self, container: u32) -> Result<(), Error> {
        for table in self.manifest.tables() {
            let Some(offsets) = self.writer.active_offsets(container, table.id) else {
                return self.index_container(container); // sealed meanwhile
            };
            for offset in offsets {
                let at = Location { container, offset };
                let record = self.record(table.id, at, &mut Trace::default())?;
                let (key, kind) = (record.view().key, table.kind);
                insert_all(&self.index, [Written { table: table.id, kind, key, at }].into_iter());
            }
        }
        Ok(())
    }

    /// Adds the records of a container that is not sealed.
    pub(crate) fn index_directory(
        &self,
        container: u32,
        directory: &Directory,
    ) -> Result<(), Error> {
        let kinds: HashMap<TableId, TableKind> =
            self.manifest.tables().into_iter().map(|table| (table.id, table.kind)).collect();
        let directory = directory.lock();
        if let Some(entry) = directory.entries().find(|e| !kinds.contains_key(&e.table)) {
            return Err(Error::Damaged {
                container: ContainerId::data(container),
                offset: entry.offset.into(),
                reason: format!("table {} is not in the manifest", entry.table),
            });
        }
        insert_all(
            &self.index,
            directory.entries().map(|DirectoryEntry { table, offset, key }| Written {
                table,
                kind: kinds[&table],
                key,
                at: Location { container, offset },
            }),
        );
        Ok(())
    }

    /// Adds the records of containers that the index does not cover, from their footers.
    pub(crate) fn index_missing(
        &self,
        active: Option<u32>,
        report: &mut OnProgress<'_>,
    ) -> Result<(), Error> {
        let covered = self.index.covered();
        // in this order: a container that is evicted between the two is in the manifest by then
        let mut numbers: Vec<u32> = self.files.numbers(Kind::Sealed);
        numbers.extend(self.manifest.container_numbers_from(covered)?);
        numbers.sort_unstable();
        numbers.dedup();
        let noted = self.manifest.unindexed();
        numbers.retain(|&n| n >= covered && !noted.contains(&n) && Some(n) != active);
        numbers.extend(&noted);
        if numbers.is_empty() {
            return Ok(());
        }
        let mut job = Job::start("index", numbers.len() as u64, report);
        let mut indexed = Vec::new();
        for number in numbers {
            match self.index_container(number) {
                // one lost container keeps no other from being found
                Err(error @ Error::Lost { .. }) => {
                    tracing::warn!(%error, "the records of a container are not in the index");
                    self.manifest.set_unindexed(number, true)?;
                }
                done => {
                    done?;
                    indexed.push(number);
                }
            }
            job.did(1, ContainerId::data(number));
        }
        indexed.retain(|number| noted.contains(number));
        // one that was active when this began, and is sealed by now, is not in the index yet
        self.forget_noted(&indexed, self.index_end().min(active.unwrap_or(u32::MAX)))
    }

    /// Adds the records of one container to the index, from its footer.
    pub(crate) fn index_container(&self, number: u32) -> Result<(), Error> {
        insert_footer(&self.index, number, &self.footer(number)?);
        Ok(())
    }

    /// Writes the index of all sealed containers, and merges a little: the rest is for the background, or next time.
    pub(crate) fn flush_index(&self) -> Result<(), Error> {
        self.write_index()?;
        for _ in 0..MERGE_STEPS {
            if !self.merge_index()? {
                break;
            }
        }
        self.keep_suspects()
    }

    /// Writes the index of all sealed containers.
    fn write_index(&self) -> Result<(), Error> {
        // half of an index that is being built anew must not pass for the whole
        self.healing(|| Ok(self.index.flush(self.index_end())?))
    }

    /// Behind the last container whose records are all in the index.
    fn index_end(&self) -> u32 {
        match &self.reader {
            None => self.writer.first_unsealed(),
            Some(_) => self.manifest.state().body.next_data,
        }
    }

    /// Whether so much of the index is only in memory that it should be written.
    pub(crate) fn index_is_large(&self) -> bool {
        self.index.stats().memtable_entries >= INDEX_RECORDS
    }

    /// Whether a place that the index gives counts: a reader's index is ahead of its manifest.
    pub(crate) fn is_known(&self, at: Location) -> Result<bool, Error> {
        Ok(self.reader.is_none() || self.manifest.is_offloaded(at.container)?)
    }
}

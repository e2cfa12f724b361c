//! The local manifest: every edit so far, and where things stand.
//!
//! It is this machine's copy of what the lake's manifest containers hold, plus what was not published yet. A
//! transaction is durable when the call returns. RAM: the tables, the placement and a bounded cache of entries.

mod index;
mod pages;
mod store;

use crate::{error::Error, indexing::Found};
use prunedb_codec::FrameTable;
use prunedb_core::{ContainerId, ContainerKind, LakeId, ShardIndex, TableId, Term};
use prunedb_disk::Disk;
use prunedb_format::{
    container::{TableKind, TableName},
    head::HeadBody,
    manifest::{ContainerEntry, Edit, IndexEntry, StreamEntry},
};
use prunedb_index::Suspect;
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use store::{Batch, Store};

pub(crate) use store::{Orphan, Retired, Totals};

/// An entry with its frame table decoded.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) entry: ContainerEntry,
    pub(crate) frames: FrameTable,
}

impl Container {
    /// Decodes the frame table; what is wrong with it.
    pub(crate) fn new(entry: ContainerEntry) -> Result<Self, String> {
        let frames = FrameTable::decode(&entry.frame_table)
            .map_err(|e| format!("frame table of {}: {e}", entry.stream.id))?;
        if frames.container_bytes() != entry.stream.container_bytes
            || frames.coded_bytes() != entry.stream.coded_bytes
        {
            return Err(format!("frame table of {} has other lengths", entry.stream.id));
        }
        Ok(Self { entry, frames })
    }

    pub(crate) fn id(&self) -> ContainerId {
        self.entry.stream.id
    }
}

/// What the manifest remembers besides edits.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// the lake
    pub(crate) lake: LakeId,
    /// the head as it was last published; placement changes are in it before they are published
    pub(crate) body: Arc<HeadBody>,
    /// number of the last published head; 0: none yet
    pub(crate) head_number: u64,
    /// our term; 0: never wrote the lake
    pub(crate) term: Term,
    /// number of the next edit
    pub(crate) next_edit: u64,
    /// the body changed since it was published
    pub(crate) head_dirty: bool,
    /// the edit that says which index is in the lake
    pub(crate) index_edit: Option<u64>,
    /// number of the next index container
    pub(crate) next_index: u32,
    /// this is a reader's: another one writes the lake
    pub(crate) reader: bool,
    /// sums over all containers
    pub(crate) totals: Totals,
}

/// Entries kept decoded; one takes about 10 KB.
const CACHED_ENTRIES: usize = 256;

#[derive(Debug)]
pub(crate) struct Manifest {
    store: Store,
    state: RwLock<State>,
    tables: RwLock<Vec<TableName>>,
    /// the index in the lake
    index: RwLock<Option<Arc<IndexEntry>>>,
    unindexed: RwLock<BTreeSet<u32>>,
    entries: Mutex<HashMap<ContainerId, Arc<Container>>>,
    /// serializes changes, so that memory follows the file
    change: Mutex<()>,
}

impl Manifest {
    /// A manifest that starts from a placement, without edits; see [`Self::finish`].
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        lake: LakeId,
        body: HeadBody,
    ) -> Result<Self, Error> {
        let store = Store::create(disk, dir)?;
        let state = State {
            lake,
            body: Arc::new(HeadBody { next_edit: 0, manifests: Vec::new(), ..body }),
            head_number: 0,
            term: Term(0),
            next_edit: 0,
            head_dirty: true,
            index_edit: None,
            next_index: 0,
            reader: false,
            totals: Totals::default(),
        };
        store.write(&Batch { state: Some(&state), body: Some(&state.body), ..Batch::default() })?;
        Ok(Self::with(store, state, Vec::new()))
    }

    /// The new manifest is complete: from now on its folder holds a database.
    pub(crate) fn finish(&self, disk: &dyn Disk) -> Result<(), Error> {
        self.store.finish(disk)
    }

    /// Takes [`Self::finish`] back, where what had to follow failed.
    pub(crate) fn unfinish(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
        Store::unfinish(disk, dir)
    }

    pub(crate) fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self, Error> {
        let store = Store::open(disk, dir)?;
        let state = store.state()?;
        let mut tables = Vec::new();
        for number in store.table_edits()? {
            if let Edit::Table(table) = store.edit(number)? {
                tables.push(table);
            }
        }
        let manifest = Self::with(store, state, tables);
        manifest.load_index()?;
        Ok(manifest)
    }

    fn with(store: Store, state: State, tables: Vec<TableName>) -> Self {
        Self {
            store,
            state: RwLock::new(state),
            tables: RwLock::new(tables),
            index: RwLock::default(),
            unindexed: RwLock::default(),
            entries: Mutex::new(HashMap::new()),
            change: Mutex::new(()),
        }
    }

    pub(crate) fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, Error> {
        Store::exists(disk, dir)
    }

    pub(crate) fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the state: durable, then visible.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let old = Arc::clone(&state.body);
        let out = change(&mut state);
        let body = (!Arc::ptr_eq(&old, &state.body)).then_some(&*state.body);
        self.store.write(&Batch { state: Some(&state), body, ..Batch::default() })?;
        self.set(state);
        Ok(out)
    }

    fn set(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub(crate) fn tables(&self) -> Vec<TableName> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn table(&self, name: &str) -> Option<TableName> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.iter().find(|t| t.name == name).cloned()
    }

    pub(crate) fn table_by_id(&self, id: TableId) -> Option<TableName> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.iter().find(|t| t.id == id).cloned()
    }

    pub(crate) fn has_table(&self, id: TableId, name: &str, kind: TableKind) -> bool {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.iter().any(|t| t.id == id && t.kind == kind && t.name == name)
    }

    /// The table of that name, created where there is none.
    pub(crate) fn ensure_table(&self, name: &str, kind: TableKind) -> Result<TableName, Error> {
        if let Some(table) = self.table(name) {
            return Ok(table);
        }
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = self.table(name) {
            return Ok(table);
        }
        // table 0 is the manifest's own
        let id = self.tables().iter().map(|t| t.id.0).max().unwrap_or(0) + 1;
        let table = TableName { id: TableId(id), kind, name: name.to_owned() };
        self.add_edits(&[Edit::Table(table.clone())], &[], |_| {})?;
        Ok(table)
    }

    /// Notes containers that are in the lake, all of them or none; `missing` shards of them are to be repaired.
    pub(crate) fn add_containers(
        &self,
        entries: Vec<ContainerEntry>,
        missing: &[(ContainerId, ShardIndex)],
    ) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let edits: Vec<Edit> =
            entries.into_iter().map(|entry| Edit::Container(Box::new(entry))).collect();
        self.add_edits(&edits, missing, |_| {})
    }

    /// Names other shards of a container that is in the lake, those that were read back, and retires the old ones; `missing`
    /// shards of the new ones are to be repaired.
    pub(crate) fn replace(
        &self,
        entry: ContainerEntry,
        old: Retired,
        missing: &[(ContainerId, ShardIndex)],
    ) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let id = entry.stream.id;
        // what was wrong with the old shards says nothing of the new ones
        let known: Vec<_> = self.damage_of(id)?.into_iter().map(|shard| (id, shard)).collect();
        self.add(&[Edit::Container(Box::new(entry))], missing, &[old], |_| {})?;
        let gone = known.into_iter().filter(|shard| !missing.contains(shard));
        self.change_damage(gone, false)?;
        self.store.write(&Batch { read_back: Some(id), ..Batch::default() })
    }

    /// Applies edits of the lake's manifest (recovery), all of them or none; the caller keeps their order. Shards that an edit
    /// gives up for others are retired since `head`: the writer before may not have come to delete them.
    pub(crate) fn adopt(&self, edits: &[Edit], head: u64) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest: HashMap<ContainerId, StreamEntry> = HashMap::new();
        let mut retired: HashMap<ContainerId, Retired> = HashMap::new();
        for edit in edits {
            let Edit::Container(entry) = edit else { continue };
            let (id, new) = (entry.stream.id, entry.stream);
            let old = match newest.insert(id, new) {
                Some(old) => Some(old),
                None => self.container(id)?.map(|old| old.entry.stream),
            };
            if let Some(StreamEntry { group, policy, .. }) = old
                && (group, policy) != (new.group, new.policy)
            {
                retired.insert(id, Retired { id, since_head: head, group, policy });
            }
        }
        let retired: Vec<Retired> = retired.into_values().collect();
        self.add(edits, &[], &retired, |_| {})
    }

    /// Adds edits, all of them or none.
    pub(crate) fn apply(&self, edits: &[Edit]) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.add_edits(edits, &[], |_| {})
    }

    /// Applies edits of the lake's manifest and changes the state (a reader), both or none.
    pub(crate) fn follow(
        &self,
        edits: &[Edit],
        change: impl FnOnce(&mut State),
    ) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.add_edits(edits, &[], change)
    }

    fn add_edits(
        &self,
        edits: &[Edit],
        damage: &[(ContainerId, ShardIndex)],
        change: impl FnOnce(&mut State),
    ) -> Result<(), Error> {
        self.add(edits, damage, &[], change)
    }

    fn add(
        &self,
        edits: &[Edit],
        damage: &[(ContainerId, ShardIndex)],
        retired: &[Retired],
        change: impl FnOnce(&mut State),
    ) -> Result<(), Error> {
        let mut state = self.state();
        let first_edit = state.next_edit;
        let mut entries: HashMap<ContainerId, &ContainerEntry> = HashMap::new();
        let mut index = None;
        for edit in edits {
            let number = state.next_edit;
            state.next_edit += 1;
            if let Edit::Index(entry) = edit {
                state.index_edit = Some(number);
                state.next_index = state.next_index.max(entry.next_container);
                index = Some(Arc::new(IndexEntry::clone(entry)));
            }
            let Edit::Container(entry) = edit else { continue };
            let id = entry.stream.id;
            let known = match entries.insert(id, entry) {
                Some(old) => Some(old.clone()),
                None => self.container(id)?.map(|old| old.entry.clone()),
            };
            match id.kind {
                ContainerKind::Data => {
                    known.map_or(Ok(()), |old| state.totals.remove(&old))?;
                    state.totals.add(entry)?;
                }
                ContainerKind::Index => {}
                ContainerKind::Manifest => {
                    return Err(self.store.damaged(format!("edit {number} is of {id}")));
                }
            }
        }
        let old = Arc::clone(&state.body);
        change(&mut state);
        let body = (!Arc::ptr_eq(&old, &state.body)).then_some(&*state.body);
        self.store.write(&Batch {
            state: Some(&state),
            body,
            edits: Some((first_edit, edits)),
            damage: Some((damage, true)),
            retired: Some((retired, &[])),
            ..Batch::default()
        })?;
        self.set(state);
        let mut cached = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.keys().for_each(|id| _ = cached.remove(id));
        drop(cached);
        if index.is_some() {
            *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.extend(edits.iter().filter_map(|edit| match edit {
            Edit::Table(table) => Some(table.clone()),
            _ => None,
        }));
        Ok(())
    }

    /// The entry of a container, where it is in the lake.
    pub(crate) fn container(&self, id: ContainerId) -> Result<Option<Arc<Container>>, Error> {
        let cached = self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if cached.is_some() {
            return Ok(cached);
        }
        let Some(edit) = self.store.container_edit(id)? else { return Ok(None) };
        let Edit::Container(entry) = self.store.edit(edit)? else {
            return Err(self.store.damaged(format!("edit {edit} is not the entry of {id}")));
        };
        let container = Container::new(*entry).map_err(|reason| self.store.damaged(reason))?;
        let container = Arc::new(container);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CACHED_ENTRIES {
            entries.clear();
        }
        entries.insert(id, Arc::clone(&container));
        Ok(Some(container))
    }

    /// Whether a data container is in the lake, without decoding its entry.
    pub(crate) fn is_offloaded(&self, number: u32) -> Result<bool, Error> {
        Ok(self.store.container_edit(ContainerId::data(number))?.is_some())
    }

    /// Whether a head names a container: only then does the lake alone give it back.
    pub(crate) fn is_published(&self, id: ContainerId) -> Result<bool, Error> {
        let published = self.state.read().unwrap_or_else(PoisonError::into_inner).body.next_edit;
        Ok(self.store.container_edit(id)?.is_some_and(|edit| edit < published))
    }

    /// Whether there is a data container that no head names yet.
    pub(crate) fn has_unpublished_container(&self) -> Result<bool, Error> {
        let published = self.state.read().unwrap_or_else(PoisonError::into_inner).body.next_edit;
        self.store.has_container_edit_from(published)
    }

    /// Numbers of the data containers in the lake from one on, rising.
    pub(crate) fn container_numbers_from(&self, first: u32) -> Result<Vec<u32>, Error> {
        self.store.container_numbers(ContainerKind::Data, first)
    }

    /// Numbers of all data containers in the lake, rising.
    pub(crate) fn container_numbers(&self) -> Result<Vec<u32>, Error> {
        self.container_numbers_from(0)
    }

    /// The highest number of a data container in the lake.
    pub(crate) fn last_container(&self) -> Result<Option<u32>, Error> {
        self.store.last_container(ContainerKind::Data)
    }

    /// Edits from `first` on, as stored: up to `bytes_max` together, at least one.
    pub(crate) fn edits_from(
        &self,
        first: u64,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.store.edits_from(first, bytes_max)
    }

    /// Shards known to be missing or damaged.
    pub(crate) fn damage(&self) -> Result<BTreeSet<(ContainerId, ShardIndex)>, Error> {
        self.store.damage()
    }

    /// Shards of one container known to be missing or damaged.
    pub(crate) fn damage_of(&self, container: ContainerId) -> Result<Vec<ShardIndex>, Error> {
        self.store.damage_of(container)
    }

    pub(crate) fn set_damage(
        &self,
        shards: impl IntoIterator<Item = (ContainerId, ShardIndex)>,
        damaged: bool,
    ) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.change_damage(shards, damaged)
    }

    fn change_damage(
        &self,
        shards: impl IntoIterator<Item = (ContainerId, ShardIndex)>,
        damaged: bool,
    ) -> Result<(), Error> {
        // most is known already, and a transaction costs a sync
        let shards = self.store.not_in_damage(shards, damaged)?;
        if shards.is_empty() {
            return Ok(());
        }
        self.store.write(&Batch { damage: Some((&shards, damaged)), ..Batch::default() })
    }

    /// Whether a container was read back from its shards and found equal.
    pub(crate) fn is_read_back(&self, id: ContainerId) -> Result<bool, Error> {
        self.store.is_read_back(id)
    }

    pub(crate) fn set_read_back(&self, id: ContainerId) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.write(&Batch { read_back: Some(id), ..Batch::default() })
    }

    /// Keys under which different records were put.
    pub(crate) fn duplicates(&self) -> Result<Vec<Found>, Error> {
        self.store.duplicates()
    }

    /// How many of those there are.
    pub(crate) fn duplicate_count(&self) -> Result<u64, Error> {
        self.store.duplicate_count()
    }

    pub(crate) fn add_duplicates(&self, found: &[Found]) -> Result<(), Error> {
        if found.is_empty() {
            return Ok(());
        }
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.write(&Batch { duplicates: found, ..Batch::default() })
    }

    /// Pairs of records that may have one key and were not compared when an earlier process ended.
    pub(crate) fn suspects(&self) -> Result<Vec<Suspect>, Error> {
        self.store.suspects()
    }

    /// Keeps these pairs instead of those before.
    pub(crate) fn set_suspects(&self, pairs: &[Suspect]) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.write(&Batch { suspects: Some(pairs), ..Batch::default() })
    }

    /// Shards on nodes that nothing names, as the last sweep saw them.
    pub(crate) fn orphans(&self) -> Result<Vec<Orphan>, Error> {
        self.store.orphans(self.state().lake)
    }

    /// Keeps these instead of those before.
    pub(crate) fn set_orphans(&self, orphans: &[Orphan]) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.write(&Batch { orphans: Some(orphans), ..Batch::default() })
    }

    /// Containers that newer ones replaced, with the head since which they are.
    pub(crate) fn retired(&self) -> Result<Vec<Retired>, Error> {
        self.store.retired()
    }

    /// A head is published: it, and the manifest containers that it no longer names.
    pub(crate) fn set_published(&self, body: HeadBody, retired: &[Retired]) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let state = State { body: Arc::new(body), head_dirty: false, ..self.state() };
        self.store.write(&Batch {
            state: Some(&state),
            body: Some(&state.body),
            retired: Some((retired, &[])),
            ..Batch::default()
        })?;
        self.set(state);
        Ok(())
    }

    /// The shards of these containers are deleted.
    pub(crate) fn remove_retired(&self, ids: &[ContainerId]) -> Result<(), Error> {
        let _serial = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.write(&Batch { retired: Some((&[], ids)), ..Batch::default() })
    }
}

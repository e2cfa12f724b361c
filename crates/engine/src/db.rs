//! The database: what it is made of, how it opens and closes, puts and gets.

use crate::{
    background::Background,
    checked::Looking,
    committed::HeadName,
    elected::Governance,
    error::{At, Error},
    executor::Executor,
    heal::Wanted,
    indexing::{Suspects, insert_all, open_index},
    lake::{Connect, Lake, Trace},
    local::{self, FrameOrder, Kind, LocalFiles},
    manifest::Manifest,
    options::Options,
    placement::{found, unknown},
    progress::{OnProgress, Progress},
    queue::Queue,
    reader::Follower,
    record::{ReadSizes, Record},
    writer::{Flusher, Observer, Position, Put, Writer, Written},
};
use prunedb_codec::{LakeSecret, MemorySpool};
use prunedb_core::{
    LakeId, TableId, Term,
    units::{CONTAINER_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX},
};
use prunedb_disk::{Disk, Lock, create_dir_durable};
use prunedb_format::{
    container::{TABLE_NAME_BYTES_MAX, TableKind, TableName},
    head::HeadBody,
};
use prunedb_index::Index;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, RwLock},
};

/// A table's number, kind and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub(crate) id: TableId,
    pub(crate) kind: TableKind,
    name: String,
}

/// The tables of a database.
pub type Tables = Vec<Table>;

impl Table {
    /// Its number: 1 and up, in the order of creation; the same wherever the lake is opened.
    pub const fn id(&self) -> TableId {
        self.id
    }

    /// Its kind.
    pub const fn kind(&self) -> TableKind {
        self.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl From<TableName> for Table {
    fn from(table: TableName) -> Self {
        Self { id: table.id, kind: table.kind, name: table.name }
    }
}

/// The Prune DB. Cheap to clone; the last clone closes it.
#[derive(Debug, Clone)]
pub struct Db {
    pub(crate) inner: Arc<Inner>,
    /// stops and joins the background thread when the last clone goes
    _background: Option<Arc<Background>>,
}

pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) files: Arc<LocalFiles>,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) index: Arc<Index>,
    pub(crate) lake: Arc<Lake>,
    pub(crate) writer: Arc<Writer>,
    _flusher: Flusher,
    /// what a reader has instead of a writer's rights
    pub(crate) reader: Option<Follower>,
    /// the term of this process, once it fenced the lake
    pub(crate) term: Mutex<Option<Term>>,
    /// the newest head that this process published
    pub(crate) published: Mutex<Option<HeadName>>,
    /// one offload, publication or repaired container at a time
    pub(crate) lake_writes: Mutex<()>,
    /// one repair at a time
    pub(crate) repairs: Mutex<()>,
    /// how far the running repair is
    pub(crate) repairing: Mutex<Option<Progress>>,
    /// tells the repair thread
    pub(crate) wanted: Wanted,
    /// memory of the last offload's spool, while another container waits
    pub(crate) spare_spool: Mutex<Option<MemorySpool>>,
    pub(crate) queue: Arc<Queue>,
    /// what a registry says of the lake, where it has one
    pub(crate) governance: Mutex<Option<Governance>>,
    /// records of the first n + 1 data containers, as far as somebody asked
    pub(crate) record_sums: Mutex<Vec<u64>>,
    /// whether the index is whole; held for writing while it is built anew
    pub(crate) index_whole: RwLock<bool>,
    /// records that may have one key and were not compared yet
    pub(crate) suspects: Mutex<Suspects>,
    /// how long records are
    pub(crate) read_sizes: ReadSizes,
    pub(crate) looking: Looking,
    /// frames in the cache files
    pub(crate) cached: Mutex<FrameOrder>,
    _lock: Box<dyn Lock>,
}

/// Tells index and queue what the writer did.
struct Notify {
    index: Arc<Index>,
    manifest: Arc<Manifest>,
    queue: Arc<Queue>,
}

impl Observer for Notify {
    fn written(&self, records: &mut dyn Iterator<Item = Written<'_>>) {
        insert_all(&self.index, records);
    }

    fn sealed(&self, _number: u32) {
        self.queue.add();
    }

    fn table(&self, id: TableId) -> TableName {
        self.manifest.table_by_id(id).expect("a table exists before its records")
    }
}

const LOCK_FILE: &str = "lock";

impl Db {
    /// Creates an empty database of a lake ([`LakeSecret::lake_id`]) that lies on these nodes. Nothing is sent to them yet.
    ///
    /// # Errors
    /// [`Error::AlreadyADatabase`], [`Error::LocalContainers`], [`Error::TooFewNodes`], [`Error::RepeatedNode`], and
    /// those of the disk.
    pub fn create(
        disk: &Arc<dyn Disk>,
        options: &Options,
        lake: LakeId,
        nodes: Vec<String>,
    ) -> Result<(), Error> {
        let mut seen = HashSet::new();
        if let Some(address) = nodes.iter().find(|address| !seen.insert(*address)) {
            return Err(Error::RepeatedNode { address: address.clone() });
        }
        let domains =
            nodes.iter().map(|node| options.domains.get(node).cloned().unwrap_or_default());
        let groups = found(lake, options.policy, &unknown(domains))?;
        let body = HeadBody {
            next_data: 0,
            next_manifest: 0,
            next_edit: 0,
            policy: options.policy,
            nodes,
            groups,
            manifests: Vec::new(),
        };
        Self::prepare(disk, options, lake, body)?.finish(&**disk)
    }

    /// Creates the folders and a manifest that starts from `body`; it counts once it is finished.
    pub(crate) fn prepare(
        disk: &Arc<dyn Disk>,
        options: &Options,
        lake: LakeId,
        body: HeadBody,
    ) -> Result<Manifest, Error> {
        let dir = &options.metadata_dir;
        for dir in [&options.data_dir, dir] {
            create_dir_durable(&**disk, dir).at(dir)?;
        }
        if Manifest::exists(&**disk, dir)? {
            return Err(Error::AlreadyADatabase { path: dir.clone() });
        }
        let count = local::container_files(&**disk, &options.data_dir)?;
        if count > 0 {
            return Err(Error::LocalContainers { path: options.data_dir.clone(), count });
        }
        Manifest::create(disk, dir, lake, body)
    }

    /// Opens a database. The nodes need not be reachable: reads of what is local and durable puts work without them.
    ///
    /// Cost: reading the manifest's tables, the index's run list, and the active container (at most 100 MB).
    ///
    /// # Errors
    /// [`Error::NotADatabase`], [`Error::InUse`], [`Error::WrongSecret`], [`Error::Role`] for a reader's folder, [`Error::Damaged`]
    /// where the active container is corrupt below what was durable.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        secret: LakeSecret,
        connect: &Connect,
        runtime: impl Into<Executor>,
    ) -> Result<Self, Error> {
        Self::open_reporting(disk, options, secret, connect, runtime.into(), &mut |_| {})
    }

    /// As [`Self::open`], and says how far indexing is: after a crash or a recovery there is something to redo.
    pub(crate) fn open_reporting(
        disk: Arc<dyn Disk>,
        options: Options,
        secret: LakeSecret,
        connect: &Connect,
        runtime: Executor,
        report: &mut OnProgress<'_>,
    ) -> Result<Self, Error> {
        Inner::open(disk, options, secret, connect, runtime, None, report).map(Self::from)
    }

    /// Starts a thread that seals by age, offloads what is sealed, publishes it, and keeps the cache below its limit; for a
    /// reader, one that follows the lake.
    #[must_use]
    pub fn with_background(mut self) -> Self {
        if self._background.is_none() {
            self._background = Some(Arc::new(Background::start(Arc::clone(&self.inner))));
        }
        self
    }

    /// The lake that the database belongs to.
    pub fn lake(&self) -> LakeId {
        self.inner.lake.id
    }

    /// All tables, in the order of their creation.
    pub fn tables(&self) -> Tables {
        self.inner.manifest.tables().into_iter().map(Table::from).collect()
    }

    /// The table of that name.
    ///
    /// # Errors
    /// [`Error::UnknownTable`].
    pub fn table(&self, name: &str) -> Result<Table, Error> {
        let table = self.inner.manifest.table(name);
        table.map(Table::from).ok_or_else(|| Error::UnknownTable { name: name.into() })
    }

    /// The table of that number, where there is one.
    pub fn table_by_id(&self, id: TableId) -> Option<Table> {
        self.inner.manifest.table_by_id(id).map(Table::from)
    }

    /// The table of that name and kind; created, durably, where there is none.
    ///
    /// # Errors
    /// [`Error::TableName`], [`Error::TableKind`] where it exists with the other kind, [`Error::ReadOnly`].
    pub fn ensure_table(&self, name: &str, kind: TableKind) -> Result<Table, Error> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
        if name.is_empty() || name.len() > TABLE_NAME_BYTES_MAX || !name.bytes().all(good) {
            return Err(Error::TableName { name: name.chars().take(200).collect() });
        }
        let table = match self.inner.manifest.table(name) {
            Some(table) => table,
            None if self.is_reader() => return Err(Error::ReadOnly),
            None => self.inner.manifest.ensure_table(name, kind)?,
        };
        if table.kind != kind {
            let (found, wanted) = (kind_name(table.kind), kind_name(kind));
            return Err(Error::TableKind { name: name.into(), found, wanted });
        }
        Ok(table.into())
    }

    /// Puts one record; it is durable when the call returns. Keys are written once: where the key exists, the older
    /// record stays the one that is read.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::ValueTooLong`], and those of [`Self::append`] and [`Self::commit`].
    pub fn put(&self, table: &Table, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.put_at(table, key, value).map(drop)
    }

    /// Puts one record; where it ends, durably.
    pub(crate) fn put_at(
        &self,
        table: &Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<Position, Error> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::ValueTooLong { bytes: value.len(), bytes_max: VALUE_BYTES_MAX });
        }
        let position = self.append(&[(table, key, value)])?;
        self.wait(position)?;
        Ok(position)
    }

    /// Appends records as one put: after a crash all of them are there or none. They may be read, and are durable,
    /// after [`Self::wait`] or [`Self::commit`]. Waits while offloading is behind by more than its queue.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::ValueTooLong`], [`Error::PutTooLarge`], [`Error::UnknownTable`] for a table of another
    /// database, [`Error::DiskFull`], [`Error::OffloadBehind`], [`Error::Poisoned`], [`Error::ReadOnly`]; nothing was put
    /// then.
    pub fn append(&self, records: &[(&Table, &[u8], &[u8])]) -> Result<Position, Error> {
        if self.is_reader() {
            return Err(Error::ReadOnly);
        }
        for (table, key, value) in records {
            check_key(table, key)?;
            if !self.inner.manifest.has_table(table.id, &table.name, table.kind) {
                return Err(Error::UnknownTable { name: table.name.clone() });
            }
            if value.len() > CONTAINER_BYTES_MAX {
                return Err(Error::ValueTooLong {
                    bytes: value.len(),
                    bytes_max: CONTAINER_BYTES_MAX,
                });
            }
        }
        if records.is_empty() {
            return Ok(self.inner.writer.position());
        }
        self.inner.queue.wait_for_room()?;
        let put = |&(table, key, value): &(&Table, _, _)| Put {
            table: table.id,
            kind: table.kind,
            key,
            value,
        };
        self.inner.writer.append(records.iter().map(put))
    }

    /// Waits until a put is durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`], and those of the disk.
    pub fn wait(&self, position: Position) -> Result<(), Error> {
        self.inner.writer.wait(position)
    }

    /// Waits until everything put so far is durable.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn commit(&self) -> Result<(), Error> {
        self.wait(self.inner.writer.position())
    }

    /// The value of a key.
    ///
    /// Cost: an index lookup, and one read of the local file, the cache, or one node.
    ///
    /// # Errors
    /// [`Error::Lost`] where its frame cannot be rebuilt, [`Error::Damaged`] where a local record is corrupt and not
    /// in the lake.
    pub fn get(&self, table: &Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.get_traced(table, key).map(|(value, _)| value)
    }

    /// As [`Self::get`], and what was asked of the lake for it.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_traced(&self, table: &Table, key: &[u8]) -> Result<(Option<Vec<u8>>, Trace), Error> {
        check_key(table, key)?;
        let mut trace = Trace::default();
        let found = self.inner.find(table, key, Position::END, &mut trace)?;
        Ok((found.map(|(_, record)| Record::into_value(record)), trace))
    }

    /// Seals what was put, offloads everything that is sealed, and publishes it. Returns when all of it is in the lake.
    ///
    /// # Errors
    /// [`Error::Offload`], [`Error::Quorum`], [`Error::Fenced`]: what was put is safe locally, and the next flush
    /// tries again.
    pub fn flush(&self, report: &mut OnProgress<'_>) -> Result<(), Error> {
        self.inner.flush(report).map(drop)
    }

    /// Seals what was put; nothing is offloaded. For those who keep containers of their own beside the lake's.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn seal(&self) -> Result<(), Error> {
        self.inner.writer.seal().map(drop)
    }

    /// Makes everything durable and the index complete, so that the next open has nothing to redo.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn close(self) -> Result<(), Error> {
        self.inner.writer.rest()?;
        self.inner.flush_index()
    }
}

impl From<Inner> for Db {
    fn from(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), _background: None }
    }
}

impl Inner {
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        secret: LakeSecret,
        connect: &Connect,
        runtime: Executor,
        reader: Option<Follower>,
        report: &mut OnProgress<'_>,
    ) -> Result<Self, Error> {
        let dir = &options.metadata_dir;
        if !Manifest::exists(&*disk, dir)? {
            return Err(Error::NotADatabase { path: dir.clone() });
        }
        let path = dir.join(LOCK_FILE);
        let lock = disk.lock(&path).at(&path)?;
        let lock = lock.ok_or_else(|| Error::InUse { path: dir.clone() })?;
        let manifest = Arc::new(Manifest::open(&disk, dir)?);
        let state = manifest.state();
        if state.reader != reader.is_some() {
            let (found, wanted) =
                if state.reader { ("reader", "writer") } else { ("writer", "reader") };
            return Err(Error::Role { path: dir.clone(), found, wanted });
        }
        if secret.lake_id() != state.lake {
            return Err(Error::WrongSecret { expected: state.lake, found: secret.lake_id() });
        }
        // the manifest's name, where the process that gave it ended before it was durable: it counts from here on
        disk.sync_dir(dir).at(dir)?;
        if !disk.exists(&options.data_dir).at(&options.data_dir)? {
            create_dir_durable(&*disk, &options.data_dir).at(&options.data_dir)?;
        }
        let repair_rate = options.repair_bytes_per_s;
        let (nodes, groups) = (&state.body.nodes, state.body.groups.clone());
        let lake = Arc::new(Lake::new(
            secret,
            runtime,
            nodes,
            groups,
            &options.domains,
            connect,
            repair_rate,
        ));
        let files = Arc::new(LocalFiles::open(Arc::clone(&disk), &options.data_dir, lake.id)?);
        let index = Arc::new(open_index(&disk, dir, &lake, &manifest)?);
        let queue = Arc::new(Queue::new(options.offload_queue));

        let scan = local::resume(&files, lake.id, |table| manifest.table_by_id(table))?;
        let next = [
            state.body.next_data,
            files.last_number().map_or(0, |n| n + 1),
            manifest.last_container()?.map_or(0, |n| n + 1),
            // the index knows places in containers whose files are gone
            index.covered(),
        ];
        let next = next.into_iter().max().expect("four numbers");
        // of a reader every container is sealed
        let next = if reader.is_some() { u32::MAX } else { next };
        let observer = Notify {
            index: Arc::clone(&index),
            manifest: Arc::clone(&manifest),
            queue: Arc::clone(&queue),
        };
        let active = scan.map(|s| {
            if s.cut_bytes > 0 {
                tracing::warn!(container = %s.active.id, cut_bytes = s.cut_bytes, "cut a torn tail");
            }
            s.active
        });
        let directory = active.as_ref().map(|a| (a.id.number, Arc::clone(&a.directory)));
        let number = directory.as_ref().map(|(number, _)| *number);
        let writer = Arc::new(Writer::new(
            Arc::clone(&files),
            lake.id,
            &options,
            Arc::new(observer),
            active,
            next,
        ));
        let flusher = Flusher::start(&writer)?;
        let suspects = Mutex::new(Suspects::kept(manifest.suspects()?));
        let inner = Self {
            options,
            disk,
            files,
            manifest,
            index,
            lake,
            writer,
            _flusher: flusher,
            reader,
            term: Mutex::default(),
            lake_writes: Mutex::default(),
            repairs: Mutex::default(),
            repairing: Mutex::default(),
            wanted: Wanted::default(),
            spare_spool: Mutex::default(),
            governance: Mutex::default(),
            published: Mutex::default(),
            record_sums: Mutex::default(),
            index_whole: RwLock::new(true),
            suspects,
            queue,
            read_sizes: ReadSizes::default(),
            looking: Looking::default(),
            cached: Mutex::default(),
            _lock: lock,
        };
        inner.index_missing(number, report)?;
        if let Some((container, directory)) = directory {
            inner.index_directory(container, &directory)?;
        }
        inner.note_cached_frames()?;
        let waiting = inner.sealed_waiting()?.len();
        inner.queue.set(waiting, None);
        Ok(inner)
    }

    /// See [`Db::flush`]; containers below the number that it gives are in the lake.
    pub(crate) fn flush(&self, report: &mut OnProgress<'_>) -> Result<u32, Error> {
        self.writer.seal()?;
        let end = self.writer.first_unsealed();
        self.offload_all(report)?;
        self.publish()?;
        Ok(end)
    }

    /// Sealed containers that are not in the lake yet, oldest first.
    pub(crate) fn sealed_waiting(&self) -> Result<Vec<u32>, Error> {
        let mut waiting = Vec::new();
        for number in self.files.numbers(Kind::Sealed) {
            if !self.manifest.is_offloaded(number)? {
                waiting.push(number);
            }
        }
        Ok(waiting)
    }
}

/// A kind as people write it.
pub(crate) const fn kind_name(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Keyed => "keyed",
        TableKind::Sequence => "a sequence",
    }
}

pub(crate) fn check_key(table: &Table, key: &[u8]) -> Result<(), Error> {
    match table.kind {
        TableKind::Keyed if key.is_empty() || key.len() > KEY_BYTES_MAX => {
            Err(Error::Key { bytes: key.len(), limit: "a keyed table takes 1 to 1,024 bytes" })
        }
        TableKind::Sequence if key.len() != 8 => Err(Error::Key {
            bytes: key.len(),
            limit: "a sequence takes a u64, 8 bytes big-endian",
        }),
        _ => Ok(()),
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("lake", &self.lake.id).finish_non_exhaustive()
    }
}

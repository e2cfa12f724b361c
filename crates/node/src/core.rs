//! The node without a network: opening a folder, reading, deleting, fences and heads. Putting is in `upload`,
//! where records go in `append`.
//!
//! Locks, always taken in this order: a lake's fence (read), the snapshot that is being taken, the appender, the changes, the
//! state. Disk I/O happens under the others, never under the state. A shard that a commit or a delete works on is *busy*: others
//! wait for it, so that what the disk holds and what the index says cannot drift apart.

use crate::{
    Head, NodeConfig, NodeError, OpenError, OpenReport,
    append::Appender,
    block::{BATCH_BLOCKS, BadBlock, Place},
    changes::Changes,
    lakes::Lakes,
    layout::BLOCK_BYTES,
    load,
    scrub::Scrub,
    segment::Segment,
    state::{Entry, State, lock},
    zdb::Store,
};
use bytes::Bytes;
use prunedb_core::{Digest, LakeId, ShardId, Term};
use prunedb_disk::{Disk, Lock, create_dir_durable};
use prunedb_proof::{Audit, GROUP_BYTES, Prover, SampleError, SampleProof};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::AtomicBool},
};

// a batch of blocks is what a prover takes at once
const _: () = assert!(BATCH_BLOCKS * BLOCK_BYTES == GROUP_BYTES);

/// A new snapshot is taken when more segments have changed than this and this share of all, or so large a share of the
/// shards that may.
const CHANGED_MIN: usize = 64;
const CHANGED_SHARE: usize = 64;
const CHANGES_SHARE: usize = 4;

/// A node on its folder. Cheap to clone; the folder is released when the last clone and upload are gone.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) inner: Arc<Inner>,
}

/// What a node knows of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardInfo {
    /// which shard
    pub id: ShardId,
    /// sealed bytes
    pub bytes: u64,
    /// term of its commit
    pub term: Term,
    /// BLAKE3 of the sealed bytes
    pub name: Digest,
}

/// How full a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// bytes it may hold: by its configuration, and by what its disk has left
    pub capacity_bytes: u64,
    /// bytes that segments and heads take up, running uploads counted whole
    pub used_bytes: u64,
    /// committed shards
    pub shards: u64,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: NodeConfig,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) segments_dir: PathBuf,
    pub(crate) index_dir: PathBuf,
    pub(crate) mark_seed: [u8; 32],
    pub(crate) lakes: Lakes,
    pub(crate) appender: Mutex<Appender>,
    pub(crate) changes: Mutex<Changes>,
    pub(crate) state: Mutex<State>,
    /// one snapshot at a time
    pub(crate) taking: Mutex<()>,
    /// a run is damaged: no snapshot until the node is started anew
    pub(crate) index_damaged: AtomicBool,
    pub(crate) zdb: Arc<Store>,
    pub(crate) scrub: Mutex<Scrub>,
    /// a shard is not busy any more
    freed: Condvar,
    report: OpenReport,
    _lock: Box<dyn Lock>,
}

impl Node {
    /// Opens a folder, creating it where it is new.
    ///
    /// # Errors
    /// [`OpenError`]: the folder is in use, or the disk does not work at all. Damage is reported, not refused.
    pub fn open(config: NodeConfig, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let dir = config.dir.clone();
        let failed = |doing| {
            let dir = dir.clone();
            move |source| OpenError::Disk { doing, dir, source }
        };
        let [segments_dir, lakes_dir, index_dir] =
            ["segments", "lakes", "index"].map(|name| dir.join(name));
        create_dir_durable(&*disk, &dir).map_err(failed("create folders"))?;
        let held = disk.lock(&dir.join("lock")).map_err(failed("lock the folder"))?;
        let held = held.ok_or(OpenError::InUse { dir: dir.clone() })?;
        for folder in [&segments_dir, &lakes_dir, &index_dir] {
            disk.create_dir_all(folder).map_err(failed("create folders"))?;
        }
        disk.sync_dir(&dir).map_err(failed("sync the folder"))?;
        if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
            disk.sync_dir(above).map_err(failed("sync the folder above"))?;
        }
        let mark_seed = match config.mark_seed {
            Some(seed) => seed,
            None => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed)
                    .map_err(|e| OpenError::Random { reason: e.to_string() })?;
                seed
            }
        };
        let mut report = OpenReport::default();
        let lakes = Lakes::open(Arc::clone(&disk), lakes_dir, config.lakes_max, &mut report)
            .map_err(failed("read what is kept per lake"))?;
        let zdb = Store::open(
            config.zdb.clone(),
            Arc::clone(&disk),
            dir.join("zdb"),
            mark_seed,
            config.segment_bytes,
            &mut report,
        );
        let zdb = Arc::new(zdb.map_err(failed("read the namespaces"))?);
        let mut inner = Inner {
            config,
            disk,
            zdb,
            scrub: Mutex::default(),
            segments_dir,
            index_dir,
            mark_seed,
            lakes,
            appender: Mutex::default(),
            changes: Mutex::default(),
            state: Mutex::default(),
            taking: Mutex::default(),
            index_damaged: AtomicBool::new(false),
            freed: Condvar::new(),
            report: OpenReport::default(),
            _lock: held,
        };
        let loaded = inner.load(&mut report).map_err(io::Error::other);
        loaded.map_err(failed("read the segments"))?;
        inner.report = report;
        inner.scrub = Mutex::new(Scrub::load(&inner));
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Notes on disk which commits are durable and where every shard is, so that the next start need not look at every record.
    /// To be called before a node is given up; without it the next start takes longer.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn checkpoint(&self) -> Result<(), NodeError> {
        for namespace in self.inner.zdb.all() {
            namespace.checkpoint().map_err(|e| NodeError::disk("write a checkpoint", e))?;
        }
        self.pause_scrub();
        let durable_through = lock(&self.inner.state).durable_through();
        load::write_checkpoint(&*self.inner.disk, &self.inner.config.dir, durable_through)
            .map_err(|e| NodeError::disk("write a checkpoint", e))?;
        self.inner.take_snapshot()
    }

    /// Whether a start after a crash would have much to look at.
    pub(crate) fn has_changed_much(&self) -> bool {
        let changed = lock(&self.inner.changes).count();
        let state = lock(&self.inner.state);
        let segments = state.segments.len();
        changed.unwrap_or(segments) > CHANGED_MIN + segments / CHANGED_SHARE
            || state.shards.changes() > self.inner.config.changes_max / CHANGES_SHARE
    }

    /// What was found when the folder was opened.
    pub fn report(&self) -> &OpenReport {
        &self.inner.report
    }

    /// The node's configuration.
    pub fn config(&self) -> &NodeConfig {
        &self.inner.config
    }

    /// Reads a range; only the blocks that hold it are read, and each is checked.
    ///
    /// # Errors
    /// [`NodeError::Absent`], [`NodeError::Range`], [`NodeError::Damaged`].
    pub fn get(&self, id: ShardId, offset: u64, bytes: u32) -> Result<Bytes, NodeError> {
        loop {
            let found = self.inner.find(id)?;
            let (entry, segment) = found.ok_or(NodeError::Absent { id })?;
            let (bytes, shard_bytes) = (u64::from(bytes), entry.shard_bytes());
            if bytes == 0 || offset.checked_add(bytes).is_none_or(|end| end > shard_bytes) {
                return Err(NodeError::Range { offset, bytes, shard_bytes });
            }
            if let Some(read) = self
                .checked(id, &entry, &segment, |place| place.read(&*segment.file, offset, bytes))
            {
                return read;
            }
        }
    }

    /// Shows samples of a shard, for which all of it is read and checked once.
    ///
    /// # Errors
    /// [`NodeError::Absent`], [`NodeError::Damaged`], [`NodeError::NotSamples`].
    pub fn prove(&self, audit: &Audit) -> Result<Vec<SampleProof>, NodeError> {
        self.show(audit.shard, |shard_bytes| audit.indices(shard_bytes))
    }

    /// The same for samples that somebody else chose, by the shard's length.
    ///
    /// # Errors
    /// Those of [`Self::prove`].
    pub fn show(
        &self,
        id: ShardId,
        choose: impl Fn(u64) -> Result<Vec<u64>, SampleError>,
    ) -> Result<Vec<SampleProof>, NodeError> {
        loop {
            let found = self.inner.find(id)?;
            let (entry, segment) = found.ok_or(NodeError::Absent { id })?;
            let indices = choose(entry.shard_bytes());
            let prover = indices.and_then(|indices| Prover::new(entry.shard_bytes(), indices));
            let mut prover = prover.map_err(|source| NodeError::NotSamples { id, source })?;
            if let Some(read) = self.checked(id, &entry, &segment, |place| {
                place.read_all(&*segment.file, |group| prover.group(group))
            }) {
                return read.map(|()| prover.finish());
            }
        }
    }

    /// Reads from where a shard is; `None` where it was deleted or replaced meanwhile: look again.
    fn checked<T>(
        &self,
        id: ShardId,
        entry: &Entry,
        segment: &Segment,
        read: impl FnOnce(Place) -> Result<T, BadBlock>,
    ) -> Option<Result<T, NodeError>> {
        match read(entry.place(id)) {
            Ok(read) => Some(Ok(read)),
            Err(_) if !self.inner.is_still(id, entry) => None,
            Err(bad) => {
                self.inner.note_damage(id, entry);
                let (segment, source) = (segment.number, bad.source);
                tracing::warn!(%id, segment, offset = bad.offset, ?source, "damaged block");
                Some(Err(NodeError::Damaged { id, offset: bad.offset }))
            }
        }
    }

    /// What is known of a shard.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn stat(&self, id: ShardId) -> Result<Option<ShardInfo>, NodeError> {
        Ok(self.inner.entry(id)?.map(|entry| info(id, &entry)))
    }

    /// Up to `count` shards of a lake behind `after`, in order.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn list(
        &self,
        lake: LakeId,
        after: Option<ShardId>,
        count: u32,
    ) -> Result<Vec<ShardInfo>, NodeError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let some = self.inner.of_lake(lake, after, count)?;
        Ok(some.iter().map(|(id, entry)| info(*id, entry)).collect())
    }

    /// Deletes a shard durably, and gives its space back; whether there was one.
    ///
    /// # Errors
    /// [`NodeError::Fenced`], [`NodeError::Poisoned`] and those of the disk; the shard is still there then.
    pub fn delete(&self, id: ShardId, term: Term) -> Result<bool, NodeError> {
        self.inner.make_room()?;
        let _fence = self.inner.lakes.enter(id.lake, term)?;
        let _busy = self.inner.busy(id);
        if let Some(segment) = lock(&self.inner.state).stale_copy(id) {
            return Err(NodeError::Poisoned { segment });
        }
        let Some((entry, segment)) = self.inner.find(id)? else { return Ok(false) };
        let _changing = self.inner.changing(&segment)?;
        // it is there still: it is busy
        lock(&self.inner.state).shards.remove(id);
        let place = entry.place(id);
        match segment.mark_dropped(place).and_then(|()| segment.sync()) {
            Ok(()) => self.inner.dropped(&segment, place),
            Err(e) => {
                lock(&self.inner.state).shards.insert(id, entry, false);
                return Err(e);
            }
        }
        Ok(true)
    }

    /// Refuses terms below this one from now on, durably.
    ///
    /// # Errors
    /// [`NodeError::Fenced`] by a higher one, [`NodeError::Limit`] and those of the disk.
    pub fn fence(&self, lake: LakeId, term: Term) -> Result<(), NodeError> {
        self.inner.lakes.fence(lake, term)
    }

    /// Stores a head durably; an equal or newer one stays.
    ///
    /// # Errors
    /// [`NodeError::Fenced`], [`NodeError::Limit`] and those of the disk.
    pub fn put_head(&self, lake: LakeId, head: &Head) -> Result<(), NodeError> {
        self.inner.lakes.put_head(lake, head)
    }

    /// The newest head of a lake.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn head(&self, lake: LakeId) -> Result<Option<Head>, NodeError> {
        self.inner.lakes.head(lake)
    }

    /// How full the node is.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn space(&self) -> Result<Space, NodeError> {
        let used_heads = self.inner.lakes.head_bytes();
        let disk_free = self.inner.disk_free_bytes()?;
        let state = lock(&self.inner.state);
        let used_bytes = state.used_bytes + used_heads + self.inner.zdb.budget.bytes();
        let capacity_bytes = self.inner.config.capacity_bytes.min(used_bytes + disk_free);
        Ok(Space { capacity_bytes, used_bytes, shards: state.shards.count() })
    }
}

fn info(id: ShardId, entry: &Entry) -> ShardInfo {
    ShardInfo { id, bytes: entry.shard_bytes(), term: entry.term, name: entry.name }
}

/// Keeps others away from a shard.
pub(crate) struct Busy<'a> {
    inner: &'a Inner,
    id: ShardId,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        lock(&self.inner.state).busy.remove(&self.id);
        self.inner.freed.notify_all();
    }
}

/// Keeps a segment out of the snapshots that are begun meanwhile.
pub(crate) struct Changing<'a> {
    inner: &'a Inner,
    segment: u32,
}

impl Changing<'_> {
    /// Goes on until the upload that has begun is released.
    pub(crate) fn until_release(self) {
        std::mem::forget(self);
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        lock(&self.inner.state).settle(self.segment);
    }
}

impl Inner {
    /// Waits until nobody works on a shard, and keeps others away.
    pub(crate) fn busy(&self, id: ShardId) -> Busy<'_> {
        let mut state = lock(&self.state);
        while state.busy.contains(&id) {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.busy.insert(id);
        drop(state);
        Busy { inner: self, id }
    }

    /// A number that tells this run of the node from others.
    pub(crate) fn instance(&self) -> u32 {
        let digest = blake3::derive_key("prunedb node instance", &self.mark_seed);
        u32::from_le_bytes(*digest.first_chunk().expect("32 bytes"))
    }

    /// Bytes that values may still take up; none where the disk does not say.
    pub(crate) fn value_free_bytes(&self) -> u64 {
        let disk_free = self.disk_free_bytes().unwrap_or_default();
        let other = self.lakes.head_bytes() + self.zdb.budget.bytes();
        let state = lock(&self.state);
        let free = self.config.capacity_bytes.saturating_sub(state.used_bytes + other);
        free.min(disk_free.saturating_sub(state.pending_bytes))
    }

    pub(crate) fn disk_free_bytes(&self) -> Result<u64, NodeError> {
        let free = self.disk.free_bytes(&self.segments_dir);
        let free = free.map_err(|e| NodeError::disk("ask for free space", e))?;
        Ok(free.saturating_sub(self.config.reserve_bytes))
    }

    /// To be called before anything in a segment is changed, and held until that is done.
    pub(crate) fn changing(&self, segment: &Segment) -> Result<Changing<'_>, NodeError> {
        // first: a snapshot that begins in between sees it in flux, or has it noted
        lock(&self.state).unsettle(segment.number);
        let changing = Changing { inner: self, segment: segment.number };
        lock(&self.changes)
            .note(segment.number)
            .map_err(|e| NodeError::disk("list a segment as changed", e))?;
        Ok(changing)
    }

    /// Sees to it that memory has room for changes of the index: whoever makes too many waits for a snapshot.
    pub(crate) fn make_room(&self) -> Result<(), NodeError> {
        let is_full = || lock(&self.state).shards.changes() >= self.config.changes_max;
        if !is_full() {
            return Ok(());
        }
        let one = lock(&self.taking);
        // whoever waited has room by now
        if is_full() { self.snapshot(&one) } else { Ok(()) }
    }
}

//! The index of one database: opening, inserting, flushing, merging.
//!
//! Locks, in the order in which they are taken: `merge`, `flush`, `edit`, `view`. The disk is written and synced under
//! the first three only; `view` is held for memory accesses, so readers and inserts wait for nothing longer.

use crate::{
    entry::{Entry, Location, PREFIX_BITS},
    error::Error,
    hash::{KeyHasher, Seed},
    keyed_run::{KeyedRun, KeyedRunWriter},
    manifest::{self, Manifest, ManifestRun},
    memtable::{Memtable, PARTITIONS, prefixes_of},
    merge::Suspect,
    merging::{Merge, resume_merge},
    policy::SOURCES_MAX,
    run_file::{RemotePages, RunFile, RunKind, RunWriter, file_name, run_of_file_name},
    sequence_page::SequenceKey,
    sequence_run::{SequenceRun, SequenceRunWriter},
    sort::Sorter,
    stats::{Counters, IndexStats},
};
use prunedb_core::TableId;
use prunedb_disk::Disk;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// How the index is laid out; none of it changes how stored bytes are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Options {
    /// runs of a level that are merged into one of the next; 2..=255
    pub fan_in: usize,
    /// bits of filter per entry; runs that come from a flush have four more
    pub filter_bits: u32,
    /// filters take so much memory before runs are merged into one without a filter, or a quarter of a byte per key where
    /// that is more
    pub filter_bytes_free: u64,
    /// bytes that a merge into the base writes between two checkpoints, from which it goes on after a restart
    pub checkpoint_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fan_in: 8,
            filter_bits: 10,
            filter_bytes_free: 64 << 20,
            checkpoint_bytes: 256 << 20,
        }
    }
}

/// Key to location. See the crate's text. Every method may be called from any thread.
#[derive(Debug)]
pub struct Index {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) hasher: KeyHasher,
    remote: Option<Arc<dyn RemotePages>>,
    unknown_files: Vec<String>,
    pub(crate) merge: Mutex<Option<Merge>>,
    flush: Mutex<()>,
    pub(crate) edit: Mutex<Manifest>,
    view: RwLock<View>,
    covered: AtomicU32,
    suspects: Mutex<Vec<Suspect>>,
    pub(crate) counters: Counters,
}

/// Filters that opening loads, in all, of files that are here. The rest comes with the first merge steps, so that opening is
/// quick at any size and waits for nobody.
const OPEN_FILTER_BYTES: u64 = 1 << 20;

/// Bits of filter per entry that a run of a flush has more than a merged one: such runs are many, and small.
const FLUSH_FILTER_BITS: u32 = 4;

/// Entries that are added at once.
const INSERT_BATCH: usize = 256;

/// Most pairs of [`Index::take_suspects`] that are kept until somebody takes them.
const SUSPECTS_MAX: usize = 65_536;

/// What a lookup sees.
#[derive(Debug)]
pub(crate) struct View {
    active: Arc<Memtable>,
    /// being flushed, or left by a flush that failed
    frozen: Vec<Arc<Memtable>>,
    pub(crate) runs: Arc<Runs>,
}

impl View {
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Memtable> {
        self.frozen.iter().chain([&self.active]).map(|memtable| &**memtable)
    }
}

/// The runs that count, each kind ascending by its oldest container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    pub(crate) keyed: Vec<Arc<KeyedRun>>,
    pub(crate) sequence: Vec<Arc<SequenceRun>>,
}

impl Runs {
    fn add(&mut self, run: OpenRun) {
        match run {
            OpenRun::Keyed(run) => self.keyed.push(Arc::new(run)),
            OpenRun::Sequence(run) => self.sequence.push(Arc::new(run)),
        }
        let order = |file: &RunFile| (file.header().container_min, file.number());
        self.keyed.sort_by_key(|run| order(run.file()));
        self.sequence.sort_by_key(|run| order(run.file()));
    }

    fn remove(&mut self, numbers: &[u64]) {
        self.keyed.retain(|run| !numbers.contains(&run.file().number()));
        self.sequence.retain(|run| !numbers.contains(&run.file().number()));
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&RunFile, u64)> {
        let keyed = self.keyed.iter().map(|run| (run.file(), run.filter_bytes()));
        keyed.chain(self.sequence.iter().map(|run| (run.file(), 0)))
    }
}

#[derive(Debug)]
pub(crate) enum OpenRun {
    Keyed(KeyedRun),
    Sequence(SequenceRun),
}

impl OpenRun {
    fn file(&self) -> &RunFile {
        match self {
            Self::Keyed(run) => run.file(),
            Self::Sequence(run) => run.file(),
        }
    }
}

impl Index {
    /// Opens the index of a folder, or begins an empty one where there is none. Files that a crash left over are
    /// removed; files that are none of ours are left alone, see [`Self::unknown_files`].
    ///
    /// # Errors
    /// [`Error::WrongSeed`], [`Error::NewerVersion`], those of the disk, and damage ([`Error::is_damage`]):
    /// [`Self::create`] then begins anew.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        seed: &Seed,
        options: Options,
    ) -> Result<Self, Error> {
        Self::open_with(disk, dir, seed, options, None)
    }

    /// As [`Self::open`]; runs whose files are not in the folder are read from elsewhere.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        seed: &Seed,
        options: Options,
        remote: Option<Arc<dyn RemotePages>>,
    ) -> Result<Self, Error> {
        disk.create_dir_all(dir).map_err(Error::io("create", dir))?;
        let hasher = KeyHasher::new(seed);
        let Some(manifest) = Manifest::load(&*disk, dir)? else {
            let names = disk.list(dir).map_err(Error::io("list", dir))?;
            if names.iter().any(|name| run_of_file_name(name).is_some()) {
                let path = dir.join(manifest::FILE_NAME);
                return Err(Error::DamagedManifest {
                    path,
                    reason: "it is missing, runs are there",
                });
            }
            return Self::create_with(disk, dir, seed, options, remote);
        };
        if manifest.seed_tag != hasher.tag() {
            return Err(Error::WrongSeed { path: dir.into() });
        }
        let mut runs = Runs::default();
        for run in &manifest.runs {
            let file = RunFile::open(&*disk, dir, run.number, run.header_crc, remote.clone())?;
            runs.add(match run.kind {
                RunKind::Keyed => OpenRun::Keyed(KeyedRun::open(file)?),
                RunKind::Sequence => OpenRun::Sequence(SequenceRun::open(file)?),
            });
        }
        let index = Self::with(disk, dir, hasher, options, manifest, runs, remote)?;
        let quick =
            |run: &KeyedRun| run.file().is_here() && run.filter_bytes() <= OPEN_FILTER_BYTES;
        index.load_filters(OPEN_FILTER_BYTES, quick)?;
        Ok(index)
    }

    /// Begins an empty index in a folder, whatever it holds: the runs there are removed. Nothing is covered.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        seed: &Seed,
        options: Options,
    ) -> Result<Self, Error> {
        Self::create_with(disk, dir, seed, options, None)
    }

    /// As [`Self::create`], for an index whose runs may later lie elsewhere.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        seed: &Seed,
        options: Options,
        remote: Option<Arc<dyn RemotePages>>,
    ) -> Result<Self, Error> {
        disk.create_dir_all(dir).map_err(Error::io("create", dir))?;
        let hasher = KeyHasher::new(seed);
        let names = disk.list(dir).map_err(Error::io("list", dir))?;
        let last_run = names.iter().filter_map(|name| run_of_file_name(name)).max();
        let manifest = Manifest {
            seed_tag: hasher.tag(),
            next_run: last_run
                .map_or(0, |last| last.saturating_add(1))
                .max(remote.as_ref().map_or(0, |remote| remote.next_run())),
            ..Manifest::default()
        };
        manifest.store(&*disk, dir)?;
        Self::with(disk, dir, hasher, options, manifest, Runs::default(), remote)
    }

    fn with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        hasher: KeyHasher,
        options: Options,
        mut manifest: Manifest,
        runs: Runs,
        remote: Option<Arc<dyn RemotePages>>,
    ) -> Result<Self, Error> {
        assert!((2..=SOURCES_MAX).contains(&options.fan_in), "a merge reads 2 to 255 runs");
        // one that cannot go on begins again
        let recorded = manifest.merge.take();
        let resume = |record| resume_merge(&disk, dir, &runs, record, remote.clone());
        let merge = recorded.as_ref().and_then(resume);
        if merge.is_some() {
            manifest.merge = recorded;
        }
        let merging = manifest.merge.as_ref().map(|record| record.output);
        let mut unknown_files = Vec::new();
        for name in disk.list(dir).map_err(Error::io("list", dir))? {
            let orphan = match run_of_file_name(&name) {
                Some(number) => {
                    let counts = manifest.runs.iter().any(|run| run.number == number);
                    !counts && merging != Some(number)
                }
                None => name == manifest::TEMPORARY_NAME,
            };
            if orphan {
                let path = dir.join(&name);
                disk.remove(&path).map_err(Error::io("remove", path))?;
            } else if run_of_file_name(&name).is_none() && name != manifest::FILE_NAME {
                unknown_files.push(name);
            }
        }
        Ok(Self {
            disk,
            dir: dir.into(),
            options,
            hasher,
            remote,
            unknown_files,
            merge: Mutex::new(merge),
            flush: Mutex::default(),
            covered: AtomicU32::new(manifest.covered),
            edit: Mutex::new(manifest),
            view: RwLock::new(View {
                active: Arc::new(Memtable::new()),
                frozen: Vec::new(),
                runs: Arc::new(runs),
            }),
            suspects: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// Names in the folder that were none of the index's own files when it was opened.
    pub fn unknown_files(&self) -> &[String] {
        &self.unknown_files
    }

    /// Every record of data containers below this number is in durable runs. After opening, the caller inserts the
    /// records of the others.
    pub fn covered(&self) -> u32 {
        self.covered.load(Relaxed)
    }

    /// Adds a record of a keyed table, in RAM. Adding one twice is harmless.
    ///
    /// # Panics
    /// Where the offset is no multiple of 16 below [`Location::OFFSET_END`]: records start at no such place.
    pub fn insert(&self, table: TableId, key: &[u8], at: Location) {
        self.insert_many([(table, key, at)]);
    }

    /// As [`Self::insert`] for many records, in a third of the time.
    ///
    /// # Panics
    /// As [`Self::insert`].
    pub fn insert_many<'a>(
        &self,
        records: impl IntoIterator<Item = (TableId, &'a [u8], Location)>,
    ) {
        let records = records.into_iter();
        let mut batch = Vec::with_capacity(records.size_hint().0.clamp(1, INSERT_BATCH));
        for (table, key, at) in records {
            batch.push(entry_of(self.hasher.prefix(table, key), at));
            if batch.len() == INSERT_BATCH {
                self.insert_entries(&batch);
                batch.clear();
            }
        }
        self.insert_entries(&batch);
    }

    #[cfg(test)]
    pub(crate) fn insert_prefix(&self, prefix: u64, at: Location) {
        self.insert_entries(&[entry_of(prefix, at)]);
    }

    fn insert_entries(&self, entries: &[Entry]) {
        // the guard is kept, so that a flush cannot freeze the table meanwhile
        self.view().active.insert(entries);
    }

    /// Adds a record of a sequence table, in RAM. Adding one twice is harmless.
    ///
    /// # Panics
    /// As [`Self::insert`].
    pub fn insert_sequence(&self, table: TableId, position: u64, at: Location) {
        assert!(at.is_storable(), "no record starts at {at:?}");
        let suspect = self.view().active.insert_sequence((table, position), at);
        self.add_suspects(suspect);
    }

    /// Writes all records of containers below `covered` into runs and makes them durable; those of later containers
    /// stay in RAM. Lookups and inserts go on meanwhile.
    ///
    /// # Errors
    /// Those of the disk. Nothing is lost: the entries stay in RAM and the next flush takes them.
    pub fn flush(&self, covered: u32) -> Result<(), Error> {
        let _flushing = lock(&self.flush);
        let covered = covered.max(self.covered());
        let frozen = {
            let mut view = self.view_mut();
            let empty = Arc::new(view.active.new_alike());
            let full = std::mem::replace(&mut view.active, empty);
            view.frozen.push(full);
            view.frozen.clone()
        };
        let mut written = Vec::new();
        written.extend(self.write_keyed(&frozen, covered)?);
        let (sequence, sequence_later) = split_sequences(&frozen, covered);
        if !sequence.is_empty() {
            match self.write_sequence(sequence) {
                Ok(run) => written.push(run),
                Err(e) => {
                    written.iter().for_each(|(run, _)| self.remove_run(run.file().number()));
                    return Err(e);
                }
            }
        }
        if !written.is_empty() || covered > self.covered() {
            let mut manifest = lock(&self.edit);
            self.install(&mut manifest, written, &[], 0, covered)?;
        }
        let view = self.view();
        let mut later = Vec::new();
        for partition in 0..PARTITIONS {
            keyed_entries(&frozen, partition, |at| at.container >= covered, &mut later);
            view.active.insert(&later);
            later.clear();
        }
        for (key, at) in sequence_later {
            view.active.insert_sequence(key, at);
        }
        drop(view);
        self.view_mut().frozen.clear();
        Ok(())
    }

    /// Writes the keyed entries of containers below `covered` into a run, if there are any.
    fn write_keyed(
        &self,
        memtables: &[Arc<Memtable>],
        covered: u32,
    ) -> Result<Option<(OpenRun, u32)>, Error> {
        let is_covered = |at: Location| at.container < covered;
        let (mut count, mut oldest, mut newest) = (0, u32::MAX, 0);
        let mut entries = Vec::new();
        for partition in 0..PARTITIONS {
            keyed_entries(memtables, partition, is_covered, &mut entries);
            count += entries.len() as u64;
            for container in entries.drain(..).map(|entry| entry.location().container) {
                (oldest, newest) = (oldest.min(container), newest.max(container));
            }
        }
        if count == 0 {
            return Ok(None);
        }
        let filter_bits = self.options.filter_bits + FLUSH_FILTER_BITS;
        let run = self.create_run()?;
        let mut writer =
            KeyedRunWriter::new(run, count, oldest..=newest, PREFIX_BITS, Some(filter_bits));
        let drop_bits = PREFIX_BITS - writer.prefix_bits();
        let (mut numbers, mut sorter) = (Vec::new(), Sorter::default());
        let mut suspects = Vec::new();
        let mut last = Entry(u128::MAX);
        for partition in 0..PARTITIONS {
            keyed_entries(memtables, partition, is_covered, &mut entries);
            numbers.extend(entries.drain(..).map(|entry| entry.narrowed(drop_bits).tagged(0)));
            let prefixes = prefixes_of(partition);
            let (first, end) = (prefixes.start >> drop_bits, prefixes.end >> drop_bits);
            for &number in sorter.sort(&numbers, first, end) {
                let (entry, _) = Entry::untag(number);
                if entry.prefix() == last.prefix() && entry != last {
                    suspects.push((last.location(), entry.location()));
                }
                last = entry;
                writer.push(entry)?;
            }
            numbers.clear();
        }
        self.add_suspects(suspects);
        let (run, header_crc) = writer.finish()?;
        Ok(Some((OpenRun::Keyed(run), header_crc)))
    }

    fn write_sequence(
        &self,
        entries: Vec<(SequenceKey, Location)>,
    ) -> Result<(OpenRun, u32), Error> {
        let mut writer = SequenceRunWriter::new(self.create_run()?);
        let mut last: Option<(SequenceKey, Location)> = None;
        for (key, at) in entries {
            match last {
                Some((last_key, older)) if last_key == key => {
                    self.add_suspects((older != at).then_some((older, at)));
                }
                _ => {
                    writer.push(key, at)?;
                    last = Some((key, at));
                }
            }
        }
        let (run, header_crc) = writer.finish()?;
        Ok((OpenRun::Sequence(run), header_crc))
    }

    pub(crate) fn create_run(&self) -> Result<RunWriter, Error> {
        let number = {
            let mut manifest = lock(&self.edit);
            manifest.next_run += 1;
            manifest.next_run - 1
        };
        RunWriter::create(Arc::clone(&self.disk), &self.dir, number, self.remote.clone())
    }

    /// Makes new runs count and old ones not, durably, then for readers.
    pub(crate) fn install(
        &self,
        manifest: &mut Manifest,
        added: Vec<(OpenRun, u32)>,
        removed: &[u64],
        level: u8,
        covered: u32,
    ) -> Result<(), Error> {
        let mut next = Manifest { covered, ..manifest.clone() };
        // the merge under way ended, or lost its sources
        next.merge = next.merge.filter(|merge| merge.sources.iter().all(|s| !removed.contains(s)));
        next.runs.retain(|run| !removed.contains(&run.number));
        for (run, header_crc) in &added {
            let (number, kind) = (run.file().number(), run.file().header().kind);
            next.runs.push(ManifestRun { number, header_crc: *header_crc, kind, level });
        }
        next.runs.sort_unstable_by_key(|run| run.number);
        // on an error the new files stay: the manifest on disk may name them already
        next.store(&*self.disk, &self.dir)?;
        *manifest = next;
        self.covered.store(covered, Relaxed);
        let mut runs = Runs::clone(&self.view().runs);
        runs.remove(removed);
        for (run, _) in added {
            self.counters.add_run(run.file().header().entries, run.file().bytes());
            runs.add(run);
        }
        self.view_mut().runs = Arc::new(runs);
        removed.iter().for_each(|&number| self.remove_run(number));
        Ok(())
    }

    /// Removes the file of a run that the manifest does not name. Best effort: what stays, the next open removes.
    fn remove_run(&self, number: u64) {
        let _ = self.disk.remove(&self.dir.join(file_name(number)));
    }

    /// Reads filters of `wanted` runs that are not in RAM yet, until about so many bytes are read; those that were.
    pub(crate) fn load_filters(
        &self,
        bytes: u64,
        wanted: impl Fn(&KeyedRun) -> bool,
    ) -> Result<u64, Error> {
        let runs = Arc::clone(&self.view().runs);
        let mut loaded = 0;
        for run in runs.keyed.iter().filter(|run| wanted(run)) {
            if loaded < bytes {
                loaded += run.load_filter()?;
            }
        }
        Ok(loaded)
    }

    /// Drops all runs; nothing is covered any more. What is in RAM stays. The caller inserts the records of all
    /// containers again, from their footers: the way out of damage.
    ///
    /// # Errors
    /// Those of the disk; the runs then stay.
    pub fn reset(&self) -> Result<(), Error> {
        let mut merge = lock(&self.merge);
        let _flushing = lock(&self.flush);
        if let Some(mut merge) = merge.take() {
            merge.abandon();
        }
        let mut manifest = lock(&self.edit);
        let removed: Vec<_> = manifest.runs.iter().map(|run| run.number).collect();
        self.install(&mut manifest, Vec::new(), &removed, 0, 0)
    }

    /// Hands over the pairs of records that flushes and merges found under one hash or position, older first. Most
    /// are one key put twice, which the caller sees by reading both; a few are different keys that share a hash. At
    /// most 65,536 are kept.
    pub fn take_suspects(&self) -> Vec<Suspect> {
        std::mem::take(&mut lock(&self.suspects))
    }

    pub(crate) fn add_suspects(&self, pairs: impl IntoIterator<Item = Suspect>) {
        let mut pairs = pairs.into_iter().peekable();
        if pairs.peek().is_some() {
            let mut kept = lock(&self.suspects);
            let room = SUSPECTS_MAX - kept.len();
            kept.extend(pairs.take(room));
        }
    }

    /// Figures of this moment.
    pub fn stats(&self) -> IndexStats {
        let counters = &self.counters;
        let mut stats = IndexStats {
            lookups: counters.lookups.load(Relaxed),
            page_reads: counters.page_reads.load(Relaxed),
            entries_written: counters.entries_written.load(Relaxed),
            bytes_written: counters.bytes_written.load(Relaxed),
            ..IndexStats::default()
        };
        let view = self.view();
        for memtable in view.memtables() {
            stats.keyed_entries += memtable.keyed_len() as u64;
            stats.sequence_entries += memtable.sequence_len() as u64;
            stats.ram_bytes += memtable.ram_bytes() as u64;
        }
        stats.memtable_entries = stats.keyed_entries + stats.sequence_entries;
        for run in &view.runs.keyed {
            stats.keyed_entries += run.file().header().entries;
            stats.keyed_runs += 1;
            stats.disk_bytes += run.file().bytes();
            stats.filter_bytes += run.loaded_filter_bytes();
        }
        for run in &view.runs.sequence {
            stats.sequence_entries += run.file().header().entries;
            stats.sequence_runs += 1;
            stats.disk_bytes += run.file().bytes();
            stats.ram_bytes += run.ram_bytes() as u64;
        }
        stats.ram_bytes += stats.filter_bytes;
        stats
    }

    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No holder leaves what it guards half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn entry_of(prefix: u64, at: Location) -> Entry {
    assert!(at.is_storable(), "no record starts at {at:?}");
    Entry::new(prefix, at)
}

/// Appends the memtables' entries of one partition at some locations.
fn keyed_entries(
    memtables: &[Arc<Memtable>],
    partition: usize,
    wanted: impl Fn(Location) -> bool,
    out: &mut Vec<Entry>,
) {
    for memtable in memtables {
        memtable.partition(partition, |entries| {
            out.extend(entries.iter().filter(|entry| wanted(entry.location())));
        });
    }
}

type SequenceEntries = Vec<(SequenceKey, Location)>;

/// The memtables' sequence entries in order: those of containers below `covered`, and the others.
fn split_sequences(
    memtables: &[Arc<Memtable>],
    covered: u32,
) -> (SequenceEntries, SequenceEntries) {
    let mut below = Vec::new();
    for memtable in memtables {
        below.append(&mut memtable.sorted_sequences());
    }
    if memtables.len() > 1 {
        below.sort();
    }
    let later = below.extract_if(.., |(_, at)| at.container >= covered).collect();
    (below, later)
}

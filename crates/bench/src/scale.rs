//! The index and the manifest at sizes up to 100 TB: what building, looking up, opening and noting one more container cost.
//!
//! Real: the index, through the path that puts take (memtable, runs, merges, two threads behind); the local manifest with
//! an entry of the true length for every container; the engine's reads, with every check. Computed: the shards. A record's
//! bytes follow from its number, and `store` seals them into the leaves that a read asks for; digests and names of shards,
//! which nobody looks at where single records are read, are made up.

mod content;
mod files;
mod lookups;
mod store;

use content::{CONTAINER_BYTES, Content, RECORDS, key, location};
use files::Folder;
use lookups::{Lookups, median, seconds_of};
use prunedb_codec::CodecVersion;
use prunedb_core::{ContainerId, Generation, Policy, Term};
use prunedb_disk::{Disk, RealDisk};
use prunedb_engine::{Connect, Db, LakeSecret, Options, Table, TableKind, TableSummary};
use prunedb_format::{
    container::TableName,
    manifest::{ContainerEntry, StreamEntry},
};
use prunedb_index::Index;
use serde::Serialize;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::sync_channel,
    },
    time::Duration,
};
use store::{Computed, ComputedStore, digest_of};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

/// What `prunedb bench scale` measures.
#[derive(Debug, Clone, Serialize)]
pub struct Scale {
    /// what is computed and what is real, for people
    pub shards: &'static str,
    /// bytes of a value
    pub value_bytes: usize,
    /// one for each number of keys, in the order asked for
    pub sizes: Vec<Size>,
}

/// Figures of a lake of so many keys.
#[derive(Debug, Clone, Serialize)]
pub struct Size {
    /// keys of 32 bytes, all different
    pub keys: u64,
    /// data containers
    pub containers: u64,
    /// bytes of these
    pub lake_bytes: u64,
    /// keys inserted, flushed and merged until nothing was left to merge, in a second; making the keys counted
    pub build_keys_per_s: f64,
    /// processor time for that, microseconds a key
    pub build_cpu_us_per_key: f64,
    /// times that a key was written
    pub writes_per_key: f64,
    /// bytes of the index on disk
    pub index_bytes_per_key: f64,
    /// files of the index
    pub runs: u64,
    /// a key that is there, its location found
    pub hit_p50_us: f64,
    /// of 100, the second slowest
    pub hit_p99_us: f64,
    /// a key that is not there
    pub miss_p50_us: f64,
    /// of 100, the second slowest
    pub miss_p99_us: f64,
    /// a key that is there, nothing in the file cache
    pub cold_hit_p50_us: f64,
    /// 4 KiB of the largest run at a random place, nothing in the file cache
    pub cold_pread_p50_us: f64,
    /// pages of the index read for a key that is there
    pub page_reads_per_hit: f64,
    /// and for one that is not
    pub page_reads_per_miss: f64,
    /// a record, whole and checked: index, manifest, and leaves from a store that computes them
    pub get_p50_us: f64,
    /// the same with index and manifest out of the file cache
    pub cold_get_p50_us: f64,
    /// what the index keeps in memory: filters, memtable, descriptors
    pub ram_bytes: u64,
    /// memory of the whole process that is no file's, after all lookups
    pub process_bytes: u64,
    /// opening the database
    pub reopen_ms: f64,
    /// noting all containers
    pub manifest_build_s: f64,
    /// bytes of the local manifest on disk
    pub manifest_bytes: u64,
    /// noting one more container, durably
    pub manifest_edit_us: f64,
    /// the state of everything, nodes asked
    pub status_ms: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder's disk is too small.
    #[error("{keys} keys need {needed_bytes} bytes of disk in {path}, {free_bytes} are free")]
    Space {
        /// the size that does not fit
        keys: u64,
        /// bytes for it
        needed_bytes: u64,
        /// bytes that there are
        free_bytes: u64,
        /// the folder
        path: PathBuf,
    },
    /// More or fewer than the format has numbers for.
    #[error("{keys} keys: from 1,000 to 4 * 10^12 can be measured")]
    Keys {
        /// how many were asked for
        keys: u64,
    },
    /// A file.
    #[error("{path}: {source}")]
    Io {
        /// which
        path: PathBuf,
        /// what is wrong with it
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Engine(#[from] prunedb_engine::Error),
    /// Its index.
    #[error(transparent)]
    Index(#[from] prunedb_index::Error),
    /// A lookup answered wrong: a bug.
    #[error("record {record} was {found}")]
    Wrong {
        /// number of the record
        record: u64,
        /// what came instead
        found: &'static str,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::Io { path, source }
}

/// Hears what is being done, and how much of how much of it.
pub type OnStep<'a> = dyn FnMut(&str, u64, u64) + 'a;

/// Keys after which the memtable is flushed, as by the engine.
const FLUSH_KEYS: u64 = 1_000_000;
/// Keys inserted at once.
const INSERT_KEYS: u64 = 1000;
/// Containers noted at once.
const NOTE_CONTAINERS: u64 = 1000;
/// Entries of a step of a merge.
const MERGE_ENTRIES: u64 = 1 << 20;
/// Single containers that are noted at the end.
const EDITS: u32 = 20;
const NODES: usize = 24;

/// Measures one size after the other in folders of its own below `dir`, which it removes.
///
/// # Errors
/// [`Error::Space`] before anything is written; those of disk, engine and index.
pub fn scale(
    dir: &Path,
    sizes: &[u64],
    runtime: &Handle,
    step: &mut OnStep<'_>,
) -> Result<Scale, Error> {
    for &keys in sizes {
        if !(1000..=RECORDS << 32).contains(&keys) {
            return Err(Error::Keys { keys });
        }
        let free_bytes = RealDisk.free_bytes(dir).map_err(at(dir))?;
        let needed_bytes = needed_bytes(keys);
        if free_bytes < needed_bytes {
            return Err(Error::Space { keys, needed_bytes, free_bytes, path: dir.into() });
        }
    }
    let bench = Bench::new(runtime.clone());
    let measured = sizes.iter().map(|&keys| bench.measure(dir, keys, step));
    Ok(Scale {
        shards: "computed by a store as they are asked for, data shards only; index, manifest and reads are real",
        value_bytes: content::VALUE_BYTES,
        sizes: measured.collect::<Result<_, _>>()?,
    })
}

/// The index and what a merge of all of it writes, and the manifest.
fn needed_bytes(keys: u64) -> u64 {
    keys * 28 + keys.div_ceil(RECORDS) * 9000 + (1 << 30)
}

struct Bench {
    secret: LakeSecret,
    policy: Policy,
    computed: Arc<Computed>,
    frame_table: Vec<u8>,
    runtime: Handle,
}

impl Bench {
    fn new(runtime: Handle) -> Self {
        let secret = LakeSecret::new(Zeroizing::new([7; 32]));
        let policy = Policy::new(16, 4).expect("a policy");
        let key = secret.lake_key(Generation(0));
        // the first table of a database has this number
        let content = Content::new(1);
        let frame_table = content.frame_table();
        let computed = Arc::new(Computed { content, key, policy });
        Self { secret, policy, computed, frame_table, runtime }
    }

    fn measure(&self, dir: &Path, keys: u64, step: &mut OnStep<'_>) -> Result<Size, Error> {
        let folder = Folder::new(dir, &keys.to_string())?;
        let containers = keys.div_ceil(RECORDS);
        let name = |what: &str| format!("{keys} keys: {what}");
        let mut options = Options::new(&folder.0, self.policy);
        options.cache_bytes = 0; // every get asks the store
        let (lake, disk) = (self.secret.lake_id(), Arc::new(RealDisk) as Arc<dyn Disk>);
        let nodes = (0..NODES).map(|node| format!("computed-{node}")).collect();
        Db::create(&disk, &options, lake, nodes)?;
        let db = self.open(&options)?;
        let table = db.ensure_table("scale/keys", TableKind::Keyed)?;

        let (noted, manifest_build_s) = seconds_of(|| {
            self.note(&db, &table, containers, &mut |done| {
                step(&name("manifest"), done, containers)
            })
        });
        noted?;
        let cpu_before = cpu_seconds();
        let (built, build_s) = seconds_of(|| {
            build(db.index(), &table, keys, &mut |done| step(&name("index"), done, keys))
        });
        built?;
        let build_cpu_s = cpu_seconds() - cpu_before;
        let built = db.index().stats();
        db.close()?;

        let (db, reopen_s) = seconds_of(|| self.open(&options));
        let db = db?;
        while !db.index().merge_step(MERGE_ENTRIES)?.idle {}
        let (index_dir, manifest) = (options.metadata_dir.join("index"), &options.metadata_dir);
        let index_files = files::all(&index_dir)?;
        let manifest_files: Vec<_> =
            files::all(manifest)?.into_iter().filter(|f| !f.starts_with(&index_dir)).collect();
        let lookups = Lookups { db: &db, table: &table, keys, content: &self.computed.content };

        step(&name("lookups"), 0, 0);
        files::make_warm(&index_files)?;
        let hit = lookups.hits()?;
        let miss = lookups.misses()?;
        step(&name("records"), 0, 0);
        files::make_warm(&manifest_files)?;
        let get_p50_us = lookups.gets()?;
        let (process_bytes, ram_bytes) = (anonymous_bytes(), db.index().stats().ram_bytes);
        step(&name("cold lookups"), 0, 0);
        let cold_hit_p50_us = lookups.cold(&index_files, Lookups::hit)?;
        let cold_pread_p50_us = lookups.cold_preads(&index_files)?;
        let all_files: Vec<_> = index_files.iter().chain(&manifest_files).cloned().collect();
        let cold_get_p50_us = lookups.cold(&all_files, Lookups::get)?;
        let (status, status_s) = seconds_of(|| db.status());
        status?;
        let manifest_bytes = files::bytes(&manifest_files)?;
        let mut edits = Vec::new();
        for more in 0..EDITS {
            let number = u32::try_from(containers).unwrap_or(u32::MAX - EDITS) + more;
            let entry = self.entry(&table, number);
            let (noted, seconds) = seconds_of(|| db.adopt(vec![entry]));
            noted?;
            edits.push(seconds * 1e6);
        }
        Ok(Size {
            keys,
            containers,
            lake_bytes: containers * CONTAINER_BYTES,
            build_keys_per_s: (keys as f64 / build_s).round(),
            build_cpu_us_per_key: build_cpu_s * 1e6 / keys as f64,
            writes_per_key: built.entries_written as f64 / keys as f64,
            index_bytes_per_key: built.disk_bytes as f64 / keys as f64,
            runs: built.keyed_runs,
            hit_p50_us: hit.p50_us,
            hit_p99_us: hit.p99_us,
            miss_p50_us: miss.p50_us,
            miss_p99_us: miss.p99_us,
            cold_hit_p50_us,
            cold_pread_p50_us,
            page_reads_per_hit: hit.page_reads,
            page_reads_per_miss: miss.page_reads,
            get_p50_us,
            cold_get_p50_us,
            ram_bytes,
            process_bytes,
            reopen_ms: reopen_s * 1e3,
            manifest_build_s,
            manifest_bytes,
            manifest_edit_us: median(&mut edits),
            status_ms: status_s * 1e3,
        })
    }

    fn open(&self, options: &Options) -> Result<Db, Error> {
        let computed = Arc::clone(&self.computed);
        let connect: &Connect = &move |name: &str| {
            Arc::new(ComputedStore { name: name.into(), computed: Arc::clone(&computed) })
        };
        let (disk, secret) = (Arc::new(RealDisk), self.secret.clone());
        Ok(Db::open(disk, options.clone(), secret, connect, self.runtime.clone())?)
    }

    /// Notes all containers in the manifest.
    fn note(
        &self,
        db: &Db,
        table: &Table,
        containers: u64,
        step: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let mut first = 0;
        while first < containers {
            let end = containers.min(first + NOTE_CONTAINERS);
            let number = |n| u32::try_from(n).expect("at most 2^32 containers");
            db.adopt((first..end).map(|n| self.entry(table, number(n))).collect())?;
            first = end;
            step(first);
        }
        Ok(())
    }

    fn entry(&self, table: &Table, number: u32) -> ContainerEntry {
        let id = ContainerId::data(number);
        let digest = digest_of(id);
        let record_count = u32::try_from(RECORDS).expect("a thousand");
        ContainerEntry {
            stream: StreamEntry {
                id,
                policy: self.policy,
                codec: CodecVersion::CURRENT.number(),
                generation: Generation(0),
                group: number % u32::try_from(NODES).expect("few"),
                term: Term(1),
                container_bytes: CONTAINER_BYTES,
                coded_bytes: CONTAINER_BYTES,
                stream_digest: digest,
                root: digest,
            },
            record_count,
            digest,
            tables: vec![TableSummary {
                table: TableName {
                    id: table.id(),
                    kind: TableKind::Keyed,
                    name: table.name().into(),
                },
                records: record_count,
                first_key: vec![0; content::KEY_BYTES],
                last_key: vec![0xff; content::KEY_BYTES],
            }],
            names: vec![digest; self.policy.total_shards()],
            frame_table: self.frame_table.clone(),
        }
    }
}

/// Inserts keys, while other threads flush and merge as the engine's do, until nothing is left to merge.
fn build(index: &Index, table: &Table, keys: u64, step: &mut dyn FnMut(u64)) -> Result<(), Error> {
    let inserting = AtomicBool::new(true);
    // one flush may wait for the one that runs: memory is bounded
    let (full, flushes) = sync_channel::<u32>(1);
    std::thread::scope(|scope| {
        let flusher =
            scope.spawn(move || flushes.iter().try_for_each(|covered| index.flush(covered)));
        let merger = scope.spawn(|| {
            while inserting.load(Relaxed) {
                if index.merge_step(MERGE_ENTRIES)?.idle {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            Ok::<_, Error>(())
        });
        let mut batch = Vec::new();
        let mut first = 0;
        while first < keys {
            let end = keys.min(first + INSERT_KEYS);
            batch.clear();
            batch.extend((first..end).map(|record| (key(record), location(record))));
            index.insert_many(batch.iter().map(|(key, at)| (table.id(), &key[..], *at)));
            first = end;
            if first % FLUSH_KEYS == 0 || first == keys {
                // a flusher that failed says why below
                let _ = full.send(location(keys.min(first + RECORDS - 1)).container);
                step(first);
            }
        }
        drop(full);
        flusher.join().expect("a flush does not panic")?;
        inserting.store(false, Relaxed);
        merger.join().expect("a merge does not panic")?;
        while !index.merge_step(MERGE_ENTRIES)?.idle {}
        Ok(())
    })
}

/// Processor time of this process.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Memory of this process that is no file's; 0 where the system does not say.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_lake_is_measured_and_answers_right() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let measured = scale(dir.path(), &[3000], runtime.handle(), &mut |_, _, _| {}).unwrap();
        let size = &measured.sizes[0];
        assert_eq!((size.keys, size.containers, size.runs), (3000, 3, 1));
        assert!(size.page_reads_per_hit >= 1.0 && size.manifest_bytes > 3 * 6000);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it cleans up");
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_written() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        for keys in [0, 999, u64::MAX] {
            let error = scale(dir.path(), &[keys], runtime.handle(), &mut |_, _, _| {});
            assert!(matches!(error, Err(Error::Keys { .. })), "{keys}");
        }
        let error =
            scale(dir.path(), &[1000, 4_000_000_000_000], runtime.handle(), &mut |_, _, _| {});
        assert!(matches!(error, Err(Error::Space { keys: 4_000_000_000_000, .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

//! The index in the lake: runs cut into metadata containers of 256 pages, copied there, read from there page by page.
//!
//! ```text
//! run      | page 0 .. 255 | 256 .. 511 | ...        each page 4,092 bytes, four to a leaf payload
//! lake     | index container n | n + 1  | ...        no header, no footer, not compressed: the page is the address
//! manifest   an entry for each container, then one edit that names all runs of an index, and what it covers
//! ```
//! What is named is whole: the edit follows the last container. An index that is named never speaks of a data container
//! that is not in the lake. Containers of runs that were merged away are deleted some heads later.

use super::INDEX_DIR;
use crate::{
    db::Inner,
    error::Error,
    lake::{Lake, Shards},
    manifest::Manifest,
};
use prunedb_codec::{LakeSecret, MemorySpool};
use prunedb_core::{ContainerId, Digest};
use prunedb_disk::Disk;
use prunedb_format::manifest::{ContainerEntry, Edit, INDEX_CONTAINER_PAGES, IndexEntry, IndexRun};
use prunedb_index::{Index, RUN_HEADER_BYTES, RemotePages, RunCopy, RunSet, Seed};
use std::{
    collections::HashMap,
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes of a page of the index (format: index page).
const PAGE_BYTES: usize = 4092;
/// The background copies the index after so many data containers more.
const COPY_EVERY: u32 = 64;

/// Single pages that were fetched and are kept: 4 MB.
const CACHED_PAGES: usize = 1024;

/// Pages of the index that are in the lake.
pub(crate) struct LakePages {
    lake: Arc<Lake>,
    manifest: Arc<Manifest>,
    cached: Mutex<HashMap<(u64, u32), Vec<u8>>>,
}

impl LakePages {
    pub(crate) fn new(lake: Arc<Lake>, manifest: Arc<Manifest>) -> Self {
        Self { lake, manifest, cached: Mutex::default() }
    }

    fn cached(&self) -> MutexGuard<'_, HashMap<(u64, u32), Vec<u8>>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch(&self, run: &IndexRun, mut page: u32, mut out: &mut [u8]) -> Result<(), Error> {
        while !out.is_empty() {
            let id = ContainerId::index(run.first_container + page / INDEX_CONTAINER_PAGES);
            let within = page % INDEX_CONTAINER_PAGES;
            let pages = (out.len() / PAGE_BYTES).min((INDEX_CONTAINER_PAGES - within) as usize);
            let (now, rest) = out.split_at_mut(pages * PAGE_BYTES);
            let container = self.manifest.container(id)?.ok_or_else(|| Error::Codec {
                container: id,
                reason: "the manifest has no entry of it".into(),
            })?;
            let shards = Shards::new(&self.lake, &container.entry.stream)?;
            let start = u64::from(within) * PAGE_BYTES as u64;
            let read = shards.read_coded(start..start + now.len() as u64);
            self.manifest.set_damage(shards.bad().into_iter().map(|shard| (id, shard)), true)?;
            let read = read?;
            if read.len() != now.len() {
                return Err(Error::Codec { container: id, reason: "it is too short".into() });
            }
            now.copy_from_slice(&read);
            page += u32::try_from(pages).expect("at most 256");
            out = rest;
        }
        Ok(())
    }
}

impl RemotePages for LakePages {
    fn header(&self, run: u64) -> Option<[u8; RUN_HEADER_BYTES]> {
        // what no head names yet may still be lost
        let published = self.manifest.is_index_published();
        self.manifest.index_run(run).filter(|_| published).map(|run| run.header)
    }

    fn read(&self, run: u64, first_page: u32, pages: &mut [u8]) -> io::Result<()> {
        if let Some(cached) =
            self.cached().get(&(run, first_page)).filter(|p| p.len() == pages.len())
        {
            pages.copy_from_slice(cached);
            return Ok(());
        }
        let found = self.manifest.index_run(run).ok_or(io::ErrorKind::NotFound)?;
        self.fetch(&found, first_page, pages).map_err(io::Error::other)?;
        // merges read many pages, each once
        if pages.len() == PAGE_BYTES {
            let mut cached = self.cached();
            if cached.len() >= CACHED_PAGES {
                cached.clear();
            }
            cached.insert((run, first_page), pages.to_vec());
        }
        Ok(())
    }

    fn next_run(&self) -> u64 {
        // a manifest that cannot be read stops the database elsewhere
        self.manifest.next_run().unwrap_or(u64::MAX / 2)
    }
}

impl fmt::Debug for LakePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakePages").finish_non_exhaustive()
    }
}

/// Begins the local index with the runs that are in the lake.
pub(crate) fn adopt_index(
    disk: &dyn Disk,
    metadata_dir: &Path,
    secret: &LakeSecret,
    entry: &IndexEntry,
) -> Result<(), Error> {
    let copy = |run: &IndexRun| RunCopy {
        number: run.number,
        level: run.level,
        pages: 0,
        header: run.header,
    };
    let set = RunSet {
        covered: entry.covered,
        next_run: entry.next_run,
        runs: entry.runs.iter().map(copy).collect(),
    };
    let seed = Seed::new(*secret.index_seed());
    Ok(Index::adopt(disk, &metadata_dir.join(INDEX_DIR), &seed, &set)?)
}

impl Inner {
    /// Copies the index into the lake where it grew by many containers.
    pub(crate) fn offload_index_if_grown(&self) -> Result<(), Error> {
        let copied = self.manifest.index().map_or(0, |index| index.covered);
        if self.index.covered() >= copied.saturating_add(COPY_EVERY) {
            self.offload_index()?;
        }
        Ok(())
    }

    /// Copies the runs of the index into the lake; [`Inner::publish`] makes them count. `false` where that cannot be done
    /// now: they speak of containers that are not in the lake yet, or one is gone, merged or damaged.
    ///
    /// # Errors
    /// Those of an offload; what is copied is not copied again.
    pub(crate) fn offload_index(&self) -> Result<bool, Error> {
        let (noted, set) = self.healing(|| Ok((self.manifest.unindexed(), self.index.runs())))?;
        if self.sealed_waiting()?.first().is_some_and(|&waiting| waiting < set.covered) {
            return Ok(false);
        }
        let copied = self.manifest.index().unwrap_or_default();
        let same = copied.runs.iter().map(|run| run.number).eq(set.runs.iter().map(|r| r.number));
        // the runs do not have what could not be looked into: who begins with them has to look again from there on
        let covered = noted.first().map_or(set.covered, |&first| first.min(set.covered));
        if same && copied.covered == covered {
            return Ok(true);
        }
        let mut runs = Vec::with_capacity(set.runs.len());
        for run in &set.runs {
            let there = self.manifest.index_run(run.number).map(|run| run.first_container);
            let first_container = match there {
                Some(first) => first,
                None => match self.offload_run(run)? {
                    Some(first) => first,
                    None => return Ok(false),
                },
            };
            let RunCopy { number, level, header, .. } = *run;
            runs.push(IndexRun { number, first_container, level, header });
        }
        let next_container = self.manifest.state().next_index;
        let entry = IndexEntry { covered, next_container, next_run: set.next_run, runs };
        self.manifest.apply(&[Edit::Index(Box::new(entry))])?;
        tracing::info!(covered, runs = set.runs.len(), "the index is in the lake");
        Ok(true)
    }

    /// Copies a run; number of its first container, or `None` where a merge took it away, or it was damaged and the index
    /// is built anew.
    fn offload_run(&self, run: &RunCopy) -> Result<Option<u32>, Error> {
        let first = self.manifest.reserve_index(run.number, run.pages)?;
        let mut page = 0;
        while page < run.pages {
            let count = INDEX_CONTAINER_PAGES.min(run.pages - page);
            let id = ContainerId::index(first + page / INDEX_CONTAINER_PAGES);
            if self.manifest.container(id)?.is_none() {
                let read = || Ok(self.index.read_pages(run.number, page, count)?);
                let Some(pages) = self.healing(read)? else { return Ok(None) };
                self.offload_pages(id, &pages)?;
            }
            page += count;
        }
        Ok(Some(first))
    }

    fn offload_pages(&self, id: ContainerId, pages: &[u8]) -> Result<(), Error> {
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        let group = self.group_for(self.manifest.state().body.policy, id.number);
        let mut spool = MemorySpool::with_capacity(pages.len());
        let stored = self.store(&pages, pages.len() as u64, id, group, &mut spool)?;
        let missing = stored.uploaded.missing;
        let entry = ContainerEntry {
            stream: stored.stream,
            record_count: 0,
            digest: Digest(*blake3::hash(pages).as_bytes()),
            tables: Vec::new(),
            names: stored.uploaded.encoded.names,
            frame_table: stored.frames.encode(),
        };
        let damage: Vec<_> = missing.iter().map(|&shard| (id, shard)).collect();
        self.manifest.add_containers(vec![entry], &damage)?;
        if !missing.is_empty() {
            self.wanted.repair();
        }
        Ok(())
    }
}

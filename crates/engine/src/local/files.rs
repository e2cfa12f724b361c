//! The folder of container files: which are there, opened when they are first used.

use super::{CacheFile, file_offset};
use crate::error::{At, Error};
use prunedb_core::{ContainerId, LakeId, units::FRAME_BYTES};
use prunedb_disk::{Disk, File, Open};
use prunedb_format::{
    FormatError,
    container::{Footer, TRAILER_BYTES, Trailer},
    local::LOCAL_HEADER_BYTES,
};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// What a local file of a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Cache,
    Active,
    Sealed,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Cache, Self::Active, Self::Sealed];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Sealed => "sealed",
            Self::Cache => "cache",
        }
    }
}

/// Files kept open at most, besides those in use.
const OPEN_FILES: usize = 256;

#[derive(Debug)]
pub(crate) struct LocalFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    lake: LakeId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kinds: BTreeMap<u32, Kind>,
    open: HashMap<u32, Arc<dyn File>>,
    caches: HashMap<u32, Arc<CacheFile>>,
}

impl LocalFiles {
    /// Looks at the folder. Where a crash left two files of one container, the lesser one goes.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path, lake: LakeId) -> Result<Self, Error> {
        let files = Self { disk, dir: dir.into(), lake, state: Mutex::default() };
        // what passes for sealed is offloaded, and must not be active again after a crash
        files.disk.sync_dir(dir).at(dir)?;
        let mut kinds: BTreeMap<u32, Kind> = BTreeMap::new();
        for name in files.disk.list(dir).at(dir)? {
            let Some((number, kind)) = parse_name(&name) else { continue };
            match kinds.insert(number, kind) {
                None => {}
                Some(other) => {
                    let (keep, drop) = if other > kind { (other, kind) } else { (kind, other) };
                    let path = files.path(number, drop);
                    files.disk.remove(&path).at(&path)?;
                    kinds.insert(number, keep);
                }
            }
        }
        files.lock().kinds = kinds;
        Ok(files)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, number: u32, kind: Kind) -> PathBuf {
        self.dir.join(format!("d{number:010}.{}", kind.suffix()))
    }

    pub(crate) fn kind(&self, number: u32) -> Option<Kind> {
        self.lock().kinds.get(&number).copied()
    }

    pub(crate) fn numbers(&self, kind: Kind) -> Vec<u32> {
        self.lock().kinds.iter().filter(|(_, k)| **k == kind).map(|(n, _)| *n).collect()
    }

    /// The highest number of any local file.
    pub(crate) fn last_number(&self) -> Option<u32> {
        self.lock().kinds.keys().next_back().copied()
    }

    /// Notes a file that the writer made.
    pub(crate) fn add(&self, number: u32, kind: Kind, file: Arc<dyn File>) {
        let mut state = self.lock();
        state.kinds.insert(number, kind);
        state.open.insert(number, file);
    }

    /// Renames the active file to a sealed one and makes that durable.
    pub(crate) fn seal(&self, number: u32) -> Result<(), Error> {
        let (from, to) = (self.path(number, Kind::Active), self.path(number, Kind::Sealed));
        self.disk.rename(&from, &to).at(&to)?;
        self.disk.sync_dir(&self.dir).at(&self.dir)?;
        // only now: what passes for sealed is offloaded, and must not be active again after a crash
        self.lock().kinds.insert(number, Kind::Sealed);
        Ok(())
    }

    /// The whole local file of a container, active or sealed.
    pub(crate) fn whole(&self, number: u32) -> Result<Option<Arc<dyn File>>, Error> {
        let mut state = self.lock();
        let kind = match state.kinds.get(&number) {
            Some(kind @ (Kind::Active | Kind::Sealed)) => *kind,
            _ => return Ok(None),
        };
        if let Some(file) = state.open.get(&number) {
            return Ok(Some(Arc::clone(file)));
        }
        let path = self.path(number, kind);
        let file = match self.disk.open(&path, Open::Read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && kind == Kind::Active => {
                let path = self.path(number, Kind::Sealed); // it is being sealed
                self.disk.open(&path, Open::Read).at(&path)?
            }
            opened => opened.at(&path)?,
        };
        // one goes for the other: whoever reads all over many containers keeps most of its files
        if state.open.len() >= OPEN_FILES
            && let Some(other) = state.open.keys().next().copied()
        {
            state.open.remove(&other);
        }
        state.open.insert(number, Arc::clone(&file));
        Ok(Some(file))
    }

    /// The frame cache of a container, created where there is none and `create` says so.
    pub(crate) fn cache(
        &self,
        number: u32,
        container_bytes: u64,
        create: bool,
    ) -> Result<Option<Arc<CacheFile>>, Error> {
        let mut state = self.lock();
        if let Some(cache) = state.caches.get(&number) {
            return Ok(Some(Arc::clone(cache)));
        }
        let path = self.path(number, Kind::Cache);
        let id = ContainerId::data(number);
        let cache = match state.kinds.get(&number) {
            Some(Kind::Cache) => CacheFile::open(&*self.disk, &path, container_bytes)?,
            None if create => {
                CacheFile::create(&*self.disk, &path, self.lake, id, container_bytes)?
            }
            _ => return Ok(None),
        };
        if state.caches.len() >= OPEN_FILES {
            state.caches.clear();
        }
        let cache = Arc::new(cache);
        state.kinds.insert(number, Kind::Cache);
        state.caches.insert(number, Arc::clone(&cache));
        Ok(Some(cache))
    }

    /// Removes the local file of a container, whatever it is; readers that have it open read on.
    pub(crate) fn remove(&self, number: u32) -> Result<(), Error> {
        let mut state = self.lock();
        let Some(kind) = state.kinds.remove(&number) else { return Ok(()) };
        state.open.remove(&number);
        state.caches.remove(&number);
        let path = self.path(number, kind);
        self.disk.remove(&path).at(&path)
    }

    /// Bytes of disk that a container's local file takes.
    pub(crate) fn allocated_bytes(&self, number: u32) -> Result<u64, Error> {
        let Some(kind) = self.kind(number) else { return Ok(0) };
        let path = self.path(number, kind);
        let file = match self.disk.open(&path, Open::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(source) => return Err(Error::Io { path, source }),
        };
        file.allocated_bytes().at(&path)
    }

    /// Bytes of disk that all local files take.
    pub(crate) fn total_bytes(&self) -> Result<u64, Error> {
        let numbers: Vec<u32> = self.lock().kinds.keys().copied().collect();
        numbers.into_iter().map(|n| self.allocated_bytes(n)).sum()
    }

    /// A sealed container's file; `None` where there is none (any more).
    pub(crate) fn sealed(&self, number: u32) -> Result<Option<Sealed>, Error> {
        if self.kind(number) != Some(Kind::Sealed) {
            return Ok(None);
        }
        let Some(file) = self.whole(number)? else { return Ok(None) };
        let bytes = file.len().at(&self.path(number, Kind::Sealed))?;
        let container_bytes = bytes.saturating_sub(LOCAL_HEADER_BYTES as u64);
        Ok(Some(Sealed { number, file, container_bytes }))
    }

    /// The footer of a sealed container, from its local file.
    pub(crate) fn footer(&self, sealed: &Sealed) -> Result<Footer, Error> {
        let path = self.path(sealed.number, Kind::Sealed);
        read_footer(ContainerId::data(sealed.number), sealed.container_bytes, |buf, offset| {
            sealed.file.read_exact_at(buf, file_offset(offset)).at(&path)
        })
    }
}

/// A sealed container's open file: readable even where it is removed meanwhile.
pub(crate) struct Sealed {
    number: u32,
    pub(crate) file: Arc<dyn File>,
    pub(crate) container_bytes: u64,
}

/// Reads a container's footer through any reader of its bytes.
///
/// # Errors
/// [`Error::Damaged`] where the bytes are none, and those of `read`.
pub(crate) fn read_footer(
    id: ContainerId,
    container_bytes: u64,
    mut read: impl FnMut(&mut [u8], u64) -> Result<(), Error>,
) -> Result<Footer, Error> {
    let damaged = |offset: u64, e: FormatError| Error::Damaged {
        container: id,
        offset,
        reason: format!("footer: {e}"),
    };
    let mut trailer = [0; TRAILER_BYTES];
    let at = container_bytes.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| {
        let needed = TRAILER_BYTES as u64;
        damaged(0, FormatError::Truncated { what: "container", needed, found: container_bytes })
    })?;
    read(&mut trailer, at)?;
    let trailer = Trailer::decode(&trailer, container_bytes).map_err(|e| damaged(at, e))?;
    let length = trailer.footer_bytes() - TRAILER_BYTES as u64;
    let records_end = trailer.records_end;
    let mut bytes =
        vec![0; usize::try_from(length).expect("a footer is shorter than its container")];
    read(&mut bytes, records_end)?;
    Footer::decode(trailer, &bytes).map_err(|e| damaged(records_end, e))
}

/// How many containers lie in a folder, caches not counted.
pub(crate) fn container_files(disk: &dyn Disk, dir: &Path) -> Result<usize, Error> {
    let names = disk.list(dir).at(dir)?;
    let kinds = names.iter().filter_map(|name| Some(parse_name(name)?.1));
    Ok(kinds.filter(|kind| *kind != Kind::Cache).count())
}

/// Number and kind of a container file's name.
fn parse_name(name: &str) -> Option<(u32, Kind)> {
    let (stem, suffix) = name.strip_prefix('d')?.split_once('.')?;
    let kind = Kind::ALL.into_iter().find(|k| k.suffix() == suffix)?;
    (stem.len() == 10).then_some(())?;
    Some((stem.parse().ok()?, kind))
}

/// Frames of a container of that length.
pub(crate) const fn frame_count(container_bytes: u64) -> u64 {
    container_bytes.div_ceil(FRAME_BYTES as u64)
}

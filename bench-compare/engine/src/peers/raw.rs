//! What a plain file can do: an append, and a map of places in memory, as the simplest store would have.
//!
//! The map outlives closing in memory: what it would cost to read it back is no limit of the disk, and not measured.

use crate::store::{Group, Reader, Store, Table, Value};
use prunedb::disk::{Disk, File, Open, RealDisk};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

struct Raw {
    file: Arc<dyn File>,
    end: u64,
    places: Places,
    path: PathBuf,
}

#[derive(Default)]
struct Places {
    hashes: HashMap<Vec<u8>, (u64, u32)>,
    heights: Vec<(u64, u32)>,
}

/// Of the files that are closed.
static CLOSED: Mutex<BTreeMap<PathBuf, Places>> = Mutex::new(BTreeMap::new());

fn closed() -> MutexGuard<'static, BTreeMap<PathBuf, Places>> {
    CLOSED.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn open(dir: &Path) -> anyhow::Result<Box<dyn Store>> {
    let path = dir.join("raw");
    let how = if path.exists() { Open::ReadWrite } else { Open::CreateNew };
    let file = RealDisk.open(&path, how)?;
    let places = closed().remove(&path).unwrap_or_default();
    Ok(Box::new(Raw { end: file.len()?, file, places, path }))
}

impl Store for Raw {
    fn put(&mut self, table: Table, group: &Group<'_>) -> anyhow::Result<()> {
        let mut bytes = Vec::with_capacity(group.iter().map(|(k, v)| k.len() + v.len()).sum());
        for (key, value) in group {
            bytes.extend_from_slice(key);
            let place = (self.end + bytes.len() as u64, u32::try_from(value.len())?);
            bytes.extend_from_slice(value);
            match table {
                Table::Hashes => _ = self.places.hashes.insert(key.clone(), place),
                Table::Heights => self.places.heights.push(place),
            }
        }
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Reader + '_>> {
        Ok(Box::new(self))
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        let mut window = Vec::new();
        let mut start = 0;
        for &(at, bytes) in &self.places.heights {
            let (at, bytes) = (at, u64::from(bytes));
            if at < start || at + bytes > start + window.len() as u64 {
                window.resize(usize::try_from(bytes.max(1 << 20))?, 0);
                start = at;
                let read = self.file.read_at(&mut window, at)?;
                window.truncate(read);
            }
            let from = usize::try_from(at - start)?;
            each(&window[from..from + usize::try_from(bytes)?]);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        closed().insert(self.path, self.places);
        Ok(())
    }
}

impl Reader for &Raw {
    fn get(&mut self, key: &[u8]) -> anyhow::Result<Option<Value>> {
        let Some(&(at, bytes)) = self.places.hashes.get(key) else { return Ok(None) };
        let mut value = vec![0; usize::try_from(bytes)?];
        self.file.read_exact_at(&mut value, at)?;
        Ok(Some(Box::new(value)))
    }
}

//! The Prune DB, through its library.

use crate::{
    measure::GROUP_BYTES,
    store::{Group, Reader, Store, Table, Value},
};
use prunedb::{
    Db, Key, LakeSecret, Options, TableKind,
    disk::{Disk, RealDisk},
    store::{MemoryStore, ShardStore},
};
use std::{path::Path, sync::Arc};
use tokio::runtime::Runtime;

/// Records of the heights that are asked for at once.
const SCAN_RECORDS: usize = 64;

struct Ours {
    db: Db,
    hashes: prunedb::Table,
    heights: prunedb::Table,
    // the database calls it until it is gone
    _runtime: Runtime,
}

pub(super) fn open(dir: &Path) -> anyhow::Result<Box<dyn Store>> {
    let mut options = Options::new(dir, "4+2".parse()?);
    options.group_bytes = GROUP_BYTES;
    options.offload = false;
    let secret = LakeSecret::new(Key::new([1; 32]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    if !options.metadata_dir.exists() {
        let nodes = (0..6).map(|n| format!("none-{n}")).collect();
        Db::create(&disk, &options, secret.lake_id(), nodes)?;
    }
    let connect = |name: &str| Arc::new(MemoryStore::new(name)) as Arc<dyn ShardStore>;
    let db = Db::open(disk, options, secret, &connect, runtime.handle().clone())?;
    let db = db.with_background();
    let hashes = db.ensure_table("bench/hashes", TableKind::Keyed)?;
    let heights = db.ensure_table("bench/heights", TableKind::Sequence)?;
    Ok(Box::new(Ours { db, hashes, heights, _runtime: runtime }))
}

impl Store for Ours {
    fn put(&mut self, table: Table, group: &Group<'_>) -> anyhow::Result<()> {
        let table = match table {
            Table::Hashes => &self.hashes,
            Table::Heights => &self.heights,
        };
        for (key, value) in group {
            self.db.append(&[(table, key, value)])?;
        }
        Ok(self.db.commit()?)
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Reader + '_>> {
        Ok(Box::new(self))
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        let mut next = 0;
        loop {
            let page = self.db.range(&self.heights, next, SCAN_RECORDS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            next = last + 1;
            page.iter().for_each(|(_, value)| each(value));
        }
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.db.close()?)
    }
}

impl Reader for &Ours {
    fn get(&mut self, key: &[u8]) -> anyhow::Result<Option<Value>> {
        Ok(self.db.get(&self.hashes, key)?.map(|value| Box::new(value) as Value))
    }
}

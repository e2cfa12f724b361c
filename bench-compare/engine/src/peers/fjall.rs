//! fjall: an LSM tree in Rust, with key-value separation.

use super::{CACHE_BYTES, SEPARATED_BYTES};
use crate::store::{Group, Reader, Store, Table, Value};
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    config::CompressionPolicy,
};
use std::path::Path;

struct Fjall {
    db: Database,
    hashes: Keyspace,
    heights: Keyspace,
}

pub(super) fn open(dir: &Path) -> anyhow::Result<Box<dyn Store>> {
    let db = Database::builder(dir)
        .cache_size(CACHE_BYTES.into())
        .journal_compression(CompressionType::None)
        .open()?;
    let options = || {
        let separation = KvSeparationOptions::default()
            .separation_threshold(SEPARATED_BYTES)
            .compression(CompressionType::None);
        KeyspaceCreateOptions::default()
            .data_block_compression_policy(CompressionPolicy::disabled())
            .index_block_compression_policy(CompressionPolicy::disabled())
            .with_kv_separation(Some(separation))
    };
    let (hashes, heights) = (db.keyspace("hashes", options)?, db.keyspace("heights", options)?);
    Ok(Box::new(Fjall { db, hashes, heights }))
}

impl Store for Fjall {
    fn put(&mut self, table: Table, group: &Group<'_>) -> anyhow::Result<()> {
        let keyspace = match table {
            Table::Hashes => &self.hashes,
            Table::Heights => &self.heights,
        };
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in group {
            batch.insert(keyspace, key.as_slice(), *value);
        }
        Ok(batch.commit()?)
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Reader + '_>> {
        Ok(Box::new(self))
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        for entry in self.heights.iter() {
            each(&entry.value()?);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}

impl Reader for &Fjall {
    fn get(&mut self, key: &[u8]) -> anyhow::Result<Option<Value>> {
        Ok(self.hashes.get(key)?.map(|value| Box::new(value) as Value))
    }
}

//! RocksDB with BlobDB: values in blob files beside the tree.

use super::{CACHE_BYTES, SEPARATED_BYTES};
use crate::store::{Group, Reader, Store, Table, Value};
use anyhow::Context;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    IteratorMode, Options, WriteBatch, WriteOptions,
};
use std::path::Path;

const BACKGROUND_JOBS: i32 = 2;
const FILTER_BITS: f64 = 10.0;

struct Rocks(DB);

const fn name(table: Table) -> &'static str {
    match table {
        Table::Hashes => "hashes",
        Table::Heights => "heights",
    }
}

pub(super) fn open(dir: &Path) -> anyhow::Result<Box<dyn Store>> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(usize::try_from(CACHE_BYTES)?));
    blocks.set_bloom_filter(FILTER_BITS, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_compression_type(DBCompressionType::None);
    options.set_blob_compression_type(DBCompressionType::None);
    options.set_enable_blob_files(true);
    options.set_min_blob_size(SEPARATED_BYTES.into());
    options.set_write_buffer_size(64 << 20);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    options.set_block_based_table_factory(&blocks);
    let families = [Table::Hashes, Table::Heights]
        .map(|table| ColumnFamilyDescriptor::new(name(table), options.clone()));
    Ok(Box::new(Rocks(DB::open_cf_descriptors(&options, dir, families)?)))
}

impl Rocks {
    fn family(&self, table: Table) -> anyhow::Result<&ColumnFamily> {
        self.0.cf_handle(name(table)).context("both families were created")
    }
}

impl Store for Rocks {
    fn put(&mut self, table: Table, group: &Group<'_>) -> anyhow::Result<()> {
        let family = self.family(table)?;
        let mut batch = WriteBatch::default();
        for (key, value) in group {
            batch.put_cf(family, key, value);
        }
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(self.0.write_opt(batch, &synced)?)
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Reader + '_>> {
        let family = self.family(Table::Hashes)?;
        Ok(Box::new(RocksReader { db: &self.0, family }))
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        let family = self.family(Table::Heights)?;
        for entry in self.0.iterator_cf(family, IteratorMode::Start) {
            each(&entry?.1);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        // what is in its write buffers goes to files, so that opening has no log to read
        for table in [Table::Hashes, Table::Heights] {
            self.0.flush_cf(self.family(table)?)?;
        }
        self.0.cancel_all_background_work(true);
        Ok(())
    }
}

struct RocksReader<'a> {
    db: &'a DB,
    family: &'a ColumnFamily,
}

impl Reader for RocksReader<'_> {
    fn get(&mut self, key: &[u8]) -> anyhow::Result<Option<Value>> {
        Ok(self.db.get_cf(self.family, key)?.map(|value| Box::new(value) as Value))
    }
}

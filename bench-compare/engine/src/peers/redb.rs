//! redb: a copy-on-write B-tree in Rust.

use super::CACHE_BYTES;
use crate::store::{Group, Reader, Store, Table, Value};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
const HASHES: Definition = TableDefinition::new("hashes");
const HEIGHTS: Definition = TableDefinition::new("heights");

struct Redb(Database);

pub(super) fn open(dir: &Path) -> anyhow::Result<Box<dyn Store>> {
    let cache_bytes = usize::try_from(CACHE_BYTES)?;
    let database = Database::builder().set_cache_size(cache_bytes).create(dir.join("redb"))?;
    Ok(Box::new(Redb(database)))
}

impl Store for Redb {
    fn put(&mut self, table: Table, group: &Group<'_>) -> anyhow::Result<()> {
        let transaction = self.0.begin_write()?;
        {
            let definition = match table {
                Table::Hashes => HASHES,
                Table::Heights => HEIGHTS,
            };
            let mut table = transaction.open_table(definition)?;
            for (key, value) in group {
                table.insert(key.as_slice(), *value)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Reader + '_>> {
        Ok(Box::new(RedbReader(self.0.begin_read()?.open_table(HASHES)?)))
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        for entry in self.0.begin_read()?.open_table(HEIGHTS)?.iter()? {
            each(entry?.1.value());
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

struct RedbReader(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Reader for RedbReader {
    fn get(&mut self, key: &[u8]) -> anyhow::Result<Option<Value>> {
        Ok(self.0.get(key)?.map(|value| Box::new(value.value().to_vec()) as Value))
    }
}

//! LMDB through heed: a copy-on-write B-tree in a mapped file.

use crate::store::{Group, Reader, Store, Table, Value};
use anyhow::Context;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, RoTxn, WithTls, types::Bytes};
use std::path::Path;

/// Address space, of which only what is used counts.
const MAP_BYTES: usize = 64 << 30;

type Pairs = Database<'static, Bytes, Bytes>;

struct Lmdb {
    env: Env,
    hashes: Pairs,
    heights: Pairs,
}

#[expect(unsafe_code, reason = "heed: a mapped file must not be changed by others")]
pub(super) fn open(dir: &Path) -> anyhow::Result<Box<dyn Store>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_dbs(2);
    // SAFETY: the folder was made for this process, which opens it once at a time; nobody else knows of it.
    let env = unsafe { options.open(dir)? };
    let [hashes, heights] = [pairs(&env, "hashes")?, pairs(&env, "heights")?];
    Ok(Box::new(Lmdb { env, hashes, heights }))
}

fn pairs(env: &Env, name: &str) -> heed::Result<Pairs> {
    let created = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
        let options = opener.database_options().types::<Bytes, Bytes>();
        options.clone().name(name).create(transaction).map(CommitOrAbort::<_, ()>::Commit)
    });
    created.map(CommitOrAbort::unwrap_commit)
}

impl Store for Lmdb {
    fn put(&mut self, table: Table, group: &Group<'_>) -> anyhow::Result<()> {
        let pairs = match table {
            Table::Hashes => self.hashes,
            Table::Heights => self.heights,
        };
        let mut transaction = self.env.write_txn()?;
        for (key, value) in group {
            pairs.put(&mut transaction, key, value)?;
        }
        Ok(transaction.commit()?)
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Reader + '_>> {
        Ok(Box::new(LmdbReader { transaction: self.env.read_txn()?, pairs: self.hashes }))
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        let (transaction, mut value) = (self.env.read_txn()?, Vec::new());
        for entry in self.heights.iter(&transaction)? {
            // out of the map: its pages are read when they are touched
            value.clear();
            value.extend_from_slice(entry?.1);
            each(&value);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        let closing = self.env.prepare_for_closing();
        closing.wait();
        Ok(())
    }
}

struct LmdbReader<'a> {
    transaction: RoTxn<'a, WithTls>,
    pairs: Pairs,
}

impl Reader for LmdbReader<'_> {
    fn get(&mut self, key: &[u8]) -> anyhow::Result<Option<Value>> {
        let value = self.pairs.get(&self.transaction, key).context("lmdb")?;
        Ok(value.map(|value| Box::new(value.to_vec()) as Value))
    }
}

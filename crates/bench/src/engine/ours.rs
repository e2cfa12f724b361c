//! The Prune DB under measurement.

use super::{Error, records::Records};
use crate::process;
use prunedb_codec::{Key, LakeSecret};
use prunedb_core::Policy;
use prunedb_disk::{Disk, RealDisk};
use prunedb_engine::{Db, Options, Table, TableKind};
use prunedb_store::{MemoryStore, ShardStore};
use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::runtime::Runtime;

/// Of so many records one is compared at the end.
const CHECK_EVERY: usize = 997;

pub(super) struct Ours {
    dir: PathBuf,
    options: Options,
    runtime: Runtime,
    db: Option<Db>,
    keyed: Table,
    sequence: Table,
}

impl Ours {
    pub(super) fn create(dir: &Path, group_bytes: usize) -> Result<Self, Error> {
        let mut options = Options::new(dir, Policy::new(4, 2).expect("a policy"));
        options.group_bytes = group_bytes;
        options.offload = false;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let nodes = (0..options.policy.total_shards()).map(|n| format!("none-{n}")).collect();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        Db::create(&disk, &options, secret().lake_id(), nodes)?;
        let db = open(&options, &runtime)?;
        let keyed = db.ensure_table("bench/keyed", TableKind::Keyed)?;
        let sequence = db.ensure_table("bench/sequence", TableKind::Sequence)?;
        Ok(Self { dir: dir.into(), options, runtime, db: Some(db), keyed, sequence })
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("open but within `reopen`")
    }

    /// Puts records; they are durable at the end.
    pub(super) fn append(&self, records: &Records, range: Range<u64>) -> Result<(), Error> {
        for record in range {
            let key = records.key(record);
            self.db().append(&[(&self.keyed, &key, records.value(record))])?;
        }
        Ok(self.db().commit()?)
    }

    pub(super) fn fill_sequence(&self, records: &Records, count: u64) -> Result<(), Error> {
        for record in 0..count {
            let position = record.to_be_bytes();
            self.db().append(&[(&self.sequence, &position, records.value(record))])?;
        }
        Ok(self.db().commit()?)
    }

    /// Makes everything durable, the index too, and opens again.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.take().close()?;
        self.db = Some(open(&self.options, &self.runtime)?);
        Ok(())
    }

    fn take(&mut self) -> Db {
        self.db.take().expect("open but within `close` and `reopen`")
    }

    pub(super) fn read(&self, records: &Records, record: u64) -> Result<(), Error> {
        let value = self.db().get(&self.keyed, &records.key(record))?;
        let whole = value.is_some_and(|value| value.len() == records.value_bytes());
        if whole { Ok(()) } else { Err(wrong(record)) }
    }

    /// Compares some records.
    pub(super) fn check(&self, records: &Records, count: u64) -> Result<(), Error> {
        for record in (0..count).step_by(CHECK_EVERY) {
            let value = self.db().get(&self.keyed, &records.key(record))?;
            let same = value.is_some_and(|value| value == records.value(record));
            if !same {
                return Err(wrong(record));
            }
        }
        Ok(())
    }

    /// Reads every record once.
    pub(super) fn read_all(&self, records: &Records, count: u64) -> Result<(), Error> {
        (0..count).try_for_each(|record| self.read(records, record))
    }

    /// Reads the sequence table from its first to its last record.
    pub(super) fn scan(&self, count: u64) -> Result<(), Error> {
        let mut next = 0;
        for entry in self.db().iter(&self.sequence)? {
            if entry?.key != u64::to_be_bytes(next) {
                return Err(wrong(next));
            }
            next += 1;
        }
        if next == count { Ok(()) } else { Err(wrong(next)) }
    }

    pub(super) fn drop_cached(&self) -> Result<(), Error> {
        Ok(process::drop_cached(&self.dir)?)
    }

    /// Milliseconds to open again, after closing or without.
    pub(super) fn reopen(mut self, close: bool) -> Result<(f64, Self), Error> {
        let db = self.take();
        if close {
            db.close()?;
        } else {
            drop(db);
        }
        let start = Instant::now();
        let db = open(&self.options, &self.runtime)?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        self.db = Some(db);
        Ok((took, self))
    }
}

fn secret() -> LakeSecret {
    LakeSecret::new(Key::new([1; 32]))
}

fn open(options: &Options, runtime: &Runtime) -> Result<Db, Error> {
    let connect = |name: &str| Arc::new(MemoryStore::new(name)) as Arc<dyn ShardStore>;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let db = Db::open(disk, options.clone(), secret(), &connect, runtime.handle().clone())?;
    Ok(db.with_background())
}

fn wrong(record: u64) -> Error {
    io::Error::other(format!("record {record} is not what was put: a bug of the database")).into()
}

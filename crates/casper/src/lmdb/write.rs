//! Writing new LMDB files, by liblmdb. Files that exist are never opened by it: see [`super`].

use crate::database::{Database, Row};
use lmdb::{DatabaseFlags, Environment, EnvironmentFlags, Transaction as _, WriteFlags};
use std::{io, path::Path};

/// Bytes put in one transaction: liblmdb keeps its dirty pages in memory.
const TRANSACTION_BYTES: usize = 16 << 20;

/// A new file on its way: not durable before [`NewLmdb::finish`].
pub(crate) struct NewLmdb {
    env: Environment,
    databases: Vec<lmdb::Database>,
    /// rows not put yet
    waiting: Vec<(Database, Vec<u8>, Vec<u8>, WriteFlags)>,
    waiting_bytes: usize,
    pub(crate) rows: u64,
}

impl std::fmt::Debug for NewLmdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewLmdb").field("rows", &self.rows).finish_non_exhaustive()
    }
}

fn failed(error: lmdb::Error) -> io::Error {
    let kind = match error {
        lmdb::Error::MapFull => io::ErrorKind::StorageFull,
        lmdb::Error::Other(code) => return io::Error::from_raw_os_error(code),
        _ => io::ErrorKind::Other,
    };
    let text = match error {
        lmdb::Error::MapFull => "the map size of the node's file is too small for it".into(),
        error => error.to_string(),
    };
    io::Error::new(kind, text)
}

impl NewLmdb {
    /// Creates a file with all databases of a node.
    pub(crate) fn create(path: &Path, map_bytes: u64) -> io::Result<Self> {
        let map_bytes = usize::try_from(map_bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "too large a map size"))?;
        let env = Environment::new()
            .set_flags(EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_SYNC)
            .set_max_dbs(u32::try_from(Database::COUNT).expect("17"))
            .set_map_size(map_bytes)
            .open(path)
            .map_err(failed)?;
        let databases = Database::all()
            .map(|database| env.create_db(Some(database.name()), DatabaseFlags::empty()))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        Ok(Self { env, databases, waiting: Vec::new(), waiting_bytes: 0, rows: 0 })
    }

    /// Puts a row; one that is there already stays as it is.
    pub(crate) fn put(&mut self, row: Row<'_>) -> io::Result<()> {
        self.push(row, WriteFlags::NO_OVERWRITE)
    }

    /// Puts a row whose key is above all others of its database: fills pages.
    pub(crate) fn append(&mut self, row: Row<'_>) -> io::Result<()> {
        self.push(row, WriteFlags::APPEND)
    }

    fn push(&mut self, row: Row<'_>, flags: WriteFlags) -> io::Result<()> {
        self.waiting_bytes += row.key.len() + row.value.len();
        self.waiting.push((row.database, row.key.to_vec(), row.value.to_vec(), flags));
        if self.waiting_bytes >= TRANSACTION_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut transaction = self.env.begin_rw_txn().map_err(failed)?;
        for (database, key, value, flags) in self.waiting.drain(..) {
            let at = self.databases[usize::from(database.number())];
            match transaction.put(at, &key, &value, flags) {
                Ok(()) => self.rows += 1,
                Err(lmdb::Error::KeyExist) if flags == WriteFlags::NO_OVERWRITE => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.waiting_bytes = 0;
        transaction.commit().map_err(failed)
    }

    /// Puts what is left, and makes all of it durable.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.env.sync(true).map_err(failed)?;
        Ok(self.rows)
    }
}

//! What was durable at one moment, whatever is put, sealed, evicted or merged afterwards.
//!
//! Records never change and never move within their containers, so a snapshot is a position: what lies before it is seen.
//! It costs nothing to keep.

use crate::{
    db::{Db, Table, check_key},
    error::Error,
    iter::{Iter, iterate},
    lake::Trace,
    read::Walk,
    record::Record,
    scan::Page,
    writer::Position,
};

/// The database as it was when the snapshot was taken. See [`Db::snapshot`].
#[derive(Debug, Clone)]
pub struct Snapshot {
    db: Db,
    end: Position,
}

impl Db {
    /// Everything that is durable now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { db: self.clone(), end: self.inner.visible_end() }
    }

    /// All records of a table that are durable now: a sequence by position, a keyed table in the order in which it was
    /// put; a key that was put twice is shown once. What comes next is read ahead, about 3 MB of it.
    ///
    /// # Errors
    /// Where the system has no thread left; each record may fail as [`Db::get`] does.
    pub fn iter(&self, table: &Table) -> Result<Iter, Error> {
        self.snapshot().iter(table)
    }

    /// As [`Self::iter`], a sequence from a position on.
    ///
    /// # Errors
    /// As [`Self::iter`], and [`Error::TableKind`] for a keyed table.
    pub fn iter_from(&self, table: &Table, from: u64) -> Result<Iter, Error> {
        self.snapshot().iter_from(table, from)
    }

    /// The values of some keys, each as [`Self::get`] gives it, all from one snapshot.
    ///
    /// # Errors
    /// As [`Self::get`]: the first failure.
    pub fn get_many(&self, table: &Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let snapshot = self.snapshot();
        keys.iter().map(|key| snapshot.get(table, key)).collect()
    }
}

impl Snapshot {
    /// As [`Db::get`].
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn get(&self, table: &Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        check_key(table, key)?;
        let found = self.db.inner.find(table, key, self.end, &mut Trace::default())?;
        Ok(found.map(|(_, record)| Record::into_value(record)))
    }

    /// As [`Db::range`].
    ///
    /// # Errors
    /// As [`Db::range`].
    pub fn range(
        &self,
        table: &Table,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let inner = &self.db.inner;
        inner.range(&mut Walk::new(inner, table.id), table, from, Page::records(limit), self.end)
    }

    /// As [`Db::iter`].
    ///
    /// # Errors
    /// As [`Db::iter`].
    pub fn iter(&self, table: &Table) -> Result<Iter, Error> {
        iterate(&self.db, table, 0, self.end)
    }

    /// As [`Db::iter_from`].
    ///
    /// # Errors
    /// As [`Db::iter_from`].
    pub fn iter_from(&self, table: &Table, from: u64) -> Result<Iter, Error> {
        if table.kind() != prunedb_format::container::TableKind::Sequence {
            let (found, wanted) = (crate::db::kind_name(table.kind()), "a sequence");
            return Err(Error::TableKind { name: table.name().into(), found, wanted });
        }
        iterate(&self.db, table, from, self.end)
    }
}

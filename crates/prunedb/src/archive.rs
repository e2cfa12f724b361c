//! The database as the chains' adapters see it.

use prunedb_chains::archive::{self, Archive, ArchiveError, Record};
use prunedb_engine::{Db, Error, Table, TableKind};
use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A database behind the adapters' trait.
pub struct DbArchive {
    db: Db,
    tables: HashMap<String, Table>,
    cancelled: Arc<AtomicBool>,
    /// called with every record that is put
    observer: Option<Observer>,
}

/// Sees what is put: table, key and value.
pub type Observer = Box<dyn FnMut(&Table, &[u8], &[u8]) + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[error("cancelled: what was stored is safe, repeat the command to go on")]
struct Cancelled;

impl std::fmt::Debug for DbArchive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DbArchive").finish_non_exhaustive()
    }
}

impl DbArchive {
    /// Of this database; puts are refused once `cancelled` is set.
    pub fn new(db: Db, cancelled: Arc<AtomicBool>) -> Self {
        Self { db, tables: HashMap::new(), cancelled, observer: None }
    }

    /// Shows an observer every record that is put.
    #[must_use]
    pub fn observed(self, observer: Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    fn table(&self, name: &str) -> Result<Option<Table>, ArchiveError> {
        match self.tables.get(name) {
            Some(table) => Ok(Some(table.clone())),
            None => known(&self.db, name).map_err(ArchiveError::new),
        }
    }

    fn ensure(&mut self, record: &Record<'_>) -> Result<(), Error> {
        if !self.tables.contains_key(record.table) {
            let kind = match record.kind {
                archive::TableKind::Keyed => TableKind::Keyed,
                archive::TableKind::Sequence => TableKind::Sequence,
            };
            let table = self.db.ensure_table(record.table, kind)?;
            self.tables.insert(record.table.to_owned(), table);
        }
        Ok(())
    }
}

/// The table of that name, if there is one.
///
/// # Errors
/// When the database has ended.
pub fn known(db: &Db, name: &str) -> Result<Option<Table>, Error> {
    match db.table(name) {
        Ok(table) => Ok(Some(table)),
        Err(Error::UnknownTable { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

impl Archive for DbArchive {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some(table) = self.table(table)? else { return Ok(None) };
        self.db.get(&table, key).map_err(ArchiveError::new)
    }

    fn put(&mut self, records: &[Record<'_>]) -> Result<(), ArchiveError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(ArchiveError::new(Cancelled));
        }
        for record in records {
            self.ensure(record).map_err(ArchiveError::new)?;
        }
        let puts: Vec<(&Table, &[u8], &[u8])> = records
            .iter()
            .map(|r| (&self.tables[r.table], Cow::as_ref(&r.key), Cow::as_ref(&r.value)))
            .collect();
        self.db.append(&puts).map_err(ArchiveError::new)?;
        if let Some(observer) = &mut self.observer {
            puts.iter().for_each(|(table, key, value)| observer(table, key, value));
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), ArchiveError> {
        self.db.commit().map_err(ArchiveError::new)
    }

    fn range(
        &self,
        table: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, ArchiveError> {
        let Some(table) = self.table(table)? else { return Ok(Vec::new()) };
        self.db.range(&table, from, limit).map_err(ArchiveError::new)
    }
}

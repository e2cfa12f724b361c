//! What a chain's adapter needs of the Prune DB, and nothing more.
//!
//! The engine's database implements [`Archive`]; tests use [`MemoryArchive`], a `BTreeMap`.
//! Records are written once: putting another value under an existing key is the adapter's mistake, so adapters look first.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
};

/// How a table's keys look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableKind {
    /// Any key up to 1 KiB.
    Keyed,
    /// Keys are heights: u64, 8 bytes big-endian.
    Sequence,
}

/// One record to put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// The table's name.
    pub table: &'a str,
    /// What its keys are.
    pub kind: TableKind,
    /// The key; 8 bytes big-endian in a sequence.
    pub key: Cow<'a, [u8]>,
    /// The value.
    pub value: Cow<'a, [u8]>,
}

impl<'a> Record<'a> {
    /// A record of a sequence table.
    pub fn sequence(table: &'a str, height: u64, value: impl Into<Cow<'a, [u8]>>) -> Self {
        Self {
            table,
            kind: TableKind::Sequence,
            key: Cow::Owned(height.to_be_bytes().to_vec()),
            value: value.into(),
        }
    }

    /// A record of a keyed table.
    pub fn keyed(
        table: &'a str,
        key: impl Into<Cow<'a, [u8]>>,
        value: impl Into<Cow<'a, [u8]>>,
    ) -> Self {
        Self { table, kind: TableKind::Keyed, key: key.into(), value: value.into() }
    }
}

/// The store could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// What the store itself says.
    #[error("{0}")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ArchiveError {
    /// Wraps the store's own error.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Store(error.into())
    }
}

/// A store of records in named tables.
pub trait Archive {
    /// The value under a key, if there is one.
    ///
    /// # Errors
    /// When the store cannot read.
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError>;

    /// Puts records, all or none; they are durable after the next [`Archive::commit`].
    ///
    /// # Errors
    /// When the store cannot take them; then none is stored.
    fn put(&mut self, records: &[Record<'_>]) -> Result<(), ArchiveError>;

    /// Returns when everything put before is durable.
    ///
    /// # Errors
    /// When the store cannot make it so.
    fn commit(&mut self) -> Result<(), ArchiveError>;

    /// The first `limit` records of a sequence table whose height is at least `from`, in order; gaps are skipped.
    /// An unknown table is an empty one.
    ///
    /// # Errors
    /// When the store cannot read.
    fn range(
        &self,
        table: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, ArchiveError>;
}

/// An archive in memory, for tests and examples: keeps every rule that a real one has to keep.
#[derive(Clone, Debug, Default)]
pub struct MemoryArchive {
    tables: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryArchive {
    /// Every record: (table, key) and value, in order.
    pub fn records(&self) -> impl Iterator<Item = (&str, &[u8], &[u8])> {
        self.tables.iter().flat_map(|(table, records)| {
            records.iter().map(|(key, value)| (table.as_str(), &key[..], &value[..]))
        })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.tables.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(BTreeMap::is_empty)
    }
}

impl MemoryArchive {
    /// Takes one record; says whether it was not there.
    fn insert(&mut self, record: &Record<'_>) -> Result<bool, ArchiveError> {
        if record.kind == TableKind::Sequence && record.key.len() != 8 {
            return Err(ArchiveError::new("a sequence key has 8 bytes"));
        }
        let table = match self.tables.get_mut(record.table) {
            Some(table) => table,
            None => self.tables.entry(record.table.to_owned()).or_default(),
        };
        match table.entry(record.key.to_vec()) {
            Entry::Vacant(place) => {
                place.insert(record.value.to_vec());
                Ok(true)
            }
            Entry::Occupied(old) if *old.get() == *record.value => Ok(false),
            Entry::Occupied(_) => {
                Err(ArchiveError::new(format!("{}: rewrite of a record", record.table)))
            }
        }
    }

    fn remove(&mut self, record: &Record<'_>) {
        if let Some(table) = self.tables.get_mut(record.table) {
            table.remove(&*record.key);
        }
    }
}

impl Archive for MemoryArchive {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        Ok(self.tables.get(table).and_then(|records| records.get(key)).cloned())
    }

    fn put(&mut self, records: &[Record<'_>]) -> Result<(), ArchiveError> {
        let mut new = Vec::with_capacity(records.len());
        for record in records {
            match self.insert(record) {
                Ok(is_new) => new.push(is_new),
                Err(error) => {
                    for (record, _) in records.iter().zip(new).filter(|(_, is_new)| *is_new) {
                        self.remove(record);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn range(
        &self,
        table: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, ArchiveError> {
        let Some(records) = self.tables.get(table) else { return Ok(Vec::new()) };
        records
            .range(from.to_be_bytes().to_vec()..)
            .take(limit)
            .map(|(key, value)| {
                let key = key[..].try_into().map_err(|_| ArchiveError::new("not a sequence"))?;
                Ok((u64::from_be_bytes(key), value.clone()))
            })
            .collect()
    }
}

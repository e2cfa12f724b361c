//! Walking a table: a keyed one in the order of insertion, a sequence by its positions.

use crate::{
    db::{Db, Inner, Table},
    error::Error,
    lake::Trace,
    local::Kind,
    read::Walk,
    writer::Position,
};
use prunedb_format::container::{RecordView, TableKind};
use prunedb_index::Location;
use std::{fmt, str::FromStr};

/// A place in a table where a scan goes on. Shown as `container:offset`; stays valid for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    container: u32,
    offset: u32,
}

/// A record of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// its key
    pub key: Vec<u8>,
    /// its value
    pub value: Vec<u8>,
}

/// Some records, and where the next ones are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// the records
    pub entries: Vec<Entry>,
    /// where to go on; `None` at the end
    pub next: Option<Cursor>,
}

/// A string that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cursor: use one that an earlier scan gave")]
pub struct CursorError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.container, self.offset)
    }
}

/// Never 0: no record starts at a container's first byte.
impl From<Cursor> for u64 {
    fn from(cursor: Cursor) -> Self {
        Self::from(cursor.container) << 32 | Self::from(cursor.offset)
    }
}

impl From<u64> for Cursor {
    fn from(number: u64) -> Self {
        let half = |n: u64| u32::try_from(n & u64::from(u32::MAX)).expect("32 bits");
        Self { container: half(number >> 32), offset: half(number) }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(s: &str) -> Result<Self, CursorError> {
        let parts = s.split_once(':').and_then(|(c, o)| Some((c.parse().ok()?, o.parse().ok()?)));
        let (container, offset) = parts.ok_or_else(|| CursorError(s.into()))?;
        Ok(Self { container, offset })
    }
}

impl Db {
    /// Up to `limit` records of a table in the order in which they were put, from a cursor on. A key that was put
    /// twice is shown once, where it was put first.
    ///
    /// Cost: the directory of each container on the way, and the records.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn scan(&self, table: &Table, from: Option<Cursor>, limit: usize) -> Result<Scan, Error> {
        let mut entries = Vec::new();
        let (mut walk, page) = (Walk::new(&self.inner, table.id), Page::records(limit));
        let next = self.inner.walk(&mut walk, table, from, page, Position::END, &mut |record| {
            entries.push(Entry { key: record.key.to_vec(), value: record.value.to_vec() });
        })?;
        Ok(Scan { entries, next })
    }

    /// As [`Self::scan`], without the values: what is held in memory does not depend on their lengths.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn scan_keys(
        &self,
        table: &Table,
        from: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Vec<u8>>, Option<Cursor>), Error> {
        let mut keys = Vec::new();
        let (mut walk, page) = (Walk::new(&self.inner, table.id), Page::records(limit));
        let next = self.inner.walk(&mut walk, table, from, page, Position::END, &mut |record| {
            keys.push(record.key.to_vec());
        })?;
        Ok((keys, next))
    }

    /// Up to `limit` records of a sequence from a position on, by position; gaps are skipped.
    ///
    /// # Errors
    /// [`Error::TableKind`] for a keyed table, else as [`Db::get`].
    pub fn range(
        &self,
        table: &Table,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let mut walk = Walk::new(&self.inner, table.id);
        self.inner.range(&mut walk, table, from, Page::records(limit), Position::END)
    }
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) records: usize,
    /// of values; one more record may pass it
    pub(crate) bytes: usize,
}

impl Page {
    pub(crate) const fn records(records: usize) -> Self {
        Self { records, bytes: usize::MAX }
    }
}

impl Inner {
    /// Records of a sequence from a position on that lie before `end`.
    pub(crate) fn range(
        &self,
        walk: &mut Walk<'_>,
        table: &Table,
        mut from: u64,
        page: Page,
        end: Position,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        if table.kind() != TableKind::Sequence {
            let (found, wanted) = (crate::db::kind_name(table.kind()), "a sequence");
            return Err(Error::TableKind { name: table.name().into(), found, wanted });
        }
        let (mut out, mut bytes) = (Vec::new(), 0_usize);
        let mut trace = Trace::default();
        loop {
            let limit = page.records - out.len();
            let noted = self.manifest.unindexed();
            let places =
                self.healing(|| Ok(self.index.range_sequence(table.id, from, limit)?))?;
            let all = places.len() < limit;
            let last = places.last().map(|(position, _)| *position);
            let to = last.filter(|_| !all).unwrap_or(u64::MAX);
            self.refuse_noted(&noted, table, &from.to_be_bytes()..=&to.to_be_bytes())?;
            for (position, at) in places {
                if !end.is_behind(at) || !self.is_known(at)? {
                    continue;
                }
                let value = walk.record(at, &mut trace)?.value.to_vec();
                bytes = bytes.saturating_add(value.len());
                out.push((position, value));
                if bytes >= page.bytes {
                    return Ok(out);
                }
            }
            match last.and_then(|last| last.checked_add(1)) {
                Some(next) if !all && out.len() < page.records => from = next,
                _ => return Ok(out),
            }
        }
    }

    /// Visits records before `end` in the order in which they were put; where to go on.
    pub(crate) fn walk(
        &self,
        walk: &mut Walk<'_>,
        table: &Table,
        from: Option<Cursor>,
        page: Page,
        end: Position,
        visit: &mut dyn FnMut(RecordView<'_>),
    ) -> Result<Option<Cursor>, Error> {
        let mut trace = Trace::default();
        let (mut visited, mut bytes) = (0, 0_usize);
        for number in self.scanned_containers(from)? {
            let start = from.filter(|c| c.container == number).map_or(0, |c| c.offset);
            for offset in self.offsets(number, table, start)? {
                let at = Location { container: number, offset };
                if !end.is_behind(at) {
                    return Ok(None);
                }
                if visited == page.records || bytes >= page.bytes {
                    return Ok(Some(Cursor { container: number, offset }));
                }
                let record = walk.record(at, &mut trace)?;
                if self.is_first(table, record.key, at, &mut Trace::default())? {
                    visit(record);
                    visited += 1;
                    bytes = bytes.saturating_add(record.value.len());
                }
            }
        }
        Ok(None)
    }

    /// All data containers from a cursor on, oldest first.
    fn scanned_containers(&self, from: Option<Cursor>) -> Result<Vec<u32>, Error> {
        let first = from.map_or(0, |c| c.container);
        // in the order of a container's life: one that goes a step on meanwhile is in the next list
        let mut numbers: Vec<u32> =
            self.writer.unsealed().into_iter().map(|(number, ..)| number).collect();
        numbers.extend(self.files.numbers(Kind::Sealed));
        numbers.extend(self.manifest.container_numbers()?);
        numbers.retain(|&n| n >= first);
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// Where a container has records of a table, from an offset on.
    fn offsets(&self, number: u32, table: &Table, start: u32) -> Result<Vec<u32>, Error> {
        if let Some(offsets) = self.writer.active_offsets(number, table.id) {
            return Ok(offsets.into_iter().filter(|&o| o >= start).collect());
        }
        let footer = self.footer(number)?;
        let of_table = footer.entries().filter(|e| e.table == table.id && e.offset >= start);
        Ok(of_table.map(|e| e.offset).collect())
    }
}

//! Tables as a footer and a manifest entry list them: number, kind, name, and what one container holds of each.
//!
//! ```text
//! name:     id u32, kind u8, name (u16 + bytes)
//! summary:  name, records u32, first key (u16 + bytes), last key (u16 + bytes)
//! tables:   count u32, then a summary each, sorted by id
//! ```
//! First and last key are the smallest and the largest, compared as bytes.

use crate::{
    FormatError,
    bytes::{Reader, count_u32, put_short},
    error::impossible,
};
use prunedb_core::{TableId, units::KEY_BYTES_MAX};

/// Longest name of a table.
pub const TABLE_NAME_BYTES_MAX: usize = 128;

/// The table of manifest edits, in containers of kind manifest only.
pub const EDITS_TABLE: TableId = TableId(0);

/// The kind of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TableKind {
    /// Any key up to 1 KiB.
    Keyed = 0,
    /// Dense positions; the key is a u64, big-endian.
    Sequence = 1,
}

impl TableKind {
    /// The kind that a stored byte stands for.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Keyed),
            1 => Some(Self::Sequence),
            _ => None,
        }
    }

    /// Whether keys of this length can be in such a table.
    pub const fn takes_key_of(self, key_bytes: usize) -> bool {
        match self {
            Self::Keyed => key_bytes <= KEY_BYTES_MAX,
            Self::Sequence => key_bytes == 8,
        }
    }
}

/// A table as others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableName {
    /// its number
    pub id: TableId,
    /// its kind
    pub kind: TableKind,
    /// its name
    pub name: String,
}

/// What one container holds of one table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSummary {
    /// which table
    pub table: TableName,
    /// how many records
    pub records: u32,
    /// smallest key
    pub first_key: Vec<u8>,
    /// largest key
    pub last_key: Vec<u8>,
}

impl TableSummary {
    /// What is wrong with it, where something is.
    fn fault(&self) -> Option<FormatError> {
        let kind = self.table.kind;
        for key in [&self.first_key, &self.last_key] {
            if !kind.takes_key_of(key.len()) {
                return Some(impossible("key length in a table summary", key.len() as u64));
            }
        }
        let ordered = self.first_key <= self.last_key;
        let equal = self.first_key == self.last_key;
        if self.records == 0 || !ordered || (self.records == 1 && !equal) {
            return Some(impossible("records in a table summary", self.records));
        }
        None
    }
}

pub(crate) fn encode_name(out: &mut Vec<u8>, table: &TableName) {
    assert!(table.name.len() <= TABLE_NAME_BYTES_MAX, "names are checked at the border");
    out.extend_from_slice(&table.id.0.to_le_bytes());
    out.push(table.kind as u8);
    put_short(out, table.name.as_bytes());
}

pub(crate) fn decode_name(reader: &mut Reader<'_>) -> Result<TableName, FormatError> {
    let id = TableId(reader.u32()?);
    let kind = reader.u8()?;
    let kind = TableKind::from_byte(kind).ok_or(impossible("kind of a table", kind))?;
    let name = reader.short_str()?;
    if name.len() > TABLE_NAME_BYTES_MAX {
        return Err(impossible("length of a table's name", name.len() as u64));
    }
    Ok(TableName { id, kind, name: name.to_owned() })
}

/// Appends count and summaries, which the caller has sorted by id.
pub(crate) fn encode_tables(out: &mut Vec<u8>, tables: &[TableSummary]) {
    out.extend_from_slice(&count_u32(tables.len()));
    assert!(tables.is_sorted_by(|a, b| a.table.id < b.table.id), "tables are sorted by id");
    for summary in tables {
        assert_eq!(summary.fault(), None, "a summary that every reader takes");
        encode_name(out, &summary.table);
        out.extend_from_slice(&summary.records.to_le_bytes());
        put_short(out, &summary.first_key);
        put_short(out, &summary.last_key);
    }
}

/// Reads count and summaries; together they have `record_count` records.
pub(crate) fn decode_tables(
    reader: &mut Reader<'_>,
    record_count: u32,
) -> Result<Vec<TableSummary>, FormatError> {
    let mut tables: Vec<TableSummary> = Vec::new();
    let mut records = 0;
    for _ in 0..reader.u32()? {
        let summary = TableSummary {
            table: decode_name(reader)?,
            records: reader.u32()?,
            first_key: reader.short_bytes()?.to_vec(),
            last_key: reader.short_bytes()?.to_vec(),
        };
        if let Some(fault) = summary.fault() {
            return Err(fault);
        }
        if tables.last().is_some_and(|last| last.table.id >= summary.table.id) {
            return Err(impossible("order of tables, at id", summary.table.id.0));
        }
        records += u64::from(summary.records);
        tables.push(summary);
    }
    if records != u64::from(record_count) {
        return Err(impossible("records of all tables", records));
    }
    Ok(tables)
}

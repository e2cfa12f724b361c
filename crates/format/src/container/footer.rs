//! The end of a container: a directory of its records, its tables, and a trailer that finds both.
//!
//! The directory has every key and where its record is, so that an index is rebuilt without the records; the tables
//! have their names, so that a container explains itself. Both are covered by one CRC, the whole by a digest.
//!
//! ```text
//! directory, one entry a record, in order:
//!   0  4  table u32      4  4  offset / 16, u32      8  2  key_bytes u16      10  key
//! tables, sorted by id: count u32, then each
//!   id u32, kind u8, name (u16 + bytes), records u32, first key (u16 + bytes), last key (u16 + bytes)
//! trailer (80 bytes):
//!   0  8  magic "PDBFOOT\x01"      8  4  version u32        12  4  trailer_crc, CRC-32C of all other trailer bytes
//!  16  8  records_end u64         24  4  record_count u32   28  4  directory_bytes u32
//!  32  4  tables_bytes u32        36  4  footer_crc, CRC-32C of directory and tables
//!  40 32  digest, BLAKE3 of every container byte before the trailer      72  8  zero
//! ```
//! First and last key are the smallest and the largest.

use super::{HEADER_BYTES, TABLE_NAME_BYTES_MAX, TableKind};
use crate::{
    FormatError,
    bytes::{Reader, count_u32, put_short},
    crc32c,
};
use prunedb_core::{
    Digest, TableId,
    units::{CONTAINER_BYTES_MAX, KEY_BYTES_MAX, RECORD_ALIGN},
};
use std::collections::BTreeMap;

/// Size of the trailer, the last bytes of a container.
pub const TRAILER_BYTES: usize = 80;
const MAGIC: [u8; 8] = *b"PDBFOOT\x01";
const VERSION: u32 = 1;
const ENTRY_BYTES: usize = 10;
const ALIGN: u32 = 16;
const _: () = assert!(ALIGN as usize == RECORD_ALIGN);

/// What the last bytes of a container say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// where the records end and the directory starts
    pub records_end: u64,
    /// records in the container
    pub record_count: u32,
    /// length of the directory
    pub directory_bytes: u32,
    /// length of the tables
    pub tables_bytes: u32,
    footer_crc: u32,
    /// BLAKE3 of every container byte before the trailer
    pub digest: Digest,
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

/// One record in the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryEntry<'a> {
    /// its table
    pub table: TableId,
    /// where the record starts in the container
    pub offset: u32,
    /// its key
    pub key: &'a [u8],
}

/// Collects the footer while records are appended. Takes 10 bytes and the key for each record.
#[derive(Debug, Default)]
pub struct FooterBuilder {
    directory: Vec<u8>,
    record_count: u32,
    tables: BTreeMap<TableId, Seen>,
    tables_bytes_max: usize,
}

#[derive(Debug)]
struct Seen {
    records: u32,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
}

impl FooterBuilder {
    /// Notes a record at `offset`, a multiple of 16.
    ///
    /// # Panics
    /// Where the offset is none of a container: a bug of the caller.
    pub fn add(&mut self, table: TableId, offset: u64, key: &[u8]) {
        assert_eq!(offset % RECORD_ALIGN as u64, 0, "records are aligned");
        let units =
            u32::try_from(offset / RECORD_ALIGN as u64).expect("containers are below 256 MiB");
        self.directory.extend_from_slice(&table.0.to_le_bytes());
        self.directory.extend_from_slice(&units.to_le_bytes());
        put_short(&mut self.directory, key);
        self.record_count += 1;
        match self.tables.get_mut(&table) {
            Some(seen) => {
                seen.records += 1;
                if key < seen.first_key.as_slice() {
                    seen.first_key = key.to_vec();
                }
                if key > seen.last_key.as_slice() {
                    seen.last_key = key.to_vec();
                }
            }
            None => {
                let seen = Seen { records: 1, first_key: key.to_vec(), last_key: key.to_vec() };
                self.tables.insert(table, seen);
                self.tables_bytes_max += 15 + TABLE_NAME_BYTES_MAX + 2 * KEY_BYTES_MAX;
            }
        }
    }

    /// Records noted so far.
    pub const fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Upper bound of the footer's length with `extra_records` more whose keys take `extra_key_bytes`.
    pub fn bytes_max(&self, extra_records: usize, extra_key_bytes: usize) -> usize {
        let table = 15 + TABLE_NAME_BYTES_MAX + 2 * KEY_BYTES_MAX;
        self.directory.len()
            + extra_records * (ENTRY_BYTES + table)
            + extra_key_bytes
            + 4
            + self.tables_bytes_max
            + TRAILER_BYTES
    }

    /// Directory and tables; the trailer follows once they are hashed, see [`Trailer::encode`].
    ///
    /// # Panics
    /// Where `name_of` does not know a table that has records: a bug of the caller.
    pub fn finish(
        self,
        records_end: u64,
        name_of: impl Fn(TableId) -> TableName,
    ) -> (Vec<u8>, Trailer) {
        let directory_bytes = self.directory.len();
        let mut out = self.directory;
        out.extend_from_slice(&count_u32(self.tables.len()));
        for (id, seen) in self.tables {
            let table = name_of(id);
            assert_eq!(table.id, id, "the name asked for");
            encode_summary(
                &mut out,
                &TableSummary {
                    table,
                    records: seen.records,
                    first_key: seen.first_key,
                    last_key: seen.last_key,
                },
            );
        }
        let bound = |n: usize| u32::try_from(n).expect("containers are below 256 MiB");
        let trailer = Trailer {
            records_end,
            record_count: self.record_count,
            directory_bytes: bound(directory_bytes),
            tables_bytes: bound(out.len() - directory_bytes),
            footer_crc: crc32c(&out),
            digest: Digest::default(),
        };
        (out, trailer)
    }
}

pub(crate) fn encode_summary(out: &mut Vec<u8>, summary: &TableSummary) {
    out.extend_from_slice(&summary.table.id.0.to_le_bytes());
    out.push(summary.table.kind as u8);
    put_short(out, summary.table.name.as_bytes());
    out.extend_from_slice(&summary.records.to_le_bytes());
    put_short(out, &summary.first_key);
    put_short(out, &summary.last_key);
}

pub(crate) fn decode_summary(reader: &mut Reader<'_>) -> Result<TableSummary, FormatError> {
    let id = TableId(reader.u32()?);
    let kind = reader.u8()?;
    let kind = TableKind::from_byte(kind).ok_or(reader.value(kind.into()))?;
    let name = reader.short_str()?;
    if name.len() > TABLE_NAME_BYTES_MAX {
        return Err(reader.value(name.len() as u64));
    }
    let table = TableName { id, kind, name: name.to_owned() };
    let records = reader.u32()?;
    let first_key = reader.short_bytes()?.to_vec();
    let last_key = reader.short_bytes()?.to_vec();
    Ok(TableSummary { table, records, first_key, last_key })
}

impl Trailer {
    /// The trailer's bytes, with the digest of everything before it.
    pub fn encode(mut self, digest: Digest) -> [u8; TRAILER_BYTES] {
        self.digest = digest;
        let mut out = [0; TRAILER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.records_end.to_le_bytes());
        out[24..28].copy_from_slice(&self.record_count.to_le_bytes());
        out[28..32].copy_from_slice(&self.directory_bytes.to_le_bytes());
        out[32..36].copy_from_slice(&self.tables_bytes.to_le_bytes());
        out[36..40].copy_from_slice(&self.footer_crc.to_le_bytes());
        out[40..72].copy_from_slice(&self.digest.0);
        let crc = crc_without_field(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the trailer of a container of `container_bytes` bytes.
    ///
    /// # Errors
    /// [`FormatError`] where the bytes are none, or its lengths do not add up to the container's.
    pub fn decode(bytes: &[u8; TRAILER_BYTES], container_bytes: u64) -> Result<Self, FormatError> {
        const WHAT: &str = "container trailer";
        let mut reader = Reader::new(WHAT, bytes);
        let magic = reader.array()?;
        if magic != MAGIC {
            return Err(FormatError::Magic { what: WHAT, found: magic });
        }
        let version = reader.u32()?;
        let expected = reader.u32()?;
        let found = crc_without_field(bytes);
        if expected != found {
            return Err(FormatError::Checksum { what: WHAT, expected, found });
        }
        if version != VERSION {
            return Err(FormatError::Version { what: WHAT, found: version, known: VERSION });
        }
        let trailer = Self {
            records_end: reader.u64()?,
            record_count: reader.u32()?,
            directory_bytes: reader.u32()?,
            tables_bytes: reader.u32()?,
            footer_crc: reader.u32()?,
            digest: reader.digest()?,
        };
        reader.zeros(8)?;
        reader.end()?;
        let end = trailer.records_end.checked_add(trailer.footer_bytes());
        if end != Some(container_bytes) || trailer.records_end < HEADER_BYTES as u64 {
            return Err(FormatError::Value { what: WHAT, found: trailer.records_end });
        }
        Ok(trailer)
    }

    /// Length of directory, tables and trailer together.
    pub fn footer_bytes(&self) -> u64 {
        u64::from(self.directory_bytes) + u64::from(self.tables_bytes) + TRAILER_BYTES as u64
    }
}

fn crc_without_field(bytes: &[u8; TRAILER_BYTES]) -> u32 {
    let mut copy = *bytes;
    copy[12..16].fill(0);
    crc32c(&copy)
}

/// Directory and tables of a container, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    trailer: Trailer,
    directory: Vec<u8>,
    tables: Vec<TableSummary>,
}

impl Footer {
    /// Reads directory and tables, the bytes from `records_end` up to the trailer.
    ///
    /// # Errors
    /// [`FormatError`] where they do not match the trailer, or an entry is impossible.
    pub fn decode(trailer: Trailer, bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "container footer";
        let directory_bytes = trailer.directory_bytes as usize;
        let needed = u64::from(trailer.directory_bytes) + u64::from(trailer.tables_bytes);
        if bytes.len() as u64 != needed {
            return Err(FormatError::Truncated { what: WHAT, needed, found: bytes.len() as u64 });
        }
        let found = crc32c(bytes);
        if found != trailer.footer_crc {
            return Err(FormatError::Checksum { what: WHAT, expected: trailer.footer_crc, found });
        }
        let (directory, tables) = bytes.split_at(directory_bytes);
        let mut reader = Reader::new("container tables", tables);
        let count = reader.u32()?;
        let mut summaries: Vec<TableSummary> = Vec::new();
        for _ in 0..count {
            let summary = decode_summary(&mut reader)?;
            if summaries.last().is_some_and(|last| last.table.id >= summary.table.id) {
                return Err(reader.value(summary.table.id.0.into()));
            }
            summaries.push(summary);
        }
        reader.end()?;
        let footer = Self { trailer, directory: directory.to_vec(), tables: summaries };
        footer.check_directory()?;
        Ok(footer)
    }

    fn check_directory(&self) -> Result<(), FormatError> {
        let mut reader = Reader::new("container directory", &self.directory);
        let mut count = 0u32;
        while reader.remaining() > 0 {
            let table = TableId(reader.u32()?);
            let units = reader.u32()?;
            let key = reader.short_bytes()?;
            let offset = u64::from(units) * RECORD_ALIGN as u64;
            let kind = self.kind_of(table).ok_or(reader.value(table.0.into()))?;
            let key_fits = match kind {
                TableKind::Keyed => key.len() <= KEY_BYTES_MAX,
                TableKind::Sequence => key.len() == 8,
            };
            if offset >= self.trailer.records_end
                || offset >= CONTAINER_BYTES_MAX as u64
                || !key_fits
            {
                return Err(reader.value(offset));
            }
            count += 1;
        }
        if count != self.trailer.record_count {
            return Err(reader.value(count.into()));
        }
        Ok(())
    }

    fn kind_of(&self, table: TableId) -> Option<TableKind> {
        let at = self.tables.binary_search_by_key(&table, |s| s.table.id).ok()?;
        Some(self.tables[at].table.kind)
    }

    /// Every record, in order.
    pub fn entries(&self) -> impl Iterator<Item = DirectoryEntry<'_>> {
        let mut rest = self.directory.as_slice();
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_at_checked(ENTRY_BYTES)?;
            let field =
                |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
            let key_bytes = u16::from_le_bytes(head[8..10].try_into().expect("2 bytes"));
            let (key, tail) = tail.split_at(key_bytes.into());
            rest = tail;
            Some(DirectoryEntry { table: TableId(field(0)), offset: field(4) * ALIGN, key })
        })
    }

    /// What the container holds of each table, sorted by id.
    pub fn tables(&self) -> &[TableSummary] {
        &self.tables
    }

    /// The trailer.
    pub const fn trailer(&self) -> &Trailer {
        &self.trailer
    }
}

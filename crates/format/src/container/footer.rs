//! The end of a container: an end mark, a directory of its records, its tables, and a trailer that finds all three.
//!
//! The directory has every key and where its record is, so that an index is rebuilt without the records; the tables
//! have their names, so that a container explains itself. One CRC covers them, a digest the whole container.
//!
//! ```text
//! end mark: 16 bytes that can start no record, since a value is never so long: who walks the records knows that they
//!   end here, and a footer that a crash cut short can never be taken for records, whatever its keys are
//! directory, one entry a record, in order:
//!   0  4  table u32      4  4  offset / 16, u32      8  2  key_bytes u16      10  key
//! tables, see `tables.rs`
//! trailer (80 bytes):
//!   0  8  magic "PDBFOOT\x01"      8  4  version u32        12  4  trailer_crc, CRC-32C, this field taken as zero
//!  16  8  records_end u64         24  4  record_count u32   28  4  directory_bytes u32
//!  32  4  tables_bytes u32        36  4  footer_crc, CRC-32C of end mark, directory and tables
//!  40 32  digest, BLAKE3 of every container byte before the trailer      72  8  zero
//! ```
//! Invariants, checked when read: records start at 64 and do not overlap; every entry's table is listed; counts, first
//! and last keys are those of the directory; no byte is left over.

use super::{HEADER_BYTES, TableName, TableSummary, decode_tables, encode_tables, record_bytes};
use crate::{
    FormatError,
    bytes::{Reader, put_short},
    crc32c,
    error::impossible,
    preamble::Preamble,
};
use prunedb_core::{
    Digest, TableId,
    units::{CONTAINER_BYTES_MAX, KEY_BYTES_MAX, RECORD_ALIGN},
};
use std::collections::BTreeMap;

/// Size of the trailer, the last bytes of a container.
pub const TRAILER_BYTES: usize = 80;
/// What stands behind the last record: no record starts so.
pub const END_MARK: [u8; RECORD_ALIGN] = *b"PDBENDOFRECORDS\x01";
const TRAILER: Preamble =
    Preamble { what: "container trailer", magic: *b"PDBFOOT\x01", version: 1 };
const ENTRY_BYTES: usize = 10;
const ALIGN: u32 = 16;
const _: () = assert!(ALIGN as usize == RECORD_ALIGN);

/// What the last bytes of a container say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// where the records end and the end mark starts
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
    /// the next record starts here or later
    end: u64,
}

#[derive(Debug)]
struct Seen {
    records: u32,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
}

impl Seen {
    fn add(&mut self, key: &[u8]) {
        self.records += 1;
        if key < self.first_key.as_slice() {
            self.first_key = key.to_vec();
        }
        if key > self.last_key.as_slice() {
            self.last_key = key.to_vec();
        }
    }
}

impl FooterBuilder {
    /// Notes the record at `offset`, a multiple of 16; the first one starts right behind the header.
    ///
    /// # Panics
    /// Where no record can start there after those before, or the key is too long: a bug of the caller.
    pub fn add(&mut self, table: TableId, offset: u64, key: &[u8]) {
        assert_eq!(offset % RECORD_ALIGN as u64, 0, "records are aligned");
        assert!(key.len() <= KEY_BYTES_MAX, "keys are checked at the border");
        let header_bytes = HEADER_BYTES as u64;
        assert!(
            if self.record_count == 0 { offset == header_bytes } else { offset >= self.end },
            "records follow each other"
        );
        self.end = offset + record_bytes(key.len(), 0) as u64;
        assert!(self.end <= CONTAINER_BYTES_MAX as u64, "containers are bounded");
        let units = u32::try_from(offset / RECORD_ALIGN as u64).expect("asserted above");
        self.directory.extend_from_slice(&table.0.to_le_bytes());
        self.directory.extend_from_slice(&units.to_le_bytes());
        put_short(&mut self.directory, key);
        self.record_count += 1;
        match self.tables.get_mut(&table) {
            Some(seen) => seen.add(key),
            None => {
                let seen = Seen { records: 1, first_key: key.to_vec(), last_key: key.to_vec() };
                self.tables.insert(table, seen);
            }
        }
    }

    /// Records noted so far.
    pub const fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Length of the directory so far.
    pub fn directory_bytes(&self) -> u64 {
        self.directory.len() as u64
    }

    /// The records noted so far, in order.
    pub fn entries(&self) -> impl Iterator<Item = DirectoryEntry<'_>> {
        entries(&self.directory)
    }

    /// Records noted so far of each table.
    pub fn table_records(&self) -> impl Iterator<Item = (TableId, u64)> {
        self.tables.iter().map(|(table, seen)| (*table, seen.records.into()))
    }

    /// What a record with such a key takes in the directory.
    pub const fn entry_bytes(key_bytes: usize) -> usize {
        ENTRY_BYTES + key_bytes
    }

    /// End mark, directory and tables; the trailer follows once they are hashed, see [`Trailer::encode`].
    ///
    /// # Panics
    /// Where `name_of` does not know a table that has records, or the container would be longer than
    /// [`CONTAINER_BYTES_MAX`]: bugs of the caller.
    pub fn finish(
        &self,
        records_end: u64,
        name_of: impl Fn(TableId) -> TableName,
    ) -> (Vec<u8>, Trailer) {
        assert!(records_end >= self.end.max(HEADER_BYTES as u64), "the last record is whole");
        assert_eq!(records_end % RECORD_ALIGN as u64, 0, "records are padded");
        let tables: Vec<TableSummary> = self
            .tables
            .iter()
            .map(|(&id, seen)| {
                let table = name_of(id);
                assert_eq!(table.id, id, "the name asked for");
                TableSummary {
                    table,
                    records: seen.records,
                    first_key: seen.first_key.clone(),
                    last_key: seen.last_key.clone(),
                }
            })
            .collect();
        let mut out = END_MARK.to_vec();
        out.extend_from_slice(&self.directory);
        let tables_start = out.len();
        encode_tables(&mut out, &tables);
        let container_bytes = records_end + (out.len() + TRAILER_BYTES) as u64;
        assert!(container_bytes <= CONTAINER_BYTES_MAX as u64, "containers are bounded");
        let bounded = |n: usize| u32::try_from(n).expect("asserted above");
        let trailer = Trailer {
            records_end,
            record_count: self.record_count,
            directory_bytes: bounded(self.directory.len()),
            tables_bytes: bounded(out.len() - tables_start),
            footer_crc: crc32c(&out),
            digest: Digest::default(),
        };
        (out, trailer)
    }
}

impl Trailer {
    /// The trailer's bytes, with the digest of everything before it.
    pub fn encode(mut self, digest: Digest) -> [u8; TRAILER_BYTES] {
        self.digest = digest;
        let mut out = [0; TRAILER_BYTES];
        out[16..24].copy_from_slice(&self.records_end.to_le_bytes());
        out[24..28].copy_from_slice(&self.record_count.to_le_bytes());
        out[28..32].copy_from_slice(&self.directory_bytes.to_le_bytes());
        out[32..36].copy_from_slice(&self.tables_bytes.to_le_bytes());
        out[36..40].copy_from_slice(&self.footer_crc.to_le_bytes());
        out[40..72].copy_from_slice(&self.digest.0);
        TRAILER.seal(&mut out);
        out
    }

    /// Reads the trailer of a container of `container_bytes` bytes.
    ///
    /// # Errors
    /// [`FormatError`] where the bytes are none, or its lengths do not add up to the container's.
    pub fn decode(bytes: &[u8; TRAILER_BYTES], container_bytes: u64) -> Result<Self, FormatError> {
        let mut reader = TRAILER.open(bytes)?;
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
        if container_bytes > CONTAINER_BYTES_MAX as u64 {
            return Err(impossible("length of a container", container_bytes));
        }
        let records_end = trailer.records_end;
        if records_end < HEADER_BYTES as u64
            || !records_end.is_multiple_of(RECORD_ALIGN as u64)
            || records_end.checked_add(trailer.footer_bytes()) != Some(container_bytes)
        {
            return Err(impossible("end of records for this length", records_end));
        }
        Ok(trailer)
    }

    /// Length of end mark, directory, tables and trailer together.
    pub fn footer_bytes(&self) -> u64 {
        self.body_bytes() + TRAILER_BYTES as u64
    }

    fn body_bytes(&self) -> u64 {
        END_MARK.len() as u64 + u64::from(self.directory_bytes) + u64::from(self.tables_bytes)
    }
}

/// Directory and tables of a container, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    trailer: Trailer,
    directory: Vec<u8>,
    tables: Vec<TableSummary>,
}

impl Footer {
    /// Reads end mark, directory and tables, the bytes from `records_end` up to the trailer.
    ///
    /// # Errors
    /// [`FormatError`] where they do not match the trailer or each other, or an entry is impossible.
    pub fn decode(trailer: Trailer, bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "container footer";
        let (needed, there) = (trailer.body_bytes(), bytes.len() as u64);
        if there < needed {
            return Err(FormatError::Truncated { what: WHAT, needed, found: there });
        }
        if there > needed {
            return Err(FormatError::Excess { what: WHAT, bytes: there - needed });
        }
        let found = crc32c(bytes);
        if found != trailer.footer_crc {
            return Err(FormatError::Checksum { what: WHAT, expected: trailer.footer_crc, found });
        }
        let mut reader = Reader::new(WHAT, bytes);
        let mark: [u8; END_MARK.len()] = reader.array()?;
        if mark != END_MARK {
            let found = *mark.first_chunk().expect("a mark has 16 bytes");
            return Err(FormatError::Magic { what: "end mark of the records", found });
        }
        let directory = reader.take(trailer.directory_bytes as usize)?;
        let tables = decode_tables(&mut reader, trailer.record_count)?;
        reader.end()?;
        check_directory(&trailer, directory, &tables)?;
        Ok(Self { trailer, directory: directory.to_vec(), tables })
    }

    /// Every record, in order.
    pub fn entries(&self) -> impl Iterator<Item = DirectoryEntry<'_>> {
        entries(&self.directory)
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

/// The entries of a directory that is known to be whole.
fn entries(directory: &[u8]) -> impl Iterator<Item = DirectoryEntry<'_>> {
    let mut rest = directory;
    std::iter::from_fn(move || {
        let (head, tail) = rest.split_at_checked(ENTRY_BYTES)?;
        let field = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
        let key_bytes = u16::from_le_bytes(head[8..10].try_into().expect("2 bytes"));
        let (key, tail) = tail.split_at(key_bytes.into());
        rest = tail;
        Some(DirectoryEntry { table: TableId(field(0)), offset: field(4) * ALIGN, key })
    })
}

/// Every entry is possible where it stands, and together they are what the tables say.
fn check_directory(
    trailer: &Trailer,
    directory: &[u8],
    tables: &[TableSummary],
) -> Result<(), FormatError> {
    struct Tally<'a> {
        records: u32,
        first_key: &'a [u8],
        last_key: &'a [u8],
    }
    let mut tallies: Vec<Option<Tally<'_>>> = tables.iter().map(|_| None).collect();
    let mut reader = Reader::new("container directory", directory);
    let mut end = HEADER_BYTES as u64;
    let mut is_first = true;
    while reader.remaining() > 0 {
        let table = reader.u32()?;
        let offset = u64::from(reader.u32()?) * RECORD_ALIGN as u64;
        let key = reader.short_bytes()?;
        let at = tables
            .binary_search_by_key(&table, |s| s.table.id.0)
            .map_err(|_| impossible("table in the directory", table))?;
        if !tables[at].table.kind.takes_key_of(key.len()) {
            return Err(impossible("key length in the directory", key.len() as u64));
        }
        if offset < end || (is_first && offset != end) {
            return Err(impossible("offset in the directory", offset));
        }
        is_first = false;
        end = offset + record_bytes(key.len(), 0) as u64;
        match &mut tallies[at] {
            Some(tally) => {
                tally.records += 1;
                tally.first_key = tally.first_key.min(key);
                tally.last_key = tally.last_key.max(key);
            }
            empty => *empty = Some(Tally { records: 1, first_key: key, last_key: key }),
        }
    }
    if end > trailer.records_end || (is_first && end != trailer.records_end) {
        return Err(impossible("end of the last record", end));
    }
    for (summary, tally) in tables.iter().zip(&tallies) {
        let agrees = tally.as_ref().is_some_and(|tally| {
            tally.records == summary.records
                && tally.first_key == summary.first_key
                && tally.last_key == summary.last_key
        });
        if !agrees {
            return Err(impossible("summary of table", summary.table.id.0));
        }
    }
    Ok(())
}

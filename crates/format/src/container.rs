//! A container's own bytes: header, records in order, footer. Canonical: they depend on the records, their order and
//! the container's id, and on nothing else.
//!
//! ```text
//! 0                64                            records_end             end-80        end
//! | header (64 B) | record | record | ... record | directory | tables   | trailer (80) |
//! ```
//!
//! See `docs/format/container.md`.

mod footer;
mod header;
mod record;

pub use footer::{
    DirectoryEntry, Footer, FooterBuilder, TRAILER_BYTES, TableName, TableSummary, Trailer,
};
pub(crate) use footer::{decode_summary, encode_summary};
pub use header::{ContainerHeader, HEADER_BYTES};
pub use record::{RECORD_HEADER_BYTES, RecordHeader, RecordView, encode_record, record_bytes};

use prunedb_core::TableId;

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
}

/// Longest name of a table.
pub const TABLE_NAME_BYTES_MAX: usize = 128;

/// The table of manifest edits, in containers of kind manifest only.
pub const EDITS_TABLE: TableId = TableId(0);

//! A container's own bytes: header, records in order, footer. Canonical: they depend on the records, their order and
//! the container's id, and on nothing else.
//!
//! ```text
//! 0                64                            records_end                     end-80        end
//! | header (64 B) | record | record | ... record | end mark | directory | tables | trailer (80) |
//! ```
//!
//! Containers of kind data and manifest have this layout; those of kind index hold pages instead.
//! See `docs/format/container.md`.

mod footer;
mod header;
mod record;
mod tables;
#[cfg(test)]
mod tests;

pub use footer::{DirectoryEntry, END_MARK, Footer, FooterBuilder, TRAILER_BYTES, Trailer};
pub use header::{ContainerHeader, HEADER_BYTES};
pub use record::{RECORD_HEADER_BYTES, RecordHeader, RecordView, encode_record, record_bytes};
pub use tables::{EDITS_TABLE, TABLE_NAME_BYTES_MAX, TableKind, TableName, TableSummary};
pub(crate) use tables::{decode_name, decode_tables, encode_name, encode_tables};

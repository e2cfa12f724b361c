//! The bytes at rest that the Prune DB itself writes: container, local header, manifest edit, head.
//!
//! Pure: bytes in, values out. Everything is little-endian except keys of sequence tables, which are big-endian so
//! that they sort. Whatever is read is hostile until checked: a decoder returns [`FormatError`], never panics, and
//! never allocates more than the input is long.
//!
//! The byte tables are in `docs/format/`.

mod bytes;
mod checksum;
pub mod container;
mod error;
pub mod head;
pub mod local;
pub mod manifest;

pub use checksum::crc32c;
pub use error::FormatError;

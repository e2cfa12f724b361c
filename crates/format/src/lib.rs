//! The bytes at rest that the Prune DB itself writes: container, local header, manifest edit, head.
//!
//! Pure: bytes in, values out. Everything is little-endian except keys of sequence tables, which are big-endian so
//! that they sort. Whatever is read is hostile until checked: a decoder returns [`FormatError`], never panics, and
//! allocates no more than a small multiple of its input. What an encoder could not read back it refuses with a panic:
//! the border checks lengths before.
//!
//! The byte tables are in `docs/format/`.

pub mod bytes;
mod checksum;
pub mod container;
mod error;
pub mod head;
pub mod local;
pub mod manifest;
mod preamble;

pub use checksum::crc32c;
pub use error::FormatError;

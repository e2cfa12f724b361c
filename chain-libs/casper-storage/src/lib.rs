//! Casper's own block store over two places: the node's pruned file for what is recent, the archive for all that went.
//!
//! ```text
//!                     read(key)
//!                         |
//! ArchivedBlockStore -----+--- the node's block store (LMDB): it is there? --> that
//!                         +--- the archive: the block's rows, verified, decoded ---> this
//! ```
//! [`ArchivedBlockStore`] implements the traits of `casper-storage` that a node's block store has, so that whatever reads one reads this: heights, hashes,
//! eras and transactions are answered as from the file before it was pruned. Writes go to the node's store alone.
//!
//! # What is answered otherwise
//! - A row of a body by the body's own hash ([`DbTableId::BlockBody`]) that only the archive has is [`BlockStoreError::UnsupportedOperation`]: nothing in the
//!   archive is keyed by it, and `None` would say that there is none.
//! - The block of an era is found by the header of its switch block, which a pruned file keeps.
//! - An archived block that cannot be read (too few of its shards answer) is an error that says which container and what it takes, never `None`.
//!
//! [`DbTableId::BlockBody`]: casper_storage::block_store::lmdb::DbTableId::BlockBody
//! [`BlockStoreError::UnsupportedOperation`]: casper_storage::block_store::BlockStoreError::UnsupportedOperation

mod decode;
mod reader;
mod store;

pub use decode::{DecodeError, OfBlock, OfTransaction};
pub use reader::ArchivedReader;
pub use store::ArchivedBlockStore;

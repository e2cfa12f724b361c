//! Bitcoin: the block and undo files of a node, verified on the way in, bit for bit the same on the way out.
//!
//! ```text
//! blocks/blk*.dat, rev*.dat, xor.dat --import--> verified --put--> tables per network --export--> the same files
//!                                                                       |
//!                                                                       +--query--> blocks, undo data, transactions
//! ```
//! What is verified, and what is not, is in `docs/chains/bitcoin.md`.

mod block;
mod chain;
mod error;
mod export;
mod files;
mod hash;
mod import;
mod network;
pub mod p2p;
mod query;
mod tables;
mod target;
mod undo;
mod verifier;
mod wire;

pub use block::{BLOCK_BYTES_MAX, Block, HEADER_BYTES, Header, Transaction};
pub use error::{BitcoinError, Fault, Place};
pub use export::{ExportedFile, export_folder};
pub use files::{FileKind, FileName, Folder, NotAFileName, XorKey};
pub use hash::{Hash, HashError, sha256d};
pub use import::{FileReport, ImportOptions, ImportReport, Progress, Stage, import_folder};
pub use network::{Network, NetworkError};
pub use query::{BlockId, BlockIdError, History, StoredBlock, StoredTransaction};
pub use tables::{FileRecord, Tables};
pub use verifier::BitcoinVerifier;

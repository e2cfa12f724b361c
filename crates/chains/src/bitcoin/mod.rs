//! Bitcoin: the block and undo files of a node, verified on the way in, bit for bit the same on the way out.
//!
//! ```text
//! blocks/blk*.dat, rev*.dat, xor.dat --import--> verified --put--> tables per network --export--> the same files
//!                                                                       |
//!                                                                       +--query--> blocks, undo data, transactions
//! ```
//! What is verified, and what is not, is in `docs/chains/bitcoin.md`.

mod answer;
mod block;
mod chain;
mod coin;
mod error;
mod export;
mod export_range;
mod files;
mod follow;
mod hash;
mod import;
mod network;
mod node;
pub mod p2p;
mod prune;
mod put;
mod query;
mod tables;
mod target;
mod undo;
mod verifier;
mod wire;

pub use answer::{AnswerError, Answers, Question};
pub use block::{BLOCK_BYTES_MAX, Block, HEADER_BYTES, Header, Transaction};
pub use coin::{Coin, amount_of_text, amount_text, read_coins, write_coins};
pub use error::{BitcoinError, Fault, Place};
pub use export::{ExportedFile, export_folder};
pub use export_range::{ExportedRange, export_range};
pub use files::{FileKind, FileName, Folder, NotAFileName, XorKey};
pub use follow::{FollowError, FollowOptions, Followed, Follower};
pub use hash::{Hash, HashError, sha256d};
pub use import::{
    BlocksReport, FileReport, ImportOptions, ImportReport, Progress, Stage, import_blocks,
    import_folder,
};
pub use network::{Network, NetworkError};
pub use node::{ChainInfo, Node, NodeError, block_hash, network_of};
pub use prune::{KEEP_LEAST, PruneError, PrunePlan};
pub use query::{BlockId, BlockIdError, History, StoredBlock, StoredTransaction};
pub use tables::{FileRecord, Tables};
pub use verifier::BitcoinVerifier;
pub(crate) use {hash::merkle_root, target::Target, wire::Reader};

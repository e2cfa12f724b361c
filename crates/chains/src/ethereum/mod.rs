//! Ethereum: `.era1` and `.ere` files and plain RLP blocks, verified on the way in and on the way out.
//!
//! ```text
//! .era1, .ere, RLP --import--> verified --put--> tables per network --export--> verified --> the same files, bit for bit
//!                                              |
//!                                              +--query--> JSON as of eth_getBlockByNumber, or RLP
//! ```
//! What is verified, and what is not, is in `docs/chains/ethereum.md`.
//!
//! ```
//! use prunedb_chains::{archive::MemoryArchive, ethereum::*};
//! use std::{io::Cursor, num::NonZeroUsize};
//!
//! let network: Network = "devnet".parse()?;
//! let (name, file) = synthetic::SyntheticChain::new(&network, 0, 4, 1).era1(&network, 10);
//! let mut archive = MemoryArchive::default();
//! let report = import_era1(&mut archive, Cursor::new(&file), &name, &ImportOptions::default(), &mut |_| ())?;
//! assert_eq!(report.blocks_stored, 10);
//!
//! let block = History::new(&archive, &network).block("7".parse()?)?.ok_or("not stored")?;
//! assert_eq!(block.block().header().number, 7);
//!
//! let mut again = Vec::new();
//! write_era1(&archive, &network, 0, &mut again, NonZeroUsize::MIN, &mut |_| ())?;
//! assert_eq!(again, file);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accumulator;
mod block;
mod e2store;
mod era1;
mod ere;
mod error;
mod export;
mod files;
mod follow;
mod hash;
mod import;
pub mod json;
mod network;
mod query;
mod receipt;
pub mod rlp;
mod rpc;
mod sender;
mod snappy;
pub mod synthetic;
mod tables;
mod transaction;
mod trie;
mod tuple;
mod uint;
mod verifier;

pub use accumulator::EPOCH_BLOCKS;
pub use block::{Block, Header};
pub use era1::Era1Name;
pub use ere::{EreName, EreProfile};
pub use error::{EthereumError, Fault, Part, Place};
pub use export::{
    EreEpoch, ExportReport, era1_epochs, ere_epochs, ere_name, export_era1, export_ere, write_era1,
    write_ere,
};
pub use files::{history_files, import_path};
pub use follow::{FollowError, FollowOptions, FollowReport, Follower, RebuildError, network_of};
pub use hash::{Address, Hash32, HashError, keccak256, sha256};
pub use import::{
    ImportOptions, ImportReport, Progress, Stage, import_era1, import_ere, import_rlp, verify_era1,
    verify_ere,
};
pub use network::{Network, NetworkError};
pub use query::{BlockId, BlockIdError, History, StoredBlock, StoredReceipts, StoredTransaction};
pub use receipt::{Log, Outcome, Receipt};
pub use rpc::EthereumRpc;
pub use sender::sender;
pub use snappy::SnappyError;
pub use tables::{Era1Record, EreRecord, ORIGINAL_CHUNK_BYTES, Tables};
pub use transaction::{AccessListEntry, Authorization, Transaction, TxFields};
pub use trie::{EMPTY_ROOT, ordered_root};
pub use uint::U256;
pub use verifier::EthereumVerifier;

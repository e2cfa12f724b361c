//! Casper's history: read from a node's `storage.lmdb`, verified, archived, put back, pruned.
//!
//! ```text
//! storage.lmdb --source--> rows of a block --verify--> tables per network --restore--> rows of a block --> storage.lmdb
//! (stopped node)           as they are                 casper/<network>/...            as they were
//! ```
//! Rows are never decoded and encoded again: what comes back is what was there, byte for byte. The file is read by a reader of our own
//! (`lmdb`), because liblmdb trusts its file with the process; liblmdb only writes. What is verified, and what cannot be, is in
//! `docs/chains/casper.md`.

mod archived;
pub mod binary_port;
mod block;
mod bytesrepr;
mod database;
mod error;
mod hash;
mod lmdb;
mod rewrite;
mod source;
mod state;
#[cfg(test)]
mod test_rows;
mod verify;

pub use archived::{ArchivedBlock, ArchivedBlocks};
pub use block::{approvals::ApprovalsError, signatures::SignatureError};
pub use bytesrepr::ShapeError;
pub use database::{Database, Kind, Row};
pub use error::{CasperError, Fault};
pub use lmdb::{LmdbError, LmdbFault};
pub use rewrite::{
    limits::{LimitsError, PruneLimits},
    prune::{ArchivedReport, PruneError, PrunePlan, PruneReport, Pruning},
    restore::{RestoreReport, restore},
    same::{Compared, Difference, same_rows},
};
pub use source::{CasperSource, SourceBlocks};
pub use verify::CasperVerifier;

//! What nodes and writers of a lake owe to its registry, done by themselves.
//!
//! ```text
//! Holder   a storage node: receipts for what it got, a proof in every epoch; makes its shard itself where it has the blocks
//! Writer   who writes the lake: the lease, closings with the validators' signatures, elected holders, read-backs, the watermark
//! OwnRecords  a validator's copy of the history: the writer's own database
//! Archive     that of a validator which archives the chain itself; OwnShards makes its node's shards from it
//! LakeReader  that of a validator without records: the lake itself, read from random holders and coded anew
//! Attester    a validator reads closed batches back
//! founding  a new registry: nodes join, groups open
//! ```
//! Invariants: nothing is said of a shard that is not under its batch's root; what could not be done is tried again with the
//! next block; a loop ends when its guard is dropped.

mod attest;
mod copies;
mod founding;
mod holder;
mod lease;
mod own_shards;
mod reader;
mod shards;
mod task;
mod writer;

pub use attest::{AttestError, Attester};
pub use copies::{Archive, OwnRecords};
pub use founding::{Joining, Joins, domain_number, found};
pub use holder::{Holder, HolderError};
pub use own_shards::{OwnShards, Reserved};
pub use reader::LakeReader;
pub use shards::{HeldShards, MakeShard};
pub use task::Task;
pub use writer::{Writer, WriterConfig, WriterError, WriterStatus};

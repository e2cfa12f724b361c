//! The Prune DB: durable puts, sealing, offload to the lake, reads, recovery and repair.
//!
//! ```text
//! put -> writer (group, fdatasync) -> active container -> sealed -> offload -> shards on nodes
//! get -> index -> local file, or frame cache, or one node, or any p nodes
//! ```
//! [`Db`] is the whole interface. It is synchronous and may be shared among threads; network calls run on the
//! [`Executor`] that it was given, so it must not be called from within that runtime's own tasks.
//!
//! Invariants:
//! - what a put acknowledged is on the local disk until its container is in the lake, read back, and evicted;
//! - container bytes follow from the records alone; shards follow from the container and the lake's keys;
//! - every byte that a reader gets was checked: record CRC, frame CRC, AES-GCM tag.

mod adopt;
mod background;
mod batch;
mod checked;
mod committed;
mod cut;
mod db;
mod elected;
mod error;
mod evict;
mod executor;
mod explain;
mod heads;
mod heal;
mod holders;
mod indexing;
mod iter;
mod lake;
mod local;
mod manifest;
mod nodes;
mod offload;
mod options;
mod orphans;
mod placement;
mod policy;
mod progress;
mod publish;
mod queue;
mod read;
mod reader;
mod record;
mod recover;
mod repair;
mod reread;
mod scan;
mod snapshot;
mod status;
mod strays;
mod terms;
mod verify;
mod writer;

pub use batch::BatchFacts;
pub use committed::HeadName;
pub use cut::{Cut, CutBatch};
pub use db::{Db, Table, Tables};
pub use elected::{Elected, ElectedGroup, Governance, Moved};
pub use error::{Error, Failure, Failures};
pub use evict::Evicted;
pub use executor::Executor;
pub use explain::{Explanation, ShardPlace};
pub use heal::Outages;
pub use holders::{HeldContainer, Holders};
pub use indexing::{Contender, Duplicate};
pub use iter::Iter;
pub use lake::{Connect, Trace};
pub use nodes::Left;
pub use offload::Offloaded;
pub use options::Options;
pub use orphans::{ORPHAN_AGE, Swept};
pub use placement::NodeDomains;
pub use policy::Recoded;
pub use progress::{OnProgress, Progress};
pub use prunedb_codec::LakeSecret;
pub use prunedb_format::container::{TableKind, TableSummary};
pub use queue::Backpressure;
pub use reader::ReaderStatus;
pub use recover::Recovered;
pub use repair::{RepairReport, RepairStatus, Repaired};
pub use scan::{Cursor, CursorError, Entry, Scan};
pub use snapshot::Snapshot;
pub use status::{ContainerPlace, ContainerStatus, NodeState, NodeStatus, Status, TableStatus};
pub use verify::{Depth, FaultKind, ShardFault, Verified};
pub use writer::Position;

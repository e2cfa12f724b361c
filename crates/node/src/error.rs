//! What a node says "no" with, and what keeps it from starting.

use prunedb_core::{LakeId, ShardId, Term};
use prunedb_proof::SampleError;
use prunedb_wire::Refusal;
use std::{io, path::PathBuf};

/// A refused or failed operation; the node goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A newer writer exists.
    #[error("term {term} is fenced off, {seen} was seen")]
    Fenced {
        /// the caller's term
        term: Term,
        /// the highest term seen
        seen: Term,
    },
    /// The fence is damaged: a newer writer may exist, and nothing is written until one fences anew.
    #[error("the fence of lake {lake} is damaged: fence it anew")]
    FenceDamaged {
        /// which
        lake: LakeId,
    },
    /// No such shard.
    #[error("there is no shard {id}")]
    Absent {
        /// which
        id: ShardId,
    },
    /// The stored bytes fail their checksum, or cannot be read.
    #[error("shard {id} is damaged at byte {offset}")]
    Damaged {
        /// which
        id: ShardId,
        /// first byte of the block that fails
        offset: u64,
    },
    /// Another shard is stored under this id.
    #[error("another shard is stored under {id}")]
    Conflict {
        /// which
        id: ShardId,
    },
    /// The node's own machine makes it.
    #[error(
        "{id} is made by this node's own machine, from its copy of the history: it is not to be sent"
    )]
    Reserved {
        /// which
        id: ShardId,
    },
    /// No room by the node's capacity, or on its disk.
    #[error("full: {free_bytes} bytes are free")]
    Full {
        /// bytes that are free
        free_bytes: u64,
    },
    /// Outside of a shard, or more data than announced.
    #[error("bytes {offset}+{bytes} are outside of {shard_bytes}")]
    Range {
        /// first byte
        offset: u64,
        /// how many
        bytes: u64,
        /// the shard's length
        shard_bytes: u64,
    },
    /// It cannot be audited: its length is not that of whole samples.
    #[error("shard {id} cannot be shown in samples: {source}")]
    NotSamples {
        /// which
        id: ShardId,
        /// why
        #[source]
        source: SampleError,
    },
    /// What arrived is not what was announced.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// length, name or offset
        what: &'static str,
        /// as announced
        expected: String,
        /// as it arrived
        found: String,
    },
    /// Too many of something at once.
    #[error("too many {what}: {max} at most")]
    Limit {
        /// of what
        what: &'static str,
        /// how many are allowed
        max: usize,
    },
    /// A sync of the segment failed before: what it holds is readable, but nothing in it can be made durable.
    #[error("segment {segment} failed to sync: put the shard again")]
    Poisoned {
        /// which
        segment: u32,
    },
    /// The upload failed before and cannot go on.
    #[error("the upload has failed before")]
    UploadDead,
    /// The disk failed.
    #[error("cannot {doing}")]
    Disk {
        /// what was tried
        doing: &'static str,
        /// what the disk said
        #[source]
        source: io::Error,
    },
}

impl NodeError {
    /// The disk's error as ours: a full disk is [`NodeError::Full`].
    pub(crate) fn disk(doing: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { free_bytes: 0 }
            }
            _ => Self::Disk { doing, source },
        }
    }
}

impl From<&NodeError> for Refusal {
    fn from(error: &NodeError) -> Self {
        match error {
            NodeError::Fenced { seen, .. } => Self::Fenced { seen: *seen },
            NodeError::Absent { .. } => Self::Absent,
            NodeError::Damaged { offset, .. } => Self::Damaged { offset: *offset },
            NodeError::Conflict { .. } => Self::Conflict,
            NodeError::Reserved { .. } => Self::Denied { reason: format!("reserved {error}") },
            NodeError::Full { free_bytes } => Self::Full { free_bytes: *free_bytes },
            NodeError::Range { shard_bytes, .. } => Self::Range { shard_bytes: *shard_bytes },
            NodeError::NotSamples { .. } => Self::Bad { reason: error.to_string() },
            NodeError::Mismatch { .. } => Self::Mismatch { reason: error.to_string() },
            NodeError::Limit { .. } => Self::Limit { reason: error.to_string() },
            NodeError::Disk { doing, source } => {
                Self::Io { reason: format!("cannot {doing}: {source}") }
            }
            NodeError::FenceDamaged { .. } | NodeError::Poisoned { .. } | NodeError::UploadDead => {
                Self::Io { reason: error.to_string() }
            }
        }
    }
}

/// Why a node cannot start. Damage is never a reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another node of this one, has the folder.
    #[error("{} is in use by another node", dir.display())]
    InUse {
        /// the folder
        dir: PathBuf,
    },
    /// The folder cannot be used at all.
    #[error("cannot {doing} in {}", dir.display())]
    Disk {
        /// what was tried
        doing: &'static str,
        /// the folder
        dir: PathBuf,
        /// what the disk said
        #[source]
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes: {reason}")]
    Random {
        /// its words
        reason: String,
    },
}

//! What a caller can get wrong.

use crate::Kernel;

/// A misuse of the code. Nothing has been written when one is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such code.
    #[error(
        "policy {data_shards}+{parity_shards} is impossible: p must be at least 2, q at least 1, p+q at most 255"
    )]
    Policy {
        /// p
        data_shards: usize,
        /// q
        parity_shards: usize,
    },
    /// A list of shards is not as long as it has to be.
    #[error("{found} {role} shards given, {expected} expected")]
    ShardCount {
        /// Which list.
        role: Role,
        /// How many there must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Shards of one call have unequal lengths.
    #[error(
        "{role} shard at position {position} has {found} bytes, the first input shard {expected}: all must be of one length"
    )]
    ShardLength {
        /// Which list.
        role: Role,
        /// Where in that list.
        position: usize,
        /// Bytes of the first input shard.
        expected: usize,
        /// Bytes of this one.
        found: usize,
    },
    /// Fewer shards than the code needs.
    #[error("{found} shards present, {needed} needed to decode")]
    TooFewShards {
        /// p
        needed: usize,
        /// How many were given.
        found: usize,
    },
    /// A shard number is twice in a list.
    #[error("shard {shard} is given twice")]
    DuplicateShard {
        /// The number.
        shard: u8,
    },
    /// A shard number that the policy does not have.
    #[error("shard {shard} is out of range: the policy has shards 0 to {last}")]
    ShardOutOfRange {
        /// The number.
        shard: u8,
        /// The highest number.
        last: u8,
    },
    /// A shard is asked for that is already there.
    #[error("shard {shard} is both present and wanted")]
    WantedShardPresent {
        /// The number.
        shard: u8,
    },
    /// The processor (or the build) lacks the kernel.
    #[error("kernel {kernel} is not available on this processor")]
    KernelUnavailable {
        /// The kernel asked for.
        kernel: Kernel,
    },
    /// Two padded blocks do not fit into the field: the policy can only be encoded by matrix.
    #[error("policy {data_shards}+{parity_shards} has no transform: encode it by matrix")]
    NoTransform {
        /// p
        data_shards: usize,
        /// q
        parity_shards: usize,
    },
    /// No kernel has this name.
    #[error("`{name}` is no kernel: {}", names())]
    UnknownKernel {
        /// The name, from `PRUNEDB_KERNEL` or a caller.
        name: String,
    },
}

/// A list of shards in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// The data shards to encode.
    Data,
    /// The parity shards to compute.
    Parity,
    /// The shards to decode from.
    Present,
    /// The shards to decode.
    Wanted,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Parity => "parity",
            Self::Present => "present",
            Self::Wanted => "wanted",
        })
    }
}

fn names() -> String {
    let names: Vec<String> = Kernel::ALL.iter().map(|kernel| format!("`{kernel}`")).collect();
    format!("choose one of {}", names.join(", "))
}

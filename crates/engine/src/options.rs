//! How a database runs. None of it changes stored bytes but the policy and the container size.

use crate::placement::NodeDomains;
use prunedb_core::{Policy, units::CONTAINER_BYTES_MAX};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Settings of a database; the command line fills them from `prunedb.toml`.
#[derive(Debug, Clone)]
pub struct Options {
    /// folder of containers and caches
    pub data_dir: PathBuf,
    /// folder of manifest and index
    pub metadata_dir: PathBuf,
    /// policy of new containers
    pub policy: Policy,
    /// a container is sealed before it would grow past this, 1 to 100 MB
    pub container_bytes: u64,
    /// a container of 1 MB and more is sealed at this age
    pub seal_age: Duration,
    /// a group of puts is written when it has this many bytes, or earlier where somebody waits for it
    pub group_bytes: usize,
    /// a put for which nobody waits is durable after this; zero: when its group is full, or waited for
    pub group_age: Duration,
    /// local bytes of offloaded containers that are kept as a cache
    pub cache_bytes: u64,
    /// coded streams up to this size are spooled in memory, larger ones in a file
    pub spool_memory_bytes: u64,
    /// whether the background offloads what is sealed; `flush` and `evict` do so in any case
    pub offload: bool,
    /// sealed containers that may wait for their offload before puts wait
    pub offload_queue: usize,
    /// bytes that repair may read in a second; 0: as many as it can
    pub repair_bytes_per_s: u64,
    /// a node that was out of reach for so long is taken for lost, and its slots move where a policy asks for it
    pub node_lost_after: Duration,
    /// what fails together with a node, by its address: new groups and moved slots heed it
    pub domains: BTreeMap<String, NodeDomains>,
    /// how often a reader looks for a newer head
    pub follow_interval: Duration,
    /// threads that compress
    pub threads: usize,
}

/// Age seals from this size on.
pub(crate) const SEAL_AGE_BYTES_MIN: u64 = 1_000_000;
/// Space that stays free on the disk, so that sealing and the manifest always have room.
pub(crate) const RESERVE_BYTES: u64 = 16 << 20;

impl Options {
    /// The defaults in one folder: containers of 100 MB, sealed after 10 minutes, a cache of 10 GB.
    pub fn new(dir: impl Into<PathBuf>, policy: Policy) -> Self {
        let dir = dir.into();
        Self {
            data_dir: dir.join("data"),
            metadata_dir: dir.join("metadata"),
            policy,
            container_bytes: 100_000_000,
            seal_age: Duration::from_secs(600),
            group_bytes: 4 << 20,
            group_age: Duration::from_millis(10),
            cache_bytes: 10_000_000_000,
            spool_memory_bytes: 128 << 20,
            offload: true,
            offload_queue: 4,
            repair_bytes_per_s: 0,
            node_lost_after: Duration::from_secs(3600),
            domains: BTreeMap::new(),
            follow_interval: Duration::from_secs(1),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Largest container that these settings seal by size; a larger put gets a container of its own.
    pub(crate) fn seal_bytes(&self) -> u64 {
        self.container_bytes.clamp(64 << 10, CONTAINER_BYTES_MAX as u64)
    }
}

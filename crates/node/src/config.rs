//! What a node may use, and where.

use crate::{Reserve, ZdbConfig};
use prunedb_access::{Identity, Owner};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// Configuration of one node. [`NodeConfig::new`] gives the defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeConfig {
    /// address to listen on; port 0 takes a free one
    pub listen: SocketAddr,
    /// the node's folder, for it alone
    pub dir: PathBuf,
    /// bytes that segments and heads may take up
    pub capacity_bytes: u64,
    /// a segment that has reached this is closed, and a new one is begun
    pub segment_bytes: u64,
    /// bytes of the file system that are left to others: a put that would go below is refused
    pub reserve_bytes: u64,
    /// connections at once; more are told so and closed
    pub connections_max: usize,
    /// uploads at once, of all connections; each takes up to 256 KiB of memory
    pub uploads_max: usize,
    /// disk operations at once; more wait
    pub disk_operations_max: usize,
    /// memory for ranges on their way to readers; more readers wait
    pub read_bytes_max: u32,
    /// shards that may change before the index is written; it takes about 200 bytes of memory for each
    pub changes_max: usize,
    /// lakes that may leave a fence or a head
    pub lakes_max: usize,
    /// a connection without a request for so long is closed
    pub idle_timeout: Duration,
    /// a request that has begun, or a reply, must move on within this
    pub stall_timeout: Duration,
    /// a request must be complete within this, however steadily it comes
    pub request_timeout: Duration,
    /// memory for requests that are longer than 128 KiB; more wait
    pub request_bytes_max: u32,
    /// a unix socket to listen on, beside the address
    pub socket: Option<PathBuf>,
    /// TLS on the address, with this key; without it everything is sent in the clear
    pub tls: Option<Arc<Identity>>,
    /// the owners whose capabilities open the node on its address; without any the node is open. The unix socket is
    /// always open: whoever may write to it may do everything.
    pub owners: Vec<Owner>,
    /// an address for `/metrics` and `/healthz`
    pub metrics: Option<SocketAddr>,
    /// shards that this machine makes itself, which nobody else may put
    pub reserve: Option<Arc<dyn Reserve>>,
    /// read and check all shards again and again
    pub scrub: bool,
    /// the 0-db side
    pub zdb: ZdbConfig,
    /// from it come the marks that tell records from the bytes of shards; random where it is `None`
    pub mark_seed: Option<[u8; 32]>,
}

impl NodeConfig {
    /// The defaults: segments of 1 GiB, 256 connections, 64 uploads, 32 MiB of ranges.
    pub fn new(listen: SocketAddr, dir: impl Into<PathBuf>, capacity_bytes: u64) -> Self {
        Self {
            listen,
            dir: dir.into(),
            capacity_bytes,
            segment_bytes: 1 << 30,
            reserve_bytes: 16 << 20,
            connections_max: 256,
            uploads_max: 64,
            disk_operations_max: 16,
            read_bytes_max: 32 << 20,
            changes_max: 1 << 18,
            lakes_max: 4096,
            idle_timeout: Duration::from_secs(300),
            stall_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(120),
            request_bytes_max: 64 << 20,
            socket: None,
            tls: None,
            owners: Vec::new(),
            metrics: None,
            reserve: None,
            scrub: false,
            zdb: ZdbConfig::default(),
            mark_seed: None,
        }
    }
}

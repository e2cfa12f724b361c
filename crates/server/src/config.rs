//! What the server may use.

use std::{net::SocketAddr, time::Duration};

/// Configuration of a server. [`ServerConfig::new`] gives the defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// address to listen on; port 0 takes a free one
    pub listen: SocketAddr,
    /// table of a connection that has not selected one, and of `SELECT 0`; keyed, created by the first `SET`
    pub table: String,
    /// connections at once; more are told so and closed
    pub connections_max: usize,
    /// batches of reading commands at once; more wait
    pub reads_max: usize,
    /// batches with writing commands at once; more wait. Where puts wait for the lake, reads go on
    pub writes_max: usize,
    /// memory for long requests of all connections, beyond 64 KiB of each; more wait
    pub request_bytes_max: u32,
    /// memory for long answers of all connections, beyond 64 KiB of each; more wait
    pub answer_bytes_max: u32,
    /// a connection without a request for so long is closed
    pub idle_timeout: Duration,
    /// a request that has begun, or an answer, must move on within this
    pub stall_timeout: Duration,
}

impl ServerConfig {
    /// The defaults: 1,024 connections, 256 MiB each of long requests and answers, 5 minutes of idleness.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            table: "default".into(),
            connections_max: 1024,
            reads_max: 32,
            writes_max: 32,
            request_bytes_max: 256 << 20,
            answer_bytes_max: 256 << 20,
            idle_timeout: Duration::from_secs(300),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

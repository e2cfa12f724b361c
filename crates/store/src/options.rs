//! How patient a client is, and how much it holds.

use std::time::Duration;

/// Limits of one [`NodeStore`](crate::NodeStore).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeOptions {
    /// a connection must be made within this
    pub connect_timeout: Duration,
    /// an answer must come within this, and sent bytes must be taken
    pub request_timeout: Duration,
    /// a connection that was idle for longer is not used again
    pub idle_timeout: Duration,
    /// requests at once, uploads not counted; more wait
    pub requests_max: usize,
    /// uploads at once, each with a connection of its own; more wait
    pub uploads_max: usize,
    /// bytes of one upload that may be on their way without an answer
    pub window_bytes: usize,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            requests_max: 16,
            uploads_max: 8,
            window_bytes: 1 << 20,
        }
    }
}

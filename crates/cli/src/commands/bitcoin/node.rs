//! A Bitcoin node that is asked over the network, and how to reach it.

use anyhow::Context;
use clap::Args;
use prunedb_chains::bitcoin::{Hash, Node, NodeError};
use prunedb_rpc::{CallError, Caller, Upstream};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::runtime::Handle;

/// A node describes a full block with all that it spends in some seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the node is.
#[derive(Args, Debug, Clone)]
pub(crate) struct NodeAddress {
    /// The node's JSON-RPC: http(s)://[USER:PASSWORD@]HOST:PORT
    #[arg(long = "rpc", value_name = "URL", default_value = "http://127.0.0.1:8332")]
    url: String,
    /// The node's cookie file, instead of a user and a password: .cookie in its folder
    #[arg(long = "rpc-cookie", value_name = "FILE")]
    cookie: Option<PathBuf>,
}

impl NodeAddress {
    /// The node; reads the cookie, which a node makes anew at each start.
    pub(super) fn node(&self, runtime: Handle) -> anyhow::Result<RpcNode> {
        let mut upstream = Upstream::new(&self.url)?.with_patience(PATIENCE);
        if let Some(path) = &self.cookie {
            let cookie = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}: does the node run?", path.display()))?;
            let (user, password) = cookie
                .trim()
                .split_once(':')
                .with_context(|| format!("{} is no cookie: USER:PASSWORD", path.display()))?;
            upstream = upstream.with_basic_auth(user, password)?;
        }
        Ok(RpcNode::new(Caller::new(upstream, runtime)))
    }

    /// With paths as the caller means them.
    pub(super) fn resolved(&self, io: &crate::io::Io) -> Self {
        Self { url: self.url.clone(), cookie: self.cookie.as_ref().map(|path| io.path(path)) }
    }
}

/// A node behind a caller.
pub(super) struct RpcNode {
    caller: Caller,
    /// it may have the faster door for blocks; the first refusal says that it has none
    rest: AtomicBool,
}

impl RpcNode {
    pub(super) const fn new(caller: Caller) -> Self {
        Self { caller, rest: AtomicBool::new(true) }
    }
}

impl Node for RpcNode {
    fn calls(&self, calls: &[(&str, String)]) -> Result<Vec<Box<RawValue>>, NodeError> {
        let calls = calls.iter().map(|(method, params)| {
            let params: &RawValue = serde_json::from_str(params)
                .map_err(|error| NodeError::Unavailable { reason: format!("{method}: {error}") })?;
            Ok((*method, params))
        });
        let calls = calls.collect::<Result<Vec<_>, NodeError>>()?;
        self.caller.batch(&calls).map_err(node_error)
    }

    fn quick_block(&self, hash: Hash) -> Result<Option<Vec<u8>>, NodeError> {
        if !self.rest.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let reply = self.caller.get(&format!("/rest/block/{hash}.bin"));
        let reply = reply.map_err(|error| node_error(error.into()))?;
        if reply.status.is_success() {
            return Ok(Some(reply.body.into()));
        }
        // it is not offered, or the block is not there: then JSON-RPC says so in plain words
        self.rest.store(false, Ordering::Relaxed);
        Ok(None)
    }
}

pub(super) fn node_error(error: CallError) -> NodeError {
    #[derive(Deserialize)]
    struct Refusal {
        code: i64,
        message: String,
    }
    match &error {
        CallError::Refused { method, error: refusal, .. } => match serde_json::from_str(refusal) {
            Ok(Refusal { code, message }) => {
                NodeError::Refused { method: method.clone(), code, message }
            }
            Err(_) => NodeError::Unavailable { reason: error.to_string() },
        },
        _ => NodeError::Unavailable { reason: error.to_string() },
    }
}

//! Calls to a node from threads that may block: what followers use, and chains that need to ask.

use crate::{
    message::{Authorization, ErrorObject, Response},
    upstream::{Reply, Upstream, UpstreamError},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::runtime::Handle;

/// Calls a node, and waits. Not for threads of the runtime itself.
#[derive(Clone, Debug)]
pub struct Caller {
    upstream: Upstream,
    runtime: Handle,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No answer, or none that can be one.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The node's own error.
    #[error("{upstream} answers {method} with error {error}")]
    Refused {
        /// the node
        upstream: String,
        /// what was asked
        method: String,
        /// its error, as JSON
        error: String,
    },
}

impl CallError {
    /// The node's own error, or that it does not answer.
    pub fn to_error_object(&self) -> ErrorObject {
        match self {
            Self::Refused { error, .. } => serde_json::from_str(error)
                .unwrap_or_else(|_| ErrorObject::new(ErrorObject::INTERNAL, error.clone())),
            Self::Upstream(error) => ErrorObject::new(ErrorObject::UNAVAILABLE, error.to_string()),
        }
    }
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: usize,
    method: &'a str,
    params: P,
}

impl Caller {
    /// Calls this node with the help of a runtime's network.
    pub const fn new(upstream: Upstream, runtime: Handle) -> Self {
        Self { upstream, runtime }
    }

    /// The node.
    pub const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The same node, named to as a client did, unless there are credentials for it.
    #[must_use]
    pub fn on_behalf(&self, client: Option<&Authorization>) -> Self {
        Self { upstream: self.upstream.clone().on_behalf(client), runtime: self.runtime.clone() }
    }

    /// Something else than JSON-RPC at the same address: a path from the root.
    ///
    /// # Errors
    /// When there is no whole response; what it says is not looked at.
    ///
    /// # Panics
    /// On a thread that drives a runtime.
    pub fn get(&self, path: &str) -> Result<Reply, UpstreamError> {
        self.runtime.block_on(self.upstream.get(path))
    }

    /// One call.
    ///
    /// # Errors
    /// See [`CallError`].
    ///
    /// # Panics
    /// On a thread that drives a runtime.
    pub fn call(&self, method: &str, params: impl Serialize) -> Result<Box<RawValue>, CallError> {
        self.batch(&[(method, params)]).map(|mut results| results.pop().expect("one of one"))
    }

    /// Several calls in one request; results in their order, or the first error.
    ///
    /// # Errors
    /// See [`CallError`].
    ///
    /// # Panics
    /// On a thread that drives a runtime.
    pub fn batch<P: Serialize>(
        &self,
        calls: &[(&str, P)],
    ) -> Result<Vec<Box<RawValue>>, CallError> {
        let requests: Vec<_> = (0..)
            .zip(calls)
            .map(|(id, (method, params))| Request { jsonrpc: "2.0", id, method, params })
            .collect();
        let body = match &requests[..] {
            [] => return Ok(Vec::new()),
            // some nodes take no batches
            [one] => serde_json::to_vec(one),
            all => serde_json::to_vec(all),
        };
        let body = body.expect("parameters are JSON").into();
        let reply = self.runtime.block_on(self.upstream.post(body, None))?;
        let not_a_response = |reason: &dyn std::fmt::Display| {
            CallError::Upstream(self.upstream.not_a_response(reply.status, reason))
        };
        let responses = match reply.body.first() {
            Some(b'[') => Response::read_batch(&reply.body),
            _ => Response::read(&reply.body).map(|one| vec![one]),
        }
        .map_err(|error| not_a_response(&error))?;
        let refused = |method: &str, error: &RawValue| CallError::Refused {
            upstream: self.upstream.to_string(),
            method: method.into(),
            error: error.get().into(),
        };
        let results = requests.iter().map(|request| {
            let id = serde_json::value::to_raw_value(&request.id).expect("a number");
            let response = responses.iter().find(|response| response.answers(&id));
            match response.and_then(Response::outcome) {
                Some(Ok(result)) => Ok(result.to_owned()),
                Some(Err(error)) => Err(refused(request.method, error)),
                None => Err(not_a_response(&format_args!("{} is not answered", request.method))),
            }
        });
        results.collect()
    }
}

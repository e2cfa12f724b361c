//! JSON-RPC over HTTP/1.1, as the nodes of blockchains speak it: a proxy before a node, and calls to a node. And files by HTTP.
//!
//! ```text
//! client --HTTP--> HttpServer --> Proxy --each call--> Chain: a result, an error, or "pass it on"
//!                                   |                                              |
//!                                   +<--- answers, in the order of the calls --- Upstream: one request for all of them
//!
//! follower -------------------> Caller --> Upstream: one call, or many in one request
//! ```
//! `message` says what a request and a response are, without I/O; [`Chain`] is what a chain brings; the rest is network.
//!
//! Invariants:
//! - what is malformed is answered as JSON-RPC says (2.0, or 1.0 as Bitcoin Core speaks it) and never reaches chain or node;
//! - JSON that is passed on is not decoded and encoded again: numbers keep their digits, objects their order;
//! - a node that is slow, gone, or answers something else becomes an error that says so, never a `null`;
//! - connections, bodies, batches, lookups and waiting are bounded.

mod caller;
mod chain;
mod file;
mod http;
mod message;
mod patient;
mod proxy;
mod tls;
mod upstream;

pub use caller::{CallError, Caller};
pub use chain::{Answer, Chain};
pub use file::{error_response, file_response, text_response};
pub use http::{Body, Handler, HttpServer, full, read_body};
pub use message::{Authorization, Call, ErrorObject, Version};
pub use proxy::Proxy;
pub use upstream::{Reply, Upstream, UpstreamError, UrlError};

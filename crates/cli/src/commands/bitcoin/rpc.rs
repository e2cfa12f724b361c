//! `prunedb serve bitcoin-rpc`: a node's JSON-RPC with the blocks that it has pruned from the archive.
//!
//! ```text
//! client --getblock, getrawtransaction--> the node: has it, or says that it is pruned --> the archive
//!        --all else-----------------------> the node
//! ```
//! The node is asked first: so it is the node that says who may ask, and what it has it answers itself.

use super::{
    network,
    node::{RpcNode, node_error},
};
use crate::{archive::DbArchive, session::Session};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_chains::bitcoin::{
    AnswerError, Answers, History, Network, NodeError, Question, block_hash,
};
use prunedb_engine::Db;
use prunedb_rpc::{
    Answer, Call, CallError, Caller, Chain, ErrorObject, HttpServer, Proxy, Upstream,
};
use serde_json::{json, value::RawValue};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::runtime::Runtime;

/// The node's numbers for its errors.
const MISC_ERROR: i64 = -1;
const NOT_FOUND: i64 = -5;

/// Which node stands behind.
#[derive(Args, Debug, Clone)]
pub(crate) struct ServeBitcoinRpc {
    /// The node's JSON-RPC, as http(s)://[USER:PASSWORD@]HOST:PORT; without a password here it is asked with the client's own
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8332")]
    upstream: String,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8734")]
    listen: SocketAddr,
    /// How long the node may take for an answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// Network [default: the one that is stored]
    #[arg(long, value_name = "NAME")]
    network: Option<Network>,
}

/// The archive of a database, before a node.
struct Lake {
    db: Db,
    network: Network,
    node: Caller,
    answers: Answers,
}

/// Starts listening.
pub(in crate::commands) fn start(
    args: &ServeBitcoinRpc,
    session: &Session,
    runtime: &Runtime,
) -> anyhow::Result<HttpServer> {
    let network = network(&session.db, args.network)?;
    let upstream = Upstream::new(&args.upstream).context("--upstream")?;
    let upstream = upstream.with_patience(Duration::from_secs(args.patience));
    let node = Caller::new(upstream.clone(), runtime.handle().clone());
    same_network(network, &node)?;
    let lake = Lake { db: session.db.clone(), network, node, answers: Answers::default() };
    runtime
        .block_on(HttpServer::start(args.listen, Proxy::new(lake, upstream)))
        .with_context(|| format!("cannot listen on {}", args.listen))
}

/// Refuses to stand before a node of another network; one that does not answer yet, or not to us, may answer later.
fn same_network(network: Network, node: &Caller) -> anyhow::Result<()> {
    match block_hash(&RpcNode::new(node.clone()), 0) {
        Ok(found) => ensure!(
            found == network.genesis(),
            "--upstream: the first block of {} is {found}, that of {network} is {}: it is a node of another network",
            node.upstream(),
            network.genesis()
        ),
        Err(error) => tracing::debug!(%error, "the node's network is not known yet"),
    }
    Ok(())
}

impl Chain for Lake {
    fn answer(&self, call: &Call) -> Answer {
        let Some(question) = question(call) else { return Answer::PassOn };
        let caller = self.node.on_behalf(call.authorization.as_ref());
        let params = call.params.as_deref();
        match caller.call(&call.method, params) {
            Ok(result) => Answer::Result(result),
            Err(error @ CallError::Refused { .. }) => match node_error(error) {
                NodeError::Refused { code, message, .. } => {
                    self.refused(question, &RpcNode::new(caller), ErrorObject::new(code, message))
                }
                other => Answer::Error(ErrorObject::new(MISC_ERROR, other.to_string())),
            },
            // the proxy says what is wrong with the node
            Err(_) => Answer::PassOn,
        }
    }
}

impl Lake {
    /// What the node refuses, if it does because it is pruned.
    fn refused(&self, question: Question, node: &RpcNode, refusal: ErrorObject) -> Answer {
        if !is_pruned(question, &refusal) {
            return Answer::Error(refusal);
        }
        let archive = DbArchive::new(self.db.clone(), Arc::new(AtomicBool::new(false)));
        let history = History::new(&archive, self.network);
        match self.answers.answer(&history, node, question) {
            Ok(Some(answer)) => Answer::Result(answer),
            Ok(None) => Answer::Error(self.not_archived(&history, refusal)),
            Err(AnswerError::Node(error)) => {
                let message = format!("{error}; it is needed for what is archived");
                Answer::Error(ErrorObject::new(ErrorObject::UNAVAILABLE, message))
            }
            Err(error) => {
                tracing::warn!(%error, "an archived block cannot be read");
                let message = format!(
                    "{}; it is archived, and cannot be read now: {error}; `prunedb verify` finds what is missing, `prunedb repair` \
                     rebuilds it",
                    refusal.message
                );
                let data = json!({ "archived": true, "reason": error.to_string() });
                Answer::Error(ErrorObject::new(refusal.code, message).with_data(data))
            }
        }
    }

    /// The node's refusal, and what there is instead.
    fn not_archived(&self, history: &History<'_, DbArchive>, refusal: ErrorObject) -> ErrorObject {
        let highest = history.tip().ok().flatten();
        let archive = match highest {
            Some(highest) => {
                format!("the archive of {} ends at {highest} and has it neither", self.network)
            }
            None => format!("nothing of {} is archived", self.network),
        };
        let message = format!(
            "{} ({archive}; `prunedb coverage bitcoin` shows what it has)",
            refusal.message
        );
        let data = json!({ "archived": false, "highest": highest });
        ErrorObject::new(refusal.code, message).with_data(data)
    }
}

/// Whether the node says this because it has pruned the block, or has no index of transactions.
fn is_pruned(question: Question, refusal: &ErrorObject) -> bool {
    let starts = |with: &str| refusal.message.starts_with(with);
    match (question, refusal.code) {
        (_, MISC_ERROR) => {
            starts("Block not available")
                || starts("Block not found on disk")
                || starts("Undo data not available")
        }
        (Question::Transaction { block: None, .. }, NOT_FOUND) => starts("No such mempool"),
        _ => false,
    }
}

/// What the archive may know; the node says what is wrong with other arguments.
fn question(call: &Call) -> Option<Question> {
    fn text(value: &RawValue) -> Option<&str> {
        serde_json::from_str(value.get()).ok()
    }
    let verbosity = |default| {
        let given = call.argument(1, "verbosity").or_else(|| call.argument(1, "verbose"));
        match given.map(RawValue::get) {
            None => Some(default),
            Some("false") => Some(0),
            Some("true") => Some(1),
            Some(number) => number.parse().ok(),
        }
    };
    match call.method.as_str() {
        "getblock" => {
            let hash = text(call.argument(0, "blockhash")?)?.parse().ok()?;
            Some(Question::Block { hash, verbosity: verbosity(1)? })
        }
        "getrawtransaction" => {
            let txid = text(call.argument(0, "txid")?)?.parse().ok()?;
            let block = match call.argument(2, "blockhash") {
                Some(hash) => Some(text(hash)?.parse().ok()?),
                None => None,
            };
            Some(Question::Transaction { txid, verbosity: verbosity(0)?, block })
        }
        _ => None,
    }
}

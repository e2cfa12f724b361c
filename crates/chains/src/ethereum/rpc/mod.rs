//! Calls of Ethereum's JSON-RPC, answered from the archive as a node answers them.
//!
//! ```text
//! eth_getBlockBy{Number,Hash}             eth_getTransactionByHash                        eth_getLogs
//! eth_getHeaderBy{Number,Hash}            eth_getTransactionByBlock{Number,Hash}AndIndex  eth_getBlockReceipts
//! eth_getBlockTransactionCountBy{..}      eth_getRawTransactionBy{..}                     eth_getTransactionReceipt
//! eth_getUncleCountByBlock{..}            eth_getUncleByBlock{..}AndIndex                 debug_getRaw{Block,Header,Receipts,Transaction}
//! ```
//! What is not archived is the node's, as are arguments that are not understood: the node has its own words for them. A block that
//! is missing below others, or cannot be read, is asked of the node, too; but its `null` becomes an error that says what is missing.

mod cache;
mod logs;
mod params;
mod senders;

use super::{
    block::envelopes,
    error::{EthereumError, Fault},
    hash::Hash32,
    json::{BlockJson, Data, HeaderJson, Quantity, ReceiptJson, TransactionJson, TransactionsJson},
    network::Network,
    query::{BlockId, History, StoredBlock, StoredReceipts},
    sender::sender,
    tables::Tables,
    transaction::Transaction,
};
use crate::archive::Archive;
use cache::Cache;
use params::Params;
pub(super) use params::quantity;
use prunedb_rpc::{Answer, Call, Caller, ErrorObject};
use senders::SenderCache;
use serde::Serialize;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use std::sync::Arc;

/// As nodes say that history is gone (EIP-4444).
const PRUNED: i64 = 4444;
/// Most bytes of a generation of the cache of blocks.
const GENERATION_BYTES: usize = 16 << 20;

/// Answers for one network's history.
#[derive(Debug)]
pub struct EthereumRpc {
    network: Network,
    tables: Tables,
    /// who stands behind
    node: Caller,
    senders: SenderCache,
    /// blocks as JSON, whole or with their transactions' hashes
    blocks: Cache<(BlockId, bool), Arc<RawValue>>,
}

/// What the archive says to a call.
enum Found {
    /// The result.
    Here(Box<RawValue>),
    /// Nothing: the node's.
    NotHere,
    /// Not this, although there are blocks above it, or the rest of its block.
    Gap(String),
}

/// Why there is no answer.
enum Failure {
    Store(EthereumError),
    Refused(ErrorObject),
}

impl From<EthereumError> for Failure {
    fn from(error: EthereumError) -> Self {
        Self::Store(error)
    }
}

impl From<crate::archive::ArchiveError> for Failure {
    fn from(error: crate::archive::ArchiveError) -> Self {
        Self::Store(error.into())
    }
}

type Result<T = Found> = std::result::Result<T, Failure>;

/// Which part of a block is asked for.
#[derive(Clone, Copy)]
enum Of {
    Block,
    Header,
    TransactionCount,
    UncleCount,
    Uncle,
    Transaction,
    RawTransaction,
    RawBlock,
    RawHeader,
}

impl EthereumRpc {
    /// Answers before this node.
    pub fn new(network: &Network, node: Caller) -> Self {
        Self {
            network: network.clone(),
            tables: Tables::of(network),
            node,
            senders: SenderCache::default(),
            blocks: Cache::new(GENERATION_BYTES),
        }
    }

    /// Answers a call from this archive, or passes it on.
    pub fn answer<A: Archive + ?Sized>(&self, archive: &A, call: &Call) -> Answer {
        match self.find(archive, call) {
            Ok(Found::Here(result)) => Answer::Result(result),
            Ok(Found::NotHere) => Answer::PassOn,
            Ok(Found::Gap(what)) => {
                let network = &self.network;
                let message =
                    format!("pruned history unavailable: {what} of {network} is not archived");
                self.node_or(call, message, what)
            }
            Err(Failure::Refused(error)) => Answer::Error(error),
            Err(Failure::Store(error)) => {
                let message = format!("pruned history unavailable: {error}");
                self.node_or(call, message, error.advice().into())
            }
        }
    }

    /// The node's answer, if it has one; else the error.
    fn node_or(&self, call: &Call, message: String, what: String) -> Answer {
        let params = call.params.as_deref();
        match self.node.call(&call.method, params) {
            Ok(result) if result.get() != "null" => Answer::Result(result),
            _ => {
                let data = json!({
                    "network": self.network.name(),
                    "missing": what,
                    "remedy": "prunedb coverage ethereum shows what is archived; prunedb repair rebuilds what is damaged",
                });
                Answer::Error(ErrorObject::new(PRUNED, message).with_data(data))
            }
        }
    }

    fn find<A: Archive + ?Sized>(&self, archive: &A, call: &Call) -> Result {
        let params = Params::of(call);
        let found = match call.method.as_str() {
            "eth_getLogs" => return self.logs(archive, call),
            "eth_getBlockReceipts" | "debug_getRawReceipts" => {
                let Some(block) = params.block_or_hash(0) else { return Ok(Found::NotHere) };
                return self.receipts(archive, block, call.method.starts_with("debug"));
            }
            "eth_getTransactionByHash" => return self.transaction(archive, params.hash(0), false),
            "eth_getRawTransactionByHash" | "debug_getRawTransaction" => {
                return self.transaction(archive, params.hash(0), true);
            }
            "eth_getTransactionReceipt" => return self.receipt(archive, params.hash(0)),
            "eth_getBlockByNumber" => params.height(0).map(|block| (block, Of::Block)),
            "eth_getBlockByHash" => params.hash_of_block(0).map(|block| (block, Of::Block)),
            "eth_getHeaderByNumber" => params.height(0).map(|block| (block, Of::Header)),
            "eth_getHeaderByHash" => params.hash_of_block(0).map(|block| (block, Of::Header)),
            "eth_getBlockTransactionCountByNumber" => {
                params.height(0).map(|block| (block, Of::TransactionCount))
            }
            "eth_getBlockTransactionCountByHash" => {
                params.hash_of_block(0).map(|block| (block, Of::TransactionCount))
            }
            "eth_getUncleCountByBlockNumber" => {
                params.height(0).map(|block| (block, Of::UncleCount))
            }
            "eth_getUncleCountByBlockHash" => {
                params.hash_of_block(0).map(|block| (block, Of::UncleCount))
            }
            "eth_getUncleByBlockNumberAndIndex" => params.height(0).map(|block| (block, Of::Uncle)),
            "eth_getUncleByBlockHashAndIndex" => {
                params.hash_of_block(0).map(|block| (block, Of::Uncle))
            }
            "eth_getTransactionByBlockNumberAndIndex" => {
                params.height(0).map(|block| (block, Of::Transaction))
            }
            "eth_getTransactionByBlockHashAndIndex" => {
                params.hash_of_block(0).map(|block| (block, Of::Transaction))
            }
            "eth_getRawTransactionByBlockNumberAndIndex" => {
                params.height(0).map(|block| (block, Of::RawTransaction))
            }
            "eth_getRawTransactionByBlockHashAndIndex" => {
                params.hash_of_block(0).map(|block| (block, Of::RawTransaction))
            }
            "debug_getRawBlock" => params.block_or_hash(0).map(|block| (block, Of::RawBlock)),
            "debug_getRawHeader" => params.block_or_hash(0).map(|block| (block, Of::RawHeader)),
            _ => None,
        };
        match found {
            Some((block, of)) => self.block(archive, block, of, &params),
            None => Ok(Found::NotHere),
        }
    }

    /// Something of a block.
    fn block<A: Archive + ?Sized>(
        &self,
        archive: &A,
        id: BlockId,
        of: Of,
        params: &Params<'_>,
    ) -> Result {
        // what is not understood is the node's to refuse
        let (Some(full), Some(index)) = (match of {
            Of::Block => (params.flag(1), Some(0)),
            Of::Uncle | Of::Transaction | Of::RawTransaction => (Some(false), params.index(1)),
            _ => (Some(false), Some(0)),
        }) else {
            return Ok(Found::NotHere);
        };
        if let (Of::Block, Some(known)) = (of, self.blocks.get(&(id, full))) {
            return Ok(Found::Here((*known).to_owned()));
        }
        let Some(stored) = History::new(archive, &self.network).block(id)? else {
            return self.absent(archive, id, "block");
        };
        let damaged = |fault| self.damaged(&stored, fault);
        let block = stored.block();
        let header = block.header();
        let total = stored.total_difficulty();
        match of {
            Of::Block => {
                let senders = full.then(|| self.senders.of(&block)).transpose().map_err(damaged)?;
                let json = BlockJson::of(&block, total, senders.as_deref()).map_err(damaged)?;
                let json = to_raw_value(&json).expect("strings and numbers");
                self.blocks.insert((id, full), json.clone().into(), json.get().len());
                Ok(Found::Here(json))
            }
            Of::Header => here(&HeaderJson::of(header, total)),
            Of::TransactionCount => {
                let hashes = BlockJson::of(&block, total, None).map_err(damaged)?.transactions;
                let TransactionsJson::Hashes(hashes) = hashes else { unreachable!("no senders") };
                here(&Quantity(hashes.len() as u64))
            }
            Of::UncleCount => {
                here(&Quantity(block.ommers().items().map_or(0, Iterator::count) as u64))
            }
            Of::Uncle => {
                let ommers =
                    block.ommers().items().map_err(Fault::rlp("ommers")).map_err(damaged)?;
                let Some(ommer) = ommers.into_iter().nth(index) else { return null() };
                let ommer = ommer.map_err(Fault::rlp("ommers")).map_err(damaged)?;
                here(&BlockJson::of_ommer(ommer).map_err(damaged)?)
            }
            Of::Transaction | Of::RawTransaction => {
                let all = envelopes(block.transactions(), "transactions").map_err(damaged)?;
                let Some(raw) = all.get(index) else { return null() };
                if matches!(of, Of::RawTransaction) {
                    return here(&Data(raw));
                }
                let from = sender(&Transaction::decode(raw).map_err(damaged)?);
                here(&TransactionJson::of(header, index as u64, raw, from).map_err(damaged)?)
            }
            Of::RawBlock => here(&Data(stored.rlp())),
            Of::RawHeader => here(&Data(header.raw)),
        }
    }

    /// All receipts of a block.
    fn receipts<A: Archive + ?Sized>(&self, archive: &A, id: BlockId, raw: bool) -> Result {
        let Some(stored) = History::new(archive, &self.network).receipts(id)? else {
            return self.absent(archive, id, "block or receipts");
        };
        let damaged = |fault| self.damaged(stored.block(), fault);
        if raw {
            let list = super::rlp::Item::exact(stored.rlp()).map_err(Fault::rlp("receipts"));
            let each = list.and_then(|list| envelopes(list, "receipts")).map_err(damaged)?;
            return here(&each.into_iter().map(Data).collect::<Vec<_>>());
        }
        let block = stored.block().block();
        let senders = self.senders.of(&block).map_err(damaged)?;
        here(&ReceiptJson::all_of(&block, stored.rlp(), &senders).map_err(damaged)?)
    }

    /// A transaction by its hash.
    fn transaction<A: Archive + ?Sized>(
        &self,
        archive: &A,
        hash: Option<Hash32>,
        raw: bool,
    ) -> Result {
        let Some(hash) = hash else { return Ok(Found::NotHere) };
        match History::new(archive, &self.network).transaction(hash)? {
            None => Ok(Found::NotHere),
            Some(stored) if raw => here(&Data(stored.rlp())),
            Some(stored) => {
                here(&stored.json().map_err(|fault| self.damaged(stored.block(), fault))?)
            }
        }
    }

    /// The receipt of a transaction.
    fn receipt<A: Archive + ?Sized>(&self, archive: &A, hash: Option<Hash32>) -> Result {
        let history = History::new(archive, &self.network);
        let located = hash.map(|hash| history.locate(hash)).transpose()?.flatten();
        let Some(place) = located else { return Ok(Found::NotHere) };
        let id = BlockId::Height(place.height);
        let Some(stored) = history.receipts(id)? else {
            return self.absent(archive, id, "block or receipts");
        };
        let receipt = self.receipt_at(&stored, place.index as usize);
        receipt.map_err(|fault| self.damaged(stored.block(), fault))
    }

    fn receipt_at(
        &self,
        stored: &StoredReceipts,
        index: usize,
    ) -> std::result::Result<Found, Fault> {
        let block = stored.block().block();
        let raw = envelopes(block.transactions(), "transactions")?;
        let mut senders = vec![None; index];
        senders.push(sender(&Transaction::decode(raw.get(index).ok_or(Fault::Missing)?)?));
        let all = ReceiptJson::all_of(&block, stored.rlp(), &senders)?;
        let receipt = all.get(index).ok_or(Fault::Missing)?;
        Ok(Found::Here(to_raw_value(receipt).expect("strings and numbers")))
    }

    /// Whether something of a block that is not there is the node's, or missing between others.
    fn absent<A: Archive + ?Sized>(&self, archive: &A, id: BlockId, what: &str) -> Result {
        let Some(height) = History::new(archive, &self.network).height(id)? else {
            return Ok(Found::NotHere);
        };
        match archive.range(&self.tables.block, height, 1)?.is_empty() {
            true => Ok(Found::NotHere),
            false => Ok(Found::Gap(format!("{what} {id}"))),
        }
    }

    fn damaged(&self, stored: &StoredBlock, fault: Fault) -> Failure {
        EthereumError::stored(&self.tables.block, stored.block().header().number, fault).into()
    }
}

fn here(value: &impl Serialize) -> Result {
    Ok(Found::Here(to_raw_value(value).expect("strings and numbers")))
}

/// What nodes say to an index behind the last one.
fn null() -> Result {
    here(&())
}

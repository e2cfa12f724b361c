//! The blocks of a running node into the store, one after another, once they lie deep enough.
//!
//! ```text
//! getblockchaininfo, getblockhash 0   network, tip, what was pruned
//! per height: getblockhash            which block the node has there
//!             /rest/block or getblock 0   its bytes: proof of work, Merkle root, witness commitment, height, parent
//!             getblock 3              what it spends: undo data as the node keeps it on its disk
//! ```
//! It goes on after the highest block in the store. A block gets its height for ever, so one is taken only when so many lie over it
//! that the chain does not go back behind it; if it does all the same, that is an error. Memory: one block, and the node's
//! description of it.

use super::{
    block::Block,
    coin::{Coin, amount_of_text, write_coins},
    error::{BitcoinError, Fault},
    hash::Hash,
    network::Network,
    node::{ChainInfo, Node, NodeError, block_hash, from_hex, network_of, read, unexpected},
    put::{ChainBlock, put_block},
    query::History,
    tables::Tables,
};
use crate::archive::Archive;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Blocks over one before it is taken, where a network says less.
const CONFIRMATIONS_LEAST: u64 = 6;

/// How a node is followed.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FollowOptions {
    /// refuse a node of another network
    pub network: Option<Network>,
    /// blocks that must lie over one that is taken; the network's own number without it, but 6 at least
    pub confirmations: Option<u64>,
    /// where to begin in an empty store, or after a gap that a pruned node leaves
    pub from_height: Option<u64>,
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Followed {
    /// A block was stored.
    Block {
        /// its height
        height: u64,
        /// its length
        bytes: u64,
        /// the highest block that lies deep enough now
        deep: u64,
    },
    /// All that lies deep enough is stored.
    UpToDate {
        /// the highest stored block
        stored: Option<u64>,
        /// the node's tip
        tip: u64,
    },
}

/// Why following stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The node does not answer, or not well; trying again may help.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The store, or what it holds contradicts the node.
    #[error(transparent)]
    Archive(#[from] BitcoinError),
    /// A node of another network.
    #[error("the node is of {found}, expected {expected}")]
    OtherNetwork {
        /// asked for
        expected: Network,
        /// the node's
        found: Network,
    },
    /// What the node gives is not the block that it names.
    #[error("block {height}, as the node gives it: {fault}")]
    Block {
        /// its height
        height: u64,
        /// what is wrong
        fault: Box<Fault>,
    },
    /// The node has pruned what comes next.
    #[error("the node has pruned block {height}, its lowest one is {lowest}")]
    Pruned {
        /// what is needed next
        height: u64,
        /// from there on it has all
        lowest: u64,
    },
    /// The place to begin lies above what is stored, without a need.
    #[error("blocks up to {stored} are stored: beginning at {asked} would leave {} out", asked - stored - 1)]
    Gap {
        /// the highest stored block
        stored: u64,
        /// where to begin
        asked: u64,
    },
}

impl FollowError {
    /// Whether it may go by itself.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Node(_))
    }
}

/// Follows one node.
#[derive(Debug)]
pub struct Follower {
    network: Network,
    tables: Tables,
    confirmations: u64,
    /// the next height to be taken
    next: u64,
    /// the highest height that lies deep enough, as far as was asked
    deep: Option<u64>,
    tip: u64,
    /// the node's lowest block, where it prunes
    lowest: Option<u64>,
}

impl Follower {
    /// Looks where the store and the node are.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub fn new<A: Archive + ?Sized, N: Node + ?Sized>(
        archive: &A,
        node: &N,
        options: &FollowOptions,
    ) -> Result<Self, FollowError> {
        let info = ChainInfo::of(node)?;
        let network = network_of(node, &info)?;
        if let Some(expected) = options.network.filter(|&asked| asked != network) {
            return Err(FollowError::OtherNetwork { expected, found: network });
        }
        let stored = History::new(archive, network).tip()?;
        let next = match (stored, options.from_height) {
            (None, from) => from.unwrap_or(0),
            (Some(stored), None) => stored + 1,
            (Some(stored), Some(asked)) if asked <= stored + 1 => stored + 1,
            // a pruned node cannot give what lies between
            (Some(_), Some(asked)) if info.prune_height == Some(asked) => asked,
            (Some(stored), Some(asked)) => return Err(FollowError::Gap { stored, asked }),
        };
        let confirmations = options.confirmations;
        let confirmations =
            confirmations.unwrap_or_else(|| network.confirmations().max(CONFIRMATIONS_LEAST));
        let tables = Tables::of(network);
        let mut follower =
            Self { network, tables, confirmations, next, deep: None, tip: 0, lowest: None };
        follower.look(&info);
        Ok(follower)
    }

    /// The node's network.
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Takes the next block, if it lies deep enough. What was stored is durable after the archive's next commit.
    ///
    /// # Errors
    /// See [`FollowError`]; the block was not stored.
    pub fn step<A: Archive + ?Sized, N: Node + ?Sized>(
        &mut self,
        archive: &mut A,
        node: &N,
    ) -> Result<Followed, FollowError> {
        let height = self.next;
        if self.deep.is_none_or(|deep| height > deep) {
            let info = ChainInfo::of(node)?;
            self.look(&info);
            if self.deep.is_none_or(|deep| height > deep) {
                return Ok(Followed::UpToDate { stored: height.checked_sub(1), tip: self.tip });
            }
        }
        // the first block everybody has
        if let Some(lowest) = self.lowest.filter(|&lowest| height > 0 && height < lowest) {
            return Err(FollowError::Pruned { height, lowest });
        }
        let hash = block_hash(node, height)?;
        self.fits(archive, height, hash)?;
        let bytes = node.block(hash)?;
        let wrong = |fault| FollowError::Block { height, fault: Box::new(fault) };
        let block = Block::verified(&bytes, self.network).map_err(wrong)?;
        let (expected, found) = (hash, block.header.hash);
        if found != expected {
            return Err(wrong(Fault::Hash { expected, found }));
        }
        let (expected, found) = (height, block.coinbase_height);
        if expected >= self.network.coinbase_heights_from() && found != Some(expected) {
            return Err(wrong(Fault::Height { expected, found }));
        }
        self.links(archive, node, height, block.header.parent)?;
        // nothing is spent by what came first
        let undo = match height {
            0 => None,
            _ => Some(write_coins(&spent(node, hash, &block)?)),
        };
        let block = ChainBlock {
            hash,
            height,
            says_height: found == Some(height),
            transactions: &block.transactions,
            bytes: &bytes,
            undo: undo.as_deref(),
        };
        put_block(archive, &self.tables, &block)?;
        self.next += 1;
        let deep = self.deep.unwrap_or(height);
        Ok(Followed::Block { height, bytes: bytes.len() as u64, deep })
    }

    fn look(&mut self, info: &ChainInfo) {
        self.tip = info.blocks;
        self.lowest = info.prune_height;
        self.deep = info.blocks.checked_sub(self.confirmations);
    }

    /// No other block is stored at this height.
    fn fits<A: Archive + ?Sized>(
        &self,
        archive: &A,
        height: u64,
        found: Hash,
    ) -> Result<(), FollowError> {
        let stored = History::of(archive, self.network, &self.tables).header(height)?;
        match stored.map(|header| header.hash) {
            Some(stored) if stored != found => {
                Err(BitcoinError::Contradicts { height, stored, found }.into())
            }
            _ => Ok(()),
        }
    }

    /// The block below, if it is stored, is the parent.
    fn links<A: Archive + ?Sized, N: Node + ?Sized>(
        &self,
        archive: &A,
        node: &N,
        height: u64,
        parent: Hash,
    ) -> Result<(), FollowError> {
        let Some(below) = height.checked_sub(1) else { return Ok(()) };
        let stored = History::of(archive, self.network, &self.tables).header(below)?;
        let Some(stored) = stored.map(|header| header.hash).filter(|&stored| stored != parent)
        else {
            return Ok(());
        };
        // it may have changed its mind between two questions
        let found = block_hash(node, below)?;
        if found == stored {
            return Err(unexpected("getblockhash", "a block without its parent below it").into());
        }
        Err(BitcoinError::Contradicts { height: below, stored, found }.into())
    }
}

/// What a block's transactions but the coinbase spend, as the node tells.
fn spent<N: Node + ?Sized>(
    node: &N,
    hash: Hash,
    block: &Block,
) -> Result<Vec<Vec<Coin>>, FollowError> {
    const METHOD: &str = "getblock";
    #[derive(Deserialize)]
    struct Transactions<'a> {
        #[serde(borrow)]
        tx: Vec<Inputs<'a>>,
    }
    #[derive(Deserialize)]
    struct Inputs<'a> {
        txid: &'a str,
        #[serde(borrow)]
        vin: Vec<Input<'a>>,
    }
    #[derive(Deserialize)]
    struct Input<'a> {
        #[serde(borrow)]
        prevout: Option<Output<'a>>,
    }
    #[derive(Deserialize)]
    struct Output<'a> {
        generated: bool,
        height: u64,
        #[serde(borrow)]
        value: &'a RawValue,
        #[serde(borrow, rename = "scriptPubKey")]
        script: Script<'a>,
    }
    #[derive(Deserialize)]
    struct Script<'a> {
        hex: &'a str,
    }
    if block.transactions.len() == 1 {
        return Ok(Vec::new());
    }
    let coin = |input: &Input<'_>| {
        let output = input.prevout.as_ref()?;
        let amount = amount_of_text(output.value.get())?;
        let script = from_hex(output.script.hex)?;
        Some(Coin { height: output.height, coinbase: output.generated, amount, script })
    };
    let described = node.call(METHOD, format!(r#"["{hash}",3]"#))?;
    let Transactions { tx } = read(METHOD, &described)?;
    if tx.len() != block.transactions.len() {
        return Err(unexpected(METHOD, "another number of transactions").into());
    }
    let mut all = Vec::with_capacity(tx.len() - 1);
    for (described, transaction) in tx.iter().zip(&block.transactions).skip(1) {
        let coins: Option<Vec<Coin>> = described.vin.iter().map(coin).collect();
        let coins = coins.filter(|coins| coins.len() == transaction.inputs as usize);
        let named = described.txid.parse() == Ok(transaction.txid);
        let coins = coins.filter(|_| named).ok_or_else(|| {
            let txid = transaction.txid;
            unexpected(METHOD, format!("it does not say what each input of {txid} spends"))
        })?;
        all.push(coins);
    }
    Ok(all)
}

//! A live node's history into the store, by its JSON-RPC.
//!
//! ```text
//! eth_blockNumber --> blocks with enough confirmations --> eth_getBlockByNumber, eth_getBlockReceipts, many in a request
//!                                                                 |
//!             RLP as it was hashed <--rebuilt from the JSON-------+
//!                    |
//!                    +--> hash, parent, all roots --> the store, one block a put
//! ```
//! Nothing that the node says is believed: a field too few or wrong gives another hash. What is stored never changes: a node that
//! reorganises deeper than the confirmations, or is of another chain, is refused.

mod fill;
mod hex;
mod rebuild;

use super::{
    block::Block,
    error::{EthereumError, Fault},
    hash::Hash32,
    import::CheckedBlock,
    json::Quantity,
    network::Network,
    rpc::quantity,
    tables::{NewBlocks, StoredParts, Tables},
    uint::U256,
};
use crate::archive::{Archive, ArchiveError};
use prunedb_rpc::{CallError, Caller, UpstreamError};
pub use rebuild::RebuildError;
use rebuild::{Rebuilt, rebuild, uncle_count};
use serde_json::value::RawValue;

/// Blocks of one request.
const BATCH_BLOCKS: u64 = 16;
/// Most ommers of a block, by the protocol.
const UNCLES_MAX: usize = 2;

/// How to follow.
#[derive(Clone, Copy, Debug)]
pub struct FollowOptions {
    /// The first block where nothing is stored; what is stored goes on at its end.
    pub from: Option<u64>,
    /// Blocks that must lie over a block before it is archived.
    pub confirmations: u64,
}

/// How far a round has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FollowReport {
    /// The first and the last block that were stored; `None` if none was.
    pub heights: Option<(u64, u64)>,
    /// Blocks that were stored.
    pub blocks: u64,
    /// Their transactions.
    pub transactions: u64,
    /// Bytes of values put.
    pub bytes: u64,
    /// The node's highest block.
    pub head: u64,
    /// The highest with enough confirmations.
    pub target: Option<u64>,
}

/// Why following stopped. Blocks that were stored before stay; the next round goes on after them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The node does not answer, or refuses.
    #[error(transparent)]
    Node(#[from] CallError),
    /// It has no such block.
    #[error("{node} has no block {height}{}", receipts_too(*.receipts))]
    Absent {
        /// the node
        node: String,
        /// the block
        height: u64,
        /// it has the block, without receipts
        receipts: bool,
    },
    /// What it says is no block, number, or receipt.
    #[error("{node}: its answer for block {height} cannot be one: {source}")]
    Malformed {
        /// the node
        node: String,
        /// the block
        height: u64,
        /// what is wrong
        source: RebuildError,
    },
    /// A block that is not what it promises.
    #[error("{node}: block {height} is not what it promises, and was not stored: {fault}")]
    Block {
        /// the node
        node: String,
        /// the block
        height: u64,
        /// what is wrong
        fault: Box<Fault>,
    },
    /// A block on top of another one than is stored.
    #[error(
        "{node}: block {height} lies on {found}, stored is {stored}: the node has reorganised below {confirmations} confirmations, or is of another chain; nothing was changed"
    )]
    Reorganised {
        /// the node
        node: String,
        /// the upper block
        height: u64,
        /// what is stored below it
        stored: Hash32,
        /// what it says is below it
        found: Hash32,
        /// confirmations that were asked for
        confirmations: u64,
    },
    /// Another block than the stored one.
    #[error(
        "{node}: block {height} is {found}, stored is {stored}: the node is of another chain; nothing was changed"
    )]
    Contradicts {
        /// the node
        node: String,
        /// the block
        height: u64,
        /// the stored one
        stored: Hash32,
        /// the node's
        found: Hash32,
    },
    /// Another block than the one that the stored block above it lies on.
    #[error(
        "{node}: block {height} is {found}, the archived block above it lies on {expected}: the node is of another chain; nothing was changed"
    )]
    NotBelow {
        /// the node
        node: String,
        /// the block
        height: u64,
        /// by the block above
        expected: Hash32,
        /// the node's
        found: Hash32,
    },
    /// The node is of another network than was asked for.
    #[error("{node} has chain id {found}, {network} has {expected}")]
    OtherNetwork {
        /// the node
        node: String,
        /// what was asked for
        network: Network,
        /// its number
        expected: u64,
        /// the node's
        found: u64,
    },
    /// A stored block is damaged.
    #[error(transparent)]
    Stored(#[from] EthereumError),
    /// The store failed.
    #[error("the store failed: {0}")]
    Archive(#[from] ArchiveError),
}

impl FollowError {
    /// Whether the same may well succeed a little later.
    pub const fn is_passing(&self) -> bool {
        let Self::Node(CallError::Upstream(error)) = self else { return false };
        matches!(error, UpstreamError::Unreachable { .. } | UpstreamError::Slow { .. })
    }
}

const fn receipts_too(receipts: bool) -> &'static str {
    if receipts { " with receipts: it may have pruned them" } else { ": it may have pruned it" }
}

/// Follows one node for one network.
#[derive(Debug)]
pub struct Follower<'a> {
    node: &'a Caller,
    network: &'a Network,
    tables: Tables,
    options: FollowOptions,
}

/// Says what a node's network is called here: by the name of its chain id, or `chain-` and the number.
///
/// # Errors
/// When the node does not answer.
pub fn network_of(node: &Caller) -> Result<Network, FollowError> {
    let id = chain_id(node)?;
    let name = || format!("chain-{id}").parse().expect("letters, a dash and digits");
    Ok(Network::of_chain_id(id).unwrap_or_else(name))
}

fn chain_id(node: &Caller) -> Result<u64, FollowError> {
    number(node, "eth_chainId")
}

fn number(node: &Caller, method: &str) -> Result<u64, FollowError> {
    let answer = node.call(method, [(); 0])?;
    let text: Option<String> = serde_json::from_str(answer.get()).ok();
    text.as_deref().and_then(quantity).ok_or_else(|| FollowError::Malformed {
        node: node.upstream().to_string(),
        height: 0,
        source: RebuildError::new(format!("{method} is {}, not a number", shortened(answer.get()))),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

impl<'a> Follower<'a> {
    /// Follows this node.
    ///
    /// # Errors
    /// When the node does not answer, or is known to be of another network.
    pub fn new(
        node: &'a Caller,
        network: &'a Network,
        options: FollowOptions,
    ) -> Result<Self, FollowError> {
        let found = chain_id(node)?;
        if let Some(expected) = network.chain_id().filter(|&expected| expected != found) {
            let (node, network) = (node.upstream().to_string(), network.clone());
            return Err(FollowError::OtherNetwork { node, network, expected, found });
        }
        Ok(Self { node, network, tables: Tables::of(network), options })
    }

    /// Archives all blocks that have enough confirmations now. They are durable when this returns.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub fn round<A: Archive + ?Sized>(
        &self,
        archive: &mut A,
        progress: &mut dyn FnMut(&FollowReport),
    ) -> Result<FollowReport, FollowError> {
        let head = number(self.node, "eth_blockNumber")?;
        let target = head.checked_sub(self.options.confirmations);
        let mut report = FollowReport { head, target, ..FollowReport::default() };
        let Some(target) = target else { return Ok(report) };
        let stored = highest(archive, &self.tables.block)?;
        let mut next = match stored {
            None => self.options.from.unwrap_or(0),
            Some(highest) => highest.saturating_add(1),
        };
        let mut batch_blocks = BATCH_BLOCKS;
        let mut below = self.link_below(archive, next)?;
        while next <= target {
            let last = target.min(next.saturating_add(batch_blocks - 1));
            let Some(blocks) = self.fetch_or_less(next, last, &mut batch_blocks)? else { continue };
            for (height, rebuilt) in (next..).zip(&blocks) {
                let put = self.take(archive, height, rebuilt, below)?;
                below = Some(put.link);
                report.heights = Some((report.heights.map_or(height, |(first, _)| first), height));
                report.blocks += 1;
                report.transactions += put.transactions;
                report.bytes += put.bytes;
            }
            archive.commit()?;
            progress(&report);
            next = last + 1;
        }
        // the node's view of what is stored, where nothing was to be done
        if let (0, Some(stored)) = (report.blocks, stored.filter(|&stored| stored <= head)) {
            self.compare(archive, stored)?;
        }
        Ok(report)
    }

    /// As [`Self::fetch`]; `None` where the answer is too long: fewer blocks are to be asked for.
    fn fetch_or_less(
        &self,
        first: u64,
        last: u64,
        batch_blocks: &mut u64,
    ) -> Result<Option<Vec<Rebuilt>>, FollowError> {
        match self.fetch(first, last) {
            Err(FollowError::Node(CallError::Upstream(UpstreamError::TooLong { .. })))
                if *batch_blocks > 1 =>
            {
                *batch_blocks /= 2;
                Ok(None)
            }
            fetched => fetched.map(Some),
        }
    }

    /// Asks for blocks and their receipts, in one request; and for ommers, where there are any.
    fn fetch(&self, first: u64, last: u64) -> Result<Vec<Rebuilt>, FollowError> {
        let of_block = |height| {
            let height = serde_json::Value::from(Quantity(height).to_string());
            [
                ("eth_getBlockByNumber", vec![height.clone(), true.into()]),
                ("eth_getBlockReceipts", vec![height]),
            ]
        };
        let calls: Vec<_> = (first..=last).flat_map(of_block).collect();
        let answers = self.node.batch(&calls)?;
        (first..)
            .zip(answers.chunks_exact(2))
            .map(|(height, answers)| self.rebuild(height, &answers[0], &answers[1]))
            .collect()
    }

    fn rebuild(
        &self,
        height: u64,
        block: &RawValue,
        receipts: &RawValue,
    ) -> Result<Rebuilt, FollowError> {
        for (answer, of_receipts) in [(block, false), (receipts, true)] {
            if answer.get() == "null" {
                let node = self.node.upstream().to_string();
                return Err(FollowError::Absent { node, height, receipts: of_receipts });
            }
        }
        let malformed = |source| FollowError::Malformed {
            node: self.node.upstream().to_string(),
            height,
            source,
        };
        let count = uncle_count(block).map_err(malformed)?;
        if count > UNCLES_MAX {
            return Err(malformed(RebuildError::new(format!("it has {count} ommers"))));
        }
        let of_uncles: Vec<_> = (0..count as u64)
            .map(|index| ("eth_getUncleByBlockNumberAndIndex", [Quantity(height), Quantity(index)]))
            .collect();
        let uncles = self.node.batch(&of_uncles)?;
        rebuild(block, receipts, &uncles).map_err(malformed)
    }

    /// Verifies a block by itself.
    fn check<'r>(
        &self,
        height: u64,
        rebuilt: &'r Rebuilt,
    ) -> Result<(Block<'r>, CheckedBlock), FollowError> {
        let bad = |fault| self.bad(height, fault);
        let block = Block::from_rlp(&rebuilt.block).map_err(bad)?;
        let header = block.header();
        if header.hash != rebuilt.hash {
            let (expected, found) = (rebuilt.hash, header.hash);
            return Err(bad(Fault::Root { what: "block hash", expected, found }));
        }
        if header.number != height {
            return Err(bad(Fault::Height { expected: height, found: header.number }));
        }
        let checked =
            CheckedBlock::verify(&block, Some(&rebuilt.receipts), self.network.chain_id())
                .map_err(|(_, fault)| bad(fault))?;
        if let (0, Some(expected)) = (height, self.network.genesis())
            && expected != checked.hash
        {
            let (network, found) = (self.network.name().into(), checked.hash);
            return Err(bad(Fault::Genesis { network, expected, found }));
        }
        Ok((block, checked))
    }

    fn bad(&self, height: u64, fault: Fault) -> FollowError {
        let node = self.node.upstream().to_string();
        FollowError::Block { node, height, fault: Box::new(fault) }
    }

    /// Verifies a block and puts it.
    fn take<A: Archive + ?Sized>(
        &self,
        archive: &mut A,
        height: u64,
        rebuilt: &Rebuilt,
        below: Option<Link>,
    ) -> Result<Put, FollowError> {
        let (block, checked) = self.check(height, rebuilt)?;
        if let Some(stored) = below.map(|below| below.hash)
            && stored != checked.parent_hash
        {
            let (found, confirmations) = (checked.parent_hash, self.options.confirmations);
            return Err(FollowError::Reorganised {
                node: self.node.upstream().to_string(),
                height,
                stored,
                found,
                confirmations,
            });
        }
        let total = rebuilt.total_difficulty.filter(|&total| {
            let before = match below {
                Some(below) => below.total,
                None => (height == 0).then_some(U256::default()),
            };
            before.and_then(|before| before.checked_add(checked.difficulty)) == Some(total)
        });
        let bytes = self.put(archive, &block, rebuilt, total)?;
        let link = Link { hash: checked.hash, total };
        Ok(Put { link, transactions: checked.transactions, bytes })
    }

    /// Puts a verified block that is not stored; gives the bytes put.
    fn put<A: Archive + ?Sized>(
        &self,
        archive: &mut A,
        block: &Block<'_>,
        rebuilt: &Rebuilt,
        total: Option<U256>,
    ) -> Result<u64, FollowError> {
        let mut new = NewBlocks::default();
        new.push(block, Some(&rebuilt.receipts), total, None)
            .map_err(|fault| self.bad(block.header().number, fault))?;
        new.iter().try_fold(0, |bytes, new| {
            Ok(bytes + new.put(archive, &self.tables, StoredParts::default())?)
        })
    }

    /// What is stored right below a height.
    fn link_below<A: Archive + ?Sized>(
        &self,
        archive: &A,
        height: u64,
    ) -> Result<Option<Link>, FollowError> {
        let Some(below) = height.checked_sub(1) else { return Ok(None) };
        let Some(hash) = self.stored_hash(archive, below)? else { return Ok(None) };
        let total = archive.get(&self.tables.total_difficulty, &below.to_be_bytes())?;
        let total = total.and_then(|bytes| U256::from_be_slice(&bytes));
        Ok(Some(Link { hash, total }))
    }

    fn stored_hash<A: Archive + ?Sized>(
        &self,
        archive: &A,
        height: u64,
    ) -> Result<Option<Hash32>, FollowError> {
        let table = &self.tables.block;
        let Some(rlp) = archive.get(table, &height.to_be_bytes())? else { return Ok(None) };
        let block =
            Block::from_rlp(&rlp).map_err(|fault| EthereumError::stored(table, height, fault))?;
        Ok(Some(block.header().hash))
    }

    /// Whether the node still has the block that is stored.
    fn compare<A: Archive + ?Sized>(&self, archive: &A, height: u64) -> Result<(), FollowError> {
        let answer = self.node.call("eth_getBlockByNumber", (Quantity(height), false))?;
        let Some(stored) = self.stored_hash(archive, height)? else { return Ok(()) };
        // it may have pruned it
        let Ok(found) = rebuild::claimed_hash(&answer) else { return Ok(()) };
        if found == stored {
            return Ok(());
        }
        let node = self.node.upstream().to_string();
        Err(FollowError::Contradicts { node, height, stored, found })
    }
}

/// A block as the one above it sees it.
#[derive(Clone, Copy)]
struct Link {
    hash: Hash32,
    total: Option<U256>,
}

struct Put {
    link: Link,
    transactions: u64,
    bytes: u64,
}

/// The highest height of a sequence table; cost: 64 lookups at most.
fn highest<A: Archive + ?Sized>(archive: &A, table: &str) -> Result<Option<u64>, ArchiveError> {
    let at_or_above = |height| Ok::<_, ArchiveError>(!archive.range(table, height, 1)?.is_empty());
    if !at_or_above(0)? {
        return Ok(None);
    }
    // there is one at or above `low`, and none above `high`
    let (mut low, mut high) = (0, u64::MAX);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match at_or_above(middle)? {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    Ok(Some(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{MemoryArchive, Record};

    #[test]
    fn the_highest_is_found_across_gaps() {
        let mut archive = MemoryArchive::default();
        assert_eq!(highest(&archive, "t").unwrap(), None);
        for height in [0, 7, 1 << 40, u64::MAX] {
            archive.put(&[Record::sequence("t", height, vec![1])]).unwrap();
            assert_eq!(highest(&archive, "t").unwrap(), Some(height));
        }
    }
}

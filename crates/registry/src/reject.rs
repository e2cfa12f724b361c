//! Why a transaction is refused. The state is as it was.

use crate::{
    ids::{Amount, Key},
    params::ParamsError,
};
use prunedb_core::Term;
use prunedb_placement::{ElectError, NodeId};
use prunedb_proof::{RootError, SampleError};

/// A refused transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// Blocks come one after another.
    #[error("height {found}, the state is at {expected}")]
    Height {
        /// the height it should have
        expected: u64,
        /// the height given
        found: u64,
    },
    /// Too late.
    #[error("valid up to height {valid_until}, this is {height}")]
    Expired {
        /// its last height
        valid_until: u64,
        /// the height now
        height: u64,
    },
    /// Replayed, or one is missing before it.
    #[error("nonce {found}, expected {expected}")]
    Nonce {
        /// the account's next nonce
        expected: u64,
        /// the one given
        found: u64,
    },
    /// No such account.
    #[error("account {0} is unknown")]
    Account(Key),
    /// Who signed may not do this.
    #[error("not signed by {0}")]
    Signer(&'static str),
    /// No such node.
    #[error("node {0} is unknown, or has left")]
    Node(NodeId),
    /// A node with this key is there already.
    #[error("key {0} is in use")]
    KeyInUse(Key),
    /// A bound of the state is reached.
    #[error("no room for more {0}")]
    Full(&'static str),
    /// An amount beyond 64 bits.
    #[error("the amount overflows")]
    Overflow,
    /// Not enough money.
    #[error("{found} is there, {needed} is needed")]
    Funds {
        /// what is needed
        needed: Amount,
        /// what there is
        found: Amount,
    },
    /// A number out of its range.
    #[error("{what} is {found}, expected {expected}")]
    Value {
        /// which one
        what: &'static str,
        /// what it must be
        expected: u64,
        /// what it is
        found: u64,
    },
    /// Not now.
    #[error("{0}")]
    Phase(&'static str),
    /// Not the term that holds.
    #[error("term {found}, the lease has {expected}")]
    Term {
        /// the lease's
        expected: Term,
        /// the one given
        found: Term,
    },
    /// No such group, slot, or not this holder's.
    #[error("group {group} slot {slot} is not held by {node}")]
    Slot {
        /// which group
        group: u32,
        /// which slot
        slot: u8,
        /// who claims it
        node: NodeId,
    },
    /// A proof's answer is about another container.
    #[error("answer {position}: {source}")]
    Root {
        /// which answer
        position: u16,
        /// what is wrong
        source: RootError,
    },
    /// A proof's answer does not show its sample.
    #[error("answer {position}: {source}")]
    Sample {
        /// which answer
        position: u16,
        /// what is wrong
        source: SampleError,
    },
    /// A dispute of a report that is not there, not yet, or not any more.
    #[error("heavy node {heavy} has no report of epoch {epoch} that may be disputed")]
    NoReport {
        /// whose
        heavy: NodeId,
        /// of which epoch
        epoch: u32,
    },
    /// A dispute about a cell that the report did not have paid.
    #[error("the report of heavy node {heavy} of epoch {epoch} had cell {cell} not paid")]
    NotPaid {
        /// whose
        heavy: NodeId,
        /// of which epoch
        epoch: u32,
        /// which cell
        cell: u64,
    },
    /// A dispute with an answer that the heavy node did not commit to.
    #[error("the answer is not under the root of heavy node {heavy} of epoch {epoch}")]
    NotCommitted {
        /// whose
        heavy: NodeId,
        /// of which epoch
        epoch: u32,
    },
    /// A dispute of a report that is right.
    #[error("heavy node {heavy} had proof of cell {cell} in epoch {epoch}: the report is right")]
    NoLie {
        /// whose
        heavy: NodeId,
        /// of which epoch
        epoch: u32,
        /// which cell
        cell: u64,
    },
    /// There are too few nodes.
    #[error(transparent)]
    Election(#[from] ElectError),
    /// The parameters make no sense.
    #[error(transparent)]
    Params(#[from] ParamsError),
}

/// Refuses unless two numbers are equal.
pub(crate) fn expect_value(
    what: &'static str,
    found: impl Into<u64>,
    expected: impl Into<u64>,
) -> Result<(), Reject> {
    let (found, expected) = (found.into(), expected.into());
    if found == expected { Ok(()) } else { Err(Reject::Value { what, expected, found }) }
}

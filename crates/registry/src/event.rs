//! What a block changed, for those who act on it. Effects are taken from the state; events say where to look.

use crate::ids::{Amount, Key};
use prunedb_core::{Digest, Term};
use prunedb_placement::NodeId;

/// Events in the order in which they happened.
pub type Events = Vec<Event>;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node joined.
    Joined(NodeId),
    /// A node wants to leave: its slots are elected anew, and it owes them until they are filled.
    Leaving(NodeId),
    /// A node is gone; its stake went back to its owner.
    Gone(NodeId),
    /// A slot has a new holder, or none.
    Assigned {
        /// which group
        group: u32,
        /// which slot
        slot: u8,
        /// who held it
        from: Option<NodeId>,
        /// who is to fill it
        to: Option<NodeId>,
    },
    /// A holder has everything that its slot ever got.
    Filled {
        /// which group
        group: u32,
        /// which slot
        slot: u8,
    },
    /// Blocks were archived; their holders' receipts are awaited.
    Closing {
        /// which batch
        batch: u32,
        /// its group
        group: u32,
        /// its root
        root: Digest,
    },
    /// A batch is closed.
    Closed {
        /// which batch
        batch: u32,
    },
    /// An epoch began.
    EpochStarted(u32),
    /// The epoch's seed is fixed: nodes may prove.
    SeedFixed {
        /// which epoch
        epoch: u32,
        /// its seed
        seed: [u8; 32],
    },
    /// A validator committed to a secret and did not reveal it.
    SeedWithheld(Key),
    /// A node proved all that it owes.
    Proven(NodeId),
    /// A node did not prove in time.
    Missed(NodeId),
    /// A reader says that a node did not give a shard: it is challenged in the next epoch.
    FaultReported {
        /// which node
        node: NodeId,
        /// who says so
        reporter: Key,
    },
    /// A node that was reported did not prove.
    FaultConfirmed {
        /// which node
        node: NodeId,
        /// who had said so
        reporter: Key,
    },
    /// A heavy node is to show what it committed to of a cell.
    AnswerDemanded {
        /// which heavy node
        heavy: NodeId,
        /// of which epoch
        epoch: u32,
        /// of which cell
        cell: u64,
    },
    /// A heavy node's report was shown to be a lie: it loses its stake, its cells end, and it leaves.
    Convicted {
        /// which node
        node: NodeId,
        /// who showed it
        by: Key,
    },
    /// A node lost part of its stake.
    Slashed {
        /// which node
        node: NodeId,
        /// how much
        amount: Amount,
    },
    /// The epoch's proofs are all there, or late.
    EpochSettled {
        /// which epoch
        epoch: u32,
        /// paid to holders
        paid: Amount,
        /// owed and not in the escrow
        short: Amount,
    },
    /// Batches below this number may be pruned.
    PrunableUpTo(u32),
    /// Money came in.
    Deposited(Key, Amount),
    /// Money is to be paid out.
    Withdrawn(Key, Amount),
    /// The right to write went to a validator.
    Leased {
        /// who
        holder: Key,
        /// the new term
        term: Term,
    },
    /// The manifest has a new head.
    Head {
        /// its number
        number: u64,
        /// its root
        root: Digest,
    },
    /// Other parameters hold from now on.
    ParamsChanged,
    /// Other validators from now on.
    ValidatorsChanged,
    /// The rent of a cell began.
    CellRented(u64),
    /// A cell has another heavy node.
    CellAdopted(u64),
    /// The rent of a cell ended.
    CellEnded(u64),
}

//! What is asked of a validator over the network, and what it answers: canonical bytes, as in transactions.
//!
//! Every answer is bounded: lists come in pages, waits end after [`WAIT_MS_MAX`].

use crate::history::Happened;
use prunedb_core::{Digest, LakeId};
use prunedb_registry::{
    Account, Amount, Batch, CellReport, CloseBatch, Endpoint, Epoch, Head, Key, Lease, Node,
    NodeId, OwedSample, Params, RentedCell, Repair, SlotGroup,
    canonical::{canonical_enum, canonical_struct},
};

/// Longest wait for something to happen.
pub const WAIT_MS_MAX: u32 = 10_000;
/// Most batches, or events, or cells of one answer.
pub const PAGE_MAX: u32 = 1_000;
/// Most bytes of one part of a snapshot, or of blocks; a block may go beyond.
pub const PART_BYTES_MAX: usize = 4 << 20;
/// Most batches that one answer tells a holder about.
pub const DUTY_BATCHES_MAX: usize = 64;

canonical_enum! {
    /// A question, or an order.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Request, "kind of request" {
        /// How things stand.
        1 Status {},
        /// Hands in a transaction.
        2 Submit {
            /// its bytes
            tx: Vec<u8>,
        },
        /// What became of a transaction; waits for it.
        3 Outcome {
            /// H("prunedb v1 transaction bytes", its bytes)
            tx: Digest,
            /// how long
            wait_ms: u32,
        },
        /// An account.
        4 Account {
            /// whose
            key: Key,
        },
        /// The rules that hold.
        5 Params {},
        /// All nodes and groups.
        6 Placement {},
        /// Closed batches.
        7 Batches {
            /// the first one
            first: u32,
            /// how many, at most [`PAGE_MAX`]
            count: u32,
        },
        /// The running epoch.
        8 Epoch {},
        /// What a node has to do.
        9 Duty {
            /// its key
            key: Key,
        },
        /// The samples that a node owes in this epoch.
        10 Challenge {
            /// which node
            node: NodeId,
            /// where each sample depends on the one before: those that are shown already
            shown: Vec<[u8; 1024]>,
        },
        /// The names of a batch's shards.
        11 Names {
            /// its root
            root: Digest,
        },
        /// Tells the names of a batch's shards.
        12 OfferNames {
            /// which batch, closed or closing
            batch: u32,
            /// data shards first
            names: Vec<Digest>,
        },
        /// What happened; waits until something did.
        13 History {
            /// the first event that is wanted
            from: u64,
            /// how many, at most [`PAGE_MAX`]
            count: u32,
            /// how long
            wait_ms: u32,
        },
        /// Asks the validator to sign the closing of a batch.
        14 Cosign {
            /// the closing
            proposal: Proposal,
        },
        /// Rented cells.
        15 Cells {
            /// the first number
            first: u64,
            /// how many, at most [`PAGE_MAX`]
            count: u32,
        },
        /// Waits until the height is at least this.
        16 Height {
            /// which height
            at_least: u64,
            /// how long
            wait_ms: u32,
        },
        /// The last report of each heavy node about the cells that it checks.
        17 CellReports {},
        /// The answers about its cells that a heavy node has to show.
        18 CellDemands {
            /// which heavy node
            heavy: NodeId,
        },
        /// A part of a snapshot of the state, [`PART_BYTES_MAX`] at most.
        19 Snapshot {
            /// after which height; none: the newest one whose root was agreed on since then
            height: Option<u64>,
            /// where in its bytes
            offset: u64,
        },
        /// Blocks one after another, a sitting of them at most, as many as [`PART_BYTES_MAX`] bytes take; refused where the first one
        /// was pruned.
        20 Blocks {
            /// the first one's height
            from: u64,
        },
    }
}

canonical_enum! {
    /// An answer.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Answer, "kind of answer" {
        /// No.
        1 Refused {
            /// why
            reason: String,
        },
        /// See [`Request::Status`].
        2 Status {
            /// it
            status: Box<Status>,
        },
        /// The transaction waits for a block.
        3 Accepted {
            /// its name
            tx: Digest,
        },
        /// See [`Request::Outcome`]; none: not in a block yet, or long ago.
        4 Outcome {
            /// it
            outcome: Option<Outcome>,
        },
        /// See [`Request::Account`]; none: there is no such account.
        5 Account {
            /// height of the state
            height: u64,
            /// it
            account: Option<Account>,
        },
        /// See [`Request::Params`].
        6 Params {
            /// they
            params: Box<Params>,
        },
        /// See [`Request::Placement`].
        7 Placement {
            /// it
            placement: Placement,
        },
        /// See [`Request::Batches`].
        8 Batches {
            /// how many there are
            count: u32,
            /// those asked for
            batches: Vec<Batch>,
            /// the one that is closing
            closing: Option<Batch>,
        },
        /// See [`Request::Epoch`].
        9 Epoch {
            /// it
            epoch: Box<Epoch>,
        },
        /// See [`Request::Duty`]; none: no node has the key.
        10 Duty {
            /// it
            duty: Option<Duty>,
        },
        /// See [`Request::Challenge`].
        11 Challenge {
            /// the samples; where each depends on the one before: one more than were shown
            samples: Vec<OwedSample>,
        },
        /// See [`Request::Names`]; empty: not known here.
        12 Names {
            /// data shards first
            names: Vec<Digest>,
        },
        /// Done.
        13 Done {},
        /// See [`Request::History`].
        14 History {
            /// oldest first
            events: Vec<Happened>,
            /// number of the next one that will happen
            next: u64,
        },
        /// The validator's signature under a closing.
        15 Cosigned {
            /// its key
            key: Key,
            /// the signature
            signature: [u8; 64],
        },
        /// See [`Request::Cells`].
        16 Cells {
            /// numbers and contracts
            cells: Vec<(u64, RentedCell)>,
        },
        /// The height that was reached.
        17 Height {
            /// it
            height: u64,
        },
        /// The last report of each heavy node.
        18 CellReports {
            /// by the heavy node's number
            reports: Vec<(NodeId, CellReport)>,
        },
        /// Answers to be shown.
        19 CellDemands {
            /// epoch and cell
            demands: Vec<(u32, u64)>,
        },
        /// See [`Request::Snapshot`].
        20 Snapshot {
            /// after which height
            height: u64,
            /// length of all of it
            total: u64,
            /// the part
            bytes: Vec<u8>,
        },
        /// See [`Request::Blocks`]; none: the first one is not final yet.
        21 Blocks {
            /// each with its proof
            blocks: Vec<(Vec<u8>, Vec<u8>)>,
        },
    }
}

canonical_struct! {
    /// How things stand at a validator.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Status {
        /// the validator's own key
        pub key: Key,
        /// names the registry
        pub registry: Digest,
        /// its lake
        pub lake: LakeId,
        /// the height it is at
        pub height: u64,
        /// root of the state after the last checkpoint
        pub root: Digest,
        /// height of that checkpoint
        pub root_height: u64,
        /// who votes
        pub validators: Vec<Key>,
        /// nodes that take part
        pub nodes: u32,
        /// nodes that do not answer challenges, or leave
        pub failing_nodes: u32,
        /// placement groups
        pub groups: u32,
        /// slots that are to be filled
        pub repairs: u32,
        /// closed batches
        pub batches: u32,
        /// the batch that is closing
        pub closing: Option<u32>,
        /// batches below this may be pruned
        pub prunable_up_to: u32,
        /// the running epoch
        pub epoch: EpochStatus,
        /// the right to write
        pub lease: Option<Lease>,
        /// the manifest's newest head
        pub head: Option<Head>,
        /// money of holders
        pub escrow: Amount,
        /// transactions that wait for a block
        pub waiting_txs: u32,
        /// why this validator did not sign the closing that it was asked for last
        pub unsigned: Option<String>,
        /// why there are no more blocks
        pub failure: Option<String>,
    }
}

canonical_struct! {
    /// How far an epoch is.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct EpochStatus {
        /// its number
        pub number: u32,
        /// height at which it began
        pub started: u64,
        /// its seed is fixed
        pub has_seed: bool,
        /// nodes that owe a proof
        pub owing: u32,
        /// nodes that gave it
        pub proven: u32,
        /// proofs are all there, or late
        pub settled: bool,
        /// once settled: groups with fewer good shards than they must have
        pub weak_groups: u32,
    }
}

canonical_struct! {
    /// What became of a transaction.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Outcome {
        /// height of its block
        pub height: u64,
        /// why it was refused
        pub refused: Option<Refused>,
    }
}

canonical_struct! {
    /// A refused transaction.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Refused {
        /// another transaction of the sender came first: sign it anew, and send it again
        pub is_nonce: bool,
        /// in words
        pub reason: String,
    }
}

canonical_struct! {
    /// All nodes and groups at a height.
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub struct Placement {
        /// the height
        pub height: u64,
        /// all that ever joined, by number
        pub nodes: Vec<Node>,
        /// by number
        pub groups: Vec<SlotGroup>,
        /// slots that are to be filled
        pub repairs: Vec<((u32, u8), Repair)>,
    }
}

canonical_struct! {
    /// What a node has to do.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Duty {
        /// its number
        pub node: NodeId,
        /// where the registry thinks it is
        pub endpoint: Endpoint,
        /// the lake
        pub lake: LakeId,
        /// the registry
        pub registry: Digest,
        /// the height
        pub height: u64,
        /// the running epoch
        pub epoch: u32,
        /// samples of a proof: none is due now
        pub samples: u16,
        /// each depends on the one before
        pub sequential: bool,
        /// slots of which it has not acknowledged everything
        pub slots: Vec<SlotDuty>,
    }
}

canonical_struct! {
    /// A slot that is not filled yet.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct SlotDuty {
        /// its group
        pub group: u32,
        /// which slot
        pub slot: u8,
        /// batches of the group that the node has acknowledged
        pub acknowledged: u32,
        /// the batches after these, at most [`DUTY_BATCHES_MAX`] in an answer: numbers and records
        pub missing: Vec<(u32, Batch)>,
        /// the group's policy
        pub policy: prunedb_core::Policy,
    }
}

canonical_struct! {
    /// A closing that validators are to sign.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Proposal {
        /// nonce of the transaction
        pub nonce: u64,
        /// the last height at which it counts
        pub valid_until: u64,
        /// the closing
        pub close: CloseBatch,
        /// names of the batch's shards, data shards first
        pub names: Vec<Digest>,
        /// the writer's signature of the transaction: without it no validator begins to code anything
        pub signature: [u8; 64],
    }
}

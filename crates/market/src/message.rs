//! What is asked of a heavy node, and what it answers: canonical bytes, as in transactions, in frames over TLS 1.3 between
//! pinned keys, so that each side knows the other's key. `docs/format/market-protocol.md` has the tables.
//!
//! Light nodes only ever ask, so that they may be behind a NAT: what a heavy node wants of a child is a [`Job`], given as the
//! answer to its heartbeat.

use crate::{
    checks::Evidence,
    children::Summary,
    lookup::{Found, Lookup, Wish},
};
use prunedb_access::{CAPABILITY_BYTES, SIGNATURE_BYTES};
use prunedb_core::Digest;
pub use prunedb_registry::Shown;
use prunedb_registry::{
    Amount, Cell, Endpoint, Key, NodeId,
    canonical::{canonical_enum, canonical_struct},
};

/// Longest request: the samples of a check.
pub(crate) const REQUEST_BYTES_MAX: usize = 256 << 10;
/// Longest answer: evidence, or a child's jobs.
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longest wait of a heartbeat for jobs.
pub const WAIT_MS_MAX: u32 = 10_000;
/// Most samples of a check: 64 answers of about 1.7 KB stay below the longest request.
pub const SAMPLES_MAX: u16 = 64;

canonical_struct! {
    /// What a light node offers.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Terms {
        /// bytes for cells
        pub capacity_bytes: u64,
        /// where its storage is reached, `host:port`
        pub endpoint: Endpoint,
        /// operator, network, place; 0: not known
        pub domains: [u32; prunedb_registry::DOMAIN_KINDS],
        /// price of an epoch of a cell
        pub price: Amount,
        /// nobody reaches it from outside: its heavy node relays
        pub is_relayed: bool,
    }
}

canonical_struct! {
    /// Where a transaction stands that others are to sign, too.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct TxSlot {
        /// the sender's count of transactions
        pub nonce: u64,
        /// the last height at which it counts
        pub valid_until: u64,
    }
}

canonical_struct! {
    /// The relay by which light nodes behind a router are reached through a hole in it.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct HoleStatus {
        /// where it is reached, `host:port`
        pub relay: Endpoint,
        /// bytes that it passed on, where there was no hole
        pub relayed_bytes: u64,
    }
}

canonical_struct! {
    /// How a heavy node is.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct HeavyStatus {
        /// its number in the registry
        pub heavy: NodeId,
        /// the registry
        pub registry: Digest,
        /// its children
        pub summary: Summary,
        /// cells that it checks
        pub cells: u32,
        /// the last epoch that it reported
        pub reported: Option<u32>,
        /// bytes that it relayed for its children
        pub relayed_bytes: u64,
        /// its iroh relay, where it has one
        pub hole: Option<HoleStatus>,
        /// what it found wrong with others' checks, in words; the last ones
        pub findings: Vec<String>,
    }
}

canonical_enum! {
    /// What a heavy node wants of a child.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Job, "kind of job" {
        /// Show samples of a cell.
        1 Prove {
            /// its root
            root: Digest,
            /// its size
            bytes: u64,
            /// which samples follows from it
            seed: [u8; 32],
            /// how many
            samples: u16,
        },
        /// Make room for a cell, and let its owner in.
        2 Grant {
            /// what the owner wants
            wish: Wish,
        },
        /// Sign the contract of a cell that was stored.
        3 Sign {
            /// for which wish it was stored
            wish: Digest,
            /// the owner's transaction
            slot: TxSlot,
            /// the contract
            cell: Cell,
        },
    }
}

canonical_enum! {
    /// What came of a job.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Outcome, "kind of outcome" {
        /// Nothing.
        1 Refused {
            /// why
            reason: String,
        },
        /// The samples.
        2 Shown {
            /// in order
            samples: Vec<Shown>,
        },
        /// There is room.
        3 Granted {
            /// what lets the owner in
            capability: [u8; CAPABILITY_BYTES],
        },
        /// The contract is good.
        4 Signed {
            /// the holder's
            signature: [u8; SIGNATURE_BYTES],
        },
    }
}

canonical_enum! {
    /// What is asked of a heavy node.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Request, "kind of request" {
        /// How it is.
        1 Status {},
        /// A light node offers its disk.
        2 Register {
            /// what it offers
            terms: Terms,
            /// what lets the heavy node write and read one shard, as a sample of the capacity
            probe: [u8; CAPABILITY_BYTES],
            /// its transaction that joins the registry; none: it has joined
            join: Option<TxSlot>,
        },
        /// A child's heartbeat: renews its lease, asks for jobs.
        3 Attend {
            /// what it has free
            free_bytes: u64,
            /// how long to wait for a job
            wait_ms: u32,
        },
        /// A child has done a job, or will not.
        4 Done {
            /// which
            job: u64,
            /// what came of it
            outcome: Outcome,
        },
        /// Find a holder.
        5 Lookup {
            /// the question, and its path
            lookup: Lookup,
        },
        /// Sign the contract of a cell, and have the holder sign it where it is a child.
        6 Countersign {
            /// for which wish
            wish: Digest,
            /// the owner's transaction
            slot: TxSlot,
            /// the contract
            cell: Cell,
        },
        /// Show what the root of an epoch's answers says of a cell.
        7 Evidence {
            /// which epoch
            epoch: u32,
            /// which cell
            cell: u64,
        },
        /// Have a child show samples of a cell, of a seed of the asker's.
        8 Recheck {
            /// which cell
            cell: u64,
            /// the seed
            seed: [u8; 32],
        },
        /// A child that is not reached from outside lends this connection, for somebody who wants to reach it.
        9 Park {},
        /// Somebody wants to reach such a child.
        10 Connect {
            /// which
            holder: Key,
        },
        /// A child wants the heavy node to take over its cells whose own one is silent: sign the transaction.
        11 Adopt {
            /// the child's transaction
            slot: TxSlot,
        },
    }
}

canonical_enum! {
    /// What it answers.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Answer, "kind of answer" {
        /// No.
        1 Refused {
            /// why
            refusal: Refusal,
        },
        /// How it is.
        2 Status {
            /// it
            status: HeavyStatus,
        },
        /// The capacity was checked, the light node is a child.
        3 Registered {
            /// bytes that were written and read back
            probed_bytes: u64,
            /// under the transaction that joins the registry
            signature: Option<[u8; SIGNATURE_BYTES]>,
        },
        /// Jobs for a child; none: the wait is over.
        4 Jobs {
            /// number and job
            jobs: Vec<(u64, Job)>,
        },
        /// Done.
        5 Done {},
        /// A place for the cell.
        6 Found {
            /// it
            found: Found,
        },
        /// Signatures under the asker's transaction.
        7 Countersigned {
            /// who, and the signature
            signatures: Vec<(Key, [u8; SIGNATURE_BYTES])>,
        },
        /// What the root says of the cell.
        8 Evidence {
            /// it
            evidence: Evidence,
        },
        /// The child's samples.
        9 Rechecked {
            /// in order
            samples: Vec<Shown>,
        },
        /// From now on the bytes are those of the other end.
        10 Through {},
    }
}

canonical_enum! {
    /// Why a heavy node does not do what it is asked for.
    #[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
    pub enum Refusal, "kind of refusal" {
        /// The bytes are no request, or the request makes no sense.
        #[error("not understood: {reason}")]
        1 Malformed {
            /// why
            reason: String,
        },
        /// The question, or its path, is not good.
        #[error("the lookup is refused: {reason}")]
        2 Lookup {
            /// why
            reason: String,
        },
        /// Nobody has room at that price, as far as the question went.
        #[error("no holder was found: nobody within reach has so much free at that price")]
        3 NotFound {},
        /// The owner cannot pay.
        #[error("the owner has {found}, the rent is {needed}: deposit more, or ask for fewer epochs")]
        4 Funds {
            /// price of all epochs
            needed: Amount,
            /// what the owner has
            found: Amount,
        },
        /// A light node does not have what it says.
        #[error("the light node offers {claimed} bytes, the check found {found}: offer what is there")]
        5 Capacity {
            /// what it offers
            claimed: u64,
            /// what there is
            found: u64,
        },
        /// What was written did not come back.
        #[error("the check of the capacity failed: {reason}")]
        6 Probe {
            /// why
            reason: String,
        },
        /// Who asks may not.
        #[error("not for {key}: {reason}")]
        7 Stranger {
            /// who asks
            key: Key,
            /// why not
            reason: String,
        },
        /// The child does not answer.
        #[error("light node {key} does not answer")]
        8 Vanished {
            /// which
            key: Key,
        },
        /// The child will not, or what it did is wrong.
        #[error("light node {key}: {reason}")]
        9 Child {
            /// which
            key: Key,
            /// why
            reason: String,
        },
        /// The contract is not what was agreed on.
        #[error("the contract has another {what} than was agreed on")]
        10 Differs {
            /// which part
            what: String,
        },
        /// Too much at once.
        #[error("too much at once: {reason}")]
        11 Busy {
            /// what
            reason: String,
        },
        /// The registry does not answer, or says no.
        #[error("the registry: {reason}")]
        12 Registry {
            /// why
            reason: String,
        },
        /// There is no such thing here.
        #[error("there is no {what} here")]
        13 Absent {
            /// what
            what: String,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prunedb_registry::Canonical;

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            for kind in 0..=u8::try_from(Request::KIND_COUNT + 1).unwrap() {
                let mut bytes = bytes.clone();
                bytes.insert(0, kind);
                if let Ok(request) = Request::from_bytes("request", &bytes) {
                    prop_assert_eq!(request.to_bytes(), &bytes[..]);
                }
                if let Ok(answer) = Answer::from_bytes("answer", &bytes) {
                    prop_assert_eq!(answer.to_bytes(), &bytes[..]);
                }
            }
        }
    }
}

//! What a transaction asks for. A body is a kind (u8), then the fields in their order; `docs/protocol.md` has the tables.

use crate::{
    canonical::{Canonical, canonical_enum, canonical_struct},
    evidence::Evidence,
    ids::{Amount, Endpoint, Key},
    params::Params,
};
use prunedb_core::{Digest, Policy};
use prunedb_format::{FormatError, bytes::Reader};
use prunedb_placement::{DOMAIN_KINDS, NodeId};
use prunedb_proof::{SAMPLE_BYTES, SampleProof};

canonical_struct! {
    /// A node offers its disk. Signed by its owner (the sender) and its own key; where the registry is permissioned, by the
    /// authorities too.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct JoinNode {
        /// the node's own key
        pub key: Key,
        /// where it is reached
        pub endpoint: Endpoint,
        /// operator, network, place; 0: not known
        pub domains: [u32; DOMAIN_KINDS],
        /// what it may hold
        pub capacity_gib: u32,
        /// from its owner's account
        pub stake: Amount,
    }
}

canonical_struct! {
    /// A node goes. Signed by its owner or its own key.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Leave {
        /// which node
        pub node: NodeId,
    }
}

canonical_struct! {
    /// The next batch: an agreed run of blocks in the lake. Sent by the holder of the lease, signed by more than two thirds of
    /// the validators, each of which made the same container.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct CloseBatch {
        /// its number; also of its data container
        pub batch: u32,
        /// term of the lease
        pub term: u64,
        /// first block
        pub first_block: u64,
        /// how many
        pub blocks: u32,
        /// digest of the container, keyed
        pub container_digest: Digest,
        /// root of the container
        pub root: Digest,
        /// codec version
        pub codec: u32,
        /// generation of the lake key
        pub generation: u32,
        /// sealed bytes of a leaf
        pub leaf_bytes: u32,
        /// leaves of each shard
        pub leaves_per_shard: u32,
        /// length of the container
        pub container_bytes: u64,
        /// length of the coded stream
        pub coded_bytes: u64,
        /// its group
        pub group: u32,
    }
}

canonical_struct! {
    /// A holder has the shards of its slot of the first `batches` batches of the group. Sent by the node.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Receipt {
        /// which node
        pub node: NodeId,
        /// which group
        pub group: u32,
        /// which slot
        pub slot: u8,
        /// batches of the group, the oldest first
        pub batches: u32,
    }
}

/// A sample, and what shows that it is one of the container's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// name of the shard
    pub name: Digest,
    /// from the name to the container's root
    pub name_path: Vec<Digest>,
    /// the sample, and its path to the name
    pub sample: SampleProof,
}

/// Longest path of a name: of 255 shards.
const NAME_PATH_MAX: usize = 8;
/// Longest path of a sample.
const SAMPLE_PATH_MAX: usize = 54;

fn put_path(path: &[[u8; 32]], out: &mut Vec<u8>) {
    out.push(u8::try_from(path.len()).expect("paths are short"));
    path.iter().for_each(|step| step.put(out));
}

fn get_path(from: &mut Reader<'_>, most: usize) -> Result<Vec<[u8; 32]>, FormatError> {
    let count = from.u8()?;
    if usize::from(count) > most {
        return Err(FormatError::Value { what: "length of a path", found: count.into() });
    }
    (0..count).map(|_| from.array()).collect()
}

impl Canonical for Answer {
    fn put(&self, out: &mut Vec<u8>) {
        self.name.put(out);
        let name_path: Vec<[u8; 32]> = self.name_path.iter().map(|d| d.0).collect();
        put_path(&name_path, out);
        out.extend_from_slice(&self.sample.sample[..]);
        put_path(&self.sample.path, out);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            name: from.digest()?,
            name_path: get_path(from, NAME_PATH_MAX)?.into_iter().map(Digest).collect(),
            sample: SampleProof {
                sample: Box::new(from.array::<SAMPLE_BYTES>()?),
                path: get_path(from, SAMPLE_PATH_MAX)?,
            },
        })
    }
}

canonical_struct! {
    /// A node still has what it owes: an answer for each sample of the epoch's seed. Sent by the node.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Proof {
        /// which epoch
        pub epoch: u32,
        /// which node
        pub node: NodeId,
        /// where it is reached now
        pub endpoint: Endpoint,
        /// the answers, in the order of the samples
        pub answers: Vec<Answer>,
    }
}

canonical_struct! {
    /// The standbys that have everything acknowledged. Sent by the holder of the lease.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct SetInSync {
        /// its term
        pub term: u64,
        /// validators, by rising key; only these may take the lease
        pub members: Vec<Key>,
    }
}

canonical_struct! {
    /// Space on a node for an owner's shards. Sent by the owner, signed by the node and, where named, by the heavy nodes that
    /// brought the two together: their footprints.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Cell {
        /// who holds it
        pub holder: NodeId,
        /// root of what is in it
        pub root: Digest,
        /// how much
        pub bytes: u64,
        /// price of an epoch
        pub price: Amount,
        /// how long
        pub epochs: u32,
        /// the owner's heavy node
        pub owner_heavy: Option<NodeId>,
        /// the holder's heavy node
        pub holder_heavy: Option<NodeId>,
    }
}

/// Kinds of transaction; they are numbered from 1.
pub const KIND_COUNT: usize = Body::KIND_COUNT;

canonical_enum! {
    /// What a transaction asks for.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub enum Body, "kind of transaction" {
        /// See [`JoinNode`].
        1 JoinNode {
            /// the offer
            join: JoinNode,
        },
        /// See [`Leave`].
        2 LeaveNode {
            /// who
            leave: Leave,
        },
        /// New placement groups, elected at once. Signed by the authorities.
        3 OpenGroups {
            /// of which policy
            policy: Policy,
            /// how many
            count: u32,
        },
        /// See [`CloseBatch`].
        4 CloseBatch {
            /// the batch
            batch: CloseBatch,
        },
        /// See [`Receipt`].
        5 Receipt {
            /// what is held
            receipt: Receipt,
        },
        /// A validator's hash of a secret, for the epoch's seed.
        6 CommitSeed {
            /// which epoch
            epoch: u32,
            /// H("prunedb v1 seed commitment", secret)
            commitment: Digest,
        },
        /// The secret.
        7 RevealSeed {
            /// which epoch
            epoch: u32,
            /// it
            secret: [u8; 32],
        },
        /// The beacon's value for an epoch. Sent by the beacon.
        8 Beacon {
            /// which epoch
            epoch: u32,
            /// it
            value: [u8; 32],
        },
        /// See [`Proof`].
        9 Prove {
            /// it
            proof: Proof,
        },
        /// A validator has read these batches back from random shards and compared them.
        10 AttestReadBack {
            /// all batches below this number
            up_to: u32,
        },
        /// Money that came in elsewhere. Signed by the authorities.
        11 Deposit {
            /// whose
            account: Key,
            /// how much
            amount: Amount,
        },
        /// Money that goes out. Sent by its owner.
        12 Withdraw {
            /// how much
            amount: Amount,
        },
        /// Money between accounts.
        13 Transfer {
            /// to whom
            account: Key,
            /// how much
            amount: Amount,
        },
        /// Money for the holders of the lake.
        14 FundEscrow {
            /// how much
            amount: Amount,
        },
        /// More stake for a node, from the sender.
        15 AddStake {
            /// which node
            node: NodeId,
            /// how much
            amount: Amount,
        },
        /// A validator takes the lease: nobody has it, or it ran out.
        16 AcquireLease {
            /// the term that is to end
            term: u64,
            /// heights it is to last
            heights: u32,
        },
        /// The holder goes on.
        17 RenewLease {
            /// its term
            term: u64,
            /// heights from now
            heights: u32,
        },
        /// See [`SetInSync`].
        18 SetInSync {
            /// who
            in_sync: SetInSync,
        },
        /// The manifest's newest head. Sent by the holder of the lease.
        19 CommitHead {
            /// its term
            term: u64,
            /// its number, above the last one
            number: u64,
            /// its root
            root: Digest,
        },
        /// Other parameters from a height on. Signed by the authorities.
        20 SetParams {
            /// from when
            height: u64,
            /// which
            params: Params,
        },
        /// Other validators from the next epoch on. Signed by the authorities.
        21 SetValidators {
            /// by rising key
            validators: Vec<Key>,
        },
        /// See [`Cell`].
        22 RentCell {
            /// the contract
            cell: Cell,
        },
        /// The owner ends a rent; what is not used goes back.
        23 EndCell {
            /// which
            cell: u64,
        },
        /// A heavy node's checks of the last epoch: which of its cells proved. Sent by the heavy node.
        24 ReportCells {
            /// the heavy node
            heavy: NodeId,
            /// which epoch
            epoch: u32,
            /// root of the answers, which it keeps
            answers_root: Digest,
            /// a bit for each of its cells, by rising number, low bits first
            proven: Vec<u8>,
        },
        /// A reader did not get a shard from its holder: challenge it. Sent by a validator, an authority, or a node's owner.
        25 ReportFault {
            /// the holder
            node: NodeId,
            /// of which batch
            batch: u32,
            /// which shard
            slot: u8,
        },
        /// The cells of a holder whose heavy node is silent go over to another one. Signed by the holder and that one; either
        /// is the sender.
        26 AdoptCells {
            /// who holds them
            holder: NodeId,
            /// who is to check them
            heavy: NodeId,
        },
        /// A heavy node had a cell paid, and the root that it committed to has no proof of it. Sent by anybody.
        27 DisputeReport {
            /// the heavy node
            heavy: NodeId,
            /// what its root says of the cell
            evidence: Evidence,
        },
        /// A heavy node does not show what it committed to of a cell that it had paid. Sent by a validator, an authority, or a node's
        /// owner.
        28 DemandAnswer {
            /// the heavy node
            heavy: NodeId,
            /// of which epoch
            epoch: u32,
            /// which cell
            cell: u64,
        },
        /// What was demanded. Sent by the heavy node.
        29 ShowAnswer {
            /// the heavy node
            heavy: NodeId,
            /// what its root says of the cell
            evidence: Evidence,
        },
    }
}

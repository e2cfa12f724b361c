//! All of the registry, its root and its snapshot.
//!
//! ```text
//! root     = H("prunedb v1 registry root", registry || digests of the sections, in their order)
//! section  = H("prunedb v1 registry section", its bytes); of the batches: their count and peaks
//! snapshot = all sections' bytes, the batches' records in the place of their peaks; it is good if its root is
//! ```

use crate::{
    bank::Bank,
    batches::{Batch, Batches, Closing},
    canonical::{Canonical, canonical_struct},
    epochs::Epoch,
    groups::{Repair, SlotGroup},
    holdings::Holdings,
    ids::Key,
    lease::{Head, Lease},
    market::Market,
    nodes::{Node, NodeStatus},
    params::{Params, ParamsError},
    watermark::Watermark,
};
use prunedb_core::{Digest, LakeId};
use prunedb_format::{FormatError, bytes::Reader};
use prunedb_placement::NodeId;
use std::collections::BTreeMap;

canonical_struct! {
    /// What a registry begins with; its digest names it.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Genesis {
        /// the lake
        pub lake: LakeId,
        /// the rules
        pub params: Params,
        /// by rising key
        pub validators: Vec<Key>,
    }
}

/// The registry. Changed by [`State::advance`] and [`State::apply`] alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    pub(crate) registry: Digest,
    pub(crate) lake: LakeId,
    pub(crate) height: u64,
    pub(crate) params: Params,
    pub(crate) next_params: BTreeMap<u64, Params>,
    pub(crate) validators: Vec<Key>,
    pub(crate) next_validators: Option<Vec<Key>>,
    pub(crate) bank: Bank,
    pub(crate) nodes: Vec<Node>,
    pub(crate) groups: Vec<SlotGroup>,
    pub(crate) repairs: BTreeMap<(u32, u8), Repair>,
    pub(crate) epoch: Epoch,
    pub(crate) closing: Option<Closing>,
    pub(crate) watermark: Watermark,
    pub(crate) lease: Option<Lease>,
    pub(crate) head: Option<Head>,
    pub(crate) market: Market,
    pub(crate) batches: Batches,
    /// follows from the groups
    pub(crate) holdings: Holdings,
}

/// Sections of the state besides the batches.
const SECTIONS: usize = 13;

/// Bytes that are no snapshot of the registry that is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Not a state's bytes.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Parts of it do not fit each other.
    #[error("the snapshot contradicts itself: {0}")]
    Inconsistent(&'static str),
    /// Another state.
    #[error("the snapshot has root {found}, expected {expected}")]
    Root {
        /// the root it should have
        expected: Digest,
        /// the root it has
        found: Digest,
    },
}

impl State {
    /// The state before the first block.
    ///
    /// # Errors
    /// [`ParamsError`], also where validators are none, or not in order.
    pub fn new(genesis: &Genesis) -> Result<Self, ParamsError> {
        genesis.params.check()?;
        let is_rising = genesis.validators.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_rising || !(1..=255).contains(&genesis.validators.len()) {
            return Err(ParamsError("validators"));
        }
        let registry = Digest(blake3::derive_key("prunedb v1 registry", &genesis.to_bytes()));
        let mut bank = Bank::default();
        for key in genesis.params.authorities.iter().chain(&genesis.validators) {
            bank.accounts.entry(*key).or_default();
        }
        Ok(Self {
            registry,
            lake: genesis.lake,
            height: 0,
            params: genesis.params.clone(),
            next_params: BTreeMap::new(),
            validators: genesis.validators.clone(),
            next_validators: None,
            bank,
            nodes: Vec::new(),
            groups: Vec::new(),
            repairs: BTreeMap::new(),
            epoch: Epoch { last_seed: registry.0, ..Epoch::default() },
            closing: None,
            watermark: Watermark::default(),
            lease: None,
            head: None,
            market: Market::default(),
            batches: Batches::default(),
            holdings: Holdings::default(),
        })
    }

    fn sections(&self) -> [Vec<u8>; SECTIONS] {
        [
            (self.height, self.lake).to_bytes(),
            self.params.to_bytes(),
            self.next_params.to_bytes(),
            (self.validators.clone(), self.next_validators.clone()).to_bytes(),
            self.bank.to_bytes(),
            self.nodes.to_bytes(),
            self.groups.to_bytes(),
            self.repairs.to_bytes(),
            self.epoch.to_bytes(),
            self.closing.to_bytes(),
            self.watermark.to_bytes(),
            (self.lease.clone(), self.head).to_bytes(),
            self.market.to_bytes(),
        ]
    }

    /// One digest of all of it.
    pub fn root(&self) -> Digest {
        let mut input = self.registry.0.to_vec();
        for section in self.sections().iter().chain([&self.batches.mmr().to_bytes()]) {
            input.extend_from_slice(&blake3::derive_key("prunedb v1 registry section", section));
        }
        Digest(blake3::derive_key("prunedb v1 registry root", &input))
    }

    /// The state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = self.registry.to_bytes();
        self.sections().iter().for_each(|section| out.extend_from_slice(section));
        let records: Vec<Batch> = self.batches.iter().copied().collect();
        records.put(&mut out);
        out
    }

    /// The state of a snapshot with this root.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn restore(snapshot: &[u8], expected: &Digest) -> Result<Self, SnapshotError> {
        let mut from = Reader::new("snapshot", snapshot);
        let registry = Digest::get(&mut from)?;
        let (height, lake) = Canonical::get(&mut from)?;
        let (params, next_params) = (Params::get(&mut from)?, Canonical::get(&mut from)?);
        let (validators, next_validators) = Canonical::get(&mut from)?;
        let mut state = Self {
            registry,
            lake,
            height,
            params,
            next_params,
            validators,
            next_validators,
            bank: Canonical::get(&mut from)?,
            nodes: Canonical::get(&mut from)?,
            groups: Canonical::get(&mut from)?,
            repairs: Canonical::get(&mut from)?,
            epoch: Canonical::get(&mut from)?,
            closing: Canonical::get(&mut from)?,
            watermark: Canonical::get(&mut from)?,
            lease: None,
            head: None,
            market: Market::default(),
            batches: Batches::default(),
            holdings: Holdings::default(),
        };
        (state.lease, state.head) = Canonical::get(&mut from)?;
        state.market = Canonical::get(&mut from)?;
        let records = Vec::<Batch>::get(&mut from)?;
        from.end()?;
        state.groups.iter().for_each(|_| state.batches.open_group());
        for batch in records {
            if batch.group as usize >= state.groups.len() {
                return Err(SnapshotError::Inconsistent("a batch of no group"));
            }
            state.batches.push(batch);
        }
        // what has the root was written by this code: a root that is trusted makes all else consistent
        let found = state.root();
        if found != *expected {
            return Err(SnapshotError::Root { expected: *expected, found });
        }
        state.holdings = Holdings::of(state.nodes.len(), &state.groups);
        Ok(state)
    }

    /// Names the registry: no transaction counts in two.
    pub const fn registry(&self) -> &Digest {
        &self.registry
    }

    /// The last height.
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// The rules that hold.
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// The validators.
    pub fn validators(&self) -> &[Key] {
        &self.validators
    }

    /// Accounts and escrow.
    pub const fn bank(&self) -> &Bank {
        &self.bank
    }

    /// All nodes that ever joined, by number.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with this key that has not left.
    pub fn node_of(&self, key: &Key) -> Option<NodeId> {
        let is_it = |n: &Node| n.key == *key && n.status != NodeStatus::Gone;
        let position = self.nodes.iter().position(is_it)?;
        Some(NodeId(u32::try_from(position).expect("bounded by nodes_max")))
    }

    /// The placement groups.
    pub fn groups(&self) -> &[SlotGroup] {
        &self.groups
    }

    /// Slots that are to be filled, by group and slot.
    pub const fn repairs(&self) -> &BTreeMap<(u32, u8), Repair> {
        &self.repairs
    }

    /// The running epoch.
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The closed batches.
    pub const fn batches(&self) -> &Batches {
        &self.batches
    }

    /// The batch that waits for its holders.
    pub fn closing(&self) -> Option<&Batch> {
        self.closing.as_ref().map(|c| &c.batch)
    }

    /// Up to `most` batches of a group from a position on, the one that is closing counted: what a slot that has acknowledged
    /// so many waits for.
    pub fn missing_of(
        &self,
        group: u32,
        acknowledged: u32,
        most: usize,
    ) -> impl Iterator<Item = (u32, Batch)> + '_ {
        let closing = self.closing().filter(|batch| batch.group == group);
        let closing = closing.map(|batch| (self.batches.count(), *batch));
        let is_new = self.batches.of_group(group) >= acknowledged;
        let closing = closing.filter(|_| is_new);
        self.batches.in_group(group, acknowledged).chain(closing).take(most)
    }

    /// The lake.
    pub const fn lake(&self) -> LakeId {
        self.lake
    }

    /// Batches below this number may be pruned.
    pub const fn prunable_up_to(&self) -> u32 {
        self.watermark.prunable_up_to
    }

    /// The right to write.
    pub const fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// The manifest's newest head.
    pub const fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The rented cells.
    pub const fn market(&self) -> &Market {
        &self.market
    }

    /// All money: free, in escrow, set aside, staked. Equal to what was deposited less what was withdrawn.
    pub fn money(&self) -> u128 {
        let stakes: u128 = self.nodes.iter().map(|n| u128::from(n.stake.0)).sum();
        self.bank.total() + self.market.total() + stakes
    }
}

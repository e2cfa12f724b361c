//! A placement group: the slots of one policy.

use crate::NodeId;
use prunedb_core::Policy;

/// `p+q` slots; slot `i` holds shard `i` of every container of the group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    policy: Policy,
    slots: Vec<Option<NodeId>>,
}

/// Not one slot for each shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found} slots, policy {policy} has {}", policy.total_shards())]
pub struct SlotCountError {
    /// the group's policy
    pub policy: Policy,
    /// slots given
    pub found: usize,
}

impl Group {
    /// A group that nobody holds yet.
    pub fn vacant(policy: Policy) -> Self {
        Self { policy, slots: vec![None; policy.total_shards()] }
    }

    /// A group with these holders; `None`: vacant.
    ///
    /// # Errors
    /// [`SlotCountError`] unless there is one slot for each shard.
    pub fn new(policy: Policy, slots: Vec<Option<NodeId>>) -> Result<Self, SlotCountError> {
        if slots.len() != policy.total_shards() {
            return Err(SlotCountError { policy, found: slots.len() });
        }
        Ok(Self { policy, slots })
    }

    /// Its policy.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// The holder of each slot.
    pub fn slots(&self) -> &[Option<NodeId>] {
        &self.slots
    }

    /// The slot that a node holds.
    pub fn slot_of(&self, node: NodeId) -> Option<usize> {
        self.slots.iter().position(|&s| s == Some(node))
    }

    /// Gives a slot to a node, or leaves it vacant.
    ///
    /// # Panics
    /// Where the group has no such slot.
    pub fn set(&mut self, slot: usize, holder: Option<NodeId>) {
        self.slots[slot] = holder;
    }
}

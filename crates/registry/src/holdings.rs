//! What follows from the slots and is kept beside them, so that neither a receipt nor a closing looks at all of them: who holds
//! which, who owes, which groups the next epoch has to freeze anew.
//!
//! Invariant: every change of a slot comes through [`State::set_slot`]. Nothing of this is in the root or in a snapshot.

use crate::{
    groups::{Slot, SlotGroup},
    nodes::NodeStatus,
    state::State,
};
use prunedb_placement::NodeId;
use std::collections::BTreeSet;

/// The slots of a node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Held {
    /// by group and slot
    slots: BTreeSet<(u32, u8)>,
    /// how many of them it owes in this epoch
    owed: u32,
}

/// Who holds what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Holdings {
    nodes: Vec<Held>,
    vacant: u32,
    /// groups that changed since they were frozen
    changed: BTreeSet<u32>,
}

impl Holdings {
    /// Those of a state that was read.
    pub(crate) fn of(nodes: usize, groups: &[SlotGroup]) -> Self {
        let mut holdings = Self { nodes: vec![Held::default(); nodes], ..Self::default() };
        for (number, group) in (0..).zip(groups) {
            holdings.open_group(number, group);
            for (slot, place) in (0..).zip(&group.slots) {
                holdings.replace((number, slot), Slot::default(), *place);
            }
        }
        holdings
    }

    pub(crate) fn add_node(&mut self) {
        self.nodes.push(Held::default());
    }

    /// A group whose slots are all vacant.
    pub(crate) fn open_group(&mut self, group: u32, opened: &SlotGroup) {
        self.vacant += u32::try_from(opened.slots.len()).expect("at most 255 slots");
        self.changed.insert(group);
    }

    /// A group has one more batch.
    pub(crate) fn grown(&mut self, group: u32) {
        self.changed.insert(group);
    }

    fn replace(&mut self, at: (u32, u8), old: Slot, new: Slot) {
        if let Some(node) = old.holder {
            let held = &mut self.nodes[node.0 as usize];
            held.owed -= u32::from(old.owed > 0);
            if new.holder != old.holder {
                held.slots.remove(&at);
            }
        }
        if let Some(node) = new.holder {
            let held = &mut self.nodes[node.0 as usize];
            held.owed += u32::from(new.owed > 0);
            if new.holder != old.holder {
                held.slots.insert(at);
            }
        }
        self.vacant += u32::from(new.holder.is_none());
        self.vacant -= u32::from(old.holder.is_none());
        self.changed.insert(at.0);
    }

    /// The slots of a node, by group and slot.
    pub(crate) fn slots(&self, node: NodeId) -> impl Iterator<Item = (u32, u8)> + '_ {
        self.nodes[node.0 as usize].slots.iter().copied()
    }

    /// How many nodes owe something.
    pub(crate) fn owing(&self) -> u32 {
        let owing = self.nodes.iter().filter(|held| held.owed > 0).count();
        u32::try_from(owing).expect("bounded by nodes_max")
    }
}

impl State {
    pub(crate) fn slot(&self, group: u32, slot: u8) -> Slot {
        self.groups[group as usize].slots[usize::from(slot)]
    }

    /// Changes a slot, and what follows from it.
    pub(crate) fn set_slot(&mut self, group: u32, slot: u8, new: Slot) {
        let place = &mut self.groups[group as usize].slots[usize::from(slot)];
        let old = std::mem::replace(place, new);
        self.holdings.replace((group, slot), old, new);
    }

    /// Freezes what each slot owes in the epoch that begins; only what changed since the last one is looked at.
    pub(crate) fn freeze(&mut self) {
        for group in std::mem::take(&mut self.holdings.changed) {
            let closed = self.batches.of_group(group);
            self.epoch.frozen[group as usize] = closed;
            let slots = u8::try_from(self.groups[group as usize].slots.len()).expect("at most 255");
            for slot in 0..slots {
                let place = self.slot(group, slot);
                // a receipt for the batch that is closing counts from the next epoch on
                let owed = place.batches.min(closed);
                if owed != place.owed {
                    self.set_slot(group, slot, Slot { owed, ..place });
                }
            }
        }
        // that the slots were frozen is no change
        self.holdings.changed.clear();
    }

    /// Whether an election would move anything: a slot is vacant, or its holder does not stand any more.
    pub(crate) fn wants_election(&self) -> bool {
        let stands = |node: &crate::nodes::Node| {
            node.status == NodeStatus::Active && !node.is_suspended(&self.params)
        };
        let mut holders = self.nodes.iter().zip(&self.holdings.nodes);
        self.holdings.vacant > 0
            || holders.any(|(node, held)| !held.slots.is_empty() && !stands(node))
    }
}

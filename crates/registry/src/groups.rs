//! Placement groups: who holds each slot, how much of it is filled, and what is being repaired.
//!
//! ```text
//! vacant -> assigned -> filled (receipt) -> proven (its node's proof) -> faulty or leaving -> vacant
//! ```
//! A slot counts the batches of its group, the oldest first, that its holder has acknowledged. It is *filled* when that is all
//! of them. A slot that is not, or that a leaving node still owes, has a [`Repair`].

use crate::{
    canonical::canonical_struct,
    event::{Event, Events},
    nodes::NodeStatus,
    reject::{Reject, expect_value},
    state::State,
    tx::{CheckedTx, Leave, Receipt},
};
use prunedb_core::Policy;
use prunedb_placement::{Election, Group, Member, NodeId};

canonical_struct! {
    /// The place of one shard of every container of a group.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Slot {
        /// who holds it
        pub holder: Option<NodeId>,
        /// batches of the group that it has acknowledged
        pub batches: u32,
        /// how many of them it must prove in this epoch; 0 where the slot moved since it began
        pub owed: u32,
    }
}

canonical_struct! {
    /// A placement group.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct SlotGroup {
        /// its policy
        pub policy: Policy,
        /// one for each shard
        pub slots: Vec<Slot>,
    }
}

canonical_struct! {
    /// A slot that is to be filled.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Repair {
        /// since when
        pub since: u64,
        /// when it is elected anew
        pub deadline: u64,
        /// the leaving node that has the shards until then
        pub from: Option<NodeId>,
    }
}

impl SlotGroup {
    /// Slots that have so many batches.
    pub(crate) fn filled(&self, batches: u32) -> usize {
        self.slots.iter().filter(|s| s.holder.is_some() && s.batches == batches).count()
    }

    /// Shards that a group must have: p and the margin, at most all.
    pub(crate) fn needed(&self, margin: u8) -> usize {
        (self.policy.data_shards() + usize::from(margin)).min(self.policy.total_shards())
    }
}

impl State {
    pub(crate) fn open_groups(
        &mut self,
        policy: Policy,
        count: u32,
        events: &mut Events,
    ) -> Result<(), Reject> {
        let all = self.groups.len() as u64 + u64::from(count);
        if count == 0 || all > self.params.groups_max.into() {
            return Err(Reject::Full("groups"));
        }
        let members = self.members();
        self.election(&members).enough_for(policy)?;
        let group = SlotGroup { policy, slots: vec![Slot::default(); policy.total_shards()] };
        for _ in 0..count {
            let number = u32::try_from(self.groups.len()).expect("bounded by groups_max");
            self.holdings.open_group(number, &group);
            self.groups.push(group.clone());
            self.batches.open_group();
            self.epoch.frozen.push(0);
        }
        self.elect(events);
        Ok(())
    }

    /// The nodes that stand.
    fn members(&self) -> Vec<Member> {
        let mut held_bytes = vec![0u64; self.nodes.len()];
        for (number, group) in (0..).zip(&self.groups) {
            let shard_bytes = self.batches.shard_bytes(number);
            for holder in group.slots.iter().filter_map(|s| s.holder) {
                held_bytes[holder.0 as usize] =
                    held_bytes[holder.0 as usize].saturating_add(shard_bytes);
            }
        }
        let nodes = (0..).map(NodeId).zip(&self.nodes).zip(held_bytes);
        nodes
            .filter_map(|((id, node), held)| node.member(id, self.epoch.number, held, &self.params))
            .collect()
    }

    /// Elects a holder for every slot whose holder does not stand any more, and for every vacant one.
    pub(crate) fn elect(&mut self, events: &mut Events) {
        if self.wants_election() {
            self.move_slots(events);
        }
        self.release_leavers(events);
    }

    fn move_slots(&mut self, events: &mut Events) {
        let members = self.members();
        let mut groups: Vec<Group> = self
            .groups
            .iter()
            .map(|g| {
                let holders = g.slots.iter().map(|s| s.holder).collect();
                Group::new(g.policy, holders)
                    .expect("one slot for each shard, since the group opened")
            })
            .collect();
        let elected = self.election(&members).elect(&mut groups);
        let outcome = elected.expect("members are listed by their number");
        for moved in outcome.moves {
            self.assign(moved.group, moved.slot, moved.to, events);
        }
    }

    fn election<'a>(&self, members: &'a [Member]) -> Election<'a> {
        Election {
            seed: self.election_seed(),
            members,
            limits: self.params.limits(),
            rebalance_slots: 0,
        }
    }

    fn election_seed(&self) -> [u8; 32] {
        let mut input = self.epoch.last_seed.to_vec();
        input.extend_from_slice(&self.height.to_le_bytes());
        blake3::derive_key("prunedb v1 registry election seed", &input)
    }

    fn assign(&mut self, group: u32, slot: u8, to: Option<NodeId>, events: &mut Events) {
        let owed_batches = self.batches.of_group(group) + u32::from(self.is_closing(group));
        let Slot { holder: from, batches: had, .. } = self.slot(group, slot);
        self.set_slot(group, slot, Slot { holder: to, batches: 0, owed: 0 });
        let earlier = self.repairs.remove(&(group, slot)).and_then(|r| r.from);
        // who leaves with the shards owes them until somebody else has them
        let leaver =
            from.filter(|&n| had > 0 && self.nodes[n.0 as usize].status == NodeStatus::Leaving);
        let from_whom = leaver.or(earlier);
        if owed_batches > 0 && (to.is_some() || from_whom.is_some()) {
            let deadline = self.height.saturating_add(self.params.repair_heights);
            self.repairs
                .insert((group, slot), Repair { since: self.height, deadline, from: from_whom });
        }
        events.push(Event::Assigned { group, slot, from, to });
    }

    pub(crate) fn is_closing(&self, group: u32) -> bool {
        self.closing.as_ref().is_some_and(|c| c.batch.group == group)
    }

    pub(crate) fn leave(
        &mut self,
        tx: &CheckedTx,
        leave: Leave,
        events: &mut Events,
    ) -> Result<(), Reject> {
        let node = self.present(leave.node)?;
        if tx.sender() != node.owner && tx.sender() != node.key {
            return Err(Reject::Signer("the node or its owner"));
        }
        if node.status == NodeStatus::Leaving {
            return Err(Reject::Phase("the node is leaving already"));
        }
        self.nodes[leave.node.0 as usize].status = NodeStatus::Leaving;
        events.push(Event::Leaving(leave.node));
        self.elect(events);
        Ok(())
    }

    /// Lets those go who owe nothing any more.
    pub(crate) fn release_leavers(&mut self, events: &mut Events) {
        let leaving = |n: &NodeId| self.nodes[n.0 as usize].status == NodeStatus::Leaving;
        let numbers = 0..u32::try_from(self.nodes.len()).expect("bounded by nodes_max");
        let mut leavers: Vec<NodeId> = numbers.map(NodeId).filter(leaving).collect();
        if leavers.is_empty() {
            return;
        }
        let slots = self.groups.iter().flat_map(|g| &g.slots).filter_map(|s| s.holder);
        let owing: std::collections::BTreeSet<NodeId> =
            slots.chain(self.repairs.values().filter_map(|r| r.from)).collect();
        leavers.retain(|n| !owing.contains(n) && !self.market.holds(*n));
        for id in leavers {
            let node = &mut self.nodes[id.0 as usize];
            node.status = NodeStatus::Gone;
            let stake = std::mem::take(&mut node.stake);
            let owner = node.owner;
            self.bank.give(&owner, stake);
            events.push(Event::Gone(id));
        }
    }

    pub(crate) fn receipt(
        &mut self,
        tx: &CheckedTx,
        receipt: Receipt,
        events: &mut Events,
    ) -> Result<(), Reject> {
        let Receipt { node, group, slot, batches } = receipt;
        if self.present(node)?.key != tx.sender() {
            return Err(Reject::Signer("the node"));
        }
        let not_held = Reject::Slot { group, slot, node };
        let all = self
            .groups
            .get(group as usize)
            .map(|_| self.batches.of_group(group) + u32::from(self.is_closing(group)))
            .ok_or(not_held.clone())?;
        let place = self.groups[group as usize].slots.get(usize::from(slot)).copied();
        let place = place.filter(|s| s.holder == Some(node)).ok_or(not_held)?;
        if batches <= place.batches || batches > all {
            expect_value("batches of the receipt", batches, all)?;
            return Err(Reject::Phase("the receipt says nothing new"));
        }
        self.set_slot(group, slot, Slot { batches, ..place });
        if batches == all {
            let repair = self.repairs.remove(&(group, slot));
            events.push(Event::Filled { group, slot });
            if repair.is_some_and(|r| r.from.is_some()) {
                self.release_leavers(events);
            }
        }
        self.try_close(events);
        Ok(())
    }

    /// Slots that were not filled in time are elected anew: their holders lose their standing.
    pub(crate) fn expire_repairs(&mut self, events: &mut Events) {
        let late: Vec<(u32, u8)> = self
            .repairs
            .iter()
            .filter(|(_, r)| r.deadline <= self.height)
            .map(|(&at, _)| at)
            .collect();
        if late.is_empty() {
            return;
        }
        for (group, slot) in late {
            match self.slot(group, slot).holder {
                Some(holder) => {
                    self.set_slot(group, slot, Slot::default());
                    let misses = &mut self.nodes[holder.0 as usize].misses;
                    // one more miss; as many as it takes come soon enough
                    *misses |= 1;
                    events.push(Event::Missed(holder));
                }
                None => {
                    // nobody could take it: the leaver goes on owing, and the election is tried again
                    let repair =
                        self.repairs.get_mut(&(group, slot)).expect("it is late, so it is there");
                    repair.deadline = self.height.saturating_add(self.params.repair_heights);
                }
            }
        }
        self.elect(events);
    }
}

//! Slots of lost nodes go to others: everything of a slot is rebuilt on its new node first, then it moves.
//!
//! So a move never costs a shard: until it counts, what the lost nodes have is still theirs to give, should they come back. A
//! move that is interrupted is decided anew; what was rebuilt already is found on its node and not built again.

use super::RepairReport;
use crate::{
    db::Inner,
    error::Error,
    lake::{Node, Placement},
    placement::{Move, apply, candidates, moves},
    verify::Subject,
};
use prunedb_core::{ContainerId, Policy, ShardIndex};
use prunedb_store::StoreSpace;
use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

/// Slots that are to move, and how far that is.
#[derive(Default)]
pub(crate) struct Moving {
    moves: Vec<Move>,
    /// slots that have to stay
    pub(super) stuck: u64,
    /// containers whose shards are all on their new nodes
    done: BTreeSet<ContainerId>,
    /// groups of which something could not be rebuilt: they stay as they are
    stay: BTreeSet<u32>,
}

impl Moving {
    pub(super) fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// Where a slot goes; `None` for one that does not move.
    pub(super) fn to<'a>(
        &self,
        group: u32,
        shard: ShardIndex,
        placement: &'a Placement,
    ) -> Option<&'a Node> {
        let found = self.moves.iter().find(|m| (m.group, m.shard) == (group, shard));
        found.map(|m| &placement.nodes[m.to as usize])
    }

    /// Slots of a group that move.
    pub(super) fn shards_of(&self, group: u32) -> impl Iterator<Item = ShardIndex> {
        self.moves.iter().filter(move |m| m.group == group).map(|m| m.shard)
    }

    /// Whether everything of a container was rebuilt on its new nodes.
    pub(super) fn did(&mut self, subject: &Subject, complete: bool) {
        let (id, group) = (subject.stream.id, subject.stream.group);
        if self.shards_of(group).next().is_none() {
            return;
        }
        if complete {
            self.done.insert(id);
        } else {
            self.stay.insert(group);
        }
    }

    /// Whether a slot was to move and stays.
    pub(super) fn stays(&self, group: u32) -> bool {
        self.stay.contains(&group)
    }
}

impl Inner {
    /// Which slots of lost nodes go to others, where `when` says so of a group.
    ///
    /// A group stays as it is while one of its containers could not be rebuilt from the nodes that answer: then only the
    /// return of the others helps.
    pub(crate) fn plan_moves(
        &self,
        lost: impl Fn(u32) -> bool,
        space: &[Option<StoreSpace>],
        when: impl Fn(Policy, usize) -> bool,
    ) -> Result<Moving, Error> {
        let placement = self.lake.placement();
        let candidates = candidates(&placement.nodes, space);
        let (moves, stuck) = moves(self.lake.id, &placement.groups, lost, &candidates, when);
        let mut moving = Moving { moves, stuck: stuck as u64, ..Moving::default() };
        if moving.is_empty() {
            return Ok(moving);
        }
        for id in self.subject_ids()? {
            let Some(subject) = self.subject(id)? else { continue };
            let group = subject.stream.group;
            if !moving.stays(group)
                && moving.shards_of(group).next().is_some()
                && !self.is_rebuildable(&subject, &placement, space)?
            {
                moving.stay.insert(group);
            }
        }
        let Moving { moves, stuck, stay, .. } = &mut moving;
        *stuck += moves.extract_if(.., |m| stay.contains(&m.group)).count() as u64;
        Ok(moving)
    }

    /// Moves the slots of which everything is on the new nodes; how many. What was offloaded to them meanwhile is rebuilt now.
    pub(super) fn settle(
        &self,
        moving: &mut Moving,
        down: &mut BTreeSet<String>,
        report: &mut RepairReport,
    ) -> Result<u64, Error> {
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut moved = Vec::new();
        for id in self.subject_ids()? {
            let Some(subject) = self.subject(id)? else { continue };
            let group = subject.stream.group;
            let shards: Vec<ShardIndex> = moving.shards_of(group).collect();
            if shards.is_empty() || moving.stays(group) {
                continue;
            }
            if !moving.done.contains(&id) {
                if self.wanted.stopped() {
                    moving.stay.insert(group);
                    continue;
                }
                self.repair_locked(&subject, &shards, moving, down, report)?;
            }
            moved.extend(shards.into_iter().map(|shard| (group, id, shard)));
        }
        let Moving { moves, stuck, stay, .. } = moving;
        *stuck += moves.extract_if(.., |m| stay.contains(&m.group)).count() as u64;
        if moves.is_empty() {
            return Ok(0);
        }
        let mut new = (*self.lake.placement()).clone();
        apply(moves, &mut new.groups);
        self.change_placement(new)?;
        let whole = moved.into_iter().filter(|(group, ..)| !stay.contains(group));
        self.manifest.set_damage(whole.map(|(_, id, shard)| (id, shard)), false)?;
        Ok(moves.len() as u64)
    }

    /// Whether `p` shards of a container are well, as far as is known, on nodes that answer.
    fn is_rebuildable(
        &self,
        subject: &Subject,
        placement: &Placement,
        space: &[Option<StoreSpace>],
    ) -> Result<bool, Error> {
        let policy = subject.stream.policy;
        let damaged = self.manifest.damage_of(subject.stream.id)?;
        let slots = &placement.groups[subject.stream.group as usize].slots;
        let is_well = |shard: &ShardIndex| {
            space[slots[shard.as_usize()] as usize].is_some() && !damaged.contains(shard)
        };
        Ok(policy.shards().filter(is_well).count() >= policy.data_shards())
    }

    /// Changes the placement: durable, then in use. The next head tells it.
    pub(crate) fn change_placement(&self, placement: Placement) -> Result<(), Error> {
        self.manifest.update(|state| {
            let body = Arc::make_mut(&mut state.body);
            body.nodes = placement.nodes.iter().map(|n| n.address.clone()).collect();
            body.groups.clone_from(&placement.groups);
            state.head_dirty = true;
        })?;
        self.lake.set_placement(placement);
        Ok(())
    }
}

//! Bringing the lake back to its policies: what is lost is rebuilt, most urgent first, and slots of lost nodes move.
//!
//! Which shards are missing or damaged is noted in the local manifest, by reads, offloads and [`Db::verify`], and cleared
//! shard by shard as they are rebuilt: a repair that is interrupted goes on where it was. The lock of lake writes is
//! held for one container at a time, so offloads go on meanwhile.

mod rebuild;
mod urgency;

use crate::{
    db::{Db, Inner},
    error::{Error, Failures},
    lake::{Node, Placement, Shards, shard_failure, within},
    placement::{apply, candidates, moves},
    progress::{Job, OnProgress, Progress},
    verify::{Subject, shards_bytes},
};
use prunedb_core::{ContainerId, Policy, ShardIndex};
use prunedb_store::{StoreError, StoreSpace};
use rebuild::rebuild;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};
pub(crate) use urgency::lazy_losses;
use urgency::urgency;

/// A shard that is whole again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// its container
    pub container: ContainerId,
    /// which shard
    pub shard: ShardIndex,
    /// the node that has it now
    pub node: String,
}

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// shards that are whole again
    pub repaired: Vec<Repaired>,
    /// containers of which something is still missing, and why
    pub failed: Vec<(ContainerId, String)>,
    /// slots that went from an unreachable node to a spare one
    pub moved_slots: u64,
    /// slots of unreachable nodes for which there is no spare one
    pub stuck_slots: u64,
}

/// What is to be repaired, and how far that is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepairStatus {
    /// containers with shards that are known to be missing or damaged
    pub containers: u64,
    /// how many more shards the worst of them may lose and still be read; `None` where nothing is known to be wrong
    pub spare_min: Option<u64>,
    /// the repair that is running in this process
    pub running: Option<Progress>,
}

impl Db {
    /// Rebuilds every shard that is known to be missing or damaged (reads and [`Db::verify`] find them), the containers
    /// that are nearest to their loss first. With `move_away`, slots of unreachable nodes first go to nodes that hold no
    /// slot of their group, and everything of those slots is rebuilt there.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Fenced`], [`Error::Quorum`] and those of the local disk; a container that cannot be repaired is named
    /// in the result, the others go on.
    pub fn repair(
        &self,
        move_away: bool,
        report: &mut OnProgress<'_>,
    ) -> Result<RepairReport, Error> {
        if self.is_reader() {
            return Err(Error::ReadOnly);
        }
        self.inner.repair(
            |inner| {
                if !move_away {
                    return Ok((0, 0));
                }
                let reached = inner.space();
                let down = |node: u32| reached[node as usize].is_none();
                inner.move_slots(down, &reached, |_, _| true)
            },
            report,
        )
    }
}

impl Inner {
    /// How full each node is; `None` where it does not answer.
    pub(crate) fn space(&self) -> Vec<Option<StoreSpace>> {
        self.space_of(&self.lake.placement().nodes)
    }

    pub(crate) fn space_of(&self, nodes: &[Node]) -> Vec<Option<StoreSpace>> {
        let answers = self.lake.each(nodes, |store| Box::pin(async move { store.space().await }));
        answers.into_iter().map(Result::ok).collect()
    }

    /// Moves slots (how many, and how many could not), then rebuilds what is known to be missing.
    pub(crate) fn repair(
        &self,
        moved: impl FnOnce(&Self) -> Result<(u64, u64), Error>,
        report: &mut OnProgress<'_>,
    ) -> Result<RepairReport, Error> {
        let _one = self.repairs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = RepairReport::default();
        (out.moved_slots, out.stuck_slots) = moved(self)?;
        if out.moved_slots > 0 {
            self.publish()?;
        }
        let queue = self.repair_queue()?;
        if queue.is_empty() {
            return Ok(out);
        }
        let ids: Vec<ContainerId> = queue.iter().map(|(id, _)| *id).collect();
        let _over = Over(self);
        let mut shown = |progress: Progress| {
            self.show_repair(Some(progress));
            report(progress);
        };
        let mut job = Job::start("repair", self.subjects_bytes(&ids)?, &mut shown);
        // nodes that failed in this run are not tried for every container
        let mut down: BTreeSet<String> = BTreeSet::new();
        for (id, wanted) in queue {
            if self.wanted.stopped() {
                break; // the rest stays noted
            }
            let Some(subject) = self.subject(id)? else { continue };
            match self.repair_one(&subject, &wanted, &mut down) {
                Ok((repaired, failures)) => {
                    out.repaired.extend(repaired);
                    if !failures.0.is_empty() {
                        out.failed.push((id, failures.to_string()));
                    }
                }
                Err(e @ Error::Fenced { .. }) => return Err(e),
                Err(e) => out.failed.push((id, e.to_string())),
            }
            job.did(shards_bytes(&subject.stream)?, id);
        }
        Ok(out)
    }

    fn show_repair(&self, progress: Option<Progress>) {
        *self.repairing.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// What is to be repaired, and how far that is.
    pub(crate) fn repair_status(&self) -> Result<RepairStatus, Error> {
        let mut lost: BTreeMap<ContainerId, usize> = BTreeMap::new();
        for (container, _) in self.manifest.damage()? {
            *lost.entry(container).or_default() += 1;
        }
        let running = *self.repairing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = RepairStatus { running, ..RepairStatus::default() };
        for (id, lost) in lost {
            let Some(subject) = self.subject(id)? else { continue };
            let spare = subject.stream.policy.parity_shards().saturating_sub(lost) as u64;
            out.containers += 1;
            out.spare_min = Some(out.spare_min.map_or(spare, |min| min.min(spare)));
        }
        Ok(out)
    }

    /// What is known to be missing or damaged, the most urgent container first.
    pub(crate) fn repair_queue(&self) -> Result<Vec<(ContainerId, Vec<ShardIndex>)>, Error> {
        let mut lost: BTreeMap<ContainerId, Vec<ShardIndex>> = BTreeMap::new();
        for (container, shard) in self.manifest.damage()? {
            lost.entry(container).or_default().push(shard);
        }
        let mut queue = Vec::with_capacity(lost.len());
        for (id, shards) in lost {
            // a manifest container that was replaced while somebody looked at it needs no repair
            let Some(subject) = self.subject(id)? else {
                self.manifest.set_damage(shards.into_iter().map(|shard| (id, shard)), false)?;
                continue;
            };
            let policy = subject.stream.policy;
            let slots = self.lake.slots(id, subject.stream.group, policy)?;
            let bad =
                |s: &ShardIndex| shards.contains(s) || self.lake.is_avoided(&slots[s.as_usize()]);
            let good = policy.shards().filter(|s| !bad(s)).count();
            queue.push((urgency(policy, good), id, shards));
        }
        queue.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Ok(queue.into_iter().map(|(_, id, shards)| (id, shards)).collect())
    }

    /// Rebuilds shards of one container on the nodes of their slots, and notes what is whole again.
    fn repair_one(
        &self,
        subject: &Subject,
        wanted: &[ShardIndex],
        down: &mut BTreeSet<String>,
    ) -> Result<(Vec<Repaired>, Failures), Error> {
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        let container = subject.stream.id;
        let slots = self.lake.slots(container, subject.stream.group, subject.stream.policy)?;
        let targets = wanted.iter().map(|&s| (s, slots[s.as_usize()].clone())).collect();
        let (done, failures) = self.rebuild_on(subject, targets, down)?;
        self.manifest.set_damage(done.iter().map(|(shard, _)| (container, *shard)), false)?;
        let named = |(shard, node): (ShardIndex, Node)| Repaired {
            container,
            shard,
            node: node.store.name().to_owned(),
        };
        Ok((done.into_iter().map(named).collect(), failures))
    }

    /// Rebuilds shards on nodes. Another shard under the same name, of a writer that was fenced off, is deleted first: the
    /// manifest has the last word.
    pub(crate) fn rebuild_on(
        &self,
        subject: &Subject,
        targets: Vec<(ShardIndex, Node)>,
        down: &mut BTreeSet<String>,
    ) -> Result<(Vec<(ShardIndex, Node)>, Failures), Error> {
        let term = self.term()?;
        let shards = Shards::new(&self.lake, &subject.stream)?;
        let names = self.names_of(&shards, subject);
        let (mut done, mut failures) = (Vec::new(), Failures::default());
        let (skipped, mut targets): (Vec<_>, Vec<_>) =
            targets.into_iter().partition(|(_, node)| down.contains(node.store.name()));
        for (shard, node) in skipped {
            failures.0.push(shard_failure(shard, &node, "out of reach"));
        }
        // a second time for those whose conflict was found by their commit only
        for round in 0..2 {
            if targets.is_empty() {
                break;
            }
            let runtime = &self.lake.runtime;
            let outcome = runtime.block_on(rebuild(&self.lake, subject, &targets, &names, term))?;
            targets.clear();
            for (shard, node, result) in outcome {
                match result {
                    Ok(()) => done.push((shard, node)),
                    Err(StoreError::Fenced { term, seen, .. }) => {
                        return Err(Error::Fenced { term, seen });
                    }
                    Err(StoreError::Conflict { .. }) if round == 0 => {
                        let delete = node.store.delete(shards.id(shard), term);
                        match runtime.block_on(within(node.store.name(), delete)) {
                            Ok(_) => targets.push((shard, node)),
                            Err(e) => failures.0.push(shard_failure(shard, &node, e)),
                        }
                    }
                    Err(e) => {
                        if e.is_unreachable() {
                            down.insert(node.store.name().into());
                        }
                        failures.0.push(shard_failure(shard, &node, e));
                    }
                }
            }
        }
        Ok((done, failures))
    }

    /// Gives slots of lost nodes to others. What lies in them is noted as missing before they move, so that a crash
    /// forgets nothing.
    ///
    /// A slot that moved gives up what its old node has. So a group stays as it is while one of its containers could not be
    /// rebuilt from the nodes that answer: then only the return of the others helps.
    pub(crate) fn move_slots(
        &self,
        lost: impl Fn(u32) -> bool,
        space: &[Option<StoreSpace>],
        when: impl Fn(Policy, usize) -> bool,
    ) -> Result<(u64, u64), Error> {
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        let placement = self.lake.placement();
        let (mut moved, stuck) = {
            let candidates = candidates(&placement.nodes, space);
            moves(self.lake.id, &placement.groups, lost, &candidates, when)
        };
        let mut stuck = stuck as u64;
        let mut missing: Vec<(u32, ContainerId, ShardIndex)> = Vec::new();
        let mut stay: BTreeSet<u32> = BTreeSet::new();
        if !moved.is_empty() {
            for id in self.subject_ids()? {
                let Some(subject) = self.subject(id)? else { continue };
                let group = subject.stream.group;
                let of_group = moved.iter().filter(|m| m.group == group).map(|m| m.shard);
                let before = missing.len();
                missing.extend(of_group.map(|shard| (group, id, shard)));
                if missing.len() > before && !self.is_rebuildable(&subject, &placement, space)? {
                    stay.insert(group);
                }
            }
        }
        stuck += moved.iter().filter(|m| stay.contains(&m.group)).count() as u64;
        moved.retain(|m| !stay.contains(&m.group));
        if !moved.is_empty() {
            let missing = missing.into_iter().filter(|(group, ..)| !stay.contains(group));
            self.manifest.set_damage(missing.map(|(_, id, shard)| (id, shard)), true)?;
            let mut new = (*placement).clone();
            apply(&moved, &mut new.groups);
            self.change_placement(new)?;
        }
        Ok((moved.len() as u64, stuck))
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

/// Ends what the status shows of a repair, however that ends.
struct Over<'a>(&'a Inner);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.show_repair(None);
    }
}

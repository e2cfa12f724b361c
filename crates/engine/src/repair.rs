//! Bringing the lake back to its policies: what is lost is rebuilt, most urgent first, and slots of lost nodes move.
//!
//! Which shards are missing or damaged is noted in the local manifest, by reads, offloads and [`Db::verify`], and cleared
//! shard by shard as they are rebuilt: a repair that is interrupted goes on where it was. The lock of lake writes is
//! held for one container at a time, so offloads go on meanwhile.

mod moving;
mod rebuild;
mod urgency;

use crate::{
    db::{Db, Inner},
    error::{Error, Failures},
    lake::{Node, Shards, shard_failure, within},
    progress::{Job, OnProgress, Progress},
    verify::{Subject, shards_bytes},
};
pub(crate) use moving::Moving;
use prunedb_core::{ContainerId, ShardIndex};
use prunedb_store::{StoreError, StoreSpace};
use rebuild::rebuild;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
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
    /// that are nearest to their loss first. With `move_away`, everything in slots of unreachable nodes is rebuilt on nodes that
    /// hold no slot of their group, and then the slots go to those.
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
        if move_away {
            let reason =
                "slots move by the registry's elections: a node that does not prove loses its own";
            self.inner.require_no_registry(reason)?;
        }
        self.inner.repair(
            |inner| {
                if !move_away {
                    return Ok(Moving::default());
                }
                let reached = inner.space();
                let down = |node: u32| reached[node as usize].is_none();
                inner.plan_moves(down, &reached, |_, _| true)
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

    /// Rebuilds what is known to be missing and what lies in slots that are to move, then moves those.
    pub(crate) fn repair(
        &self,
        plan: impl FnOnce(&Self) -> Result<Moving, Error>,
        report: &mut OnProgress<'_>,
    ) -> Result<RepairReport, Error> {
        let _one = self.repairs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut moving = plan(self)?;
        let mut out = RepairReport { stuck_slots: moving.stuck, ..RepairReport::default() };
        let queue = self.repair_queue(&moving)?;
        if queue.is_empty() && moving.is_empty() {
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
            let one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
            self.repair_locked(&subject, &wanted, &mut moving, &mut down, &mut out)?;
            drop(one);
            job.did(shards_bytes(&subject.stream)?, id);
        }
        if !moving.is_empty() {
            out.moved_slots = self.settle(&mut moving, &mut down, &mut out)?;
            out.stuck_slots = moving.stuck;
        }
        if out.moved_slots > 0 {
            self.publish()?;
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
    pub(crate) fn repair_queue(
        &self,
        moving: &Moving,
    ) -> Result<Vec<(ContainerId, Vec<ShardIndex>)>, Error> {
        let mut lost: BTreeMap<ContainerId, BTreeSet<ShardIndex>> = BTreeMap::new();
        for (container, shard) in self.manifest.damage()? {
            lost.entry(container).or_default().insert(shard);
        }
        for id in if moving.is_empty() { Vec::new() } else { self.subject_ids()? } {
            let Some(subject) = self.subject(id)? else { continue };
            let mut shards = moving.shards_of(subject.stream.group).peekable();
            if shards.peek().is_some() {
                lost.entry(id).or_default().extend(shards);
            }
        }
        let mut queue = Vec::with_capacity(lost.len());
        for (id, shards) in lost {
            // a manifest container that was replaced while somebody looked at it needs no repair
            let Some(subject) = self.subject(id)? else {
                self.manifest.set_damage(shards.into_iter().map(|shard| (id, shard)), false)?;
                continue;
            };
            let policy = subject.stream.policy;
            // a crash while it was coded anew may leave notes of shards that it had before
            let (shards, gone): (Vec<_>, Vec<_>) =
                shards.into_iter().partition(|shard| shard.as_usize() < policy.total_shards());
            self.manifest.set_damage(gone.into_iter().map(|shard| (id, shard)), false)?;
            if shards.is_empty() {
                continue;
            }
            let slots = self.lake.slots(id, subject.stream.group, policy)?;
            let bad =
                |s: &ShardIndex| shards.contains(s) || self.lake.is_avoided(&slots[s.as_usize()]);
            let good = policy.shards().filter(|s| !bad(s)).count();
            queue.push((urgency(policy, good), id, shards));
        }
        queue.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Ok(queue.into_iter().map(|(_, id, shards)| (id, shards)).collect())
    }

    /// Rebuilds shards of one container where they belong, and notes what is whole again; `lake_writes` is held.
    fn repair_locked(
        &self,
        subject: &Subject,
        wanted: &[ShardIndex],
        moving: &mut Moving,
        down: &mut BTreeSet<String>,
        report: &mut RepairReport,
    ) -> Result<(), Error> {
        let (container, group) = (subject.stream.id, subject.stream.group);
        let repaired = self.rebuild_in_slots(subject, wanted, moving, down);
        let (done, failures) = match repaired {
            Ok(repaired) => repaired,
            Err(e @ Error::Fenced { .. }) => return Err(e),
            Err(e) => {
                report.failed.push((container, e.to_string()));
                moving.did(subject, false);
                return Ok(());
            }
        };
        moving.did(subject, failures.0.is_empty());
        // what is on a new node counts when its slot has moved
        let placement = self.lake.placement();
        let counts =
            done.iter().filter(|(shard, _)| moving.to(group, *shard, &placement).is_none());
        self.manifest.set_damage(counts.map(|(shard, _)| (container, *shard)), false)?;
        report.repaired.extend(done.into_iter().map(|(shard, node)| Repaired {
            container,
            shard,
            node: node.store.name().to_owned(),
        }));
        if !failures.0.is_empty() {
            report.failed.push((container, failures.to_string()));
        }
        Ok(())
    }

    /// Rebuilds shards of one container on the nodes of their slots, or on those that the slots go to.
    fn rebuild_in_slots(
        &self,
        subject: &Subject,
        wanted: &[ShardIndex],
        moving: &Moving,
        down: &mut BTreeSet<String>,
    ) -> Result<(Vec<(ShardIndex, Node)>, Failures), Error> {
        let shards = Shards::new(&self.lake, &subject.stream)?;
        let names = self.names_of(&shards, subject);
        let placement = self.lake.placement();
        let mut targets = Vec::with_capacity(wanted.len());
        for &shard in wanted {
            match moving.to(subject.stream.group, shard, &placement) {
                // rebuilt by a repair that did not come to its end
                Some(node)
                    if self.lake.runtime.block_on(shards.is_on(
                        node,
                        shard,
                        names[shard.as_usize()],
                    )) => {}
                Some(node) => targets.push((shard, node.clone())),
                None => targets.push((shard, shards.node(shard).clone())),
            }
        }
        self.rebuild_on(subject, targets, down)
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
                    // a node that makes its shards itself may have made it meanwhile
                    Err(StoreError::Denied { .. })
                        if runtime.block_on(shards.is_on(
                            &node,
                            shard,
                            names[shard.as_usize()],
                        )) =>
                    {
                        done.push((shard, node));
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
}

/// Ends what the status shows of a repair, however that ends.
struct Over<'a>(&'a Inner);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.show_repair(None);
    }
}

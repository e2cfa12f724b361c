//! Rebuilding lost and damaged shards: `p` ranges are read once, all missing shards of a container are written.

use crate::{
    db::{Db, Inner},
    error::{Error, Failures},
    lake::{Node, Shards, shard_failure, within},
    progress::{Job, OnProgress},
    verify::{Subject, shards_bytes},
};
use bytes::Bytes;
use prunedb_core::{ContainerId, Digest, ShardIndex, Term};
use prunedb_store::{PutMode, ShardUpload, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

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
}

impl Db {
    /// Rebuilds every shard that is known to be missing or damaged (reads and [`Db::verify`] find them). With
    /// `move_away`, slots of unreachable nodes first go to nodes that hold no slot of their group, and everything of
    /// those slots is rebuilt there.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Quorum`] and those of the local disk; a container that cannot be repaired is named
    /// in the result, the others go on.
    pub fn repair(
        &self,
        move_away: bool,
        report: &mut OnProgress<'_>,
    ) -> Result<RepairReport, Error> {
        let done = self.inner.repair(move_away, report)?;
        if done.moved_slots > 0 {
            self.inner.publish()?;
        }
        Ok(done)
    }
}

impl Inner {
    fn repair(&self, move_away: bool, report: &mut OnProgress<'_>) -> Result<RepairReport, Error> {
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = RepairReport::default();
        let ids = self.subject_ids()?;
        if move_away {
            out.moved_slots = self.move_slots(&ids)?;
        }
        let mut lost: BTreeMap<ContainerId, BTreeSet<ShardIndex>> = BTreeMap::new();
        let there: BTreeSet<ContainerId> = ids.into_iter().collect();
        // a manifest container that was replaced while somebody looked at it needs no repair
        let (known, gone): (Vec<_>, Vec<_>) =
            self.manifest.damage()?.into_iter().partition(|(id, _)| there.contains(id));
        self.manifest.set_damage(gone, false)?;
        for (container, shard) in known {
            lost.entry(container).or_default().insert(shard);
        }
        if lost.is_empty() {
            return Ok(out);
        }
        let term = self.term()?;
        let ids: Vec<ContainerId> = lost.keys().copied().collect();
        let mut job = Job::start("repair", self.subjects_bytes(&ids)?, report);
        for id in ids {
            let Some(subject) = self.subject(id)? else { continue };
            let wanted: Vec<ShardIndex> = lost[&id].iter().copied().collect();
            match self.rebuild(&subject, &wanted, term) {
                Ok((repaired, failures)) => {
                    self.manifest.set_damage(repaired.iter().map(|r| (id, r.shard)), false)?;
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

    /// Gives the slots of unreachable nodes to nodes that answer and hold none of the group, the emptiest first.
    fn move_slots(&self, ids: &[ContainerId]) -> Result<u64, Error> {
        let answers = self.lake.all(|store| Box::pin(async move { store.space().await }));
        let used: Vec<Option<u64>> =
            answers.iter().map(|a| a.as_ref().ok().map(|s| s.used_bytes)).collect();
        let mut groups = (*self.lake.groups()).clone();
        let mut gained = vec![0u64; used.len()];
        let mut moved: Vec<(u32, ShardIndex)> = Vec::new();
        for (number, group) in (0u32..).zip(&mut groups) {
            for shard in group.policy.shards() {
                let slot = group.slots[shard.as_usize()] as usize;
                if used[slot].is_some() {
                    continue;
                }
                let spare = (0u32..)
                    .zip(&used)
                    .filter(|(node, used)| used.is_some() && !group.slots.contains(node))
                    .min_by_key(|(node, used)| (gained[*node as usize], **used));
                if let Some((node, _)) = spare {
                    group.slots[shard.as_usize()] = node;
                    gained[node as usize] += 1;
                    moved.push((number, shard));
                }
            }
        }
        if moved.is_empty() {
            return Ok(0);
        }
        // what lies in a moved slot is missing from now on; noted first, so that a crash forgets nothing
        let mut missing: Vec<(ContainerId, ShardIndex)> = Vec::new();
        for &id in ids {
            let Some(subject) = self.subject(id)? else { continue };
            let of_group = moved.iter().filter(|(group, _)| *group == subject.stream.group);
            missing.extend(of_group.map(|(_, shard)| (id, *shard)));
        }
        self.manifest.set_damage(missing, true)?;
        self.manifest.update(|state| {
            state.body.groups.clone_from(&groups);
            state.head_dirty = true;
        })?;
        self.lake.set_groups(groups);
        Ok(moved.len() as u64)
    }

    /// Rebuilds some shards of a container on the nodes of their slots.
    fn rebuild(
        &self,
        subject: &Subject,
        wanted: &[ShardIndex],
        term: Term,
    ) -> Result<(Vec<Repaired>, Failures), Error> {
        let shards = Shards::new(&self.lake, &subject.stream)?;
        let names = self.names_of(&shards, subject);
        let order: Vec<ShardIndex> = shards
            .order(&[])
            .into_iter()
            .filter(|s| !wanted.contains(s))
            .chain(wanted.iter().copied())
            .collect();
        let mut targets: Vec<Target> = Vec::new();
        let mut failures = Failures::default();
        for &shard in wanted {
            let node = shards.node(shard).clone();
            match self.begin(&node, &shards, shard, term) {
                Ok(upload) => {
                    targets.push(Target { shard, node, hasher: blake3::Hasher::new(), upload })
                }
                Err(StoreError::Fenced { term, seen, .. }) => {
                    return Err(Error::Fenced { term, seen });
                }
                Err(e) => failures.0.push(shard_failure(shard, &node, e)),
            }
        }
        let layout = shards.layout();
        let mut at = 0;
        while at < layout.leaves_per_shard() && !targets.is_empty() {
            let leaves = at..(at + shards.leaves_per_get()).min(layout.leaves_per_shard());
            at = leaves.end;
            let opened =
                self.lake.runtime.block_on(shards.any(leaves.clone(), order.clone(), None))?;
            let alive: Vec<ShardIndex> = targets.iter().map(|t| t.shard).collect();
            let mut payloads = shards.complete(opened, &alive)?;
            let mut still = Vec::new();
            for mut target in targets {
                let payload = payloads.remove(&target.shard).expect("it was asked for");
                let sealed = shards.seal(target.shard, leaves.start, &payload)?;
                target.hasher.update(&sealed);
                let name = target.node.store.name().to_owned();
                let write = within(&name, target.upload.write(Bytes::from(sealed)));
                match self.lake.runtime.block_on(write) {
                    Ok(()) => still.push(target),
                    Err(e) => failures.0.push(shard_failure(target.shard, &target.node, e)),
                }
            }
            targets = still;
        }
        let mut repaired = Vec::new();
        for target in targets {
            let Target { shard, node, hasher, upload } = target;
            let name = Digest(*hasher.finalize().as_bytes());
            if let Some(expected) = names[shard.as_usize()].filter(|n| *n != name) {
                return Err(Error::Codec {
                    container: subject.stream.id,
                    reason: format!(
                        "shard {shard} was rebuilt as {name}, the manifest says {expected}"
                    ),
                });
            }
            match self.lake.runtime.block_on(within(node.store.name(), upload.commit(name))) {
                Ok(()) => {
                    let node = node.store.name().to_owned();
                    repaired.push(Repaired { container: subject.stream.id, shard, node });
                }
                Err(e) => failures.0.push(shard_failure(shard, &node, e)),
            }
        }
        Ok((repaired, failures))
    }

    fn begin(
        &self,
        node: &Node,
        shards: &Shards,
        shard: ShardIndex,
        term: Term,
    ) -> Result<Box<dyn ShardUpload>, StoreError> {
        let bytes = shards.layout().shard_bytes();
        let put = node.store.put(shards.id(shard), term, bytes, PutMode::Replace);
        self.lake.runtime.block_on(within(node.store.name(), put))
    }
}

struct Target {
    shard: ShardIndex,
    node: Node,
    hasher: blake3::Hasher,
    upload: Box<dyn ShardUpload>,
}

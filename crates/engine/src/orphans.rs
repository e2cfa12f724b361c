//! Shards on the nodes that nothing names: what an upload left that never counted, what a slot's old node still has after the
//! slot moved, what a lost writer had not deleted yet. They take room and nobody reads them.
//!
//! ```text
//! list every node -> what the manifest does not name is noted, with the time -> seen so for a day: deleted
//! ```
//! Invariants: a shard goes only while no head is newer than ours, all that we know is published, no container is written and
//! no slot moves, and the manifest of that moment names it neither now nor as one that readers of an older head may still read;
//! the node then still has what was seen first. What another node is to have goes only while that one has it; where it then has
//! not, both are one node under two addresses, and no more goes. Every node refuses who is not the newest writer. In a lake with a registry no
//! shard of a data container goes, whoever has it: an elected holder may have made its own before the slot is its here, and the
//! holder before answers for the one that it has until then. Of index and manifest a registry knows nothing.
//!
//! Memory: 12 bytes for each container of the lake, a page of a node's list, and [`ORPHANS_MAX`] notes.

use crate::{
    db::{Db, Inner},
    error::Error,
    lake::{Node, open_head, within},
    manifest::Orphan,
    progress::{Job, OnProgress},
    publish::head_threshold,
    verify::shards_bytes,
};
use prunedb_core::{ContainerId, ContainerKind, ShardId};
use prunedb_store::{ShardStat, StoreError};
use std::{
    collections::HashMap,
    sync::PoisonError,
    time::{Duration, SystemTime},
};

/// How long a shard is left alone that nothing names.
pub const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);
/// Shards that one sweep notes at most; what is left is found by the next one.
const ORPHANS_MAX: usize = 100_000;
/// Shards that one answer of a node lists.
const PAGE: u32 = 1000;

/// What a sweep found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// nodes that were looked through
    pub nodes: u64,
    /// their shards
    pub shards: u64,
    /// shards that nothing names, those counted that were deleted now
    pub orphans: u64,
    /// their bytes
    pub orphan_bytes: u64,
    /// shards that were deleted, or would be (dry run)
    pub deleted: u64,
    /// their bytes
    pub deleted_bytes: u64,
    /// nodes that were not looked through or swept to the end, and why
    pub failed: Vec<(String, String)>,
}

impl Db {
    /// Looks through all nodes for shards that nothing names, and deletes those that were seen so first `age` ago or earlier
    /// ([`ORPHAN_AGE`]). With `dry_run` nothing is deleted and nothing is noted.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Fenced`] where another writer has the lake, [`Error::Quorum`] where so few nodes answer that a
    /// newer head may be on the others, and those of publishing.
    pub fn sweep(
        &self,
        now: SystemTime,
        age: Duration,
        dry_run: bool,
        report: &mut OnProgress<'_>,
    ) -> Result<Swept, Error> {
        if self.is_reader() {
            return Err(Error::ReadOnly);
        }
        self.inner.sweep(now, age, dry_run, report)
    }
}

impl Inner {
    pub(crate) fn sweep(
        &self,
        now: SystemTime,
        age: Duration,
        dry_run: bool,
        report: &mut OnProgress<'_>,
    ) -> Result<Swept, Error> {
        let now_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let _no_moves = self.repairs.lock().unwrap_or_else(PoisonError::into_inner);
        if !dry_run {
            // a head that did not reach enough nodes may name what nothing else does: from now on there is a newer one
            self.publish()?;
        }
        self.rule_out_newer_heads()?;
        let named = self.named()?;
        let mut job = Job::start("sweep", named.bytes, report);
        let seen: HashMap<(String, ShardId), Orphan> =
            self.manifest.orphans()?.into_iter().map(|o| ((o.node.clone(), o.id), o)).collect();
        let (mut out, mut orphans, mut left) = (Swept::default(), Vec::new(), Vec::new());
        let nodes = self.lake.placement().nodes.clone();
        for (position, node) in (0u32..).zip(&nodes) {
            if self.wanted.stopped() {
                return Ok(out);
            }
            let mut found = |stat: &ShardStat| {
                out.shards += 1;
                let is_left = named.has(stat.id, position) || self.is_of_registry(stat.id);
                if is_left || orphans.len() >= ORPHANS_MAX {
                    return;
                }
                let (address, id) = (node.address.clone(), stat.id);
                let known = seen.get(&(address.clone(), id)).filter(|o| o.name == stat.name);
                let since_s = known.map_or(now_s, |known| known.since_s.min(now_s));
                let (name, bytes) = (stat.name, stat.bytes);
                orphans.push(Orphan { node: address, id, name, bytes, since_s });
            };
            match self.look_through(node, &mut found, &mut job) {
                Ok(()) => out.nodes += 1,
                Err(reason) => {
                    out.failed.push((node.address.clone(), reason));
                    // what is known of it stays known
                    orphans.retain(|orphan: &Orphan| orphan.node != node.address);
                    let known = seen.values().filter(|orphan| orphan.node == node.address);
                    left.extend(known.cloned());
                }
            }
        }
        out.orphans = orphans.len() as u64;
        out.orphan_bytes = orphans.iter().map(|orphan| orphan.bytes).sum();
        for orphan in orphans {
            let is_due = now_s.saturating_sub(orphan.since_s) >= age.as_secs();
            let is_failed = out.failed.iter().any(|(failed, _)| *failed == orphan.node);
            let node = nodes.iter().find(|node| node.address == orphan.node);
            let end = match node.filter(|_| is_due && !is_failed) {
                Some(_) if dry_run => End::Gone,
                Some(node) => self.delete_orphan(node, &orphan)?,
                None => End::Left,
            };
            match end {
                End::Gone => {
                    out.deleted += 1;
                    out.deleted_bytes += orphan.bytes;
                }
                End::Left => left.push(orphan),
                End::GoneAt(other) => {
                    let reason = format!(
                        "it is the same node as {other}: a shard that was deleted here is gone there, too, and will be rebuilt, \
                         no other was; give the lake one address of it"
                    );
                    tracing::error!(node = orphan.node, reason, "the sweep stops at a node");
                    out.failed.push((orphan.node, reason));
                }
            }
        }
        if !dry_run {
            // what is not kept is noted anew
            left.truncate(ORPHANS_MAX);
            self.manifest.set_orphans(&left)?;
            if out.deleted > 0 {
                tracing::info!(
                    shards = out.deleted,
                    bytes = out.deleted_bytes,
                    "deleted what nothing named"
                );
            }
        }
        Ok(out)
    }

    /// Looks at every shard of the lake that a node has.
    fn look_through(
        &self,
        node: &Node,
        found: &mut dyn FnMut(&ShardStat),
        job: &mut Job<'_, '_>,
    ) -> Result<(), String> {
        let mut after = None;
        loop {
            let list = within(node.store.name(), node.store.list(self.lake.id, after, PAGE));
            let page = self.lake.runtime.block_on(list).map_err(|e| e.to_string())?;
            for stat in &page {
                // one that repeats itself would never end
                if after.is_some_and(|after| stat.id <= after) {
                    return Err("its list is out of order".into());
                }
                after = Some(stat.id);
                found(stat);
                job.did(stat.bytes, stat.id.container);
            }
            if page.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    /// Deletes one, unless something names it now, or the node that is to have it does not show it.
    fn delete_orphan(&self, node: &Node, orphan: &Orphan) -> Result<End, Error> {
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        // noted when nothing governed the lake yet
        if self.is_of_registry(orphan.id) || self.is_named(orphan.id, node)? {
            return Ok(End::Left);
        }
        let (id, name) = (orphan.id, orphan.name);
        let holder = self.holder(id)?;
        let stat_there = |holder: &Node| {
            let stat = within(holder.store.name(), holder.store.stat(id));
            self.lake.runtime.block_on(stat)
        };
        if holder.as_ref().is_some_and(|it| !matches!(stat_there(it), Ok(Some(_)))) {
            return Ok(End::Left);
        }
        let term = self.term()?;
        let delete = async {
            match node.store.stat(id).await? {
                Some(stat) if stat.name == name => {
                    node.store.delete(id, term).await.map(|_| End::Gone)
                }
                // somebody was faster, or it is another one now
                Some(_) => Ok(End::Left),
                None => Ok(End::Gone),
            }
        };
        match self.lake.runtime.block_on(within(node.store.name(), delete)) {
            Ok(End::Gone) => match holder.filter(|it| matches!(stat_there(it), Ok(None))) {
                Some(holder) => {
                    self.manifest.set_damage([(id.container, id.index)], true)?;
                    self.wanted.repair();
                    Ok(End::GoneAt(holder.address))
                }
                None => Ok(End::Gone),
            },
            Ok(end) => Ok(end),
            Err(StoreError::Fenced { term, seen, .. }) => Err(Error::Fenced { term, seen }),
            Err(error) => {
                tracing::debug!(%id, %error, "a shard that nothing names was not deleted");
                Ok(End::Left)
            }
        }
    }

    /// Whether a registry says who has to have a shard.
    fn is_of_registry(&self, shard: ShardId) -> bool {
        shard.container.kind == ContainerKind::Data && self.governance().is_some()
    }

    /// So many nodes say what head they have that none of the others can have a newer one than ours.
    fn rule_out_newer_heads(&self) -> Result<(), Error> {
        let (state, lake) = (self.manifest.state(), self.lake.id);
        let secret = &self.lake.secret;
        let answers = self.lake.all(|store| Box::pin(async move { store.head(lake).await }));
        let answered = answers.iter().filter(|answer| answer.is_ok()).count();
        let needed = answers.len() + 1 - head_threshold(state.body.policy, answers.len());
        if answered < needed {
            let what = "looking for a newer head";
            let failures = self.lake.failures(&answers);
            return Err(Error::Quorum { what, answered, needed, failures });
        }
        let heads = answers.into_iter().flatten().flatten();
        let mut heads = heads.filter_map(|head| Some(open_head(secret, &head.bytes)?.0));
        match heads.find(|head| (head.term, head.number) > (state.term, state.head_number)) {
            Some(head) => Err(Error::Fenced { term: state.term, seen: head.term }),
            None => Ok(()),
        }
    }

    /// What the manifest names.
    fn named(&self) -> Result<Named, Error> {
        let (mut containers, mut bytes) = (Vec::new(), 0);
        for id in self.subject_ids()? {
            let Some(subject) = self.subject(id)? else { continue };
            bytes += shards_bytes(&subject.stream)?;
            containers.push((id, subject.stream.group));
        }
        let retired = self.manifest.retired()?;
        containers.extend(retired.into_iter().map(|old| (old.id, old.group)));
        containers.sort_unstable_by_key(|(id, ..)| *id);
        let groups = self.lake.placement().groups.iter().map(|group| group.slots.clone()).collect();
        Ok(Named { containers, groups, bytes })
    }
}

/// What became of a shard that nothing names.
enum End {
    Left,
    Gone,
    /// and so is the one that this address is to have
    GoneAt(String),
}

/// Which shards the manifest names, and where.
struct Named {
    /// in the order of their ids; a container that was coded anew is there twice
    containers: Vec<(ContainerId, u32)>,
    groups: Vec<Vec<u32>>,
    /// of all shards
    bytes: u64,
}

impl Named {
    fn has(&self, shard: ShardId, node: u32) -> bool {
        let first = self.containers.partition_point(|(id, ..)| *id < shard.container);
        let of_container = self.containers[first..].iter().take_while(|c| c.0 == shard.container);
        let mut groups = of_container.map(|(_, group)| self.groups.get(*group as usize));
        // where manifest and placement do not fit, nothing is taken for unnamed
        groups
            .any(|slots| slots.is_none_or(|slots| slots.get(shard.index.as_usize()) == Some(&node)))
    }
}

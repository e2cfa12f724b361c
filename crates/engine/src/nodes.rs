//! Nodes that join and leave.
//!
//! A node that leaves copies its shards out, one read and one write for each: rebuilding them would read `p`. Its slots
//! move only when every shard of them is on its new node, so that nothing is at risk meanwhile, and a copy that was
//! interrupted goes on where it was.

use crate::{
    db::{Db, Inner},
    error::Error,
    lake::{Lanes, Manner, Message, Node, Shards, Target, within},
    placement::{NodeDomains, apply, candidates, held, moves, one_more},
    progress::{Job, OnProgress},
    verify::Subject,
};
use prunedb_core::{ContainerId, Digest, ShardIndex, Term};
use prunedb_store::{PutMode, ShardStore};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

/// Where a registry governs the lake.
const BY_REGISTRY: &str =
    "nodes join and leave by the registry: `prunedb registry join`, `prunedb node leave`";

/// Slots that go to other nodes, by group and shard.
pub(crate) type NewHolders = BTreeMap<(u32, ShardIndex), Node>;

/// What the leaving of a node took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// slots that other nodes have now
    pub moved_slots: u64,
    /// shards that were copied
    pub copied_shards: u64,
    /// their bytes
    pub copied_bytes: u64,
    /// shards that the node could not give, rebuilt from others
    pub rebuilt_shards: u64,
}

impl Db {
    /// Takes a node into the lake: a spare one for the groups there are, and a holder of a new group.
    ///
    /// # Errors
    /// [`Error::RepeatedNode`], [`Error::Store`] where it does not answer, and those of publishing.
    pub fn add_node(
        &self,
        address: &str,
        store: Arc<dyn ShardStore>,
        domains: NodeDomains,
    ) -> Result<(), Error> {
        self.inner.require_no_registry(BY_REGISTRY)?;
        self.inner.add_node(address, store, domains)?;
        self.inner.publish()
    }

    /// Copies everything that a node holds to others, gives them its slots, and takes it off the lake. The node needs not
    /// answer: what it cannot give is rebuilt.
    ///
    /// # Errors
    /// [`Error::UnknownNode`], [`Error::NoSpareNode`], [`Error::NotHandedOver`]: the node keeps its slots, what was copied
    /// is not copied again.
    pub fn leave(&self, address: &str, report: &mut OnProgress<'_>) -> Result<Left, Error> {
        self.inner.require_no_registry(BY_REGISTRY)?;
        let left = self.inner.leave(address, report)?;
        self.inner.publish()?;
        Ok(left)
    }
}

impl Inner {
    fn add_node(
        &self,
        address: &str,
        store: Arc<dyn ShardStore>,
        domains: NodeDomains,
    ) -> Result<(), Error> {
        let _no_moves = self.repairs.lock().unwrap_or_else(PoisonError::into_inner);
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut placement = (*self.lake.placement()).clone();
        if placement.nodes.iter().any(|node| node.address == address) {
            return Err(Error::RepeatedNode { address: address.into() });
        }
        let term = self.term()?;
        let fenced = within(address, store.fence(self.lake.id, term));
        self.lake.runtime.block_on(fenced)?;
        placement.nodes.push(Node::in_domains(address, store, domains));
        let policy = self.manifest.state().body.policy;
        let candidates = candidates(&placement.nodes, &self.space_of(&placement.nodes));
        let group = one_more(self.lake.id, &placement.groups, policy, &candidates);
        placement.groups.extend(group);
        self.change_placement(placement)
    }

    fn leave(&self, address: &str, report: &mut OnProgress<'_>) -> Result<Left, Error> {
        let _no_moves = self.repairs.lock().unwrap_or_else(PoisonError::into_inner);
        let placement = self.lake.placement();
        let position = placement.nodes.iter().position(|node| node.address == address);
        let position = position.ok_or_else(|| Error::UnknownNode { address: address.into() })?;
        let leaver = u32::try_from(position).expect("nodes are counted in u32");
        let candidates = candidates(&placement.nodes, &self.space());
        let leaves = |node| node == leaver;
        let (moved, stuck) =
            moves(self.lake.id, &placement.groups, leaves, &candidates, |_, _| true);
        if stuck > 0 {
            let slots = held(&placement.groups, leaver);
            return Err(Error::NoSpareNode { address: address.into(), slots });
        }
        let mut left = Left { moved_slots: moved.len() as u64, ..Left::default() };
        let mut done = BTreeSet::new();
        let to: NewHolders = moved
            .iter()
            .map(|m| ((m.group, m.shard), placement.nodes[m.to as usize].clone()))
            .collect();
        let all = self.to_hand_over(&to, &done)?;
        let total =
            all.iter().map(|(subject, ..)| shard_bytes(subject)).sum::<Result<u64, Error>>()?;
        let mut job = Job::start("leave", total, report);
        for (subject, shard, to) in all {
            self.hand_over(&subject, to, shard, &mut left)?;
            done.insert((subject.stream.id, shard));
            job.did(shard_bytes(&subject)?, subject.stream.id);
        }
        // what was offloaded meanwhile, and now nothing more is
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        for (subject, shard, to) in self.to_hand_over(&to, &done)? {
            self.hand_over(&subject, to, shard, &mut left)?;
            done.insert((subject.stream.id, shard));
        }
        let mut new = (*placement).clone();
        apply(&moved, &mut new.groups);
        new.nodes.remove(position);
        let slots = new.groups.iter_mut().flat_map(|group| &mut group.slots);
        slots.filter(|slot| **slot > leaver).for_each(|slot| *slot -= 1);
        self.change_placement(new)?;
        self.manifest.set_damage(done, false)?;
        Ok(left)
    }

    /// Shards in slots that go to other nodes, those excepted that are done.
    pub(crate) fn to_hand_over<'a>(
        &self,
        to: &'a NewHolders,
        done: &BTreeSet<(ContainerId, ShardIndex)>,
    ) -> Result<Vec<(Subject, ShardIndex, &'a Node)>, Error> {
        let mut out = Vec::new();
        for id in self.subject_ids()? {
            let Some(subject) = self.subject(id)? else { continue };
            let of_group = |shard| (subject.stream.group, ShardIndex(shard));
            for ((_, shard), node) in to.range(of_group(0)..=of_group(u8::MAX)) {
                if !done.contains(&(id, *shard)) {
                    out.push((subject.clone(), *shard, node));
                }
            }
        }
        Ok(out)
    }

    /// Brings one shard to another node: copied, or rebuilt where it cannot be read.
    pub(crate) fn hand_over(
        &self,
        subject: &Subject,
        to: &Node,
        shard: ShardIndex,
        left: &mut Left,
    ) -> Result<(), Error> {
        let term = self.term()?;
        let shards = Shards::new(&self.lake, &subject.stream)?;
        let name = self.names_of(&shards, subject)[shard.as_usize()];
        match self.lake.runtime.block_on(self.copy(&shards, shard, to, name, term)) {
            Ok(bytes) => {
                left.copied_shards += u64::from(bytes > 0);
                left.copied_bytes += bytes;
                return Ok(());
            }
            Err(reason) => {
                tracing::warn!(container = %subject.stream.id, %shard, reason, "not copied: rebuilt");
            }
        }
        self.rebuild_to(subject, to, shard, left)
    }

    /// Rebuilds one shard on another node.
    pub(crate) fn rebuild_to(
        &self,
        subject: &Subject,
        to: &Node,
        shard: ShardIndex,
        left: &mut Left,
    ) -> Result<(), Error> {
        let targets = vec![(shard, to.clone())];
        let (rebuilt, failures) = self.rebuild_on(subject, targets, &mut BTreeSet::new())?;
        if rebuilt.is_empty() {
            return Err(Error::NotHandedOver { container: subject.stream.id, failures });
        }
        left.rebuilt_shards += 1;
        Ok(())
    }

    /// Copies a shard, checked, and says how many bytes that took: 0 where the other node has it already.
    async fn copy(
        &self,
        shards: &Shards,
        shard: ShardIndex,
        to: &Node,
        name: Option<Digest>,
        term: Term,
    ) -> Result<u64, String> {
        let (id, layout) = (shards.id(shard), shards.layout());
        if shards.is_on(to, shard, name).await {
            return Ok(0);
        }
        let manner = Manner {
            term,
            mode: PutMode::IfAbsent,
            least: 1,
            shard_bytes: layout.shard_bytes(),
            needed: 1,
            patience: Duration::ZERO,
        };
        let mut lanes = Lanes::open(&self.lake, manner, [Target { id, node: to.clone() }], false);
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while at < layout.leaves_per_shard() && lanes.open_count() > 0 {
            let leaves = at..(at + shards.leaves_per_get()).min(layout.leaves_per_shard());
            let sealed = shards.sealed(shard, leaves.clone()).await.map_err(|e| e.to_string())?;
            self.lake.repairs.take(sealed.len() as u64).await;
            hasher.update(&sealed);
            if name.is_none() {
                shards.open(shard, at, &sealed).map_err(|e| e.to_string())?;
            }
            lanes.wait_for_room().await;
            lanes.send(std::iter::once(Message::Bytes(sealed)));
            at = leaves.end;
        }
        let found = Digest(*hasher.finalize().as_bytes());
        if lanes.open_count() > 0 && name.is_some_and(|name| name != found) {
            return Err(format!("it hashes to {found}"));
        }
        lanes.wait_for_room().await;
        lanes.send(std::iter::once(Message::Commit(found)));
        let mut done = lanes.collect().await;
        let (_, result) = done.pop().expect("there was one target");
        result.map(|()| layout.shard_bytes()).map_err(|e| e.to_string())
    }
}

/// Sealed bytes of one shard of a container.
fn shard_bytes(subject: &Subject) -> Result<u64, Error> {
    Ok(crate::lake::layout_of(&subject.stream)?.shard_bytes())
}

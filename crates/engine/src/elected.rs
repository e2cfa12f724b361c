//! A lake that a registry governs: who holds which slot is elected there, and what may leave this machine, too.
//!
//! ```text
//! registry ──groups, watermark──> follow_elections, govern ──> placement, repair ; evict, prune
//! ```
//! Slots move where the registry says, and by nothing else, when everything of them is on the elected node: copied from the
//! holder before where that answers, rebuilt from others where it does not. So no election ever costs a shard.

use crate::{
    db::{Db, Inner},
    error::Error,
    lake::{Connect, Node, Placement, within},
    nodes::{Left, NewHolders},
    placement::NodeDomains,
    verify::Subject,
};
use prunedb_core::{ContainerId, Policy, ShardIndex, Term};
use prunedb_format::head::Group;
use prunedb_store::StoreSpace;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

/// What a registry says of its lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Governance {
    /// batches below this number may leave the machines that made them
    pub prunable_up_to: u32,
    /// the lake's groups are those of the registry: before that nothing is stored
    pub placed: bool,
    /// the term of the registry's lease, where this writer holds it: without it nothing is stored, and each has terms of its own at
    /// the nodes
    pub lease: Option<Term>,
}

/// The nodes and groups of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Elected {
    /// addresses, and what fails together with each
    pub nodes: Vec<(String, NodeDomains)>,
    /// by number
    pub groups: Vec<ElectedGroup>,
}

/// A group of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectedGroup {
    /// its policy
    pub policy: Policy,
    /// for each slot the position of its holder among the nodes; `None`: vacant
    pub slots: Vec<Option<usize>>,
}

/// What following the elections took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// slots that have another holder now
    pub slots: u64,
    /// shards that were copied from the holder before
    pub copied_shards: u64,
    /// shards that were rebuilt from others
    pub rebuilt_shards: u64,
    /// slots that stay where they are: their group has containers that cannot be rebuilt now
    pub stuck_slots: u64,
}

/// Shards on their way to elected holders.
struct Handing<'a> {
    old: &'a Placement,
    space: &'a [Option<StoreSpace>],
    left: Left,
    done: BTreeSet<(ContainerId, ShardIndex)>,
    /// groups that stay as they are
    stay: BTreeSet<u32>,
}

impl Db {
    /// A registry governs the lake from now on: only what it allows to be pruned leaves this machine, and slots move by its
    /// elections alone. The watermark never falls; the lease comes and goes.
    pub fn govern(&self, governance: Governance) {
        let mut known = self.inner.governance.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.unwrap_or_default();
        *known = Some(Governance {
            prunable_up_to: before.prunable_up_to.max(governance.prunable_up_to),
            placed: before.placed || governance.placed,
            lease: governance.lease,
        });
    }

    /// What a registry says of the lake; `None` where it has none.
    pub fn governance(&self) -> Option<Governance> {
        self.inner.governance()
    }

    /// Brings the lake's nodes and groups to those of its registry.
    ///
    /// # Errors
    /// [`Error::Governed`] where the groups do not go on from those of the lake; [`Error::NotHandedOver`], [`Error::Fenced`],
    /// [`Error::Quorum`]: the next call goes on.
    pub fn follow_elections(&self, elected: &Elected, connect: &Connect) -> Result<Moved, Error> {
        if self.is_reader() {
            return Err(Error::ReadOnly);
        }
        let moved = self.inner.follow_elections(elected, connect)?;
        let governance = self.governance().unwrap_or_default();
        self.govern(Governance { placed: true, ..governance });
        self.inner.publish()?;
        Ok(moved)
    }

    /// Reads a container of the lake from a random set of `p` shards, once more, and compares it with what was stored.
    ///
    /// # Errors
    /// [`Error::Lost`], or [`Error::Codec`] where the bytes differ.
    pub fn read_back(&self, number: u32) -> Result<(), Error> {
        self.inner.read_back(number)?;
        let container = self.inner.offloaded(number)?;
        self.inner.read_all(&container.entry.stream).map(drop)
    }
}

impl Inner {
    pub(crate) fn governance(&self) -> Option<Governance> {
        *self.governance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what is the registry's to decide.
    ///
    /// # Errors
    /// [`Error::Governed`].
    pub(crate) fn require_no_registry(&self, reason: &'static str) -> Result<(), Error> {
        match self.governance() {
            None => Ok(()),
            Some(_) => Err(Error::Governed { reason: reason.into() }),
        }
    }

    /// Refuses to store anything before the registry has said where.
    ///
    /// # Errors
    /// [`Error::Governed`].
    pub(crate) fn require_placed(&self) -> Result<(), Error> {
        if self.governance().is_none_or(|governance| governance.placed) {
            return Ok(());
        }
        let reason = "the registry has not elected this lake's holders yet: what was put is safe here, and goes to the \
                      lake while `prunedb up` runs";
        Err(Error::Governed { reason: reason.into() })
    }

    /// Whether the registry lets a container leave this machine.
    ///
    /// # Errors
    /// [`Error::NotSafe`].
    pub(crate) fn require_prunable(&self, number: u32) -> Result<(), Error> {
        let Some(governance) = self.governance() else { return Ok(()) };
        let prunable = governance.prunable_up_to;
        if number < prunable {
            return Ok(());
        }
        let reason = format!(
            "the registry allows pruning of batches below {prunable}: this one waits for the next batch to close, an epoch of \
             its holders' proofs, and a read-back (`prunedb batch show {number}`)"
        );
        Err(Error::NotSafe { container: ContainerId::data(number), reason })
    }

    fn follow_elections(&self, elected: &Elected, connect: &Connect) -> Result<Moved, Error> {
        let _no_moves = self.repairs.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.lake.placement();
        let fresh = self.subject_ids()?.is_empty();
        let new = placement_of(elected, &old, fresh, connect)?;
        if is_same(&old, &new) {
            return Ok(Moved::default());
        }
        self.fence_new(&old, &new)?;
        let moves = if fresh { NewHolders::new() } else { moves(&old, &new) };
        let space = self.space_of(&old.nodes);
        let mut handing = Handing {
            old: &old,
            space: &space,
            left: Left::default(),
            done: BTreeSet::new(),
            stay: BTreeSet::new(),
        };
        for (subject, shard, to) in self.to_hand_over(&moves, &handing.done)? {
            self.hand_to_elected(&subject, shard, to, &mut handing)?;
        }
        // what was offloaded meanwhile, and now nothing more is
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        for (subject, shard, to) in self.to_hand_over(&moves, &handing.done)? {
            self.hand_to_elected(&subject, shard, to, &mut handing)?;
        }
        let Handing { left, done, stay, .. } = handing;
        let mut new = new;
        let mut out = Moved {
            slots: moves.len() as u64,
            copied_shards: left.copied_shards,
            rebuilt_shards: left.rebuilt_shards,
            stuck_slots: 0,
        };
        for &(group, shard) in moves.keys().filter(|slot| stay.contains(&slot.0)) {
            let holder = &old.nodes[old.groups[group as usize].slots[shard.as_usize()] as usize];
            let position = position_or_add(&mut new.nodes, &holder.address, || holder.clone());
            new.groups[group as usize].slots[shard.as_usize()] = position;
            out.stuck_slots += 1;
            out.slots -= 1;
        }
        if is_same(&old, &new) {
            return Ok(out);
        }
        self.change_placement(new)?;
        for (subject, shard, _) in self.to_hand_over(&moves, &BTreeSet::new())? {
            if !stay.contains(&subject.stream.group) && done.contains(&(subject.stream.id, shard)) {
                self.manifest.set_damage([(subject.stream.id, shard)], false)?;
            }
        }
        Ok(out)
    }

    /// Brings one shard to its elected holder: copied, or rebuilt where the holder before does not answer. A group of which
    /// something cannot be brought stays as it is.
    fn hand_to_elected(
        &self,
        subject: &Subject,
        shard: ShardIndex,
        to: &Node,
        handing: &mut Handing<'_>,
    ) -> Result<(), Error> {
        let group = subject.stream.group;
        if handing.stay.contains(&group) {
            return Ok(());
        }
        let holder = handing.old.groups[group as usize].slots[shard.as_usize()];
        let handed = if handing.space[holder as usize].is_some() {
            self.hand_over(subject, to, shard, &mut handing.left)
        } else {
            self.rebuild_to(subject, to, shard, &mut handing.left)
        };
        match handed {
            Ok(()) => _ = handing.done.insert((subject.stream.id, shard)),
            Err(error @ Error::Fenced { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(container = %subject.stream.id, %shard, %error, "not handed over: its group stays");
                handing.stay.insert(group);
            }
        }
        Ok(())
    }

    /// Fences those nodes at our term that are new to the lake; one that does not answer is fenced by its first upload.
    fn fence_new(&self, old: &Placement, new: &Placement) -> Result<(), Error> {
        let known: BTreeSet<&str> = old.nodes.iter().map(|node| &node.address[..]).collect();
        let mut joined = new.nodes.iter().filter(|n| !known.contains(&n.address[..])).peekable();
        if joined.peek().is_none() {
            return Ok(());
        }
        let term = self.term()?;
        for node in joined {
            let fenced = within(&node.address, node.store.fence(self.lake.id, term));
            match self.lake.runtime.block_on(fenced) {
                Ok(()) => {}
                Err(prunedb_store::StoreError::Fenced { term, seen, .. }) => {
                    return Err(Error::Fenced { term, seen });
                }
                Err(error) => {
                    tracing::warn!(node = node.address, %error, "a new node was not fenced")
                }
            }
        }
        Ok(())
    }
}

/// The node's position, which is put at the end where it is not there.
fn position_or_add(nodes: &mut Vec<Node>, address: &str, node: impl FnOnce() -> Node) -> u32 {
    let position = nodes.iter().position(|node| node.address == address).unwrap_or_else(|| {
        nodes.push(node());
        nodes.len() - 1
    });
    u32::try_from(position).expect("nodes are counted in u32")
}

/// The elected nodes and groups; a vacant slot stays with who had it.
fn placement_of(
    elected: &Elected,
    old: &Placement,
    fresh: bool,
    connect: &Connect,
) -> Result<Placement, Error> {
    let governed = |reason: String| Err(Error::Governed { reason });
    let mut nodes: Vec<Node> = Vec::with_capacity(elected.nodes.len());
    for (address, domains) in &elected.nodes {
        if nodes.iter().any(|node| node.address == *address) {
            return governed(format!(
                "two nodes of the registry are at {address}: one of them must leave"
            ));
        }
        let known = old.nodes.iter().find(|node| node.address == *address);
        let mut node = known.cloned().unwrap_or_else(|| Node::new(address, connect(address)));
        node.domains.clone_from(domains);
        nodes.push(node);
    }
    if elected.groups.is_empty() || (!fresh && elected.groups.len() < old.groups.len()) {
        let (found, needed) = (elected.groups.len(), old.groups.len());
        return governed(format!("the registry has {found} groups, the lake {needed}: open more"));
    }
    let mut groups = Vec::with_capacity(elected.groups.len());
    for (number, group) in elected.groups.iter().enumerate() {
        let before = old.groups.get(number).filter(|_| !fresh);
        if before.is_some_and(|before| before.policy != group.policy) {
            let before = before.expect("just looked at").policy;
            return governed(format!(
                "group {number} has {} in the registry, {before} in the lake",
                group.policy
            ));
        }
        let mut slots = Vec::with_capacity(group.slots.len());
        for (slot, holder) in group.slots.iter().enumerate() {
            let position = match (holder, before) {
                (Some(holder), _) => u32::try_from(*holder).expect("nodes are counted in u32"),
                (None, Some(before)) => {
                    let node = &old.nodes[before.slots[slot] as usize];
                    position_or_add(&mut nodes, &node.address, || node.clone())
                }
                (None, None) => {
                    return governed(format!(
                        "slot {slot} of the new group {number} is vacant: more nodes must join"
                    ));
                }
            };
            slots.push(position);
        }
        groups.push(Group { policy: group.policy, slots });
    }
    Ok(Placement { nodes, groups })
}

fn holders(placement: &Placement) -> impl Iterator<Item = ((u32, ShardIndex), &Node)> {
    (0u32..).zip(&placement.groups).flat_map(move |(number, group)| {
        let slots = group.policy.shards().zip(&group.slots);
        slots.map(move |(shard, &node)| ((number, shard), &placement.nodes[node as usize]))
    })
}

fn is_same(old: &Placement, new: &Placement) -> bool {
    let named = |placement| holders(placement).map(|(slot, node)| (slot, node.address.clone()));
    let nodes = |placement: &Placement| -> BTreeSet<String> {
        placement.nodes.iter().map(|node| node.address.clone()).collect()
    };
    nodes(old) == nodes(new) && named(old).eq(named(new))
}

/// Slots that go to another node.
fn moves(old: &Placement, new: &Placement) -> NewHolders {
    let before: BTreeMap<_, _> = holders(old).map(|(slot, node)| (slot, &node.address)).collect();
    let moved = holders(new)
        .filter(|(slot, node)| before.get(slot).is_some_and(|address| **address != node.address));
    moved.map(|(slot, node)| (slot, node.clone())).collect()
}

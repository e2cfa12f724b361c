//! Who holds which slot: crate `placement`'s election, over the nodes of a lake.
//!
//! A new lake has one group for each node, so that every node holds equally many slots. No more than `q` slots of a group
//! are in one failure domain (operator, network, place), as far as there are enough of them. A node that joins gets a slot of
//! a new group. Slots move only from a node that is lost or leaves, and only as many as it has.

use crate::{error::Error, lake::Node};
use prunedb_core::{LakeId, Policy, ShardIndex};
use prunedb_format::head::Group;
use prunedb_placement::{Election, Group as Seats, Limits, Member, NodeId};
use prunedb_store::StoreSpace;
use std::collections::BTreeMap;

/// What fails together with a node: who runs it, its network, its place. Empty: not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeDomains {
    /// who runs it
    pub operator: String,
    /// the network it is in
    pub network: String,
    /// the place where it is
    pub place: String,
}

impl NodeDomains {
    fn names(&self) -> [&str; prunedb_placement::DOMAIN_KINDS] {
        [&self.operator, &self.network, &self.place]
    }

    /// Whether one of them has this name.
    pub fn is_in(&self, name: &str) -> bool {
        !name.is_empty() && self.names().contains(&name)
    }
}

/// A node that may hold slots.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) domains: NodeDomains,
    /// its share of new slots, in proportion to the others'
    pub(crate) weight: u64,
    /// it answers, and has room
    pub(crate) takes_new: bool,
}

/// The nodes as candidates, by what they say of their space; who does not answer keeps what it has.
pub(crate) fn candidates(nodes: &[Node], space: &[Option<StoreSpace>]) -> Vec<Candidate> {
    let candidate = |(node, space): (&Node, &Option<StoreSpace>)| {
        let has_room = |space: &StoreSpace| space.used_bytes < space.capacity_bytes;
        Candidate {
            domains: node.domains.clone(),
            weight: space.map_or(0, |space| space.capacity_bytes >> 30),
            takes_new: space.as_ref().is_some_and(has_room),
        }
    };
    nodes.iter().zip(space).map(candidate).collect()
}

/// Nodes of a lake to be: nothing is known of them but what fails together.
pub(crate) fn unknown(domains: impl Iterator<Item = NodeDomains>) -> Vec<Candidate> {
    domains.map(|domains| Candidate { domains, weight: 1, takes_new: true }).collect()
}

/// At most `q` slots of a group in one domain of each kind: losing it loses nothing.
const LIMITS: Limits = Limits {
    slots_per_domain: [u8::MAX; prunedb_placement::DOMAIN_KINDS],
    margin: 0,
    strict: false,
};

/// The groups of a new lake, or of a policy that is new to it: one for each node that takes slots.
///
/// # Errors
/// [`Error::TooFewNodes`] where a shard would have no node of its own.
pub(crate) fn found(
    lake: LakeId,
    policy: Policy,
    candidates: &[Candidate],
) -> Result<Vec<Group>, Error> {
    let needed = policy.total_shards();
    let given = candidates.iter().filter(|c| c.takes_new).count();
    if given < needed {
        return Err(Error::TooFewNodes { policy, needed, given });
    }
    let mut seats = vec![Seats::vacant(policy); given];
    elect(lake, candidates, &mut seats);
    Ok(seats.iter().filter_map(held_by_all).collect())
}

/// A new group of a policy, for containers to come; `None` where there are too few nodes that take slots.
pub(crate) fn one_more(
    lake: LakeId,
    groups: &[Group],
    policy: Policy,
    candidates: &[Candidate],
) -> Option<Group> {
    let mut seats: Vec<Seats> = groups.iter().map(seats_of).collect();
    seats.push(Seats::vacant(policy));
    elect(lake, candidates, &mut seats);
    held_by_all(seats.last()?)
}

/// The group of a new container: those of the policy take turns, and one that does not take anything now is passed over as long as
/// another one does.
pub(crate) fn group_of(
    groups: &[Group],
    policy: Policy,
    number: u32,
    takes: impl Fn(&Group) -> bool,
) -> u32 {
    let of_policy = in_turn(groups, policy, number);
    let found = of_policy.iter().find(|&&group| takes(&groups[group as usize]));
    found.or(of_policy.first()).copied().unwrap_or(0)
}

/// The groups of a policy, that whose turn it is first.
fn in_turn(groups: &[Group], policy: Policy, number: u32) -> Vec<u32> {
    let mut of_policy: Vec<u32> =
        (0u32..).zip(groups).filter(|(_, g)| g.policy == policy).map(|(i, _)| i).collect();
    let first = number as usize % of_policy.len().max(1);
    of_policy.rotate_left(first);
    of_policy
}

/// A group of a policy whose slots share no node with those of the same number in an old group: those whose turn it is come
/// first; one of them, turned round, is added where there is none.
pub(crate) fn beside(groups: &mut Vec<Group>, old: u32, policy: Policy, number: u32) -> u32 {
    let old = groups[old as usize].slots.clone();
    let is_beside = |slots: &[u32]| slots.iter().zip(&old).all(|(new, old)| new != old);
    let of_policy = in_turn(groups, policy, number);
    if let Some(&group) = of_policy.iter().find(|&&g| is_beside(&groups[g as usize].slots)) {
        return group;
    }
    let turned = of_policy.iter().find_map(|&group| {
        let slots = &groups[group as usize].slots;
        (1..slots.len()).find_map(|by| {
            let turned = [&slots[by..], &slots[..by]].concat();
            is_beside(&turned).then_some(turned)
        })
    });
    // all turns of all groups collide: what is written over is noted as missing, and repaired
    let Some(slots) = turned else { return of_policy.first().copied().unwrap_or(0) };
    groups.push(Group { policy, slots });
    u32::try_from(groups.len() - 1).expect("groups are counted in u32")
}

/// Slots of a node in all groups.
pub(crate) fn held(groups: &[Group], node: u32) -> usize {
    groups.iter().filter(|group| group.slots.contains(&node)).count()
}

/// A slot that goes to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) group: u32,
    pub(crate) shard: ShardIndex,
    pub(crate) to: u32,
}

/// Moves slots.
pub(crate) fn apply(moved: &[Move], groups: &mut [Group]) {
    for m in moved {
        groups[m.group as usize].slots[m.shard.as_usize()] = m.to;
    }
}

/// Where the slots of some nodes go, and how many have nowhere to go: those stay. `moves` says whether a group's lost
/// slots (so many) move at all.
pub(crate) fn moves(
    lake: LakeId,
    groups: &[Group],
    leaves: impl Fn(u32) -> bool,
    candidates: &[Candidate],
    moves: impl Fn(Policy, usize) -> bool,
) -> (Vec<Move>, usize) {
    let candidates: Vec<Candidate> = (0..)
        .zip(candidates)
        .map(|(node, c)| Candidate { takes_new: c.takes_new && !leaves(node), ..c.clone() })
        .collect();
    let mut seats: Vec<Seats> = groups.iter().map(seats_of).collect();
    let mut vacated = Vec::new();
    for (number, (group, seats)) in (0u32..).zip(groups.iter().zip(&mut seats)) {
        let lost: Vec<ShardIndex> =
            group.policy.shards().filter(|s| leaves(group.slots[s.as_usize()])).collect();
        if !lost.is_empty() && moves(group.policy, lost.len()) {
            lost.iter().for_each(|shard| seats.set(shard.as_usize(), None));
            vacated.extend(lost.into_iter().map(|shard| (number, shard)));
        }
    }
    elect(lake, &candidates, &mut seats);
    let to = |&(group, shard): &(u32, ShardIndex)| {
        let holder = seats[group as usize].slots()[shard.as_usize()]?;
        Some(Move { group, shard, to: holder.0 })
    };
    let moved: Vec<Move> = vacated.iter().filter_map(to).collect();
    let stuck = vacated.len() - moved.len();
    (moved, stuck)
}

/// Fills every vacant slot that somebody may take; nothing else moves.
fn elect(lake: LakeId, candidates: &[Candidate], seats: &mut [Seats]) {
    // domains by name: any number will do, as long as equal names have equal ones
    let mut numbers: [BTreeMap<&str, u32>; prunedb_placement::DOMAIN_KINDS] = Default::default();
    let members: Vec<Member> = (0..)
        .zip(candidates)
        .map(|(node, candidate)| {
            let names = candidate.domains.names();
            let mut domains = [0; prunedb_placement::DOMAIN_KINDS];
            for ((domain, name), numbers) in domains.iter_mut().zip(names).zip(&mut numbers) {
                let next = u32::try_from(numbers.len() + 1).expect("nodes are counted in u32");
                *domain = if name.is_empty() { 0 } else { *numbers.entry(name).or_insert(next) };
            }
            let (weight, takes_new) = (candidate.weight.max(1), candidate.takes_new);
            Member { node: NodeId(node), weight, domains, takes_new }
        })
        .collect();
    let election = Election {
        seed: blake3::derive_key("prunedb v1 placement", &lake.0),
        members: &members,
        limits: LIMITS,
        rebalance_slots: 0,
    };
    let outcome = election.elect(seats).expect("members are in the order of their numbers");
    if outcome.strained > 0 {
        tracing::warn!(
            slots = outcome.strained,
            "too few failure domains: the loss of one may lose containers"
        );
    }
}

fn seats_of(group: &Group) -> Seats {
    let slots = group.slots.iter().map(|&node| Some(NodeId(node))).collect();
    Seats::new(group.policy, slots).expect("a group has a slot for each shard")
}

/// The group as it is stored; `None` where a slot is vacant.
fn held_by_all(seats: &Seats) -> Option<Group> {
    let slots = seats.slots().iter().map(|slot| slot.map(|node| node.0));
    Some(Group { policy: seats.policy(), slots: slots.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const LAKE: LakeId = LakeId([7; 16]);

    fn policy(policy: &str) -> Policy {
        policy.parse().unwrap()
    }

    fn groups(p: &str, nodes: usize) -> Vec<Group> {
        found(LAKE, policy(p), &candidates(nodes)).unwrap()
    }

    fn candidates(nodes: usize) -> Vec<Candidate> {
        unknown(std::iter::repeat_n(NodeDomains::default(), nodes))
    }

    fn at(place: usize) -> NodeDomains {
        NodeDomains { place: format!("place {place}"), ..NodeDomains::default() }
    }

    #[test]
    fn every_node_holds_one_slot_at_most_and_all_hold_equally_many() {
        let groups = groups("16+4", 24);
        for group in &groups {
            assert_eq!(group.slots.iter().collect::<BTreeSet<_>>().len(), 20);
        }
        assert!((0..24).all(|node| held(&groups, node) == 20));
        let few = found(LAKE, policy("16+4"), &candidates(19));
        assert!(matches!(few, Err(Error::TooFewNodes { needed: 20, given: 19, .. })));
    }

    #[test]
    fn containers_take_turns_among_the_groups_of_their_policy() {
        let mut all = groups("4+2", 8);
        all.extend(groups("2+1", 8));
        let of = |p, number| group_of(&all, policy(p), number, |_| true);
        assert_eq!((of("4+2", 0), of("4+2", 9), of("2+1", 0), of("2+1", 15)), (0, 1, 8, 15));
        // one that takes nothing is passed over, all of them are not
        let without = |node, number| {
            group_of(&all, policy("2+1"), number, |group| !group.slots.contains(&node))
        };
        for number in 0..8 {
            let group = without(3, number);
            assert!(!all[group as usize].slots.contains(&3) && group >= 8, "{group}");
        }
        assert_eq!(group_of(&all, policy("2+1"), 15, |_| false), 15);
    }

    #[test]
    fn no_domain_has_more_slots_than_a_policy_can_lose() {
        // five places of four nodes each: 4+2 in any one place at most twice
        let domains: Vec<NodeDomains> = (0..20).map(|node| at(node % 5)).collect();
        let candidates = unknown(domains.iter().cloned());
        let groups = found(LAKE, policy("4+2"), &candidates).unwrap();
        let in_place = |group: &Group, place| {
            group.slots.iter().filter(|&&node| domains[node as usize] == at(place)).count()
        };
        assert!(groups.iter().all(|group| (0..5).all(|place| in_place(group, place) <= 2)));
        // a place is lost: its slots go elsewhere, within the limit
        let (moved, stuck) = moves(LAKE, &groups, |node| node % 5 == 3, &candidates, |_, _| true);
        assert_eq!(stuck, 0);
        let mut after = groups.clone();
        apply(&moved, &mut after);
        assert!(after.iter().all(|group| (0..5).all(|place| in_place(group, place) <= 2)));
        assert!(after.iter().all(|group| in_place(group, 3) == 0));
        let changed = after
            .iter()
            .zip(&groups)
            .map(|(a, b)| a.slots.iter().zip(&b.slots).filter(|(a, b)| a != b).count());
        assert_eq!(changed.sum::<usize>(), moved.len(), "nothing else moves");
    }

    #[test]
    fn lost_slots_go_to_spare_nodes_evenly_and_what_has_none_stays() {
        let groups = groups("4+2", 8);
        let (found, stuck) = moves(LAKE, &groups, |node| node == 3, &candidates(8), |_, _| true);
        assert_eq!((found.len(), stuck), (6, 0));
        for m in &found {
            assert_eq!(groups[m.group as usize].slots[m.shard.as_usize()], 3);
            assert!(!groups[m.group as usize].slots.contains(&m.to));
        }
        assert!(found.iter().map(|m| m.to).collect::<BTreeSet<_>>().len() >= 4, "{found:?}");
        // a node that takes nothing gets nothing
        let mut some = candidates(8);
        some[5].takes_new = false;
        let (found, _) = moves(LAKE, &groups, |node| node == 3, &some, |_, _| true);
        assert!(found.iter().all(|m| m.to != 5));
        // no node is spare
        let (found, stuck) = moves(
            LAKE,
            &groups[..1],
            |node| groups[0].slots.contains(&node),
            &candidates(8),
            |_, _| true,
        );
        assert_eq!((found.len(), stuck), (2, 4));
        // a policy that waits
        let (found, stuck) =
            moves(LAKE, &groups, |node| node == 3, &candidates(8), |_, lost| lost > 1);
        assert!(found.is_empty() && stuck == 0);
    }

    #[test]
    fn a_group_beside_another_shares_no_slot_with_it() {
        let mut all = groups("4+2", 6);
        all.extend(groups("2+2", 6));
        for old in 0..6 {
            for number in 0..6 {
                let group = beside(&mut all, old, policy("2+2"), number);
                assert_eq!(all[group as usize].policy, policy("2+2"));
                let (old, new) = (&all[old as usize].slots, &all[group as usize].slots);
                assert!(old.iter().zip(new).all(|(old, new)| old != new), "{old:?} {new:?}");
            }
        }
    }

    #[test]
    fn a_node_that_joins_holds_a_slot_of_the_new_group() {
        let groups = groups("4+2", 8);
        let group = one_more(LAKE, &groups, policy("4+2"), &candidates(9)).unwrap();
        assert!(group.slots.contains(&8));
        assert_eq!(group.slots.iter().collect::<BTreeSet<_>>().len(), 6);
        assert_eq!(one_more(LAKE, &[], policy("4+2"), &candidates(5)), None);
    }
}

//! Who holds which slot, until elections do. A new lake has one group for each node, each the nodes in a ring from another
//! start, so with 24 nodes at 16+4 every node holds 20 of the 24 groups, data and parity shards evenly. A node that joins
//! gets a group of its own, and is a spare one for the others. Slots move only from a node that is lost or leaves.

use crate::error::Error;
use prunedb_core::{Policy, ShardIndex};
use prunedb_format::head::Group;

/// The groups of a new lake with that many nodes.
///
/// # Errors
/// [`Error::TooFewNodes`] where a shard would have no node of its own.
pub(crate) fn ring(policy: Policy, nodes: usize) -> Result<Vec<Group>, Error> {
    let needed = policy.total_shards();
    if nodes < needed {
        return Err(Error::TooFewNodes { policy, needed, given: nodes });
    }
    let slot = |n: usize| u32::try_from(n % nodes).expect("nodes are counted in u32");
    Ok((0..nodes)
        .map(|start| Group { policy, slots: (0..needed).map(|i| slot(start + i)).collect() })
        .collect())
}

/// The group of a new container: those of the policy take turns.
pub(crate) fn group_of(groups: &[Group], policy: Policy, number: u32) -> u32 {
    turn(groups, policy, number).next().unwrap_or(0)
}

/// The groups of a policy, from the one whose turn it is.
fn turn(groups: &[Group], policy: Policy, number: u32) -> impl Iterator<Item = u32> {
    let of_policy: Vec<u32> =
        (0u32..).zip(groups).filter(|(_, g)| g.policy == policy).map(|(i, _)| i).collect();
    let first = if of_policy.is_empty() { 0 } else { number as usize % of_policy.len() };
    let count = of_policy.len();
    of_policy.into_iter().cycle().skip(first).take(count)
}

/// The group of a node that joined as the last one: it, and those that hold the fewest slots.
pub(crate) fn group_with_last(groups: &[Group], policy: Policy, nodes: usize) -> Option<Group> {
    let last = u32::try_from(nodes.checked_sub(1)?).ok()?;
    let mut others: Vec<u32> = (0..last).collect();
    others.sort_by_key(|node| (held(groups, *node), *node));
    let slots: Vec<u32> = std::iter::once(last).chain(others).take(policy.total_shards()).collect();
    (slots.len() == policy.total_shards()).then_some(Group { policy, slots })
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

/// Where the slots of some nodes go: each to the emptiest node that may take it and holds none of its group. What has no
/// such node stays. `used` is what each node holds in bytes, `None` where it may take nothing; `moves` says whether a
/// group's lost slots (so many) move at all.
pub(crate) fn moves(
    groups: &[Group],
    leaves: impl Fn(u32) -> bool,
    used: &[Option<u64>],
    moves: impl Fn(Policy, usize) -> bool,
) -> (Vec<Move>, usize) {
    let mut gained = vec![0u64; used.len()];
    let (mut out, mut stuck) = (Vec::new(), 0);
    for (number, group) in (0u32..).zip(groups) {
        let lost: Vec<ShardIndex> =
            group.policy.shards().filter(|s| leaves(group.slots[s.as_usize()])).collect();
        if lost.is_empty() || !moves(group.policy, lost.len()) {
            continue;
        }
        let mut slots = group.slots.clone();
        for shard in lost {
            let spare = (0u32..)
                .zip(used)
                .filter(|(node, used)| used.is_some() && !leaves(*node) && !slots.contains(node))
                .min_by_key(|(node, used)| (gained[*node as usize], **used));
            let Some((to, _)) = spare else {
                stuck += 1;
                continue;
            };
            slots[shard.as_usize()] = to;
            gained[to as usize] += 1;
            out.push(Move { group: number, shard, to });
        }
    }
    (out, stuck)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn policy(policy: &str) -> Policy {
        policy.parse().unwrap()
    }

    #[test]
    fn every_node_holds_one_slot_at_most_and_all_hold_equally_many() {
        let groups = ring(policy("16+4"), 24).unwrap();
        for group in &groups {
            assert_eq!(group.slots.iter().collect::<BTreeSet<_>>().len(), 20);
        }
        assert!((0..24).all(|node| held(&groups, node) == 20));
        let few = ring(policy("16+4"), 19);
        assert!(matches!(few, Err(Error::TooFewNodes { needed: 20, given: 19, .. })));
    }

    #[test]
    fn containers_take_turns_among_the_groups_of_their_policy() {
        let mut groups = ring(policy("4+2"), 8).unwrap();
        groups.extend(ring(policy("2+1"), 8).unwrap());
        let of = |p, number| group_of(&groups, policy(p), number);
        assert_eq!((of("4+2", 0), of("4+2", 9), of("2+1", 0), of("2+1", 15)), (0, 1, 8, 15));
    }

    #[test]
    fn lost_slots_go_to_spare_nodes_evenly_and_what_has_none_stays() {
        let groups = ring(policy("4+2"), 8).unwrap();
        let used = [Some(5); 8].map(Some).map(Option::flatten);
        let (found, stuck) = moves(&groups, |node| node == 3, &used, |_, _| true);
        assert_eq!((found.len(), stuck), (6, 0));
        for m in &found {
            assert_eq!(groups[m.group as usize].slots[m.shard.as_usize()], 3);
            assert!(!groups[m.group as usize].slots.contains(&m.to));
        }
        assert!(found.iter().map(|m| m.to).collect::<BTreeSet<_>>().len() >= 4, "{found:?}");
        // three of eight are lost: five are left for six slots
        let (_, stuck) = moves(&groups, |node| node < 3, &used, |_, _| true);
        assert!(stuck > 0);
        let (none, stuck) = moves(&groups, |node| node == 3, &used, |_, lost| lost >= 2);
        assert_eq!((none.len(), stuck), (0, 0));
        // a node that joins is the spare one
        let group = group_with_last(&groups, policy("4+2"), 9).unwrap();
        assert_eq!(group.slots.iter().collect::<BTreeSet<_>>().len(), 6);
        assert!(group.slots.contains(&8) && group_with_last(&groups, policy("4+2"), 5).is_none());
    }
}

//! The election's promises, over random networks, and pinned outcomes.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use proptest::prelude::*;
use prunedb_core::Policy;
use prunedb_placement::{ElectError, Election, Group, Limits, Member, NodeId, Outcome, quotas};
use std::{collections::BTreeMap, fmt::Write};

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

fn member(node: u32, weight: u64, domain: u32) -> Member {
    Member { node: NodeId(node), weight, domains: [domain, 0, 0], takes_new: true }
}

fn elect(
    groups: &mut [Group],
    members: &[Member],
    limits: Limits,
    seed: u8,
    rebalance_slots: u32,
) -> Outcome {
    Election { seed: [seed; 32], members, limits, rebalance_slots }.elect(groups).unwrap()
}

fn moved_slots(outcome: &Outcome) -> u32 {
    u32::try_from(outcome.moves.len()).unwrap()
}

fn held(groups: &[Group], node: NodeId) -> u32 {
    u32::try_from(groups.iter().filter(|g| g.slot_of(node).is_some()).count()).unwrap()
}

fn all_held(groups: &[Group], members: &[Member]) -> Vec<u32> {
    members.iter().map(|m| held(groups, m.node)).collect()
}

/// Most slots of any group in one domain of a kind.
fn fullest_domain(groups: &[Group], members: &[Member], kind: usize) -> usize {
    let domain: BTreeMap<NodeId, u32> = members.iter().map(|m| (m.node, m.domains[kind])).collect();
    let of_group = |group: &Group| {
        let mut counts = BTreeMap::new();
        for node in group.slots().iter().flatten().filter(|n| domain[n] != 0) {
            *counts.entry(domain[node]).or_insert(0) += 1;
        }
        counts.into_values().max().unwrap_or(0)
    };
    groups.iter().map(of_group).max().unwrap_or(0)
}

fn has_doubles(groups: &[Group]) -> bool {
    groups.iter().any(|g| {
        let mut nodes: Vec<_> = g.slots().iter().flatten().collect();
        nodes.sort();
        nodes.windows(2).any(|pair| pair[0] == pair[1])
    })
}

/// A hundred nodes of three sizes, five to an operator.
fn hundred() -> Vec<Member> {
    (0..100).map(|n| member(n, [100, 200, 500][(n * 7 % 3) as usize], 1 + n / 5)).collect()
}

const TWO_PER_OPERATOR: Limits = Limits { slots_per_domain: [2, 0, 0], margin: 2, strict: false };

#[test]
fn the_leaving_of_one_of_a_hundred_moves_its_slots_and_no_other() {
    let mut members = hundred();
    let mut groups = vec![Group::vacant(policy("16+4")); 512];
    let first = elect(&mut groups, &members, TWO_PER_OPERATOR, 1, 0);
    assert_eq!((first.moves.len(), first.vacant, first.strained), (512 * 20, 0, 0));
    assert_eq!(
        moved_slots(&elect(&mut groups, &members, TWO_PER_OPERATOR, 2, u32::MAX)),
        first.over_quota
    );
    for gone in [7, 50, 99] {
        let at = members.iter().position(|m| m.node == NodeId(gone)).unwrap();
        let left = members.remove(at);
        let had = held(&groups, left.node);
        let after = elect(&mut groups, &members, TWO_PER_OPERATOR, 3, 0);
        assert_eq!(moved_slots(&after), had);
        assert!(after.moves.iter().all(|m| m.from == Some(left.node) && m.to.is_some()));
        assert_eq!((after.vacant, after.strained), (0, 0));
        assert_eq!(fullest_domain(&groups, &members, 0), 2);
        assert_eq!(elect(&mut groups, &members, TWO_PER_OPERATOR, 4, 0), Outcome::default());
    }
    // a whole operator
    let had: u32 = (20..25).map(|n| held(&groups, NodeId(n))).sum();
    members.retain(|m| !(20..25).contains(&m.node.0));
    let after = elect(&mut groups, &members, TWO_PER_OPERATOR, 5, 0);
    assert_eq!((moved_slots(&after), after.vacant, after.strained), (had, 0, 0));
    let (held, seats) =
        (all_held(&groups, &members), quotas(&members, &[0; 92], &groups, &TWO_PER_OPERATOR));
    for (held, seats) in held.into_iter().zip(seats) {
        assert!(held.abs_diff(seats) <= 2 + seats / 50, "holds {held} of {seats}");
    }
}

#[test]
fn a_new_node_takes_only_what_it_may() {
    let mut members = hundred();
    let mut groups = vec![Group::vacant(policy("16+4")); 512];
    elect(&mut groups, &members, Limits::default(), 1, 0);
    members.push(member(100, 500, 0));
    assert_eq!(elect(&mut groups, &members, Limits::default(), 2, 0).moves, []);
    let seats = quotas(&members, &[0; 101], &groups, &Limits::default())[100];
    let some = elect(&mut groups, &members, Limits::default(), 3, 10);
    assert_eq!(some.moves.len(), 10);
    let rest = elect(&mut groups, &members, Limits::default(), 4, u32::MAX);
    assert_eq!(moved_slots(&rest), seats - 10);
    assert!(rest.moves.iter().all(|m| m.to == Some(NodeId(100))));
    assert_eq!(elect(&mut groups, &members, Limits::default(), 5, u32::MAX).moves, []);
}

#[test]
fn too_few_nodes_are_refused_and_later_losses_leave_slots_vacant() {
    let mut groups = vec![Group::vacant(policy("4+2")); 3];
    let mut members: Vec<_> = (0..5).map(|n| member(n, 1, 0)).collect();
    fn election(members: &[Member]) -> Election<'_> {
        Election { seed: [0; 32], members, limits: Limits::default(), rebalance_slots: 0 }
    }
    let refused = election(&members).enough_for(policy("4+2"));
    assert_eq!(
        refused,
        Err(ElectError::TooFewNodes { policy: policy("4+2"), needed: 6, found: 5 })
    );
    members.push(member(5, 1, 0));
    assert_eq!(election(&members).enough_for(policy("4+2")), Ok(()));
    assert_eq!(election(&members).elect(&mut groups).unwrap().vacant, 0);
    members.remove(2);
    let lost = election(&members).elect(&mut groups).unwrap();
    assert_eq!((lost.vacant, lost.moves.len()), (3, 3));
    members.swap(0, 1);
    assert_eq!(election(&members).elect(&mut groups), Err(ElectError::Order { node: NodeId(0) }));
    let twice = [members[0], members[0]];
    assert!(matches!(election(&twice).elect(&mut groups), Err(ElectError::Order { .. })));
}

#[test]
fn who_takes_nothing_new_keeps_what_it_has() {
    let mut members: Vec<_> = (0..10).map(|n| member(n, 1, 0)).collect();
    let mut groups = vec![Group::vacant(policy("4+2")); 20];
    elect(&mut groups, &members, Limits::default(), 1, 0);
    let had = held(&groups, NodeId(3));
    members[3].takes_new = false;
    members.remove(0);
    elect(&mut groups, &members, Limits::default(), 2, u32::MAX);
    assert!(held(&groups, NodeId(3)) <= had);
}

#[test]
fn limits_that_cannot_be_kept_are_strained_or_leave_slots_vacant() {
    // six nodes in two places, three slots of a group in each at best
    let members: Vec<_> = (0..6).map(|n| member(n, 1, 1 + n % 2)).collect();
    let one = Limits { slots_per_domain: [1, 0, 0], margin: 0, strict: false };
    let mut groups = vec![Group::vacant(policy("2+2")); 6];
    let loose = elect(&mut groups, &members, one, 1, 0);
    assert_eq!((loose.vacant, loose.strained), (0, 12));
    assert_eq!(fullest_domain(&groups, &members, 0), 2, "spread as evenly as can be");
    let mut groups = vec![Group::vacant(policy("2+2")); 6];
    let strict = elect(&mut groups, &members, Limits { strict: true, ..one }, 1, 0);
    assert_eq!((strict.vacant, strict.strained), (12, 0));
}

/// A network: policy, groups, members with weights and operators.
fn network() -> impl Strategy<Value = (Policy, usize, Vec<Member>)> {
    let members = prop::collection::btree_map(0u32..1000, (1u64..1000, 0u32..9), 6..40);
    (2usize..5, 1usize..3, 1usize..40, members).prop_map(|(p, q, groups, members)| {
        let members = members.into_iter().map(|(n, (weight, domain))| member(n, weight, domain));
        (Policy::new(p, q).unwrap(), groups, members.collect())
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    (0u8..3, 0u8..3, any::<bool>()).prop_map(|(slots, margin, strict)| Limits {
        slots_per_domain: [slots, 0, 0],
        margin,
        strict,
    })
}

proptest! {
    #[test]
    fn every_slot_has_a_holder_of_its_own(net in network(), limits in limits(), seed: u8) {
        let (policy, count, members) = net;
        let mut groups = vec![Group::vacant(policy); count];
        let first = elect(&mut groups, &members, limits, seed, 0);
        let vacant = groups.iter().flat_map(Group::slots).filter(|s| s.is_none()).count();
        prop_assert_eq!(first.vacant as usize, vacant);
        prop_assert!(!has_doubles(&groups));
        prop_assert!(limits.strict || vacant == 0, "there are more members than slots of a group");
        if let Some(most) = limits.slots(policy, 0).filter(|_| first.strained == 0) {
            prop_assert!(fullest_domain(&groups, &members, 0) <= usize::from(most));
        }
        // one kind of domain: strained only where no way around it exists
        let room: usize = limits.slots(policy, 0).map_or(usize::MAX, |most| {
            let mut sizes = BTreeMap::new();
            for m in &members {
                // a member without a domain is one of its own
                *sizes.entry(if m.domains[0] == 0 { m.node.0 + 10 } else { m.domains[0] }).or_insert(0) += 1;
            }
            sizes.values().map(|&size: &usize| size.min(most.into())).sum()
        });
        let short = u32::try_from(policy.total_shards().saturating_sub(room) * count).unwrap();
        prop_assert_eq!(first.strained + first.vacant, short);

        let mut again = vec![Group::vacant(policy); count];
        prop_assert_eq!(elect(&mut again, &members, limits, seed, 0), first);
        prop_assert_eq!(&again, &groups);
        prop_assert_eq!(elect(&mut again, &members, limits, seed ^ 1, 0).moves, vec![]);
    }

    #[test]
    fn a_first_election_without_limits_meets_every_quota(net in network(), seed: u8) {
        let (policy, count, members) = net;
        let mut groups = vec![Group::vacant(policy); count];
        let first = elect(&mut groups, &members, Limits::default(), seed, 0);
        let seats = quotas(&members, &vec![0; members.len()], &groups, &Limits::default());
        prop_assert_eq!(first.over_quota, 0);
        prop_assert_eq!(&all_held(&groups, &members), &seats);
        // fair: the whole part of its share at least, or a slot of every group
        let slots = (policy.total_shards() * count) as u64;
        let weights: u64 = members.iter().map(|m| m.weight).sum();
        for (m, &seats) in members.iter().zip(&seats) {
            prop_assert!(u64::from(seats) >= (m.weight * slots / weights).min(count as u64));
            prop_assert!(seats as usize <= count);
        }
    }

    #[test]
    fn only_slots_of_who_left_move(net in network(), limits in limits(), gone: prop::sample::Index, seed: u8) {
        let (policy, count, mut members) = net;
        let mut groups = vec![Group::vacant(policy); count];
        elect(&mut groups, &members, limits, seed, 0);
        let left = members.remove(gone.index(members.len()));
        let vacant_before = groups.iter().flat_map(Group::slots).filter(|s| s.is_none()).count();
        let before = groups.clone();
        let after = elect(&mut groups, &members, limits, !seed, 0);
        for m in &after.moves {
            prop_assert!(m.from == Some(left.node) || m.from.is_none() && vacant_before > 0);
        }
        let had = held(&before, left.node);
        prop_assert!(moved_slots(&after) >= had);
        prop_assert!(after.moves.len() <= had as usize + vacant_before);
        prop_assert_eq!(held(&groups, left.node), 0);
        prop_assert!(!has_doubles(&groups));
    }

    #[test]
    fn rebalancing_moves_from_above_to_below_within_its_budget(net in network(), joined in 1u64..2000, budget in 0u32..50, seed: u8) {
        let (policy, count, mut members) = net;
        let mut groups = vec![Group::vacant(policy); count];
        elect(&mut groups, &members, Limits::default(), seed, 0);
        members.push(member(5000, joined, 0));
        let before = all_held(&groups, &members);
        let after = elect(&mut groups, &members, Limits::default(), seed, budget);
        let (held, seats) = (all_held(&groups, &members), quotas(&members, &before, &groups, &Limits::default()));
        // the newcomer's seats are all that is missing, so it alone gets slots
        let (newcomer, moved) = (NodeId(5000), moved_slots(&after));
        prop_assert!(moved <= budget && after.moves.iter().all(|m| m.to == Some(newcomer)));
        prop_assert_eq!(held[held.len() - 1], moved);
        // it stopped for want of budget, of a quota, or of a group without it that has somebody above its quota
        let is_above = |node: &NodeId| {
            let at = members.iter().position(|m| m.node == *node).unwrap();
            held[at] > seats[at]
        };
        let more = groups.iter().any(|g| {
            g.slot_of(newcomer).is_none() && g.slots().iter().flatten().any(is_above)
        });
        prop_assert!(moved == budget || moved == seats[seats.len() - 1] || !more);
        for ((before, held), seats) in before.iter().zip(&held).zip(&seats).take(members.len() - 1) {
            prop_assert!(held == before || held < before && held >= seats);
        }
    }

    #[test]
    fn any_groups_are_put_in_order(
        slots in prop::collection::vec(prop::collection::vec(prop::option::of(0u32..12), 6), 1..8), limits in limits(), seed: u8,
    ) {
        let mut groups: Vec<Group> = slots.into_iter()
            .map(|slots| Group::new(policy("4+2"), slots.into_iter().map(|s| s.map(NodeId)).collect()).unwrap())
            .collect();
        let members: Vec<_> = (3..15).map(|n| member(n, u64::from(n % 3), n % 4)).collect();
        elect(&mut groups, &members, limits, seed, 3);
        prop_assert!(!has_doubles(&groups));
        prop_assert!(groups.iter().flat_map(Group::slots).flatten().all(|n| (3..15).contains(&n.0)));
    }
}

/// Groups as a fixture has them: a line each.
fn text(groups: &[Group]) -> String {
    groups.iter().fold(String::new(), |mut text, group| {
        let slots: Vec<_> =
            group.slots().iter().map(|s| s.map_or("-".into(), |n| n.0.to_string())).collect();
        writeln!(text, "{} {}", group.policy(), slots.join(" ")).unwrap();
        text
    })
}

#[test]
fn outcomes_are_the_published_ones() {
    let mut members = hundred();
    let mut groups = vec![Group::vacant(policy("16+4")); 24];
    groups.extend(vec![Group::vacant(policy("4+2")); 8]);
    elect(&mut groups, &members, TWO_PER_OPERATOR, 1, 0);
    let mut out = text(&groups);
    members.retain(|m| m.node.0 % 10 != 3);
    members.push(member(200, 1000, 0));
    elect(&mut groups, &members, Limits { slots_per_domain: [2, 1, 3], ..TWO_PER_OPERATOR }, 2, 16);
    out += &format!("\n{}", text(&groups));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/election/v1/hundred.txt");
    if cfg!(bless) {
        std::fs::write(path, &out).unwrap();
    }
    assert_eq!(
        out,
        std::fs::read_to_string(path).unwrap(),
        "an election is a promise: see docs/format/election.md"
    );
}

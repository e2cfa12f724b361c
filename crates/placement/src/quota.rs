//! How many slots each node should hold: seats by D'Hondt, in proportion to weight.
//!
//! The next seat always goes to the largest `weight / (seats + 1)`, the lower node number where two are equal. A node has at
//! most one seat a group, a limited domain at most its limit in each group. Where the limits together leave seats over,
//! those are given without regard to domains, unless the limits are strict.
//!
//! Bounds: without limits, a node below its cap has at least the whole part of `weight * slots / all weights` seats, and
//! taking a node away never takes a seat from another. Cost: one sift of a heap of nodes a seat.

use crate::{DOMAIN_KINDS, Group, Limits, Member};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap, binary_heap::PeekMut},
};

/// The seats of each member, in their order; `held`: the slots that each has now.
///
/// Members that take no new slots have no more seats than slots. Nothing else depends on who holds what.
pub fn quotas(members: &[Member], held: &[u32], groups: &[Group], limits: &Limits) -> Vec<u32> {
    let group_count = u32::try_from(groups.len()).expect("groups are counted in u32");
    let slots: u64 = groups.iter().map(|g| g.slots().len() as u64).sum();
    let caps = members.iter().zip(held).map(|(m, &h)| if m.takes_new { group_count } else { h });
    let domains = Domains::of(members);
    let room: [Vec<u64>; DOMAIN_KINDS] = std::array::from_fn(|kind| {
        let slots = groups.iter().map(|g| limits.slots(g.policy(), kind).map(u64::from));
        // without a limit: room for everything
        vec![slots.sum::<Option<u64>>().unwrap_or(u64::MAX); domains.counts[kind]]
    });
    let mut seats = Seats {
        members,
        domains: &domains,
        caps: caps.collect(),
        room,
        seats: vec![0; members.len()],
    };
    let mut left = seats.give(slots);
    if left > 0 && !limits.strict {
        seats.room = std::array::from_fn(|kind| vec![u64::MAX; domains.counts[kind]]);
        left = seats.give(left);
    }
    debug_assert!(left <= slots, "no more seats than slots");
    seats.seats
}

/// The domains of members as positions in a list, so that counting needs no search.
pub(crate) struct Domains {
    /// for each member
    pub(crate) of: Vec<[usize; DOMAIN_KINDS]>,
    /// domains of each kind
    pub(crate) counts: [usize; DOMAIN_KINDS],
}

impl Domains {
    pub(crate) fn of(members: &[Member]) -> Self {
        let mut of = vec![[0; DOMAIN_KINDS]; members.len()];
        let mut counts = [0; DOMAIN_KINDS];
        for kind in 0..DOMAIN_KINDS {
            let mut known = BTreeMap::new();
            for (member, place) in members.iter().zip(&mut of) {
                let fresh = counts[kind];
                let domain = member.domains[kind];
                place[kind] =
                    if domain == 0 { fresh } else { *known.entry(domain).or_insert(fresh) };
                counts[kind] += usize::from(place[kind] == fresh);
            }
        }
        Self { of, counts }
    }
}

struct Seats<'a> {
    members: &'a [Member],
    domains: &'a Domains,
    caps: Vec<u32>,
    /// seats that each domain may still get
    room: [Vec<u64>; DOMAIN_KINDS],
    seats: Vec<u32>,
}

impl Seats<'_> {
    /// Gives seats as long as somebody may take one; the seats left over.
    fn give(&mut self, mut left: u64) -> u64 {
        let claims =
            (0..self.members.len()).filter(|&m| self.members[m].weight > 0).map(|member| Claim {
                weight: self.members[member].weight,
                divisor: self.seats[member] + 1,
                member,
            });
        let mut heap: BinaryHeap<Claim> = claims.collect();
        while left > 0 {
            let Some(mut top) = heap.peek_mut() else { break };
            let (member, domains) = (top.member, self.domains.of[top.member]);
            let has_room = domains.iter().zip(&self.room).all(|(&d, room)| room[d] > 0);
            if self.seats[member] >= self.caps[member] || !has_room {
                PeekMut::pop(top);
                continue;
            }
            top.divisor += 1;
            self.seats[member] += 1;
            for (room, domain) in self.room.iter_mut().zip(domains) {
                room[domain] -= 1;
            }
            left -= 1;
        }
        left
    }
}

/// A member's claim to the next seat.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Claim {
    weight: u64,
    divisor: u32,
    member: usize,
}

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> Ordering {
        let scaled = |a: &Self, b: &Self| u128::from(a.weight) * u128::from(b.divisor);
        scaled(self, other).cmp(&scaled(other, self)).then(other.member.cmp(&self.member))
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

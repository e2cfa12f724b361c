//! The election: every vacant slot gets a holder; as little moves as can.
//!
//! 1. Holders that are members stay. A slot is vacant when its holder is no member any more.
//! 2. Each vacant slot, group by group, goes to a member that holds none of the group, keeps the group within its limits and
//!    is below its quota; drawn by what each still lacks. A member that needs every group still open is taken first,
//!    so that no quota is left over at the end: a first election without limits meets every quota exactly.
//! 3. Where nobody like that is left: one above its quota, the least loaded; then, unless the limits are strict, one
//!    that breaks them least. Both are counted in the [`Outcome`].
//! 4. At most `rebalance_slots` slots go from members above their quota to members below it. Each such move costs the transfer
//!    of everything that the slot ever got, so the usual number is 0: new nodes fill new groups.
//!
//! Cost: `O(slots)`, and `O(members)` for each slot that moves.

use crate::{
    DOMAIN_KINDS, Group, Limits, Member, NodeId,
    draw::{Draws, Purpose, below},
    quota::{Domains, quotas},
};
use prunedb_core::Policy;

/// Who stands, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Election<'a> {
    /// decides every draw; nobody could choose or foresee it
    pub seed: [u8; 32],
    /// the nodes that stand, by rising number
    pub members: &'a [Member],
    /// the limits of failure domains
    pub limits: Limits,
    /// most slots that move although their holder stands
    pub rebalance_slots: u32,
}

/// An election that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElectError {
    /// Members must be in order, each once.
    #[error("member {node} is not in order, or there twice")]
    Order {
        /// the second one of the two
        node: NodeId,
    },
    /// A new group would have a slot that nobody can hold.
    #[error("policy {policy} needs {needed} nodes that take slots, there are {found}")]
    TooFewNodes {
        /// the group's policy
        policy: Policy,
        /// its slots
        needed: usize,
        /// members that take new slots
        found: usize,
    },
}

/// A slot that changed hands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// position of its group
    pub group: u32,
    /// which slot
    pub slot: u8,
    /// who held it
    pub from: Option<NodeId>,
    /// who holds it now
    pub to: Option<NodeId>,
}

/// What an election changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// every slot that changed hands, by group and slot
    pub moves: Vec<Move>,
    /// slots without a holder
    pub vacant: u32,
    /// slots that went to a member at or above its quota
    pub over_quota: u32,
    /// slots that went where they break a limit
    pub strained: u32,
}

impl Election<'_> {
    /// Whether new groups of a policy can be opened.
    ///
    /// # Errors
    /// [`ElectError::TooFewNodes`].
    pub fn enough_for(&self, policy: Policy) -> Result<(), ElectError> {
        let (needed, found) =
            (policy.total_shards(), self.members.iter().filter(|m| m.takes_new).count());
        if found < needed {
            return Err(ElectError::TooFewNodes { policy, needed, found });
        }
        Ok(())
    }

    /// Elects a holder for every vacant slot of `groups`, as far as there are members that may take it.
    ///
    /// # Errors
    /// [`ElectError::Order`]; the groups are as they were.
    pub fn elect(&self, groups: &mut [Group]) -> Result<Outcome, ElectError> {
        if let Some(pair) = self.members.windows(2).find(|pair| pair[0].node >= pair[1].node) {
            return Err(ElectError::Order { node: pair[1].node });
        }
        let before = groups.to_vec();
        let mut board = Board::new(self, groups);
        board.fill(groups);
        board.rebalance(groups);
        board.outcome.moves = moves(&before, groups);
        Ok(board.outcome)
    }
}

fn moves(before: &[Group], after: &[Group]) -> Vec<Move> {
    let mut moves = Vec::new();
    for (group, (before, after)) in (0..).zip(before.iter().zip(after)) {
        for (slot, (&from, &to)) in (0..).zip(before.slots().iter().zip(after.slots())) {
            if from != to {
                moves.push(Move { group, slot, from, to });
            }
        }
    }
    moves
}

/// The state of a running election; members go by their position.
struct Board<'a> {
    election: &'a Election<'a>,
    domains: Domains,
    quota: Vec<u32>,
    held: Vec<u32>,
    outcome: Outcome,
    /// groups with a vacant slot that were not filled yet, and of these the ones that a member holds a slot of
    open_groups: u32,
    open_groups_held: Vec<u32>,
    table: Table,
}

/// The group at hand.
struct Table {
    limits: [Option<u16>; DOMAIN_KINDS],
    /// whether a member holds a slot of it
    is_in: Vec<bool>,
    /// slots in each domain
    counts: [Vec<u16>; DOMAIN_KINDS],
}

impl Table {
    fn put(&mut self, member: usize, domains: &Domains) {
        self.is_in[member] = true;
        for (counts, &domain) in self.counts.iter_mut().zip(&domains.of[member]) {
            counts[domain] += 1;
        }
    }

    fn take(&mut self, member: usize, domains: &Domains) {
        self.is_in[member] = false;
        for (counts, &domain) in self.counts.iter_mut().zip(&domains.of[member]) {
            counts[domain] -= 1;
        }
    }

    /// By how much one more slot of this member would be above the limits.
    fn excess(&self, domains: &[usize; DOMAIN_KINDS]) -> u32 {
        let kinds = self.limits.iter().zip(&self.counts).zip(domains);
        kinds
            .map(|((limit, counts), &domain)| {
                limit.map_or(0, |limit| u32::from((counts[domain] + 1).saturating_sub(limit)))
            })
            .sum()
    }
}

impl<'a> Board<'a> {
    /// Vacates what no member holds, counts, and sets quotas.
    fn new(election: &'a Election<'a>, groups: &mut [Group]) -> Self {
        let members = election.members;
        let domains = Domains::of(members);
        let mut board = Self {
            election,
            quota: Vec::new(),
            held: vec![0; members.len()],
            outcome: Outcome::default(),
            open_groups: 0,
            open_groups_held: vec![0; members.len()],
            table: Table {
                limits: [None; DOMAIN_KINDS],
                is_in: vec![false; members.len()],
                counts: domains.counts.map(|count| vec![0; count]),
            },
            domains,
        };
        for group in groups.iter_mut() {
            let mut holders = Vec::with_capacity(group.slots().len());
            for slot in 0..group.slots().len() {
                let member = group.slots()[slot].and_then(|node| board.member(node));
                // a second slot of a group would be lost together with the first
                match member.filter(|m| !holders.contains(m)) {
                    Some(member) => holders.push(member),
                    None => group.set(slot, None),
                }
            }
            let is_open = u32::from(holders.len() < group.slots().len());
            board.open_groups += is_open;
            for member in holders {
                board.held[member] += 1;
                board.open_groups_held[member] += is_open;
            }
        }
        board.quota = quotas(members, &board.held, groups, &election.limits);
        board
    }

    fn member(&self, node: NodeId) -> Option<usize> {
        self.election.members.binary_search_by_key(&node, |m| m.node).ok()
    }

    fn holders(&self, group: &Group) -> Vec<usize> {
        group.slots().iter().flatten().filter_map(|&node| self.member(node)).collect()
    }

    fn sit(&mut self, group: &Group) {
        self.table.limits =
            std::array::from_fn(|kind| self.election.limits.slots(group.policy(), kind));
        for member in self.holders(group) {
            self.table.put(member, &self.domains);
        }
    }

    fn rise(&mut self, group: &Group) {
        for member in self.holders(group) {
            self.table.take(member, &self.domains);
        }
    }

    fn fill(&mut self, groups: &mut [Group]) {
        for (number, group) in (0..).zip(groups) {
            if group.slots().iter().all(Option::is_some) {
                continue;
            }
            let held_before = self.holders(group);
            self.sit(group);
            let mut draws = Draws::new(Purpose::Fill, &self.election.seed, number);
            for slot in 0..group.slots().len() {
                if group.slots()[slot].is_some() {
                    continue;
                }
                match self.choose(draws.at(slot)) {
                    Some(member) => {
                        group.set(slot, Some(self.election.members[member].node));
                        self.held[member] += 1;
                        self.table.put(member, &self.domains);
                    }
                    None => self.outcome.vacant += 1,
                }
            }
            self.rise(group);
            self.open_groups -= 1;
            for member in held_before {
                self.open_groups_held[member] -= 1;
            }
        }
    }

    /// The member that gets a vacant slot of the group at hand.
    fn choose(&mut self, draw: u64) -> Option<usize> {
        let lacks = self.lacks();
        let needs_all_open =
            |member: usize| lacks[member] >= self.open_groups - self.open_groups_held[member];
        let needed = drawn(draw, &lacks, needs_all_open);
        if let Some(member) = needed.or_else(|| drawn(draw, &lacks, |_| true)) {
            return Some(member);
        }
        let members = self.election.members;
        let candidates =
            (0..members.len()).filter(|&m| members[m].takes_new && !self.table.is_in[m]);
        let excess = |member: usize| self.table.excess(&self.domains.of[member]);
        let best = candidates.min_by(|&a, &b| {
            // of two, the one with the smaller (held + 1) / (quota + 1)
            let load =
                |x: usize, y: usize| u64::from(self.held[x] + 1) * (u64::from(self.quota[y]) + 1);
            excess(a).cmp(&excess(b)).then(load(a, b).cmp(&load(b, a))).then(a.cmp(&b))
        })?;
        if excess(best) > 0 {
            if self.election.limits.strict {
                return None;
            }
            self.outcome.strained += 1;
        }
        self.outcome.over_quota += u32::from(self.held[best] >= self.quota[best]);
        Some(best)
    }

    /// For each member the slots that it lacks; 0 where it may get none of the group at hand.
    fn lacks(&self) -> Vec<u32> {
        let lack = |(member, stands): (usize, &Member)| {
            let may = stands.takes_new
                && !self.table.is_in[member]
                && self.table.excess(&self.domains.of[member]) == 0;
            if may { self.quota[member].saturating_sub(self.held[member]) } else { 0 }
        };
        self.election.members.iter().enumerate().map(lack).collect()
    }

    fn rebalance(&mut self, groups: &mut [Group]) {
        let mut left = self.election.rebalance_slots;
        if left == 0 {
            return;
        }
        let seed = &self.election.seed;
        let numbers = 0..u32::try_from(groups.len()).expect("groups are counted in u32");
        let mut order: Vec<u32> = numbers.collect();
        order.sort_by_cached_key(|&group| (Draws::new(Purpose::Order, seed, group).at(0), group));
        for number in order {
            let group = &mut groups[number as usize];
            self.sit(group);
            let mut draws = Draws::new(Purpose::Rebalance, seed, number);
            for slot in 0..group.slots().len() {
                let holder = group.slots()[slot].and_then(|node| self.member(node));
                let Some(holder) = holder.filter(|&h| self.held[h] > self.quota[h]) else {
                    continue;
                };
                self.table.take(holder, &self.domains);
                // it is above its quota, so it cannot be drawn itself
                let taker = drawn(draws.at(slot), &self.lacks(), |_| true).filter(|_| left > 0);
                let member = taker.unwrap_or(holder);
                self.table.put(member, &self.domains);
                if taker.is_some() {
                    group.set(slot, Some(self.election.members[member].node));
                    self.held[holder] -= 1;
                    self.held[member] += 1;
                    left -= 1;
                }
            }
            self.rise(group);
            if left == 0 {
                return;
            }
        }
    }
}

/// Draws one of the members that `may`, with a chance in proportion to its share.
fn drawn(draw: u64, shares: &[u32], may: impl Fn(usize) -> bool) -> Option<usize> {
    let shares = || shares.iter().enumerate().filter(|&(m, &share)| share > 0 && may(m));
    let all = shares().map(|(_, &share)| u64::from(share)).sum();
    let mut rest = below(draw, all);
    for (member, &share) in shares() {
        match rest.checked_sub(share.into()) {
            Some(less) => rest = less,
            None => return Some(member),
        }
    }
    None
}

//! Storage nodes: joining, standing in elections, leaving.

use crate::{
    canonical::{Canonical, canonical_struct},
    event::{Event, Events},
    ids::{Amount, Endpoint, Key},
    params::Params,
    reject::Reject,
    state::State,
    tx::{CheckedTx, JoinNode},
};
use prunedb_format::{FormatError, bytes::Reader};
use prunedb_placement::{DOMAIN_KINDS, Member, NodeId};

/// Whether a node takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeStatus {
    /// It does.
    Active = 0,
    /// It wants to go, and owes its slots until others have filled them.
    Leaving = 1,
    /// It is gone; its number is not used again.
    Gone = 2,
}

impl Canonical for NodeStatus {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        match from.u8()? {
            0 => Ok(Self::Active),
            1 => Ok(Self::Leaving),
            2 => Ok(Self::Gone),
            found => Err(FormatError::Value { what: "status of a node", found: found.into() }),
        }
    }
}

canonical_struct! {
    /// A storage node.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Node {
        /// its own key: it signs proofs and receipts
        pub key: Key,
        /// whose it is: gets its pay and its stake back
        pub owner: Key,
        /// where it is reached
        pub endpoint: Endpoint,
        /// operator, network, place
        pub domains: [u32; DOMAIN_KINDS],
        /// what it may hold
        pub capacity_gib: u32,
        /// what it loses when it fails
        pub stake: Amount,
        /// epoch in which it joined
        pub since_epoch: u32,
        /// whether it takes part
        pub status: NodeStatus,
        /// of the last 8 epochs, the newest lowest: a bit where it did not prove
        pub misses: u8,
    }
}

impl Node {
    /// Whether it lost its standing: it missed too many epochs lately.
    pub(crate) fn is_suspended(&self, params: &Params) -> bool {
        self.misses.count_ones() >= params.misses_max.into()
    }

    /// It as a candidate; `None` where it does not stand. `held_bytes`: what its slots hold.
    pub(crate) fn member(
        &self,
        node: NodeId,
        epoch: u32,
        held_bytes: u64,
        params: &Params,
    ) -> Option<Member> {
        if self.status != NodeStatus::Active || self.is_suspended(params) {
            return None;
        }
        let staked_gib = self.stake.0.checked_div(params.stake_per_gib.0).unwrap_or(u64::MAX);
        Some(Member {
            node,
            weight: u64::from(self.capacity_gib).min(staked_gib),
            domains: self.domains,
            // who failed lately keeps what it has
            takes_new: self.misses == 0
                && epoch.saturating_sub(self.since_epoch) >= params.min_age_epochs
                && held_bytes < u64::from(self.capacity_gib) << 30,
        })
    }
}

impl State {
    /// A node that has not left.
    pub(crate) fn present(&self, node: NodeId) -> Result<&Node, Reject> {
        let found = self.nodes.get(node.0 as usize).filter(|n| n.status != NodeStatus::Gone);
        found.ok_or(Reject::Node(node))
    }

    pub(crate) fn join(
        &mut self,
        tx: &CheckedTx,
        join: &JoinNode,
        events: &mut Events,
    ) -> Result<(), Reject> {
        if self.params.permissioned {
            self.require_authorities(tx)?;
        }
        if !tx.signers().contains(&join.key) {
            return Err(Reject::Signer("the node's own key"));
        }
        if self.nodes.iter().any(|n| n.key == join.key && n.status != NodeStatus::Gone) {
            return Err(Reject::KeyInUse(join.key));
        }
        if self.nodes.len() as u64 >= self.params.nodes_max.into() {
            return Err(Reject::Full("nodes"));
        }
        if join.stake < self.params.stake_min {
            return Err(Reject::Funds { needed: self.params.stake_min, found: join.stake });
        }
        if join.capacity_gib == 0 {
            return Err(Reject::Value { what: "capacity", expected: 1, found: 0 });
        }
        self.bank.can_take(&tx.sender(), join.stake)?;
        self.bank.open(join.key, self.params.accounts_max)?;
        self.bank.take(&tx.sender(), join.stake)?;
        let node = NodeId(u32::try_from(self.nodes.len()).expect("bounded by nodes_max"));
        self.nodes.push(Node {
            key: join.key,
            owner: tx.sender(),
            endpoint: join.endpoint.clone(),
            domains: join.domains,
            capacity_gib: join.capacity_gib,
            stake: join.stake,
            since_epoch: self.epoch.number,
            status: NodeStatus::Active,
            misses: 0,
        });
        self.holdings.add_node();
        events.push(Event::Joined(node));
        Ok(())
    }
}

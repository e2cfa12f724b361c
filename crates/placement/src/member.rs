//! The nodes that may hold slots, and how many of a group one failure may take.

use prunedb_core::Policy;
use std::fmt;

/// The number of a node in its registry; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Kinds of failure domain: operator, network, place.
pub const DOMAIN_KINDS: usize = 3;

/// A node that stands in an election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// which node
    pub node: NodeId,
    /// its share of the slots is in proportion to this: the smaller of capacity and stake, in any one unit
    pub weight: u64,
    /// its operator, network and place; 0: not known, a domain of its own
    pub domains: [u32; DOMAIN_KINDS],
    /// whether it may get slots besides those that it has
    pub takes_new: bool,
}

/// How many slots of a group may be in one failure domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// most slots of a group in one operator, network, place; 0: no limit
    pub slots_per_domain: [u8; DOMAIN_KINDS],
    /// shards beyond `p` that must be left when a limited domain is lost
    pub margin: u8,
    /// a slot stays vacant rather than break a limit
    pub strict: bool,
}

impl Limits {
    /// Most slots of a group of this policy in one domain of a kind; `None`: any number.
    ///
    /// Never more than `q - margin`, never less than 1.
    pub fn slots(&self, policy: Policy, kind: usize) -> Option<u16> {
        let asked = self.slots_per_domain[kind];
        let lossy = policy.parity_shards().saturating_sub(self.margin.into()).max(1);
        (asked > 0).then(|| u16::from(asked).min(u16::try_from(lossy).expect("q is at most 253")))
    }
}

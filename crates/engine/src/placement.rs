//! Who holds which slot, until elections do: one group for each node, each the nodes in a ring from another start.
//!
//! So with 24 nodes at 16+4 every node holds 20 of the 24 groups, data and parity shards evenly.

use crate::error::Error;
use prunedb_core::Policy;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_node_holds_one_slot_at_most_and_all_hold_equally_many() {
        let policy: Policy = "16+4".parse().unwrap();
        let groups = ring(policy, 24).unwrap();
        let mut held = [0; 24];
        for group in &groups {
            assert_eq!(group.slots.iter().collect::<BTreeSet<_>>().len(), 20);
            group.slots.iter().for_each(|&s| held[s as usize] += 1);
        }
        assert_eq!(held, [20; 24]);
        assert!(matches!(ring(policy, 19), Err(Error::TooFewNodes { needed: 20, given: 19, .. })));
    }
}

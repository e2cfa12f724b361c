//! Who holds what: every container of the lake with its group, as the manifest and the head have it.

use crate::{
    db::{Db, Inner},
    error::Error,
    placement::NodeDomains,
    status::NodeStatus,
};
use prunedb_core::{ContainerId, Policy, ShardIndex};

/// The lake's containers and their holders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders {
    /// the nodes, and how each is now
    pub nodes: Vec<NodeStatus>,
    /// what fails together with each of them
    pub domains: Vec<NodeDomains>,
    /// for each group the nodes of its slots, by position among the nodes
    pub groups: Vec<Vec<usize>>,
    /// every container in the lake: data, index, manifest
    pub containers: Vec<HeldContainer>,
}

/// A container in the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldContainer {
    /// which
    pub id: ContainerId,
    /// its group, by position among the groups
    pub group: usize,
    /// its policy
    pub policy: Policy,
    /// its length
    pub container_bytes: u64,
    /// shards known to be missing or damaged
    pub damaged_shards: Vec<ShardIndex>,
}

impl Db {
    /// Who holds what; asks each node whether it is there.
    ///
    /// # Errors
    /// Those of the disk, and [`Error::Codec`] where manifest and placement do not fit.
    pub fn holders(&self) -> Result<Holders, Error> {
        self.inner.holders()
    }
}

impl Inner {
    fn holders(&self) -> Result<Holders, Error> {
        let mut containers = Vec::new();
        for id in self.subject_ids()? {
            let Some(subject) = self.subject(id)? else { continue };
            let stream = subject.stream;
            // refuses a group that is not there
            self.lake.slots(id, stream.group, stream.policy)?;
            containers.push(HeldContainer {
                id,
                group: stream.group as usize,
                policy: stream.policy,
                container_bytes: stream.container_bytes,
                damaged_shards: self.manifest.damage_of(id)?,
            });
        }
        let slots = |slots: &[u32]| slots.iter().map(|&slot| slot as usize).collect();
        let placement = self.lake.placement();
        let groups = placement.groups.iter().map(|group| slots(&group.slots)).collect();
        let domains = placement.nodes.iter().map(|node| node.domains.clone()).collect();
        Ok(Holders { nodes: self.node_statuses(), domains, groups, containers })
    }
}

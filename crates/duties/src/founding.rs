//! A new registry: its nodes join, and its groups open.

use prunedb_core::{Digest, Policy};
use prunedb_registry::{Amount, Body, Endpoint, JoinNode, NodeStatus, Secret};
use prunedb_validator::{Client, ClientError, Placement};

/// A node that is to join.
#[derive(Debug)]
pub struct Joining {
    /// its own key
    pub secret: Secret,
    /// where the lake has it
    pub address: String,
    /// operator, network, place: see [`domain_number`]
    pub domains: [u32; 3],
    /// what it may hold
    pub capacity_gib: u32,
}

/// What founding did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Joins {
    /// nodes that joined now
    pub joined: u32,
    /// groups that opened now
    pub opened: u32,
}

/// The number of a failure domain by its name; 0: not known.
pub fn domain_number(name: &str) -> u32 {
    if name.is_empty() {
        return 0;
    }
    let hash = blake3::derive_key("prunedb v1 failure domain", name.as_bytes());
    u32::from_le_bytes(*hash.first_chunk().expect("32 bytes")).max(1)
}

/// Has those nodes join that have not, and opens a group for each node where there is none yet.
///
/// # Errors
/// [`ClientError`]; what is done stays done, the next call goes on.
pub async fn found(
    client: &Client,
    registry: &Digest,
    authority: &Secret,
    policy: Policy,
    nodes: &[Joining],
) -> Result<Joins, ClientError> {
    let placement = client.placement().await?;
    let has_joined = |node: &&Joining| !is_member(&placement, node);
    let joins: Vec<(Body, Vec<&Secret>)> = nodes
        .iter()
        .filter(has_joined)
        .filter_map(|node| {
            let join = JoinNode {
                key: node.secret.key(),
                endpoint: Endpoint::new(&node.address)?,
                domains: node.domains,
                capacity_gib: node.capacity_gib.max(1),
                stake: Amount(0),
            };
            Some((Body::JoinNode { join }, vec![authority, &node.secret]))
        })
        .collect();
    let mut done = Joins { joined: joins.len().try_into().unwrap_or(u32::MAX), opened: 0 };
    if !joins.is_empty() {
        client.send_all(registry, joins).await?;
    }
    if placement.groups.is_empty() {
        let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        client.send(registry, Body::OpenGroups { policy, count }, &[authority]).await?;
        done.opened = count;
    }
    Ok(done)
}

fn is_member(placement: &Placement, node: &Joining) -> bool {
    let key = node.secret.key();
    placement.nodes.iter().any(|n| n.key == key && n.status != NodeStatus::Gone)
}

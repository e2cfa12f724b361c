//! `prunedb what-if`: how each container would stand without some nodes.

use crate::{
    io::{Exit, Io},
    session::Session,
    text::{count, size},
};
use anyhow::ensure;
use clap::Args;
use prunedb_engine::{HeldContainer, Holders, NodeState};
use prunedb_placement::{Standing, durability::loss_by_chance};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Nodes that might be lost.
#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Examples:\n  prunedb what-if --lose 0        (as things are)\n  prunedb what-if --lose 4\n  \
        prunedb what-if --lose-domain 10.0.3 --lose-domain 10.0.4\n\n\
        Shards known to be missing or damaged count as lost, and so do those on nodes that do not answer now. Containers that are \
        not in the lake yet do not depend on nodes.\n\
        Exits with 1 if a container would be lost, or could not bear the loss of one more shard."
)]
pub(crate) struct WhatIf {
    /// Lose this many nodes more, whichever are worst for each container
    #[arg(long, value_name = "COUNT", required_unless_present = "lose_domain")]
    lose: Option<usize>,
    /// Lose every node of an operator, network or place, or whose address is this or begins with it: a host, a subnet such as
    /// 10.0.3, or one node; may be repeated
    #[arg(long, value_name = "DOMAIN", conflicts_with = "lose")]
    lose_domain: Vec<String>,
}

/// A container, and how it would stand.
struct Outlook<'a> {
    container: &'a HeldContainer,
    missing: usize,
    standing: Standing,
}

pub(super) fn run(args: &WhatIf, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let holders = session.db.holders()?;
    let down = down(&holders);
    let mut gone = down.clone();
    for domain in &args.lose_domain {
        let is_of_domain = |&n: &usize| {
            is_in(&holders.nodes[n].address, domain) || holders.domains[n].is_in(domain)
        };
        let of_domain: Vec<usize> = (0..holders.nodes.len()).filter(is_of_domain).collect();
        ensure!(
            !of_domain.is_empty(),
            "no node's address is `{domain}` or begins with it, and no node is in such a domain: see `prunedb status` and \
            node_domains in prunedb.toml"
        );
        gone.extend(of_domain);
    }
    let more = args.lose.unwrap_or(0);
    let up = holders.nodes.len() - down.len();
    ensure!(more <= up, "only {} answer: as many can be lost", count(up as u64, "node"));

    let outlook: Vec<Outlook<'_>> = holders
        .containers
        .iter()
        .map(|container| {
            let missing_now = missing(&holders, container, &gone);
            // the worst of all choices takes a good shard with every node
            let missing = (missing_now + more).min(container.policy.total_shards());
            Outlook { container, missing, standing: Standing::of(container.policy, missing) }
        })
        .collect();
    let chance = (more > 0).then(|| chance(&holders, &gone, more, up));
    if io.json {
        io.json(&outlook_json(&holders, &gone, more, &outlook, chance))?;
    } else {
        write(&holders, &gone, more, &outlook, chance, io)?;
    }
    Ok(Exit::of(outlook.iter().all(|o| o.standing < Standing::AtRisk)))
}

/// The nodes that do not answer now.
fn down(holders: &Holders) -> BTreeSet<usize> {
    let is_down = |&n: &usize| matches!(holders.nodes[n].state, NodeState::Down { .. });
    (0..holders.nodes.len()).filter(is_down).collect()
}

/// Whether an address is in a domain: equal to it, or going on behind it with a new part.
fn is_in(address: &str, domain: &str) -> bool {
    address.strip_prefix(domain).is_some_and(|rest| {
        !domain.is_empty()
            && (rest.is_empty() || rest.starts_with(['.', ':']) || domain.ends_with(['.', ':']))
    })
}

/// Shards of a container that are damaged, or on nodes that are gone.
fn missing(holders: &Holders, container: &HeldContainer, gone: &BTreeSet<usize>) -> usize {
    let slots = container.policy.shards().zip(&holders.groups[container.group]);
    slots
        .filter(|(shard, node)| gone.contains(node) || container.damaged_shards.contains(shard))
        .count()
}

/// Chance that a random loss of `more` nodes takes the container that is worst off.
fn chance(holders: &Holders, gone: &BTreeSet<usize>, more: usize, up: usize) -> f64 {
    let of = |container: &HeldContainer| {
        let left = container.policy.total_shards() - missing(holders, container, gone);
        match left.checked_sub(container.policy.data_shards()) {
            Some(spare) => loss_by_chance(up, more, left, spare),
            None => 1.0,
        }
    };
    holders.containers.iter().map(of).fold(0.0, f64::max)
}

const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Whole => "whole",
        Standing::Degraded => "degraded",
        Standing::AtRisk => "at risk",
        Standing::Lost => "lost",
    }
}

const STANDINGS: [Standing; 4] =
    [Standing::Whole, Standing::Degraded, Standing::AtRisk, Standing::Lost];

fn number(outlook: &[Outlook<'_>], standing: Standing) -> u64 {
    outlook.iter().filter(|o| o.standing == standing).count() as u64
}

fn outlook_json(
    holders: &Holders,
    gone: &BTreeSet<usize>,
    more: usize,
    outlook: &[Outlook<'_>],
    chance: Option<f64>,
) -> Value {
    let bad: Vec<Value> = outlook
        .iter()
        .filter(|o| o.standing >= Standing::AtRisk)
        .map(|o| {
            json!({
                "container": o.container.id.to_string(),
                "policy": o.container.policy.to_string(),
                "container_bytes": o.container.container_bytes,
                "group": o.container.group,
                "missing_shards": o.missing,
                "standing": word(o.standing),
            })
        })
        .collect();
    json!({
        "nodes": holders.nodes.len(),
        "nodes_gone": gone.iter().map(|&n| &holders.nodes[n].address).collect::<Vec<_>>(),
        "more_nodes_lost": more,
        "containers": outlook.len(),
        "whole": number(outlook, Standing::Whole),
        "degraded": number(outlook, Standing::Degraded),
        "at_risk": number(outlook, Standing::AtRisk),
        "lost": number(outlook, Standing::Lost),
        "loss_by_chance_max": chance,
        "container_list": bad,
    })
}

/// Containers named one by one.
const LISTED_MAX: usize = 20;

fn write(
    holders: &Holders,
    gone: &BTreeSet<usize>,
    more: usize,
    outlook: &[Outlook<'_>],
    chance: Option<f64>,
    io: &mut Io,
) -> anyhow::Result<()> {
    let names: Vec<&str> = gone.iter().map(|&n| holders.nodes[n].address.as_str()).collect();
    let named = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    io.line(format_args!(
        "without   {} of {}{named}",
        names.len(),
        count(holders.nodes.len() as u64, "node")
    ))?;
    if let Some(chance) = chance {
        io.line(format_args!(
            "          and {more} more, the worst for each container; were they drawn by lot, any one container would be \
             lost with a chance of {chance:.1e} at most"
        ))?;
    }
    for standing in STANDINGS {
        let (is, containers) = (number(outlook, standing), outlook.len() as u64);
        if is > 0 {
            io.line(format_args!(
                "{:9} {is} of {}",
                word(standing),
                count(containers, "container")
            ))?;
        }
    }
    let bad: Vec<_> = outlook.iter().filter(|o| o.standing >= Standing::AtRisk).collect();
    for Outlook { container, missing, standing } in bad.iter().take(LISTED_MAX) {
        io.line(format_args!(
            "  {:6} {:>9}  {} of {} shards missing: {}",
            container.id.to_string(),
            size(container.container_bytes),
            missing,
            container.policy.total_shards(),
            word(*standing)
        ))?;
    }
    if bad.len() > LISTED_MAX {
        io.line(format_args!("  and {} more: --json names all", bad.len() - LISTED_MAX))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_whole_part_of_an_address() {
        for domain in ["10.0.3.17:9900", "10.0.3.17", "10.0.3", "10.0.3.", "10"] {
            assert!(is_in("10.0.3.17:9900", domain), "{domain}");
        }
        for domain in ["", "10.0.3.1", "1", "10.0.3.17:99", "0.3.17"] {
            assert!(!is_in("10.0.3.17:9900", domain), "{domain}");
        }
        assert!(is_in("local:03", "local") && is_in("[fd00:1::7]:99", "[fd00:1:"));
    }
}

//! A node loses everything, another one's disk rots: both are found and made whole.

use super::{
    ProveError, Setting,
    lab::{Lab, read_back, scattered},
    proof::Proof,
};
use crate::{flip_bytes, local_address};
use prunedb_bench::process;
use prunedb_engine::{Depth, NodeState, OnProgress, Verified};
use std::{collections::BTreeSet, time::Instant};
use tokio::runtime::Handle;

/// The node that is wiped, and the one whose disk rots.
const WIPED: u16 = 1;
const ROTTEN: u16 = 2;
/// Records that are read while the node is empty.
const SAMPLE: usize = 500;

/// Wipes a node and rebuilds what it held; then flips bytes on another one's disk and mends them.
///
/// # Errors
/// [`ProveError`].
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub fn healing(
    setting: &Setting,
    runtime: &Handle,
    report: &mut OnProgress<'_>,
) -> Result<Proof, ProveError> {
    let mut lab = Lab::new(setting, runtime)?;
    let end = lab.fill_and_evict(report)?;
    let mut proof = Proof::new("healing", lab.describe(end));
    let held = belong(&lab, WIPED)?;
    lab.nodes.wipe(WIPED)?;
    let numbers = scattered(end, 3).take(SAMPLE);
    let read = read_back(&lab.db, &lab.table, numbers, report);
    proof.claim(
        "while a node is empty, everything can be read",
        read.evidence(),
        read.is_perfect(),
    );

    let started = Instant::now();
    let found = lab.db.verify(Depth::Quick, report)?;
    proof.figure("finding what a wiped node lost", started.elapsed().as_secs_f64(), "s");
    proof.claim(
        "a quick check names every shard that the node lost, and no other",
        format!("{} of {held} found, {}", found.faults.len(), nodes_of(&found)),
        found.faults.len() as u64 == held
            && found.faults.iter().all(|fault| fault.node == local_address(WIPED)),
    );
    let (started, cpu) = (Instant::now(), process::cpu_seconds());
    let repaired = lab.db.repair(false, report)?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), process::cpu_seconds() - cpu);
    let (has, has_bytes) = holds(&lab, WIPED)?;
    proof.claim(
        "one repair gives the node back all that it held",
        format!(
            "{} shards rebuilt in {seconds:.2} s, it holds {has} of {held}",
            repaired.repaired.len()
        ),
        repaired.failed.is_empty() && has == held,
    );
    let read_mb = has_bytes as f64 * setting.policy.data_shards() as f64 / 1e6;
    proof.figure("repair", seconds, "s");
    proof.figure("repair reads of other nodes", read_mb / seconds.max(1e-6), "MB/s");
    proof.figure("the same per processor second, nodes included", read_mb / cpu.max(1e-6), "MB");
    check_all(&lab, &mut proof, "afterwards every byte of every shard is right", report)?;

    let dir = lab.nodes.node_dir(ROTTEN);
    let flipped = flip_bytes(&dir).map_err(ProveError::io("cannot damage a node's disk"))?;
    let found = lab.db.verify(Depth::Deep, report)?;
    proof.claim(
        "flipped bytes on a disk are found, and nothing else is blamed",
        format!(
            "{flipped} bytes flipped on {}; {} shards found, {}",
            local_address(ROTTEN),
            found.faults.len(),
            nodes_of(&found)
        ),
        !found.faults.is_empty()
            && found.faults.iter().all(|fault| fault.node == local_address(ROTTEN)),
    );
    let started = Instant::now();
    let repaired = lab.db.repair(false, report)?;
    proof.figure("mending a rotten disk", started.elapsed().as_secs_f64(), "s");
    proof.claim(
        "one repair mends them",
        format!(
            "{} shards rebuilt, {} containers failed",
            repaired.repaired.len(),
            repaired.failed.len()
        ),
        repaired.failed.is_empty() && repaired.repaired.len() == found.faults.len(),
    );
    check_all(&lab, &mut proof, "afterwards every byte of every shard is right again", report)?;
    lab.close()?;
    Ok(proof)
}

/// Shards that belong on a node, as manifest and placement have it.
fn belong(lab: &Lab, node: u16) -> Result<u64, ProveError> {
    let holders = lab.db.holders()?;
    let is_here = |group: usize| holders.groups[group].contains(&usize::from(node));
    Ok(holders.containers.iter().filter(|container| is_here(container.group)).count() as u64)
}

/// Shards that a node holds, and bytes.
fn holds(lab: &Lab, node: u16) -> Result<(u64, u64), ProveError> {
    let status = lab.db.status()?;
    Ok(match status.nodes.get(usize::from(node)).map(|node| &node.state) {
        Some(NodeState::Up { shards, used_bytes, .. }) => (*shards, *used_bytes),
        _ => (0, 0),
    })
}

fn check_all(
    lab: &Lab,
    proof: &mut Proof,
    claim: &str,
    report: &mut OnProgress<'_>,
) -> Result<(), ProveError> {
    let checked = lab.db.verify(Depth::Deep, report)?;
    let evidence = format!(
        "{} shards, {} bytes read and hashed, {} bad",
        checked.shards,
        checked.bytes_read,
        checked.faults.len()
    );
    proof.claim(claim, evidence, checked.is_healthy());
    Ok(())
}

fn nodes_of(found: &Verified) -> String {
    let nodes: BTreeSet<&str> = found.faults.iter().map(|fault| fault.node.as_str()).collect();
    format!("on {}", nodes.into_iter().collect::<Vec<_>>().join(", "))
}

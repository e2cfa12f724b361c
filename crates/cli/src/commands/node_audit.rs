//! `prunedb node audit`: has one node show samples of shards that it claims to hold.
//!
//! A sample comes with its path to the shard's name, the BLAKE3 hash of its bytes, so neither the lake secret nor other nodes are
//! needed. Whoever knows the right name says it; else the node is held to the one that it tells.

use super::node_status::{credentials, explained};
use crate::{
    args::NodeAudit,
    config::Config,
    io::{Exit, Io},
    session::{self, CONFIG_FILE},
    text::count,
};
use anyhow::Context;
use prunedb_access::SignedCapability;
use prunedb_core::{LakeId, ShardId};
use prunedb_proof::Audit;
use prunedb_store::{NodeOptions, NodeStore, ShardStat, ShardStore, StoreError, connect_node};
use serde_json::{Value, json};
use std::path::Path;
use tokio::runtime::Runtime;

/// Shards that one answer of the node lists.
const PAGE: u32 = 1000;

pub(crate) fn run(
    args: &NodeAudit,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let lake = lake(args, dir, flags)?;
    let credentials = credentials(&args.ask, dir, flags, io)?;
    let node = connect_node(&args.ask.address, NodeOptions::default(), credentials.as_ref())?;
    let (held, chosen) = match args.shard {
        Some((container, index)) => {
            let id = ShardId { lake, container, index };
            let stat = runtime.block_on(node.stat(id)).map_err(explained)?;
            (u64::from(stat.is_some()), stat.into_iter().collect())
        }
        None => runtime.block_on(choose(&node, lake, args.shards))?,
    };
    let mut failed = Vec::new();
    for stat in &chosen {
        io.check_cancelled()?;
        if let Err(reason) = runtime.block_on(audit(&node, stat, args))? {
            failed.push((stat.id, reason));
        }
    }
    // a shard that was asked for by name and is not there is not shown
    if let (Some((container, index)), []) = (args.shard, &chosen[..]) {
        failed.push((ShardId { lake, container, index }, "the node does not have it".into()));
    }
    let name = |id: &ShardId| format!("{}/{}", id.container, id.index.0);
    if io.json {
        let failed: Vec<Value> = failed
            .iter()
            .map(|(id, reason)| json!({ "shard": name(id), "reason": reason }))
            .collect();
        io.json(&json!({
            "address": args.ask.address,
            "lake": lake.to_string(),
            "shards": held,
            "audited": chosen.len(),
            "samples": args.samples,
            "failed": failed,
        }))?;
    } else {
        for (id, reason) in &failed {
            io.line(format_args!("{}: {reason}", name(id)))?;
        }
        io.line(format_args!(
            "{} of lake {lake} on {}; {} asked for {} each: {}",
            count(held, "shard"),
            args.ask.address,
            chosen.len(),
            count(args.samples.into(), "sample"),
            match failed.len() {
                0 => "all shown".to_owned(),
                failed => format!("{failed} not shown"),
            }
        ))?;
    }
    Ok(Exit::of(failed.is_empty() && !chosen.is_empty()))
}

/// Which lake: as said, as the capability says, or that of the database in the folder.
fn lake(args: &NodeAudit, dir: &Path, flags: &[String]) -> anyhow::Result<LakeId> {
    if let Some(lake) = args.lake {
        return Ok(lake);
    }
    if let Some(capability) = &args.ask.capability {
        return Ok(capability.parse::<SignedCapability>()?.claims().lake);
    }
    let has_database = dir.join(CONFIG_FILE).exists();
    has_database
        .then_some(())
        .context("of which lake? Give --lake LAKE, or --dir with its database")?;
    let config = Config::new(&session::layers(dir, flags)?, dir)?;
    Ok(session::secret_of(&config)?.lake_id())
}

/// How many shards of a lake a node lists, and some of them: each as likely as any other.
async fn choose(
    node: &NodeStore,
    lake: LakeId,
    most: u16,
) -> anyhow::Result<(u64, Vec<ShardStat>)> {
    let (mut held, mut chosen, mut after) = (0_u64, Vec::<ShardStat>::new(), None);
    loop {
        let page = node.list(lake, after, PAGE).await.map_err(explained)?;
        let ended = page.len() < PAGE as usize;
        for stat in page {
            anyhow::ensure!(after < Some(stat.id), "the node's list is out of order");
            after = Some(stat.id);
            held += 1;
            if chosen.len() < usize::from(most) {
                chosen.push(stat);
            } else if let Ok(at) = usize::try_from(u64::from_le_bytes(random()?) % held)
                && let Some(one) = chosen.get_mut(at)
            {
                *one = stat;
            }
        }
        if ended {
            return Ok((held, chosen));
        }
    }
}

/// Has a shard shown; what is wrong with it, where something is. Unreachable nodes and refusals end the command.
async fn audit(
    node: &NodeStore,
    stat: &ShardStat,
    args: &NodeAudit,
) -> anyhow::Result<Result<(), String>> {
    let audit = Audit { shard: stat.id, seed: random()?, samples: args.samples };
    let name = args.name.unwrap_or(stat.name);
    let shown = match node.prove(audit).await {
        Ok(shown) => shown,
        Err(error @ (StoreError::Absent { .. } | StoreError::Damaged { .. })) => {
            return Ok(Err(error.to_string()));
        }
        Err(error) => return Err(explained(error)),
    };
    Ok(audit.verify(&name, stat.bytes, &shown).map_err(|e| format!("shows other bytes: {e}")))
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(bytes)
}

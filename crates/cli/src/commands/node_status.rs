//! `prunedb node status`: how full a node is, and how far it is with checking what it holds.

use crate::{
    args::NodeAsk,
    config::Config,
    io::{Exit, Io},
    secret,
    session::{self, CONFIG_FILE},
    text::{count, size},
};
use anyhow::anyhow;
use prunedb_access::Credentials;
use prunedb_core::units::LEAF_BYTES;
use prunedb_store::{NodeOptions, ShardStore, StoreError, connect_node};
use serde_json::json;
use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::runtime::Runtime;

pub(crate) fn run(
    args: &NodeAsk,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let credentials = credentials(args, dir, flags, io)?;
    let node = connect_node(&args.address, NodeOptions::default(), credentials.as_ref())?;
    let asked = runtime.block_on(async {
        let space = node.space().await?;
        Ok((space, node.scrub().await?))
    });
    let (space, scrub) = asked.map_err(explained)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = if scrub.began == 0 { 0 } else { now.saturating_sub(scrub.began) };
    let rate = scrub.bytes / seconds.max(1);
    let leaves = scrub.bytes.div_ceil(LEAF_BYTES as u64);
    if io.json {
        io.json(&json!({
            "address": args.address,
            "capacity_bytes": space.capacity_bytes,
            "used_bytes": space.used_bytes,
            "shards": space.shards,
            "scrub": {
                "rounds": scrub.rounds,
                "last_ended": (scrub.last_ended > 0).then_some(scrub.last_ended),
                "began": (scrub.began > 0).then_some(scrub.began),
                "round_shards": scrub.shards,
                "round_bytes": scrub.bytes,
                "round_leaves": leaves,
                "bytes_per_second": rate,
                "planned_bytes_per_second": scrub.pace,
                "damaged_shards": scrub.damaged,
            },
        }))?;
        return Ok(Exit::Done);
    }
    io.line(format_args!(
        "{}: {} of {} in {}",
        args.address,
        size(space.used_bytes),
        size(space.capacity_bytes),
        count(space.shards, "shard")
    ))?;
    let last = match scrub.last_ended {
        0 => "none has ended yet".to_owned(),
        ended => format!("the last ended {} ago", span(now.saturating_sub(ended))),
    };
    io.line(format_args!(
        "checked in {}: {last}; {} found damaged so far",
        count(scrub.rounds, "round"),
        count(scrub.damaged, "shard")
    ))?;
    if scrub.began > 0 {
        io.line(format_args!(
            "this round: {} of about {} ({leaves} leaves) in {}, {}/s; {}/s are planned",
            size(scrub.bytes),
            size(scrub.total_bytes),
            span(seconds),
            size(rate),
            size(scrub.pace)
        ))?;
    }
    Ok(Exit::Done)
}

/// Why a node does not answer, and what to look at.
pub(super) fn explained(error: StoreError) -> anyhow::Error {
    if error.is_unreachable() {
        anyhow!("{error}; look whether a `prunedb node run` listens there")
    } else {
        error.into()
    }
}

/// What is shown to the node: a capability, or that of the owner whose database is in the folder.
pub(super) fn credentials(
    args: &NodeAsk,
    dir: &Path,
    flags: &[String],
    io: &Io,
) -> anyhow::Result<Option<Credentials>> {
    if let (Some(key), Some(capability)) = (&args.key, &args.capability) {
        let identity = secret::key(&io.path(key))?;
        return Ok(Some(Credentials::given(identity, capability.parse()?)));
    }
    if !dir.join(CONFIG_FILE).exists() {
        return Ok(None);
    }
    let config = Config::new(&session::layers(dir, flags)?, dir)?;
    let secret = session::secret_of(&config)?;
    session::credentials(&secret, &config).map(Some)
}

/// A span of time, roughly.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => count(seconds, "second"),
        120..7200 => count(seconds / 60, "minute"),
        7200..172_800 => count(seconds / 3600, "hour"),
        _ => count(seconds / 86_400, "day"),
    }
}

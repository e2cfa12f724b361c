//! `prunedb follow bitcoin`: a running node's blocks into the lake, as they come to lie deep enough.

use super::{explained, node::NodeAddress};
use crate::{
    archive::DbArchive,
    io::{Exit, Io, Step},
    session::Session,
    text::{count, mb_per_s, size},
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_chains::{
    archive::Archive as _,
    bitcoin::{BitcoinError, FollowError, FollowOptions, Followed, Follower, Network},
};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Bytes between two commits while it catches up.
const COMMIT_BYTES: u64 = 64 << 20;
/// Longest wait after a node that does not answer.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Which node, and how.
#[derive(Args, Debug, Clone)]
pub(crate) struct FollowBitcoin {
    #[command(flatten)]
    node: NodeAddress,
    /// Refuse a node of another network
    #[arg(long)]
    network: Option<Network>,
    /// Blocks that must lie over a block before it is taken: it gets its height for ever [default: 6, on testnets 100]
    #[arg(long, value_name = "BLOCKS")]
    confirmations: Option<u64>,
    /// Where to begin; a node that has pruned its first blocks begins later [default: after the highest stored block]
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    /// End when all that lies deep enough is in the lake
    #[arg(long)]
    once: bool,
    /// Ask for new blocks so often
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// What was taken so far.
struct Taken {
    first: Option<u64>,
    blocks: u64,
    bytes: u64,
    since_commit: u64,
    started: Instant,
}

pub(in super::super) fn run(
    args: &FollowBitcoin,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    ensure!(!session.config.reader, "a reader's folder takes nothing in: follow into the writer's");
    let db = session.offloading();
    let mut archive = DbArchive::new(db.clone(), Arc::clone(&io.cancelled));
    let mut taken =
        Taken { first: None, blocks: 0, bytes: 0, since_commit: 0, started: Instant::now() };
    let mut waited = Duration::ZERO;
    loop {
        match follow(args, session, &mut archive, &mut taken, io) {
            Ok((network, stored, tip)) if args.once => {
                db.flush(&mut |p| io.progress(p)).context(
                    "everything was stored and is safe here, but not all of it is in the lake yet; the next \
                     `prunedb follow`, `evict` or `up` goes on with that",
                )?;
                write_report(network, stored, tip, &taken, io)?;
                return Ok(Exit::Done);
            }
            Ok(_) => {
                waited = Duration::ZERO;
                io.wait(Duration::from_secs(args.interval))?;
            }
            Err(stopped) => {
                archive.commit()?;
                match stopped.downcast_ref::<FollowError>() {
                    Some(error) if error.is_passing() && !args.once => {
                        waited = (2 * waited).clamp(Duration::from_secs(1), RETRY_MAX);
                        io.note(format!(
                            "stalled: {error}; trying again in {} s",
                            waited.as_secs()
                        ));
                        io.wait(waited)?;
                    }
                    _ => return Err(with_advice(stopped)),
                }
            }
        }
    }
}

/// Takes all that lies deep enough; gives network, highest stored block and tip.
fn follow(
    args: &FollowBitcoin,
    session: &Session,
    archive: &mut DbArchive,
    taken: &mut Taken,
    io: &mut Io,
) -> anyhow::Result<(Network, Option<u64>, u64)> {
    // anew each time: a node that was started again has another cookie
    let node = args.node.resolved(io).node(session.runtime.clone())?;
    let mut options = FollowOptions::default();
    options.network = args.network;
    options.confirmations = args.confirmations;
    options.from_height = args.from;
    let mut follower = Follower::new(archive, &node, &options)?;
    let network = follower.network();
    let before = taken.blocks;
    loop {
        io.check_cancelled()?;
        match follower.step(archive, &node)? {
            Followed::Block { height, bytes, deep } => {
                taken.first.get_or_insert(height);
                taken.blocks += 1;
                taken.bytes += bytes;
                taken.since_commit += bytes;
                if taken.since_commit >= COMMIT_BYTES {
                    archive.commit()?;
                    taken.since_commit = 0;
                }
                io.sink.step(Step::counted("follow blocks", height, deep));
            }
            Followed::UpToDate { stored, tip } => {
                archive.commit()?;
                taken.since_commit = 0;
                let new = taken.blocks - before;
                if let Some(stored) = stored.filter(|_| new > 0) {
                    let blocks = count(new, "block");
                    io.note(format!("{network}: {blocks} stored, up to {stored} of {tip}"));
                }
                return Ok((network, stored, tip));
            }
            _ => {}
        }
    }
}

fn write_report(
    network: Network,
    stored: Option<u64>,
    tip: u64,
    taken: &Taken,
    io: &mut Io,
) -> anyhow::Result<()> {
    let &Taken { first, blocks, bytes, started, .. } = taken;
    let took = started.elapsed();
    if io.json {
        return io.json(&json!({
            "network": network.name(),
            "first_height": first,
            "last_height": stored,
            "tip": tip,
            "blocks_stored": blocks,
            "bytes": bytes,
            "seconds": took.as_secs_f64(),
            "mb_per_s": mb_per_s(bytes, took),
        }));
    }
    let up_to = stored.map_or("nothing yet".into(), |stored| format!("up to {stored}"));
    io.line(format_args!(
        "{network}: {} stored ({}, {} MB/s), {up_to} of {tip}, all of it in the lake",
        count(blocks, "block"),
        size(bytes),
        mb_per_s(bytes, took)
    ))?;
    Ok(())
}

fn with_advice(error: anyhow::Error) -> anyhow::Error {
    let advice = match error.downcast_ref::<FollowError>() {
        Some(FollowError::Archive(BitcoinError::Contradicts { .. })) => {
            "nothing more is taken: the archive keeps what it has; with more --confirmations a block is taken later"
        }
        Some(FollowError::Pruned { .. }) => {
            "import the missing blocks from files or from another node first, or leave them out with --from"
        }
        Some(FollowError::Gap { .. }) => "leave --from out",
        Some(FollowError::Block { .. }) => "it was not stored: ask another node",
        Some(FollowError::Archive(_)) => {
            return match error.downcast::<FollowError>() {
                Ok(FollowError::Archive(error)) => explained(error),
                Ok(error) => error.into(),
                Err(error) => error,
            };
        }
        _ => return error,
    };
    anyhow::anyhow!("{error}; {advice}")
}

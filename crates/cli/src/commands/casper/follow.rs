//! `prunedb follow casper`: a live node's blocks as they come, over its binary port.
//!
//! ```text
//! node --rows of a few blocks--> verified, linked to what is stored --> stored, durable --> the lake, in the background
//! ```
//! What is stored says where to go on: nothing else is kept. Blocks are final on this chain, so that none is ever taken back; those nearest to the
//! tip wait until the validators' last signatures are in.

use super::{heights, threads};
use crate::{
    archive::DbArchive,
    io::{Exit, Io, Step},
    session::Session,
    text::{count, size},
};
use anyhow::{Context, bail, ensure};
use clap::Args;
use port::TcpPort;
use prunedb_casper::{
    CasperVerifier,
    binary_port::node::{Node, NodeError},
};
use prunedb_chains::contract::{
    Blocks, ChainError, ChainVerifier as _, ImportOptions, Level, RawBlock, Stored, import,
};
use serde_json::json;
use std::{
    io::ErrorKind,
    ops::RangeInclusive,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

mod port;

/// Blocks that are verified and stored at a time, and about how many bytes of them.
const BATCH_BLOCKS: usize = 128;
const BATCH_BYTES: u64 = 16 << 20;
/// How often the node is asked for new blocks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which node, and which of its blocks.
#[derive(Args, Debug, Clone)]
pub(crate) struct FollowCasper {
    /// The node's binary port
    #[arg(long, value_name = "HOST:PORT")]
    binary_port: String,
    /// Height to begin with; what is stored already is not fetched again [default: above the highest that is stored]
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    /// Height to end with [default: none]
    #[arg(long, value_name = "HEIGHT", default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
    /// Blocks to stay behind the node's tip: signatures come late, and what is stored is never changed
    #[arg(long, value_name = "BLOCKS", default_value_t = 5)]
    behind: u64,
    /// End when it is as far as the node, instead of waiting for more
    #[arg(long)]
    once: bool,
    /// Seconds for which the node may give no answer, or lack a block that it says it has
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
    /// What is checked: hashes, roots (and hashes), signatures (and both)
    #[arg(long, default_value_t = Level::Signatures, value_name = "LEVEL")]
    level: Level,
    /// The network that it must be of [default: whichever the node is of]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
}

/// What was done.
#[derive(Debug, Default)]
struct Followed {
    heights: Option<(u64, u64)>,
    blocks: u64,
    transactions: u64,
    signatures: u64,
    bytes: u64,
    gaps: Vec<(u64, u64)>,
}

pub(crate) fn run(args: &FollowCasper, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let from_to = heights(args.from.unwrap_or(0), args.to)?;
    let patience = Duration::from_secs(args.patience);
    let port = TcpPort::new(args.binary_port.clone(), patience, Arc::clone(&io.cancelled));
    let mut node = Node::new(port);
    let in_node = |error: NodeError| in_node(&args.binary_port, error);
    let network = node.network().map_err(in_node)?;
    if let Some(expected) = args.network.as_ref().filter(|expected| **expected != network) {
        bail!("the node at {} is of {network}, not of {expected}", args.binary_port);
    }
    let verifier = CasperVerifier::new(&network)?;
    let db = session.offloading();
    let mut archive = DbArchive::new(db.clone(), Arc::clone(&io.cancelled));
    let mut next = match args.from {
        Some(height) => height,
        None => match Stored::new(&archive, &verifier).last_height()? {
            Some(last) => last.saturating_add(1),
            None => 0,
        },
    };
    let options = ImportOptions::new(args.level, threads(session));
    let (mut followed, mut progressed, mut begun) = (Followed::default(), Instant::now(), false);
    loop {
        let Some(available) = available(&mut node, args.behind, &from_to).map_err(in_node)? else {
            if args.once {
                break;
            }
            wait(io);
            if io.cancelled.load(Ordering::Relaxed) {
                break;
            }
            continue;
        };
        if !begun && next < *available.start() {
            let gap = (next, available.start() - 1);
            // where nothing is stored there is nothing to join
            if next > 0 || args.from.is_some() {
                let (low, high) = gap;
                io.note(format!("the node has no blocks {low}-{high} any more: `prunedb import casper` of a fuller node's file brings them"));
                followed.gaps.push(gap);
            }
            next = *available.start();
        }
        begun = true;
        let (batch, after, lacks) = fetch(&mut node, &archive, &verifier, next..=*available.end());
        if !batch.is_empty() {
            let report =
                import(&mut archive, &mut Blocks::new(&batch), &verifier, &options, &mut |_| ());
            let report = report.map_err(|error| in_blocks(&args.binary_port, error))?;
            let first = followed.heights.map_or(batch[0].height, |(first, _)| first);
            followed.heights = Some((first, batch[batch.len() - 1].height));
            followed.blocks += report.blocks_stored;
            followed.transactions += report.transactions;
            followed.signatures += report.signatures;
            followed.bytes += report.bytes;
        }
        if after > next {
            (next, progressed) = (after, Instant::now());
            let what = format!("follow {network}, up to {}, tip", after - 1);
            io.sink.step(Step::counted(&what, after - 1, *available.end()));
        }
        match lacks {
            Some(NodeError::Port(error)) if error.kind() == ErrorKind::Interrupted => break,
            // it may be about to get it
            Some(NodeError::Missing { .. }) if progressed.elapsed() < patience => wait(io),
            Some(error) => return Err(in_node(error)),
            None => {}
        }
        let done = next > args.to || args.once && next > *available.end();
        if done || io.cancelled.load(Ordering::Relaxed) {
            break;
        }
        if next > *available.end() {
            progressed = Instant::now();
            wait(io);
        }
    }
    db.flush(&mut |p| io.progress(p)).context(
        "everything was stored and is safe here, but not all of it is in the lake yet; the same command, `evict` or `up` goes on with that",
    )?;
    report(args, &network, next, &followed, io)
}

/// What the node has of the range, but for those near its tip.
fn available(
    node: &mut Node<TcpPort>,
    behind: u64,
    range: &RangeInclusive<u64>,
) -> Result<Option<RangeInclusive<u64>>, NodeError> {
    let Some(all) = node.available()? else { return Ok(None) };
    let Some(high) = all.end().checked_sub(behind) else { return Ok(None) };
    let range = *all.start()..=high.min(*range.end());
    Ok(Some(range).filter(|range| !range.is_empty()))
}

/// Some blocks that are not stored yet, the height behind them and behind those that are, and why it ended before the range did, if it did.
fn fetch(
    node: &mut Node<TcpPort>,
    archive: &DbArchive,
    verifier: &CasperVerifier,
    heights: RangeInclusive<u64>,
) -> (Vec<RawBlock>, u64, Option<NodeError>) {
    let stored = Stored::new(archive, verifier);
    let (mut blocks, mut bytes, mut next) = (Vec::new(), 0, *heights.start());
    for height in heights {
        let is_whole = |block: &RawBlock| block.parts.len() == verifier.parts().len();
        // an error of the store shows again when the block is stored
        if !matches!(stored.raw(height), Ok(Some(ref block)) if is_whole(block)) {
            match node.block(height) {
                Ok(block) => {
                    bytes += block.bytes();
                    blocks.push(block);
                }
                Err(error) => return (blocks, next, Some(error)),
            }
        }
        next = height.saturating_add(1);
        if blocks.len() == BATCH_BLOCKS || bytes >= BATCH_BYTES {
            break;
        }
    }
    (blocks, next, None)
}

fn wait(io: &Io) {
    let step = Duration::from_millis(50);
    let until = Instant::now() + LOOK_EVERY;
    while Instant::now() < until && !io.cancelled.load(Ordering::Relaxed) {
        std::thread::sleep(step);
    }
}

fn in_node(address: &str, error: NodeError) -> anyhow::Error {
    let advice = match &error {
        NodeError::Port(_) => "is it a node's binary port? The same command goes on where it ended",
        NodeError::Refused { .. } => {
            "its configuration may forbid it (binary_port_server); the same command goes on where it ended"
        }
        NodeError::Missing { .. } => {
            "let it sync, or ask another node; the same command goes on where it ended"
        }
        _ => {
            "it is no node's binary port, or one that lies: nothing of this block was stored; ask another one"
        }
    };
    anyhow::anyhow!("{address}: {error}; {advice}")
}

/// Blocks that came, and do not hold.
fn in_blocks(address: &str, error: ChainError) -> anyhow::Error {
    match &error {
        ChainError::Block { .. } | ChainError::Unlinked { .. } | ChainError::Contradicts { .. } => {
            anyhow::anyhow!(
                "{address}: {error}; nothing of these blocks was stored: the node's store is damaged, it lies, or it is of another chain than what is stored"
            )
        }
        _ => super::explained(error, address),
    }
}

fn report(
    args: &FollowCasper,
    network: &str,
    next: u64,
    followed: &Followed,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    ensure!(!io.cancelled.load(Ordering::Relaxed), "cancelled: the same command goes on at {next}");
    let (first, last) = followed.heights.unzip();
    if io.json {
        io.json(&json!({
            "network": network,
            "first_height": first,
            "last_height": last,
            "next_height": next,
            "blocks_stored": followed.blocks,
            "transactions": followed.transactions,
            "signatures": followed.signatures,
            "level": args.level.name(),
            "bytes": followed.bytes,
            "gaps": followed.gaps,
        }))?;
        return Ok(Exit::Done);
    }
    let span = first.zip(last).map_or_else(String::new, |(first, last)| format!(" {first}-{last}"));
    io.line(format_args!(
        "{network}{span}: {} stored, {}, {} verified ({}), {}, all of it in the lake; the next is {next}",
        count(followed.blocks, "block"),
        count(followed.transactions, "transaction"),
        count(followed.signatures, "signature"),
        args.level,
        size(followed.bytes),
    ))?;
    Ok(Exit::Done)
}

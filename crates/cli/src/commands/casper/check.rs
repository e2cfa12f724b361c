//! `prunedb check casper`: a node's file by itself, without a database.

use super::{
    explained, heights,
    import::{How, open},
    in_file, step,
};
use crate::{
    io::{Exit, Io},
    text::{count, hex, mb_per_s, size},
};
use clap::{Args, Subcommand};
use prunedb_casper::same_rows;
use prunedb_chains::contract::{ImportOptions, verify_source};
use serde_json::json;
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Instant,
};

/// Files of a chain's node.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Check {
    /// A Casper node's storage.lmdb: every block, transaction and signature, and what the node says it has whole
    #[command(
        after_help = "Examples:\n  prunedb check casper /var/lib/casper/casper-node/casper/storage.lmdb\n  \
        prunedb check casper storage.lmdb --level hashes --json\n\n\
        Reads only, and needs no database. The node must be stopped, or the file a copy (mdb_copy). Execution results and \
        transfers are promised by no header: they are not checked."
    )]
    Casper(CheckCasper),
}

/// A node's file.
#[derive(Args, Debug, Clone)]
pub(crate) struct CheckCasper {
    /// The `storage.lmdb` of a stopped node, or a copy of a running one's
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Lowest height to check
    #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
    from_height: u64,
    /// Highest height to check
    #[arg(long, value_name = "HEIGHT", default_value_t = u64::MAX, hide_default_value = true)]
    to_height: u64,
    /// Compare with another file instead: whether both have the same rows, byte for byte
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from_height", "to_height", "level", "any_network"])]
    same_rows: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

pub(crate) fn run(check: &Check, io: &mut Io) -> anyhow::Result<Exit> {
    let Check::Casper(args) = check;
    let path = io.path(&args.file);
    let name = path.display().to_string();
    if let Some(other) = &args.same_rows {
        return compare(&path, &io.path(other), io);
    }
    let heights = heights(args.from_height, args.to_height)?;
    let mut source = open(&path, heights, args.how.network.as_deref())?;
    let verifier = args.how.verifier(&source)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let options = ImportOptions::new(args.how.level, threads);
    let started = Instant::now();
    let report = verify_source(&mut source, &verifier, &options, &mut |p| step(io, &name, p))
        .map_err(|error| explained(error, &name))?;
    let (took, counts) = (started.elapsed(), source.counts());
    let completed = source.completed();
    let (first, last) = report.heights.unwrap_or_default();
    let speed = mb_per_s(report.bytes, took);
    if io.json {
        io.json(&json!({
            "file": path,
            "network": source.network(),
            "level": args.how.level.name(),
            "first_height": first,
            "last_height": last,
            "blocks": report.blocks,
            "blocks_whole": counts.whole,
            "blocks_without_transactions": counts.without_transactions,
            "blocks_header_only": counts.headers_only,
            "complete_by_the_node": completed,
            "transactions": report.transactions,
            "signatures": report.signatures,
            "gaps": report.gaps,
            "gap_count": report.gap_count,
            "bytes": report.bytes,
            "seconds": took.as_secs_f64(),
            "mb_per_s": speed,
        }))?;
        return Ok(Exit::Done);
    }
    io.line(format_args!(
        "{} {first}-{last}: {} ({} whole, {} header only, {} without all transactions), {}, {} verified ({}), {} at {speed} MB/s",
        source.network(),
        count(report.blocks, "block"),
        counts.whole,
        counts.headers_only,
        counts.without_transactions,
        count(report.transactions, "transaction"),
        count(report.signatures, "signature"),
        args.how.level,
        size(report.bytes),
    ))?;
    for (low, high) in completed {
        io.line(format_args!("complete by the node's own note: {low}-{high}"))?;
    }
    for (low, high) in report.gaps {
        io.line(format_args!("not there: {low}-{high}"))?;
    }
    Ok(Exit::Done)
}

fn compare(path: &Path, other: &Path, io: &mut Io) -> anyhow::Result<Exit> {
    let compared = same_rows(path, other).map_err(|error| in_file(&error, error.to_string()))?;
    if io.json {
        let first = compared.first_difference.as_ref();
        io.json(&json!({
            "same": first.is_none(),
            "rows": compared.rows,
            "first_difference": first.map(|row| json!({ "database": row.database.name(), "key": hex(&row.key) })),
        }))?;
    } else {
        match &compared.first_difference {
            None => io.line(format_args!("the same rows: {}", count(compared.rows, "row")))?,
            Some(row) => io.line(format_args!(
                "they differ in {}, at the key {} ({} before it are the same)",
                row.database.name(),
                hex(&row.key),
                count(compared.rows, "row")
            ))?,
        }
    }
    Ok(Exit::of(compared.first_difference.is_none()))
}

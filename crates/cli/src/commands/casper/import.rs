//! `prunedb import casper`: a node's file is verified, stored, and at the end offloaded.

use super::{explained, heights, in_file, step, threads};
use crate::{
    archive::DbArchive,
    io::{Exit, Io},
    session::Session,
    text::{count, mb_per_s, size},
};
use anyhow::Context;
use clap::Args;
use prunedb_casper::{CasperSource, CasperVerifier};
use prunedb_chains::contract::{ImportOptions, ImportReport, Level, import};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// A node's file.
#[derive(Args, Debug, Clone)]
pub(crate) struct ImportCasper {
    /// The `storage.lmdb` of a stopped node, or a copy of a running one's (mdb_copy)
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Lowest height to take
    #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
    pub(crate) from_height: u64,
    /// Highest height to take
    #[arg(long, value_name = "HEIGHT", default_value_t = u64::MAX, hide_default_value = true)]
    pub(crate) to_height: u64,
    #[command(flatten)]
    pub(crate) how: How,
}

/// How blocks are verified.
#[derive(Args, Debug, Clone)]
pub(crate) struct How {
    /// What is checked: hashes, roots (and hashes), signatures (and both)
    #[arg(long, default_value_t = Level::Signatures, value_name = "LEVEL")]
    pub(crate) level: Level,
    /// Network, where the file does not say it: casper is the main one
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,
    /// Take transactions for other networks, too: files that were made up for tests have them
    #[arg(long)]
    pub(crate) any_network: bool,
}

impl How {
    pub(super) fn verifier(&self, source: &CasperSource) -> anyhow::Result<CasperVerifier> {
        let verifier = CasperVerifier::new(source.network())?;
        Ok(if self.any_network { verifier.with_any_network() } else { verifier })
    }
}

pub(crate) fn run(args: &ImportCasper, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let path = io.path(&args.file);
    let name = path.display().to_string();
    let heights = heights(args.from_height, args.to_height)?;
    let mut source = open(&path, heights, args.how.network.as_deref())?;
    let verifier = args.how.verifier(&source)?;
    let db = session.offloading();
    let mut archive = DbArchive::new(db.clone(), Arc::clone(&io.cancelled));
    let options = ImportOptions::new(args.how.level, threads(session));
    let started = Instant::now();
    let report =
        import(&mut archive, &mut source, &verifier, &options, &mut |p| step(io, &name, p))
            .map_err(|error| explained(error, &name))?;
    let stored_in = started.elapsed();
    db.flush(&mut |p| io.progress(p)).context(
        "everything was imported and is safe here, but not all of it is in the lake yet; the next `prunedb import`, \
         `evict` or `up` goes on with that",
    )?;
    let speed = mb_per_s(report.bytes, stored_in);
    let counts = source.counts();
    let ImportReport { blocks, blocks_stored, transactions, signatures, bytes, .. } = report;
    let (first, last) = report.heights.unwrap_or_default();
    if io.json {
        io.json(&json!({
            "file": path,
            "network": source.network(),
            "first_height": first,
            "last_height": last,
            "blocks": blocks,
            "blocks_stored": blocks_stored,
            "blocks_kept_as_they_were": report.blocks_kept,
            "blocks_whole": counts.whole,
            "blocks_without_transactions": counts.without_transactions,
            "blocks_header_only": counts.headers_only,
            "transactions": transactions,
            "signatures": signatures,
            "level": args.how.level.name(),
            "gaps": report.gaps,
            "gap_count": report.gap_count,
            "bytes": bytes,
            "bytes_stored": report.bytes_stored,
            "store_seconds": stored_in.as_secs_f64(),
            "mb_per_s": speed,
        }))?;
        return Ok(Exit::Done);
    }
    io.line(format_args!(
        "{} {first}-{last}: {} ({blocks_stored} new), {}, {} verified ({}), {} at {speed} MB/s, all of it in the lake",
        source.network(),
        count(blocks, "block"),
        count(transactions, "transaction"),
        count(signatures, "signature"),
        args.how.level,
        size(bytes),
    ))?;
    for (what, number) in [
        ("of which the file has only the header", counts.headers_only),
        (
            "of which the file lacks a transaction: kept without their transactions",
            counts.without_transactions,
        ),
        ("that are archived in an earlier form, which stays", report.blocks_kept),
    ] {
        if number > 0 {
            io.note(format!("{} {what}", count(number, "block")));
        }
    }
    if report.gap_count > 0 {
        let (first, last) = report.gaps[0];
        io.note(format!(
            "{} between its blocks, the first is {first}-{last}",
            count(report.gap_count, "gap")
        ));
    }
    Ok(Exit::Done)
}

pub(super) fn open(
    path: &Path,
    heights: std::ops::RangeInclusive<u64>,
    network: Option<&str>,
) -> anyhow::Result<CasperSource> {
    CasperSource::open(path, heights, network).map_err(|error| in_file(&error, error.to_string()))
}

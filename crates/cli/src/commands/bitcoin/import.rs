//! `prunedb import bitcoin`: the folder `blocks` of a node, or a file with blocks, is verified, stored, and at the end offloaded.

use super::explained;
use crate::{
    archive::DbArchive,
    args::ImportBitcoin,
    commands::casper::threads,
    io::{Exit, Io, Step},
    session::Session,
    text::{count, mb_per_s, size},
};
use anyhow::Context;
use prunedb_chains::bitcoin::{
    BlocksReport, FileReport, ImportOptions, ImportReport, Network, Stage, import_blocks,
    import_folder,
};
use serde_json::json;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const NOT_IN_THE_LAKE: &str = "everything was imported and is safe here, but not all of it is in the lake yet; the next \
    `prunedb import`, `evict` or `up` goes on with that";

pub(in super::super) fn run(
    args: &ImportBitcoin,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let folder = io.path(&args.path);
    if folder.is_file() {
        return blocks(&folder, args.network, session, io);
    }
    let db = session.offloading();
    let mut archive = DbArchive::new(db.clone(), Arc::clone(&io.cancelled));
    let mut options = ImportOptions::default();
    options.network = args.network;
    options.confirmations = args.confirmations;
    options.salvage = args.salvage;
    options.threads = threads(session);
    let started = Instant::now();
    let imported = import_folder(&mut archive, &folder, &options, &mut |p| {
        let verb = match p.stage {
            Stage::Headers => "read headers of",
            Stage::Verifying => "verify",
            _ => "store",
        };
        let what = format!("{verb} {}", p.file);
        io.sink.step(Step { what, done: p.bytes_done, total: p.bytes_total });
    });
    let imported = imported
        .map_err(|e| explained(e).context(format!("import of {} stopped", folder.display())))?;
    let stored_in = started.elapsed();
    db.flush(&mut |p| io.progress(p)).context(NOT_IN_THE_LAKE)?;
    write_report(&imported, stored_in, started.elapsed(), io)
}

/// A file with blocks, outside of a node's folder.
fn blocks(
    file: &Path,
    network: Option<Network>,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let db = session.offloading();
    let mut archive = DbArchive::new(db.clone(), Arc::clone(&io.cancelled));
    let total = file.metadata().map_or(0, |file| file.len());
    let what = format!("import {}", file.display());
    let threads = threads(session);
    let imported = import_blocks(&mut archive, file, network, threads, &mut |done| {
        io.sink.step(Step { what: what.clone(), done, total });
    });
    let (network, report) = imported
        .map_err(|e| explained(e).context(format!("import of {} stopped", file.display())))?;
    db.flush(&mut |p| io.progress(p)).context(NOT_IN_THE_LAKE)?;
    let BlocksReport { blocks, blocks_stored, side_blocks, transactions, bytes, .. } = report;
    if io.json {
        io.json(&json!({
            "network": network.name(),
            "blocks": blocks,
            "blocks_stored": blocks_stored,
            "side_blocks": side_blocks,
            "transactions": transactions,
            "bytes": bytes,
        }))?;
        return Ok(Exit::Done);
    }
    io.line(format_args!(
        "{network}: {} ({blocks_stored} new, {side_blocks} by hash only), {}, {}, all of it in the lake",
        count(blocks, "block"),
        count(transactions, "transaction"),
        size(bytes)
    ))?;
    Ok(Exit::Done)
}

fn write_report(
    report: &ImportReport,
    stored_in: Duration,
    took: Duration,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let sum = |of: fn(&FileReport) -> u64| -> u64 { report.files.iter().map(of).sum() };
    let (blocks, new, side) = (sum(|f| f.blocks), sum(|f| f.blocks_stored), sum(|f| f.side_blocks));
    let (transactions, verbatim) = (sum(|f| f.transactions), sum(|f| f.verbatim_bytes));
    let bytes = sum(|f| if f.skipped { 0 } else { f.file_bytes });
    let skipped = report.files.iter().filter(|f| f.skipped).count();
    if io.json {
        let files: Vec<_> = report.files.iter().map(file_json).collect();
        io.json(&json!({
            "network": report.network.name(),
            "first_height": report.heights.as_ref().map(|heights| heights.start()),
            "last_height": report.heights.as_ref().map(|heights| heights.end()),
            "files": files,
            "blocks": blocks,
            "blocks_stored": new,
            "side_blocks": side,
            "transactions": transactions,
            "file_bytes": bytes,
            "verbatim_bytes": verbatim,
            "files_skipped": skipped,
            "store_seconds": stored_in.as_secs_f64(),
            "seconds": took.as_secs_f64(),
            "mb_per_s": mb_per_s(bytes, took),
        }))?;
        return Ok(Exit::Done);
    }
    let heights = report.heights.as_ref();
    let heights = heights.map_or(String::new(), |h| format!(" {}-{}", h.start(), h.end()));
    io.line(format_args!(
        "{}{heights}: {} ({skipped} imported before): {} ({new} new), {}, {} at {} MB/s, all of it in the lake",
        report.network,
        count(report.files.len() as u64, "file"),
        count(blocks, "block"),
        count(transactions, "transaction"),
        size(bytes),
        mb_per_s(bytes, took)
    ))?;
    if side > 0 {
        io.line(format_args!(
            "{} stored by hash only: of abandoned branches, or too near the tip to have a height for ever",
            count(side, "block")
        ))?;
    }
    if verbatim > 0 {
        io.line(format_args!("{} that are no record are kept as they are", size(verbatim)))?;
    }
    Ok(Exit::Done)
}

fn file_json(file: &FileReport) -> serde_json::Value {
    json!({
        "number": file.number,
        "skipped": file.skipped,
        "blocks": file.blocks,
        "blocks_stored": file.blocks_stored,
        "side_blocks": file.side_blocks,
        "transactions": file.transactions,
        "undos": file.undos,
        "file_bytes": file.file_bytes,
        "verbatim_bytes": file.verbatim_bytes,
    })
}

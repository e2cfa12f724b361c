//! `prunedb import bitcoin`: the folder `blocks` of a node is verified, stored, and at the end offloaded.

use super::explained;
use crate::{
    archive::DbArchive,
    args::ImportBitcoin,
    io::{Exit, Io, Step},
    session::Session,
    text::{count, mb_per_s, size},
};
use anyhow::Context;
use prunedb_chains::bitcoin::{FileReport, ImportOptions, ImportReport, Stage, import_folder};
use serde_json::json;
use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

pub(in super::super) fn run(
    args: &ImportBitcoin,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let folder = io.path(&args.folder);
    let db = session.offloading();
    let mut archive = DbArchive::new(db.clone(), Arc::clone(&io.cancelled));
    let mut options = ImportOptions::default();
    options.network = args.network;
    options.confirmations = args.confirmations;
    options.salvage = args.salvage;
    options.threads = NonZeroUsize::new(session.config.threads).unwrap_or(NonZeroUsize::MIN);
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
    db.flush(&mut |p| io.progress(p)).context(
        "everything was imported and is safe here, but not all of it is in the lake yet; the next `prunedb import`, \
         `evict` or `up` goes on with that",
    )?;
    write_report(&imported, stored_in, started.elapsed(), io)
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

//! `prunedb export ethereum`: `.era1` files as they were imported.

use super::ethereum::{explained, network, sha256_line, sha256_of};
use crate::{
    archive::DbArchive,
    args::ExportEthereum,
    io::{Exit, Io, Step},
    session::Session,
};
use anyhow::Context;
use prunedb_chains::ethereum::{Era1Name, Era1Record, Network, era1_epochs, export_era1};
use serde_json::{Value, json};
use std::{num::NonZeroUsize, path::Path, sync::Arc};

/// The list of sums, for `sha256sum --check`.
const MANIFEST: &str = "SHA256SUMS";

pub(super) fn run(args: &ExportEthereum, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let network = network(&session.db, args.network.as_ref())?;
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let threads = NonZeroUsize::new(session.config.threads).unwrap_or(NonZeroUsize::MIN);
    let folder = io.path(&args.out);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let stored = era1_epochs(&archive, &network).map_err(explained)?;
    let wanted: Vec<_> =
        stored.iter().filter(|(epoch, _)| args.epoch.is_none_or(|only| only == *epoch)).collect();
    if wanted.is_empty() {
        let epochs: Vec<String> = stored.iter().map(|(epoch, _)| epoch.to_string()).collect();
        let epochs = if epochs.is_empty() { "none".into() } else { epochs.join(", ") };
        let which = args.epoch.map_or("no epoch".into(), |epoch| format!("epoch {epoch}"));
        io.note(format!(
            "{network}: {which} was not imported from an .era1 file; epochs that were: {epochs}"
        ));
        return Ok(Exit::No);
    }
    let (mut files, mut manifest) = (Vec::new(), String::new());
    for (epoch, record) in wanted {
        io.check_cancelled()?;
        let name = Era1Name::of(&network, *epoch, &record.accumulator);
        let path = folder.join(&name);
        let kept = args.epoch.is_none() && is_there(&path, record, io)?;
        if !kept {
            export_era1(&archive, &network, *epoch, &folder, threads, &mut |p| {
                let what = format!("export {epoch}");
                io.sink.step(Step { what, done: p.bytes_done, total: p.bytes_total });
            })
            .map_err(explained)
            .with_context(|| format!("export to {} stopped", folder.display()))?;
        }
        let sha256 = sha256_line(record);
        manifest.push_str(&format!("{sha256}  {name}\n"));
        if !io.json {
            io.line(format_args!("{sha256}  {}", path.display()))?;
        }
        files.push(file_json(&network, *epoch, record, &path, kept));
    }
    if args.epoch.is_none() {
        let path = folder.join(MANIFEST);
        std::fs::write(&path, manifest)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if io.json {
        match (args.epoch, files.pop()) {
            (Some(_), Some(one)) => io.json(&one)?,
            (_, last) => {
                files.extend(last);
                io.json(&json!({"network": network.name(), "files": files, "manifest": folder.join(MANIFEST)}))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Whether the file is there already, byte for byte.
fn is_there(path: &Path, record: &Era1Record, io: &mut Io) -> anyhow::Result<bool> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() == record.file_bytes => {
            Ok(sha256_of(path, io)?.0 == sha256_line(record))
        }
        _ => Ok(false),
    }
}

fn file_json(network: &Network, epoch: u64, record: &Era1Record, path: &Path, kept: bool) -> Value {
    json!({
        "file": Era1Name::of(network, epoch, &record.accumulator),
        "path": path,
        "epoch": epoch,
        "sha256": sha256_line(record),
        "file_bytes": record.file_bytes,
        "first_height": record.start_height,
        "last_height": record.start_height + u64::from(record.block_count) - 1,
        "from_original": record.original_kept,
        "was_there": kept,
    })
}

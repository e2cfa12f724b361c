//! `prunedb export ethereum`: `.era1` files as they were imported, `.ere` files of whole epochs.

use super::ethereum::{
    explained,
    file::{KnownFile, sha256_text},
    network, sha256_of,
};
use crate::{
    archive::DbArchive,
    args::ExportEthereum,
    io::{Exit, Io, Step},
    session::Session,
};
use anyhow::Context;
use clap::ValueEnum;
use prunedb_chains::ethereum::{
    EthereumError, ExportReport, Network, Progress, era1_epochs, ere_epochs, export_era1,
    export_ere,
};
use serde_json::{Value, json};
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The list of sums, for `sha256sum --check`.
const MANIFEST: &str = "SHA256SUMS";

/// What files are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// As they were imported, up to the merge
    Era1,
    /// Of every epoch that is stored whole, before the merge and after
    Ere,
}

/// An epoch that may be exported, and the file that it was imported from.
struct Wanted {
    epoch: u64,
    known: Option<KnownFile>,
}

/// Why there is no file to make, and what makes one.
fn nothing_to_export(args: &ExportEthereum, network: &Network, epochs: &[String]) -> String {
    let (is, needed, are) = match args.format {
        Format::Era1 => ("was", "imported from an .era1 file", "were"),
        Format::Ere => ("is", "stored whole", "may be"),
    };
    match args.epoch {
        Some(epoch) if !epochs.is_empty() => {
            let epochs = epochs.join(", ");
            format!("{network}: epoch {epoch} {is} not {needed}; epochs that {are}: {epochs}")
        }
        _ => format!(
            "{network}: no epoch {is} {needed}: `prunedb import ethereum PATH` takes one in, and `prunedb coverage ethereum` \
             shows what is stored"
        ),
    }
}

pub(super) fn run(args: &ExportEthereum, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let network = network(&session.db, args.network.as_ref())?;
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let threads = NonZeroUsize::new(session.config.threads).unwrap_or(NonZeroUsize::MIN);
    let folder = io.path(&args.out);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let stored = stored(args.format, &archive, &network).map_err(explained)?;
    let epochs: Vec<String> = stored.iter().map(|wanted| wanted.epoch.to_string()).collect();
    let wanted: Vec<_> = stored
        .into_iter()
        .filter(|wanted| args.epoch.is_none_or(|only| only == wanted.epoch))
        .collect();
    if wanted.is_empty() {
        io.note(nothing_to_export(args, &network, &epochs));
        return Ok(Exit::No);
    }
    let (mut files, mut manifest, mut all) = (Vec::new(), String::new(), true);
    for Wanted { epoch, known } in wanted {
        io.check_cancelled()?;
        let there = match &known {
            Some(known) if args.epoch.is_none() => is_there(&folder, known, io)?,
            _ => None,
        };
        let (path, known, was_there) = match (there, known) {
            (Some(path), Some(known)) => (path, known, true),
            _ => {
                let mut step = |p: &Progress| {
                    let what = format!("export {epoch}");
                    io.sink.step(Step {
                        what,
                        done: p.bytes_done,
                        total: p.bytes_total.max(p.bytes_done),
                    });
                };
                let export = match args.format {
                    Format::Era1 => {
                        export_era1(&archive, &network, epoch, &folder, threads, &mut step)
                    }
                    Format::Ere => {
                        export_ere(&archive, &network, epoch, &folder, threads, &mut step)
                    }
                };
                match export {
                    Ok((path, report)) => (path, made(epoch, report), false),
                    Err(error @ EthereumError::NotStored { .. }) => {
                        io.note(format!("epoch {epoch} is left out: {error}"));
                        all = false;
                        continue;
                    }
                    Err(error) => {
                        let stopped = || format!("export to {} stopped", folder.display());
                        return Err(explained(error)).with_context(stopped);
                    }
                }
            }
        };
        manifest.push_str(&format!("{}  {}\n", known.sha256, known.name));
        if !io.json {
            io.line(format_args!("{}  {}", known.sha256, path.display()))?;
        }
        files.push(file_json(&known, &path, was_there));
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
    Ok(Exit::of(all))
}

/// The epochs of which there may be files.
fn stored(
    format: Format,
    archive: &DbArchive,
    network: &Network,
) -> Result<Vec<Wanted>, EthereumError> {
    Ok(match format {
        Format::Era1 => era1_epochs(archive, network)?
            .into_iter()
            .map(|(epoch, record)| Wanted {
                epoch,
                known: Some(KnownFile::era1(network, epoch, &record)),
            })
            .collect(),
        Format::Ere => ere_epochs(archive, network)?
            .into_iter()
            .map(|found| {
                let known =
                    found.record.map(|record| KnownFile::ere(network, found.epoch, &record));
                Wanted { epoch: found.epoch, known }
            })
            .collect(),
    })
}

fn made(epoch: u64, report: ExportReport) -> KnownFile {
    KnownFile {
        epoch,
        name: report.file,
        sha256: sha256_text(&report.sha256),
        file_bytes: report.file_bytes,
        heights: report.heights,
        original_kept: report.from_original,
    }
}

/// The file's path, if it is there already, byte for byte.
fn is_there(folder: &Path, known: &KnownFile, io: &mut Io) -> anyhow::Result<Option<PathBuf>> {
    let path = folder.join(&known.name);
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.len() == known.file_bytes => {
            Ok((sha256_of(&path, io)?.0 == known.sha256).then_some(path))
        }
        _ => Ok(None),
    }
}

fn file_json(known: &KnownFile, path: &Path, was_there: bool) -> Value {
    json!({
        "file": known.name,
        "path": path,
        "epoch": known.epoch,
        "sha256": known.sha256,
        "file_bytes": known.file_bytes,
        "first_height": known.heights.0,
        "last_height": known.heights.1,
        "from_original": known.original_kept,
        "was_there": was_there,
    })
}

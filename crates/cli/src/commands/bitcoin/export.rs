//! `prunedb export bitcoin`: block files as they were imported, or a range of the chain as one file.

use super::{explained, network};
use crate::{
    archive::DbArchive,
    args::ExportBitcoin,
    commands::casper::threads,
    io::{Exit, Io, Step},
    session::Session,
};
use prunedb_chains::{
    bitcoin::{BitcoinError, ExportedRange, Network, export_folder, export_range},
    contract::ChainError,
};
use prunedb_core::Digest;
use serde_json::json;
use std::{ops::RangeInclusive, path::Path, sync::Arc};

pub(in super::super) fn run(
    args: &ExportBitcoin,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let network = network(&session.db, args.network)?;
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let folder = io.path(&args.out);
    if let Some(heights) = &args.heights {
        return range(&archive, network, heights.clone(), &folder, session, io);
    }
    let wanted = |name| args.files.is_empty() || args.files.contains(&name);
    let written = export_folder(&archive, network, &folder, wanted, &mut |p| {
        let what = format!("export {}", p.file);
        io.sink.step(Step { what, done: p.bytes_done, total: p.bytes_total });
    });
    let written = match written {
        Ok(written) => written,
        Err(e @ BitcoinError::NotStored { .. }) => {
            io.note(e.to_string());
            return Ok(Exit::No);
        }
        Err(e) => {
            return Err(explained(e).context(format!("export to {} stopped", folder.display())));
        }
    };
    if io.json {
        let files = written.iter().map(|file| {
            json!({
                "file": file.name.to_string(),
                "path": file.path,
                "sha256": Digest(file.sha256).to_string(),
                "file_bytes": file.file_bytes,
                "was_there": file.kept,
            })
        });
        io.json(&json!({ "network": network.name(), "files": files.collect::<Vec<_>>() }))?;
        return Ok(Exit::Done);
    }
    for file in written {
        io.line(format_args!("{}  {}", Digest(file.sha256), file.path.display()))?;
    }
    Ok(Exit::Done)
}

fn range(
    archive: &DbArchive,
    network: Network,
    heights: RangeInclusive<u64>,
    folder: &Path,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let what = "export blocks";
    let exported =
        export_range(archive, network, heights, folder, threads(session), &mut |progress| {
            let (done, total) = (progress.blocks_done, progress.blocks_total);
            io.sink.step(Step::counted(what, done, total));
        });
    let ExportedRange { path, file_bytes, sha256, kept, .. } = match exported {
        Ok(exported) => exported,
        Err(e @ ChainError::NotStored { .. }) => {
            io.note(e.to_string());
            return Ok(Exit::No);
        }
        Err(e) => {
            return Err(
                anyhow::Error::from(e).context(format!("export to {} stopped", folder.display()))
            );
        }
    };
    let sha256 = Digest(sha256).to_string();
    if io.json {
        io.json(&json!({
            "network": network.name(),
            "path": path,
            "sha256": sha256,
            "file_bytes": file_bytes,
            "was_there": kept,
        }))?;
    } else {
        io.line(format_args!("{sha256}  {}", path.display()))?;
    }
    Ok(Exit::Done)
}

//! `prunedb export bitcoin`: block files as they were imported.

use super::{explained, network};
use crate::{
    archive::DbArchive,
    args::ExportBitcoin,
    io::{Exit, Io, Step},
    session::Session,
};
use prunedb_chains::bitcoin::{BitcoinError, export_folder};
use prunedb_core::Digest;
use serde_json::json;
use std::sync::Arc;

pub(in super::super) fn run(
    args: &ExportBitcoin,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let network = network(&session.db, args.network)?;
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let folder = io.path(&args.out);
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

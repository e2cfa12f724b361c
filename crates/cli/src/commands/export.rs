//! `prunedb export ethereum`: an `.era1` file as it was imported.

use super::ethereum::{explained, network};
use crate::{
    archive::DbArchive,
    args::ExportEthereum,
    io::{Exit, Io, Step},
    session::Session,
};
use anyhow::Context;
use prunedb_chains::ethereum::{EthereumError, era1_epochs, export_era1};
use serde_json::json;
use std::{num::NonZeroUsize, sync::Arc};

pub(super) fn run(args: &ExportEthereum, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let network = network(&session.db, args.network.as_ref())?;
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let threads = NonZeroUsize::new(session.config.threads).unwrap_or(NonZeroUsize::MIN);
    let folder = io.path(&args.out);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let exported = export_era1(&archive, &network, args.epoch, &folder, threads, &mut |p| {
        let what = format!("export {}", args.epoch);
        io.sink.step(Step { what, done: p.bytes_done, total: p.bytes_total });
    });
    let (path, report) = match exported {
        Ok(exported) => exported,
        Err(EthereumError::NotStored { .. }) => {
            let epochs: Vec<String> = era1_epochs(&archive, &network)
                .map_err(explained)?
                .iter()
                .map(|(epoch, _)| epoch.to_string())
                .collect();
            let stored = if epochs.is_empty() { "none".into() } else { epochs.join(", ") };
            io.note(format!(
                "{network}: epoch {} was not imported from an .era1 file; epochs that were: {stored}",
                args.epoch
            ));
            return Ok(Exit::No);
        }
        Err(e) => return Err(explained(e)),
    };
    let sha256 = report.sha256.to_string();
    let sha256 = sha256.trim_start_matches("0x");
    if io.json {
        io.json(&json!({
            "file": report.file,
            "path": path,
            "sha256": sha256,
            "file_bytes": report.file_bytes,
            "first_height": report.heights.0,
            "last_height": report.heights.1,
            "from_original": report.from_original,
        }))?;
    } else {
        io.line(format_args!("{sha256}  {}", path.display()))?;
    }
    Ok(Exit::Done)
}

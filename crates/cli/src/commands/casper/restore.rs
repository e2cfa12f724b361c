//! `prunedb restore casper`: archived blocks back into a node's file.

use super::{explained, heights, step, threads, verifier};
use crate::{
    archive::DbArchive,
    io::{Exit, Io},
    session::Session,
    text::count,
};
use clap::{Args, Subcommand};
use prunedb_casper::restore;
use prunedb_chains::contract::ChainError;
use prunedb_core::units::ByteSize;
use serde_json::json;
use std::{path::PathBuf, sync::Arc};

/// Files of a chain's node.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Restore {
    /// Blocks back into a Casper node's storage.lmdb, row by row as they were
    #[command(
        after_help = "Examples:\n  prunedb restore casper --from 100 --to 199 /var/lib/casper/casper-node/casper/storage.lmdb\n  \
        prunedb restore casper --from 0 --to 99999 ./new/storage.lmdb\n\n\
        The node must be stopped. A new file with all rows of the old one and the restored ones takes its place; the old one \
        stays beside it as FILE.old until you remove it. Where there is no file, one is made. Of the blocks in a file the node \
        sees the highest range without a gap: a restored range must join it to be seen."
    )]
    Casper(RestoreCasper),
}

/// Which blocks, and where to.
#[derive(Args, Debug, Clone)]
pub(crate) struct RestoreCasper {
    /// The node's `storage.lmdb`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Lowest height to restore
    #[arg(long, value_name = "HEIGHT")]
    from: u64,
    /// Highest height to restore
    #[arg(long, value_name = "HEIGHT")]
    to: u64,
    /// Network [default: the one that is stored]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Map size of a file that is not there yet: the sum of the three sizes in the node's configuration
    #[arg(long, value_name = "SIZE", default_value = "450GB")]
    map_size: ByteSize,
}

pub(crate) fn run(args: &Restore, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let Restore::Casper(args) = args;
    let path = io.path(&args.file);
    let name = path.display().to_string();
    let verifier = verifier(&session.db, args.network.as_deref())?.with_any_network();
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let heights = heights(args.from, args.to)?;
    let restored =
        restore(&archive, &verifier, heights, &path, args.map_size.0, threads(session), &mut |p| {
            step(io, &name, p)
        });
    let report = match restored {
        Ok(report) => report,
        Err(error @ ChainError::NotStored { .. }) => {
            io.note(format!("{error}; the file is as it was"));
            return Ok(Exit::No);
        }
        Err(ChainError::Sink(error)) => return Err(super::in_file(&*error, error.to_string())),
        Err(error) => return Err(explained(error, &name)),
    };
    if io.json {
        io.json(&json!({
            "file": path,
            "old_file": report.old,
            "blocks": report.blocks,
            "rows_before": report.rows_before,
            "rows": report.rows,
            "completed": report.completed,
            "visible": report.visible,
        }))?;
    } else {
        io.line(format_args!(
            "{name}: {} restored, {} before and {} now",
            count(report.blocks, "block"),
            count(report.rows_before, "row"),
            report.rows
        ))?;
        if let Some(old) = &report.old {
            io.line(format_args!(
                "the file before it: {} (remove it once the node runs well)",
                old.display()
            ))?;
        }
    }
    if !report.visible {
        let (low, high) = report.completed[0];
        io.note(format!(
            "the node will not see them: the highest blocks without a gap are {low}-{high}, and {}-{} do not join them",
            args.from, args.to
        ));
    }
    Ok(Exit::Done)
}

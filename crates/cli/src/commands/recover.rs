//! `prunedb recover`: the database out of its lake, on an empty folder.

use crate::{
    args::Recover,
    commands::{init::make_dir, join::Found},
    config::Nodes,
    io::{Exit, Io},
    session::{self, CONFIG_FILE, start_nodes},
    text::count,
};
use anyhow::{Context, ensure};
use prunedb_engine::Db;
use serde_json::json;
use std::path::Path;
use tokio::runtime::Runtime;

pub(crate) fn run(
    args: &Recover,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let found = Found::new(&args.lake, dir, flags, io)?;
    let Found { config, secret, configured, .. } = &found;
    ensure!(!config.reader, "{} is a reader's: a writer needs a folder of its own", dir.display());
    let metadata = &config.metadata_dir;
    ensure!(
        *configured || !metadata.exists(),
        "{} is there, without {CONFIG_FILE}: an earlier recovery did not end; remove it and repeat the command",
        metadata.display()
    );
    make_dir(dir)?;
    let _lock = session::lock(dir)?;
    let credentials = session::credentials(secret, config)?;
    let (mut nodes, connect) = start_nodes(dir, config, credentials, false, runtime.handle())?;
    let seeds = config.nodes.addresses();
    let (disk, options) = (session::disk(), config.options());
    let recovered = Db::recover(
        disk,
        options,
        secret.clone(),
        &seeds,
        &*connect,
        runtime.handle().clone(),
        &mut |p| {
            io.progress(p);
        },
    );
    let (db, recovered) =
        recovered.context("the lake was not recovered; the folder is as it was")?;
    let status = db.status()?;
    db.close()?;
    if let Some(nodes) = &mut nodes {
        nodes.stop_all();
    }
    found.keep(dir, &status)?;
    if io.json {
        io.json(&json!({
            "lake": status.lake.to_string(),
            "containers": recovered.containers,
            "records": recovered.records,
            "tables": recovered.tables,
            "head_number": recovered.head_number,
            "term": recovered.term.0,
            "nodes_answered": recovered.nodes_answered,
            "unindexed": recovered.unindexed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))?;
    } else {
        io.line(format_args!(
            "lake {}: {} with {} in {}, from head {} of term {}",
            status.lake,
            count(recovered.containers, "container"),
            count(recovered.records, "record"),
            count(recovered.tables, "table"),
            recovered.head_number,
            recovered.term
        ))?;
    }
    for container in &recovered.unindexed {
        io.note(format!(
            "{container}: too few of its shards can be read to find its records; once its nodes are back, the next command does"
        ));
    }
    if matches!(config.nodes, Nodes::Remote(_)) {
        io.note("an old writer of this lake, if it is alive, is refused from the next write on");
    }
    Ok(Exit::of(recovered.unindexed.is_empty()))
}

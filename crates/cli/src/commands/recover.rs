//! `prunedb recover`: the database out of its lake, on an empty folder.

use crate::{
    args::Recover,
    commands::init::{make_dir, write_config},
    config::{Config, Layers, Nodes, Source},
    io::{Exit, Io},
    secret,
    session::{self, CONFIG_FILE, start_nodes},
    text::count,
};
use anyhow::{Context, ensure};
use prunedb_engine::{Db, LakeSecret};
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
    let configured = dir.join(CONFIG_FILE).exists();
    let mut layers = if configured {
        ensure!(
            args.nodes.is_empty(),
            "{} has the nodes already: leave --nodes out",
            dir.join(CONFIG_FILE).display()
        );
        session::layers(dir, flags)?
    } else {
        ensure!(
            !args.nodes.is_empty(),
            "{} has no {CONFIG_FILE}: put your copy of it there, or name the lake's nodes with --nodes",
            dir.display()
        );
        let mut layers = Layers::default();
        layers.overlay(session::environment(), flags)?;
        layers.set("nodes", args.nodes.join(","), Source::Flag)?;
        // any will do to open the lake, which says which one it is
        layers.set("policy", "2+1".into(), Source::Flag)?;
        layers
    };
    let config = Config::new(&layers, dir)?;
    // before anything is written: a wrong secret leaves no trace
    let secret = secret_of(args, &config, io)?;
    if let Some(lake) = config.lake {
        ensure!(
            secret.lake_id() == lake,
            "wrong lake secret: it opens lake {}, {CONFIG_FILE} is of lake {lake}; put the right one there",
            secret.lake_id()
        );
    }
    let metadata = &config.metadata_dir;
    ensure!(
        configured || !metadata.exists(),
        "{} is there, without {CONFIG_FILE}: an earlier recovery did not end; remove it and repeat the command",
        metadata.display()
    );
    make_dir(dir)?;
    let _lock = session::lock(dir)?;
    let (mut nodes, connect) = start_nodes(dir, &config, runtime.handle())?;
    let seeds = config.nodes.addresses();
    let (disk, options) = (session::disk(), config.options());
    let copy = LakeSecret::new(zeroize::Zeroizing::new(*secret.expose()));
    let recovered =
        Db::recover(disk, options, copy, &seeds, &*connect, runtime.handle().clone(), &mut |p| {
            io.progress(p);
        });
    let (db, recovered) =
        recovered.context("the lake was not recovered; the folder is as it was")?;
    let status = db.status()?;
    db.close()?;
    if let Some(nodes) = &mut nodes {
        nodes.stop_all();
    }
    if args.secret.is_some() && !config.secret_file.exists() {
        secret::write(&config.secret_file, &secret)?;
    }
    if !configured {
        layers.set("lake", status.lake.to_string(), Source::Flag)?;
        layers.set("policy", status.policy.to_string(), Source::Flag)?;
        let addresses: Vec<String> = status.nodes.iter().map(|n| n.address.clone()).collect();
        layers.set("nodes", addresses.join(","), Source::Flag)?;
        write_config(dir, &layers)?;
    }
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

/// The secret of `--secret`, or that in the folder; both, only where they are the same.
fn secret_of(args: &Recover, config: &Config, io: &Io) -> anyhow::Result<LakeSecret> {
    let in_folder = &config.secret_file;
    let Some(path) = &args.secret else { return secret::read(in_folder) };
    let secret = secret::read(&io.path(path))?;
    if in_folder.exists() {
        ensure!(
            secret::read(in_folder)?.lake_id() == secret.lake_id(),
            "{} is the secret of another lake: move it away, or leave --secret out",
            in_folder.display()
        );
    }
    Ok(secret)
}

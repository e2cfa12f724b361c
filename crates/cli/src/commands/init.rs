//! `prunedb init`: folder, secret, configuration, empty database.

use crate::{
    args::Init,
    config::{Config, Layers, Nodes, Source, file_text},
    io::{Exit, Io},
    secret, session,
};
use anyhow::{Context, bail, ensure};
use prunedb_engine::Db;
use serde_json::json;
use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path};

/// Nodes of `--local` without a number, as in the demo.
pub(crate) const LOCAL_NODES: u16 = 24;
const LOCAL_POLICY: &str = "16+4";
/// From so many nodes on a policy need not be chosen.
const WIDE_NODES: usize = 100;
const WIDE_POLICY: &str = "20+80";

pub(crate) fn run(args: &Init, dir: &Path, flags: &[String], io: &mut Io) -> anyhow::Result<Exit> {
    let mut layers = Layers::default();
    layers.overlay(session::environment(), flags)?;
    let config = create(args, layers, dir)?;
    let (lake, count) = (config.lake.context("made above")?, config.nodes.addresses().len());
    let secret_file = config.secret_file.display();
    if io.json {
        io.json(&json!({
            "dir": dir,
            "lake": lake.to_string(),
            "policy": config.policy.to_string(),
            "nodes": count,
            "secret_file": config.secret_file,
        }))?;
    } else {
        let where_to =
            if matches!(config.nodes, Nodes::Local(_)) { "local nodes" } else { "nodes" };
        io.line(format_args!(
            "lake {lake} at {} on {count} {where_to}, in {}",
            config.policy,
            dir.display()
        ))?;
    }
    io.note(format!("keep a copy of {secret_file} elsewhere: without it nothing can be read back"));
    Ok(Exit::Done)
}

/// Creates a database in a folder without one. Nothing is left behind where it is refused.
pub(crate) fn create(args: &Init, mut layers: Layers, dir: &Path) -> anyhow::Result<Config> {
    if let Some(policy) = args.policy {
        layers.set("policy", policy.to_string(), Source::Flag)?;
    }
    if !args.nodes.is_empty() {
        layers.set("nodes", args.nodes.join(","), Source::Flag)?;
    }
    if let Some(count) = args.local {
        layers.set("local_nodes", count.to_string(), Source::Flag)?;
    }
    settle_defaults(&mut layers)?;
    ensure!(
        layers.parsed::<String>("reader")?.is_none(),
        "a reader joins a lake that is there: `prunedb serve --reader`"
    );
    ensure!(
        layers.parsed::<String>("lake")?.is_none(),
        "`lake` comes from the secret: it cannot be set"
    );
    let config = Config::new(&layers, dir)?;
    let (needed, given) = (config.policy.total_shards(), config.nodes.addresses().len());
    ensure!(
        given >= needed,
        "policy {} needs {needed} nodes, one for each shard; {given} are given: add nodes, or choose a smaller policy",
        config.policy
    );
    refuse_existing(dir, &config)?;

    make_dir(dir)?;
    let lock = session::lock(dir)?;
    let secret = secret::generate()?;
    secret::write(&config.secret_file, &secret)?;
    layers.set("lake", secret.lake_id().to_string(), Source::Flag)?;
    let nodes = config.nodes.addresses();
    Db::create(&session::disk(), &config.options(), secret.lake_id(), nodes)?;
    write_config(dir, &layers)?;
    drop(lock);
    Config::new(&layers, dir)
}

/// The configuration file comes last: with it the folder is a database.
pub(crate) fn write_config(dir: &Path, layers: &Layers) -> anyhow::Result<()> {
    let path = dir.join(session::CONFIG_FILE);
    prunedb_disk::write_atomic(&*session::disk(), &path, file_text(layers).as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Creates a folder that only its owner can look into, and those above it.
pub(crate) fn make_dir(dir: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot create the folder {}", dir.display()))
}

fn settle_defaults(layers: &mut Layers) -> anyhow::Result<()> {
    let nodes: Option<String> = layers.parsed("nodes")?;
    let local: Option<u16> = layers.parsed("local_nodes")?;
    if nodes.is_none() && local.is_none() {
        layers.set("local_nodes", LOCAL_NODES.to_string(), Source::Flag)?;
    }
    if layers.parsed::<String>("policy")?.is_none() {
        let policy = match nodes.map(|nodes| nodes.split(',').count()) {
            None => LOCAL_POLICY,
            Some(WIDE_NODES..) => WIDE_POLICY,
            Some(count) => bail!(
                "choose a policy for {count} nodes with --policy p+q (p+q at most {count}): more q survives more lost \
                 nodes, more p costs less"
            ),
        };
        layers.set("policy", policy.into(), Source::Flag)?;
    }
    Ok(())
}

fn refuse_existing(dir: &Path, config: &Config) -> anyhow::Result<()> {
    let shown = dir.display();
    let config_file = dir.join(session::CONFIG_FILE);
    ensure!(!config_file.exists(), "{shown} holds a database already: nothing was changed");
    for path in [&config.secret_file, &config.metadata_dir, &config.data_dir, &dir.join("nodes")] {
        ensure!(
            !path.exists(),
            "{} is there already, without a database: `prunedb recover` rebuilds one from its lake; otherwise choose \
             another folder",
            path.display()
        );
    }
    Ok(())
}

//! `prunedb registry init`: a registry for an empty lake.

use super::govern::set_param;
use crate::{
    commands::init::make_dir,
    config::Config,
    io::{Exit, Io},
    registry::{Peer, RegistryFolder, Settings},
    session::{Session, layers},
    text,
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_engine::ContainerPlace;
use prunedb_registry::{Genesis, Key, Params, State};
use serde_json::json;
use std::path::Path;
use tokio::runtime::Runtime;

/// What the registry begins with.
#[derive(Args, Debug, Clone)]
pub(crate) struct Init {
    /// Milliseconds from block to block
    #[arg(long, value_name = "MS", default_value = "250", value_parser = clap::value_parser!(u64).range(10..=10_000))]
    block_ms: u64,
    /// Validators that `prunedb up` runs, which agree by votes over sockets of this machine; 4 go on without one of them.
    /// Several need a build with `--features simplex`
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=16))]
    validators: u8,
    /// A validator with a process of its own, `prunedb registry run`: its key, where the others reach it, where it answers, as
    /// `prunedb registry key` shows the key; given once for each. `prunedb up` then runs none, and asks them
    #[arg(long = "validator", value_name = "KEY,VOTES,DOOR", conflicts_with = "validators", value_parser = parse_peer)]
    peers: Vec<Peer>,
    /// Set a rule, as `prunedb registry params` shows them; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
}

fn parse_peer(text: &str) -> Result<Peer, String> {
    text.parse().map_err(|e| format!("{e:#}"))
}

pub(super) fn run(
    args: &Init,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let count = if args.peers.is_empty() { args.validators.into() } else { args.peers.len() };
    ensure!(
        count == 1 || cfg!(feature = "simplex"),
        "{count} validators vote, and this build of prunedb has no voting in it: build it with `--features simplex`, or found the registry with one validator"
    );
    ensure!(count <= 255, "{count} validators: 255 at most");
    let config = Config::new(&layers(dir, flags)?, dir)?;
    ensure!(!config.reader, "a reader's lake is another one's: its writer founds the registry");
    ensure!(
        RegistryFolder::find(dir).is_none(),
        "{} has a registry already: nothing was changed",
        dir.display()
    );
    let session = Session::open(dir, config, runtime.handle(), false)?;
    let containers = session.db.containers()?;
    let stored = containers.iter().any(|c| matches!(c.place, ContainerPlace::Lake { .. }));
    let lake = session.db.lake();
    session.close()?;
    ensure!(
        !stored,
        "the lake holds containers already: a registry counts batches from the first one; found it right after `prunedb init`"
    );
    let folder = RegistryFolder::of(dir);
    make_dir(&folder.file("nodes"))?;
    let authority = folder.secret(&folder.file("authority.key"))?.key();
    let mut validators: Vec<Key> = args.peers.iter().map(|peer| peer.key).collect();
    let here = if validators.is_empty() { args.validators } else { 0 };
    for number in 0..here {
        make_dir(&folder.validator(number))?;
        validators.push(folder.validator_key(number)?.public());
    }
    let mut params = Params {
        epoch_heights: 1_200,
        // what validators that vote say of a seed takes some heights to come into a block
        seed_heights: if count == 1 { 8 } else { 16 },
        proof_heights: 120,
        closing_heights: 120,
        repair_heights: 14_400,
        ..Params::permissioned(authority)
    };
    for param in &args.params {
        set_param(&mut params, param)?;
    }
    // a genesis lists them by key
    validators.sort_unstable();
    ensure!(
        validators.windows(2).all(|pair| pair[0] != pair[1]),
        "a validator is given twice: each has a key of its own"
    );
    let names: Vec<String> = validators.iter().map(ToString::to_string).collect();
    let genesis = Genesis { lake, params, validators };
    let registry = *State::new(&genesis).context("these rules do not fit each other")?.registry();
    let settings =
        Settings { block_ms: args.block_ms, validators: here, peers: args.peers.clone() };
    folder.create(&genesis, &settings)?;
    if io.json {
        io.json(&json!({
            "registry": registry.to_string(),
            "lake": lake.to_string(),
            "authority": authority.to_string(),
            "validators": names,
        }))?;
    } else {
        io.line(format_args!(
            "registry {registry} of lake {lake}, {}; {}",
            text::count(names.len() as u64, "validator"),
            if here > 0 { "`prunedb up` runs it" } else { "each runs with `prunedb registry run`" }
        ))?;
    }
    io.note(format!(
        "keep a copy of {} elsewhere: who has it governs the registry",
        folder.file("authority.key").display()
    ));
    if here == 0 {
        io.note(format!(
            "copy {} and {} into the folder registry of each validator",
            folder.file("genesis").display(),
            folder.file("settings.json").display()
        ));
    }
    Ok(Exit::Done)
}

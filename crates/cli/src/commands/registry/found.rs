//! `prunedb registry init`: a registry for an empty lake.

use super::govern::set_param;
use crate::{
    config::Config,
    io::{Exit, Io},
    registry::{RegistryFolder, Settings},
    session::{Session, layers},
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_engine::ContainerPlace;
use prunedb_registry::{Genesis, Params, State};
use serde_json::json;
use std::path::Path;
use tokio::runtime::Runtime;

/// What the registry begins with.
#[derive(Args, Debug, Clone)]
pub(crate) struct Init {
    /// Milliseconds from block to block
    #[arg(long, value_name = "MS", default_value = "250", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    block_ms: u64,
    /// Set a rule, as `prunedb registry params` shows them; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
}

pub(super) fn run(
    args: &Init,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
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
    super::super::init::make_dir(&folder.validator(0))?;
    super::super::init::make_dir(&folder.file("nodes"))?;
    let authority = folder.secret(&folder.file("authority.key"))?.key();
    let validator = folder.validator_key(0)?.public();
    let mut params = Params {
        epoch_heights: 1_200,
        seed_heights: 8,
        proof_heights: 120,
        closing_heights: 120,
        repair_heights: 14_400,
        ..Params::permissioned(authority)
    };
    for param in &args.params {
        set_param(&mut params, param)?;
    }
    let genesis = Genesis { lake, params, validators: vec![validator] };
    let registry = *State::new(&genesis).context("these rules do not fit each other")?.registry();
    folder.create(&genesis, &Settings { block_ms: args.block_ms, validators: 1 })?;
    if io.json {
        io.json(&json!({
            "registry": registry.to_string(),
            "lake": lake.to_string(),
            "authority": authority.to_string(),
            "validators": [validator.to_string()],
        }))?;
    } else {
        io.line(format_args!(
            "registry {registry} of lake {lake}, one validator; `prunedb up` runs it"
        ))?;
    }
    io.note(format!(
        "keep a copy of {} elsewhere: who has it governs the registry",
        folder.file("authority.key").display()
    ));
    Ok(Exit::Done)
}

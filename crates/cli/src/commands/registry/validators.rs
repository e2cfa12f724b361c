//! `prunedb registry validators`: who votes, and who is to; `prunedb registry peer`: where a validator is.

use super::{ask::At, govern::send};
use crate::{
    io::{Exit, Io},
    registry::{Peer, RegistryFolder},
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_core::Digest;
use prunedb_registry::{Body, Key};
use serde_json::json;
use std::path::Path;
use tokio::runtime::Runtime;

/// Who votes.
#[derive(Args, Debug, Clone)]
pub(crate) struct Validators {
    /// Have a validator vote too, by its key; may be repeated
    #[arg(long, value_name = "KEY")]
    add: Vec<Digest>,
    /// Have a validator vote no more; may be repeated
    #[arg(long, value_name = "KEY")]
    remove: Vec<Digest>,
    #[command(flatten)]
    at: At,
}

/// Where a validator is.
#[derive(Args, Debug, Clone)]
pub(crate) struct ChangePeer {
    /// Its key, where it votes, where it answers; with --drop its key is enough
    #[arg(value_name = "KEY,VOTES,DOOR")]
    peer: String,
    /// Forget it
    #[arg(long)]
    drop: bool,
}

pub(super) fn validators(
    args: &Validators,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let client = args.at.client(dir)?;
    let before = runtime.block_on(client.status())?.validators;
    let mut validators = before.clone();
    for key in &args.remove {
        ensure!(validators.contains(&Key(key.0)), "{key} is no validator");
        validators.retain(|validator| validator.0 != key.0);
    }
    for key in &args.add {
        ensure!(!validators.contains(&Key(key.0)), "{key} is a validator already");
        validators.push(Key(key.0));
    }
    validators.sort_unstable();
    let mut proposed_at = None;
    if validators != before {
        ensure!(
            before.len() > 1,
            "this registry was founded with one validator, whose blocks nobody signs: no other one can join it"
        );
        let folder = RegistryFolder::of(dir);
        let peers = folder.settings()?.peers;
        let unknown = validators.iter().find(|key| !peers.iter().any(|peer| peer.key == **key));
        if let Some(key) = unknown {
            anyhow::bail!(
                "nobody knows where {key} is: `prunedb registry peer {key},VOTES,DOOR`, here and at each validator"
            );
        }
        let body = Body::SetValidators { validators: validators.clone() };
        proposed_at = Some(send(&client, body, &[&folder.authority()?], runtime)?);
    }
    if io.json {
        let keys: Vec<String> = validators.iter().map(ToString::to_string).collect();
        io.json(&json!({ "validators": keys, "proposed_at": proposed_at }))?;
        return Ok(Exit::Done);
    }
    for key in &validators {
        io.line(format_args!("{key}"))?;
    }
    if let Some(height) = proposed_at {
        io.note(format!(
            "accepted at height {height}: they are the validators from the next epoch on, and vote within {} blocks of it",
            prunedb_consensus::SITTING_HEIGHTS
        ));
    }
    Ok(Exit::Done)
}

pub(super) fn peer(args: &ChangePeer, dir: &Path, io: &mut Io) -> anyhow::Result<Exit> {
    let folder = RegistryFolder::of(dir);
    let mut settings = folder.settings()?;
    ensure!(!settings.peers.is_empty(), "the validators of this registry run in one process");
    let key = args.peer.split(',').next().unwrap_or_default();
    let key: Digest = key.parse().context("a validator's key has 64 hex digits")?;
    let known = settings.peers.len();
    settings.peers.retain(|peer| peer.key.0 != key.0);
    if args.drop {
        ensure!(settings.peers.len() < known, "{key} is not in the settings");
    } else {
        settings.peers.push(args.peer.parse::<Peer>()?);
    }
    folder.write_settings(&settings)?;
    let peers = settings.peers.len();
    if io.json {
        io.json(&json!({ "key": key.to_string(), "peers": peers }))?;
    } else {
        io.line(format_args!(
            "{peers} validators in the settings of this folder: it heeds them when it starts again"
        ))?;
    }
    Ok(Exit::Done)
}

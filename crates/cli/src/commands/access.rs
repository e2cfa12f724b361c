//! `prunedb access`: who may do what at closed nodes.

use crate::{
    args::{Access, Grant},
    config::Config,
    io::{Exit, Io},
    secret, session,
};
use anyhow::Context;
use prunedb_access::{Capability, Identity, Owner, Scope, SignedCapability};
use prunedb_core::{LakeId, ShardId, Term};
use serde_json::json;
use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

const DAY_SECONDS: u64 = 24 * 3600;

pub(crate) fn run(
    args: &Access,
    dir: &Path,
    flags: &[String],
    io: &mut Io,
) -> anyhow::Result<Exit> {
    match args {
        Access::Owner => {
            let (lake, key) = owner(dir, flags)?;
            let owner = Owner { lake, key: key.public() };
            answer(io, "owner", &owner.to_string())
        }
        Access::Key { file } => {
            let file = io.path(file);
            let key = secret::key(&file)?.public();
            io.note(format!("whoever has {} is the holder of this key", file.display()));
            answer(io, "key", &key.to_string())
        }
        Access::Grant(grant) => {
            let (lake, key) = owner(dir, flags)?;
            let signed = capability(grant, lake)?.sign(&key);
            answer(io, "capability", &signed.to_string())
        }
        Access::Show { capability } => show(&capability.parse()?, io),
    }
}

fn answer(io: &mut Io, name: &str, value: &str) -> anyhow::Result<Exit> {
    if io.json {
        io.json(&json!({ name: value }))?;
    } else {
        io.line(format_args!("{value}"))?;
    }
    Ok(Exit::Done)
}

/// The folder's lake and the key of its owner.
fn owner(dir: &Path, flags: &[String]) -> anyhow::Result<(LakeId, Identity)> {
    let config = Config::new(&session::layers(dir, flags)?, dir)?;
    let secret = session::secret_of(&config)?;
    Ok((secret.lake_id(), Identity::from_seed(secret.owner_seed())))
}

fn now() -> anyhow::Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(now.context("the clock is before 1970")?.as_secs())
}

fn capability(grant: &Grant, lake: LakeId) -> anyhow::Result<Capability> {
    let issued = now()?;
    let scope = match grant.shard {
        None => Scope::Lake,
        Some((container, index)) => Scope::Shard(ShardId { lake, container, index }),
    };
    Ok(Capability {
        lake,
        holder: grant.holder,
        operations: grant.allow,
        scope,
        term: Term(grant.term.unwrap_or(u64::MAX)),
        issued,
        expires: issued + u64::from(grant.days) * DAY_SECONDS,
    })
}

/// What it claims: who has signed it is for nodes to see.
fn show(signed: &SignedCapability, io: &mut Io) -> anyhow::Result<Exit> {
    let Capability { lake, holder, operations, scope, term, issued, expires } = signed.claims();
    let (now, allowed) = (now()?, operations.to_string());
    let shard = match scope {
        Scope::Lake => None,
        Scope::Shard(id) => Some(format!("{}/{}", id.container, id.index.0)),
    };
    let term = (term.0 < u64::MAX).then_some(term.0);
    if io.json {
        io.json(&json!({
            "lake": lake.to_string(),
            "holder": holder.to_string(),
            "allowed": allowed.split(',').collect::<Vec<_>>(),
            "shard": shard,
            "term_max": term,
            "issued": issued,
            "expires": expires,
            "ended": now >= *expires,
        }))?;
    } else {
        let shards = shard.map_or("every shard".to_owned(), |shard| format!("shard {shard}"));
        let terms = term.map_or("any term".to_owned(), |term| format!("terms up to {term}"));
        let left = match expires.checked_sub(now) {
            Some(left) if left > 0 => {
                format!("for {} days and {} hours more", left / DAY_SECONDS, left / 3600 % 24)
            }
            _ => "no more: it has ended".to_owned(),
        };
        io.line(format_args!("the holder of {holder} may {allowed}"))?;
        io.line(format_args!("{shards} of lake {lake}, under {terms}, {left}"))?;
    }
    Ok(Exit::of(now < *expires))
}

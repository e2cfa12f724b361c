//! Casper's history: the commands over a node's `storage.lmdb`, and what they share.

pub(crate) mod check;
pub(crate) mod follow;
pub(crate) mod import;
pub(crate) mod prune;
pub(crate) mod restore;
pub(crate) mod serve;

use crate::{
    io::{Io, Step},
    session::Session,
};
use anyhow::{bail, ensure};
use prunedb_casper::{CasperVerifier, LmdbFault};
use prunedb_chains::contract::{ChainError, Progress, Stage};
use prunedb_engine::Db;
use std::num::NonZeroUsize;

/// The networks with history in the database.
pub(super) fn networks(db: &Db) -> Vec<String> {
    let tables = db.tables();
    let names =
        tables.iter().filter_map(|t| t.name().strip_prefix("casper/")?.strip_suffix("/header"));
    names.map(str::to_owned).collect()
}

/// The network that is meant.
pub(super) fn verifier(db: &Db, asked: Option<&str>) -> anyhow::Result<CasperVerifier> {
    if let Some(network) = asked {
        return Ok(CasperVerifier::new(network)?);
    }
    match &networks(db)[..] {
        [] => {
            bail!("no Casper history is stored: `prunedb import casper storage.lmdb` takes it in")
        }
        [one] => Ok(CasperVerifier::new(one)?),
        several => {
            bail!("history of {} is stored: choose one with --network", several.join(" and "))
        }
    }
}

pub(super) fn threads(session: &Session) -> NonZeroUsize {
    NonZeroUsize::new(session.config.threads).unwrap_or(NonZeroUsize::MIN)
}

/// Shows how far it is.
pub(super) fn step(io: &mut Io, what: &str, progress: &Progress) {
    let verb = match progress.stage {
        Stage::Verifying => "verify",
        Stage::Storing => "store",
        _ => "restore",
    };
    let (done, total) = (progress.blocks_done, progress.blocks_total);
    io.sink.step(Step::counted(&format!("{verb} blocks of {what}"), done, total));
}

/// An error of the chain's adapter, with the file and what to do about it.
pub(super) fn explained(error: ChainError, file: &str) -> anyhow::Error {
    let nothing = "nothing of this file was stored";
    match &error {
        ChainError::Block { .. } | ChainError::Unlinked { .. } => {
            anyhow::anyhow!(
                "{file}: {error}; {nothing}: get a sound copy of it and repeat the command"
            )
        }
        ChainError::Contradicts { .. } => anyhow::anyhow!(
            "{file}: {error}; {nothing}: it is of another chain than what is stored, or one of them is wrong"
        ),
        ChainError::NotRising { .. } => anyhow::anyhow!("{file}: {error}; {nothing}"),
        ChainError::Source(source) => in_file(&**source, error.to_string()),
        ChainError::Stored { .. } => anyhow::anyhow!(
            "{error}; `prunedb verify --deep` finds what is damaged, `prunedb repair` rebuilds it"
        ),
        _ => error.into(),
    }
}

/// An error of a node's file, with what to do about it.
pub(super) fn in_file(error: &(dyn std::error::Error + 'static), text: String) -> anyhow::Error {
    use prunedb_casper::{CasperError, LmdbError};
    let advice = match error.downcast_ref::<CasperError>() {
        Some(CasperError::InUse { .. }) => "stop the node first, or take a copy with mdb_copy",
        Some(CasperError::NetworkUnknown { .. }) => "say it with --network",
        Some(CasperError::OtherNetwork { .. }) => "leave it out, or correct --network",
        Some(CasperError::File { error: LmdbError::Fault(LmdbFault::NotLmdb { .. }), .. }) => {
            "a Casper node's history is its storage.lmdb"
        }
        Some(
            CasperError::File { .. } | CasperError::Row { .. } | CasperError::Incomplete { .. },
        ) => "nothing of this file was used: get a sound copy of it",
        _ => return anyhow::anyhow!("{text}"),
    };
    anyhow::anyhow!("{text}; {advice}")
}

/// A range of heights from two flags.
pub(super) fn heights(from: u64, to: u64) -> anyhow::Result<std::ops::RangeInclusive<u64>> {
    ensure!(from <= to, "there is no height from {from} to {to}");
    Ok(from..=to)
}

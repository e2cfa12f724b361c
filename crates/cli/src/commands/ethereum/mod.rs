//! What the Ethereum commands share: which network is meant, and which heights are stored.

pub(crate) mod era;
pub(super) mod file;
pub(crate) mod follow;
pub(crate) mod prune;
pub(crate) mod rpc;

use super::history::{Heights, heights};
use crate::io::{Io, Step};
use anyhow::{Context, bail, ensure};
use prunedb_chains::ethereum::{EthereumError, Network, Tables};
use prunedb_engine::{ContainerPlace, Db};
use sha2::{Digest as _, Sha256};
use std::{fs::File, io::Read as _, path::Path};

/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A file's SHA-256, as `sha256sum` writes it, and its size.
pub(super) fn sha256_of(path: &Path, io: &mut Io) -> anyhow::Result<(String, u64)> {
    let reading = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let total = file.metadata().with_context(reading)?.len();
    let (mut hasher, mut done, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        let read = file.read(&mut chunk).with_context(reading)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
        done += read as u64;
        io.sink.step(Step { what: format!("hash {}", path.display()), done, total });
    }
    let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((hex, done))
}

/// The networks with history in the database.
pub(super) fn networks(db: &Db) -> Vec<Network> {
    let tables = db.tables();
    let names =
        tables.iter().filter_map(|t| t.name().strip_prefix("ethereum/")?.strip_suffix("/block"));
    names.filter_map(|name| name.parse().ok()).collect()
}

/// The network that is meant.
pub(super) fn network(db: &Db, asked: Option<&Network>) -> anyhow::Result<Network> {
    if let Some(network) = asked {
        return Ok(network.clone());
    }
    let stored = networks(db);
    ensure!(
        !stored.is_empty(),
        "no Ethereum history is stored: `prunedb import ethereum PATH` takes it in"
    );
    match &stored[..] {
        [one] => Ok(one.clone()),
        several => {
            let names: Vec<&str> = several.iter().map(Network::name).collect();
            bail!("history of {} is stored: choose one with --network", names.join(" and "))
        }
    }
}

/// What is stored of a network, for an answer that says no: `0-8191, 16384-24575 with gaps`.
pub(super) fn stored_heights(db: &Db, network: &Network) -> anyhow::Result<String> {
    let containers = db.containers()?;
    let mut ranges: Vec<Heights> = Vec::new();
    let table = Tables::of(network).block;
    let mut all: Vec<Heights> = containers.iter().filter_map(|c| heights(c, &table)).collect();
    all.sort_by_key(|h| h.first);
    for next in all {
        match ranges.last_mut() {
            Some(range) if next.first <= range.last.saturating_add(1) => {
                range.last = range.last.max(next.last);
                range.blocks += next.blocks;
            }
            _ => ranges.push(next),
        }
    }
    let mut parts: Vec<String> = ranges
        .iter()
        .map(|r| {
            let gaps =
                if r.is_gapless() { String::new() } else { format!(" ({} of them)", r.blocks) };
            format!("{}-{}{gaps}", r.first, r.last)
        })
        .collect();
    let open = containers.iter().any(|c| c.place == ContainerPlace::Active && c.records > 0);
    if open {
        parts.push("what the open container holds".into());
    }
    Ok(match &parts[..] {
        [] => format!("no block of {network} is stored"),
        parts => format!("stored of {network}: {}", parts.join(", ")),
    })
}

/// An error of the chain's adapter, with what to do about it.
pub(super) fn explained(error: EthereumError) -> anyhow::Error {
    let advice = match &error {
        EthereumError::Damaged { .. } | EthereumError::Checksum { .. } => {
            "nothing of this file was stored: get a sound copy of it and repeat the command"
        }
        EthereumError::OtherNetwork { .. } | EthereumError::Name { .. } => {
            "nothing of this file was stored: leave it out, or correct --network or the file's name"
        }
        EthereumError::Unlinked { .. }
        | EthereumError::UnlinkedDifficulty { .. }
        | EthereumError::Contradicts { .. } => {
            "nothing of this file was stored: it is of another chain than what is stored, or one of them is wrong"
        }
        EthereumError::UnknownFormat { .. } => "nothing of this file was stored: leave it out",
        EthereumError::Stored { .. } | EthereumError::ExportDiffers { .. } => {
            "`prunedb verify --deep` finds what is damaged, `prunedb repair` rebuilds it"
        }
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {advice}")
}

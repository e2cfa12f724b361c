//! `prunedb import|export|follow|get|prune bitcoin`, and what they share.

pub(super) mod export;
pub(crate) mod follow;
pub(super) mod get;
pub(super) mod import;
mod node;
pub(crate) mod prune;
pub(crate) mod rpc;

use anyhow::{bail, ensure};
use prunedb_chains::bitcoin::{BitcoinError, Network};
use prunedb_engine::Db;

/// The network that is meant: the only one that is stored, unless one is asked for.
pub(super) fn network(db: &Db, asked: Option<Network>) -> anyhow::Result<Network> {
    if let Some(network) = asked {
        return Ok(network);
    }
    let tables = db.tables();
    let names = tables.iter().filter_map(|t| t.name().strip_prefix("bitcoin/")?.split_once('/'));
    let mut stored: Vec<Network> = names.filter_map(|(name, _)| name.parse().ok()).collect();
    stored.sort_unstable();
    stored.dedup();
    ensure!(
        !stored.is_empty(),
        "no Bitcoin history is stored: `prunedb import bitcoin BLOCKS_DIR` takes it in"
    );
    match stored[..] {
        [one] => Ok(one),
        ref several => {
            let names: Vec<&str> = several.iter().map(|network| network.name()).collect();
            bail!("history of {} is stored: choose one with --network", names.join(" and "))
        }
    }
}

/// An error of the chain's adapter, with what to do about it.
fn explained(error: BitcoinError) -> anyhow::Error {
    let advice = match &error {
        BitcoinError::Damaged { .. } => {
            "nothing of this file was stored: get a sound copy of it and repeat the command; where a crash left it so, \
             --salvage takes in what is whole and keeps the rest as it is"
        }
        BitcoinError::TooShort { .. } => {
            "nothing was stored: get a sound copy of it, or leave it out"
        }
        BitcoinError::UnknownNetwork { .. } | BitcoinError::XorKey { .. } => {
            "nothing was stored: xor.dat must be the one of the node that wrote these files"
        }
        BitcoinError::InFile { .. } => {
            "nothing of this file was stored: get a sound copy of it, or say its --network"
        }
        BitcoinError::OtherNetwork { .. }
        | BitcoinError::OtherNetworkIn { .. }
        | BitcoinError::NoBlocks { .. } => "nothing was stored",
        BitcoinError::Contradicts { .. } => {
            "nothing of this file was stored; with more --confirmations a block gets its height later"
        }
        BitcoinError::Changed { .. } => "repeat the command once nobody writes to it",
        BitcoinError::Stored { .. } | BitcoinError::ExportDiffers { .. } => {
            "`prunedb verify --deep` finds what is damaged, `prunedb repair` rebuilds it"
        }
        BitcoinError::Exists { .. } => "name an empty folder, or move it away",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {advice}")
}

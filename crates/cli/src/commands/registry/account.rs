//! `prunedb account show|deposit|withdraw`.

use super::ask::At;
use crate::{
    io::{Exit, Io},
    registry::RegistryFolder,
};
use anyhow::Context;
use clap::Subcommand;
use prunedb_core::Digest;
use prunedb_registry::{Amount, Body, Key};
use serde_json::json;
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

/// Accounts.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Account {
    /// Show what an account has
    Show {
        /// Its public key, 64 hex digits [default: the authority of this folder]
        #[arg(value_name = "KEY")]
        key: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Note money that came in elsewhere; signed by the authority of this folder
    Deposit {
        /// Whose
        #[arg(value_name = "KEY")]
        key: String,
        /// How much, in the smallest unit
        #[arg(value_name = "AMOUNT")]
        amount: u64,
        #[command(flatten)]
        at: At,
    },
    /// Take money out, to be paid elsewhere; signed by its owner
    Withdraw {
        /// How much, in the smallest unit
        #[arg(value_name = "AMOUNT")]
        amount: u64,
        /// The owner's key file
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        #[command(flatten)]
        at: At,
    },
}

fn key_of(text: &str) -> anyhow::Result<Key> {
    let Digest(key) = text.parse().context("an account's key has 64 hex digits")?;
    Ok(Key(key))
}

pub(crate) fn run(
    asked: &Account,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let folder = RegistryFolder::of(dir);
    let (at, key, sent) = match asked {
        Account::Show { key, at } => {
            let key = match key {
                Some(key) => key_of(key)?,
                None => folder.authority()?.key(),
            };
            (at, key, None)
        }
        Account::Deposit { key, amount, at } => {
            let account = key_of(key)?;
            let body = Body::Deposit { account, amount: Amount(*amount) };
            (at, account, Some((body, folder.authority()?)))
        }
        Account::Withdraw { amount, key_file, at } => {
            let secret = folder.known_secret(&io.path(key_file))?;
            (at, secret.key(), Some((Body::Withdraw { amount: Amount(*amount) }, secret)))
        }
    };
    let client = at.client(dir)?;
    if let Some((body, secret)) = sent {
        let registry = runtime.block_on(client.status())?.registry;
        runtime.block_on(client.send(&registry, body, &[&secret]))?;
    }
    let (height, account) = runtime.block_on(client.account(key))?;
    if io.json {
        io.json(&json!({
            "key": key.to_string(),
            "height": height,
            "balance": account.map(|a| a.balance.0),
            "transactions": account.map(|a| a.nonce),
        }))?;
    } else {
        match account {
            None => io.line(format_args!("{key}: there is no such account"))?,
            Some(account) => io.line(format_args!(
                "{key}: {} free, {} transactions",
                account.balance, account.nonce
            ))?,
        }
    }
    Ok(Exit::of(account.is_some()))
}

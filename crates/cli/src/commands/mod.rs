//! What each command does.
//!
//! Commands over an open database take a [`Session`] and an [`Io`], so that they run in their own process or in a running
//! `prunedb up` alike; `access`, `init`, `up`, `node`, `recover`, `config` and the demo make their surroundings themselves.

pub(crate) mod access;
pub(crate) mod bench;
pub(crate) mod bitcoin;
pub(crate) mod casper;
pub(crate) mod config;
pub(crate) mod coverage;
pub(crate) mod doors;
pub(crate) mod ethereum;
mod explain;
pub(crate) mod export;
mod get;
mod history;
mod import;
pub(crate) mod init;
mod join;
mod kv;
mod maintain;
pub(crate) mod market;
mod members;
pub(crate) mod node;
pub(crate) mod node_audit;
pub(crate) mod node_status;
pub(crate) mod plan;
mod policy;
pub(crate) mod prove;
mod prune;
pub(crate) mod recover;
pub(crate) mod registry;
pub(crate) mod serve;
mod status;
pub(crate) mod up;
pub(crate) mod verify_chain;
pub(crate) mod what_if;

pub(crate) use import::{find_files, import_files};

use crate::{
    args::{Command, Export, Follow, Get, Import, Kv, Node},
    io::{Exit, Io},
    session::Session,
};
use anyhow::{Context, bail};
use prunedb_core::units::VALUE_BYTES_MAX;
use std::io::Read;

/// Runs a command over an open database.
///
/// # Errors
/// What stopped it, in one line: what, where, what to do.
pub(crate) fn run(command: &Command, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    match command {
        Command::Import(Import::Ethereum(args)) => import::run(args, session, io),
        Command::Import(Import::Bitcoin(args)) => bitcoin::import::run(args, session, io),
        Command::Import(Import::Casper(args)) => casper::import::run(args, session, io),
        Command::Follow(Follow::Ethereum(args)) => ethereum::follow::run(args, session, io),
        Command::Follow(Follow::Bitcoin(args)) => bitcoin::follow::run(args, session, io),
        Command::Follow(Follow::Casper(args)) => casper::follow::run(args, session, io),
        Command::Restore(args) => casper::restore::run(args, session, io),
        Command::Export(Export::Ethereum(args)) => export::run(args, session, io),
        Command::Export(Export::Bitcoin(args)) => bitcoin::export::run(args, session, io),
        Command::Get(Get::Ethereum(args)) => get::run(args, session, io),
        Command::Get(Get::Bitcoin(args)) => bitcoin::get::run(args, session, io),
        Command::Kv(Kv::Put(args)) => kv::put(args, session, io),
        Command::Kv(Kv::Get(args)) => kv::get(args, session, io),
        Command::Kv(Kv::Scan(args)) => kv::scan(args, session, io),
        Command::Status(args) => status::run(args, session, io),
        Command::Explain(args) => explain::run(args, session, io),
        Command::Evict(args) => maintain::evict(args, session, io),
        Command::Coverage(args) => coverage::run(args, session, io),
        Command::Verify(args) => maintain::verify(args, session, io),
        Command::Repair(args) => maintain::repair(args, session, io),
        Command::Sweep(args) => maintain::sweep(args, session, io),
        Command::Policy(args) => policy::run(args, session, io),
        Command::Node(Node::Add(args)) => members::add(args, session, io),
        Command::Node(Node::Leave(args)) => members::leave(args, session, io),
        Command::Prune(args) => prune::run(args, session, io),
        Command::WhatIf(args) => what_if::run(args, session, io),
        Command::Access(_)
        | Command::Registry(_)
        | Command::Batch(_)
        | Command::Election(_)
        | Command::Proofs(_)
        | Command::Account(_)
        | Command::Heavy(_)
        | Command::Light(_)
        | Command::Demo(_)
        | Command::Init(_)
        | Command::Up(_)
        | Command::Serve(_)
        | Command::Node(Node::Run(_) | Node::Status(_) | Node::Audit(_))
        | Command::Recover(_)
        | Command::Check(_)
        | Command::Config
        | Command::Plan(_)
        | Command::Prove(_)
        | Command::Bench(_) => bail!("this command does not run inside of `prunedb up`"),
    }
}

/// Whether the command takes its value from stdin.
pub(crate) fn reads_stdin(command: &Command) -> bool {
    matches!(command, Command::Kv(Kv::Put(put)) if put.value == "-")
}

/// Stdin, up to one byte more than a value may have.
pub(crate) fn read_stdin() -> anyhow::Result<Vec<u8>> {
    let mut value = Vec::new();
    std::io::stdin()
        .lock()
        .take(VALUE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut value)
        .context("cannot read stdin")?;
    Ok(value)
}

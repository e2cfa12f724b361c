//! `prunedb heavy` and `prunedb light`: the marketplace.

mod heavy;
mod light;
mod parse;
mod tenant;

use crate::io::{Exit, Io};
use clap::{Args, Subcommand};
use prunedb_market::{HeavyAddress, LinkError};
use prunedb_validator::ClientError;
use serde_json::Value;
use std::{error::Error, path::Path, pin::Pin};
use tokio::runtime::Runtime;

/// The participant's key, in its folder.
const KEY_FILE: &str = "node.key";

/// The registry that a participant asks.
#[derive(Args, Debug, Clone)]
pub(crate) struct AskedRegistry {
    /// The registry's validators, tls://HOST:PORT/KEY each
    #[arg(long, value_name = "DOOR,...", value_delimiter = ',', required = true, value_parser = parse::validator)]
    registry: Vec<String>,
}

/// An owner, and whom it asks.
#[derive(Args, Debug, Clone)]
pub(crate) struct Asked {
    /// The heavy node to ask, as `prunedb heavy run` shows it
    #[arg(long, value_name = "tls://HOST:PORT/KEY")]
    heavy: HeavyAddress,
    #[command(flatten)]
    registry: AskedRegistry,
}

/// A heavy node.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Heavy {
    /// Find holders, check them in every epoch, relay, until Ctrl-C
    #[command(
        after_help = "Example:\n  prunedb heavy run --dir /srv/heavy --listen 0.0.0.0:7800 --endpoint heavy.example:7800 \\\n    \
        --registry tls://10.0.0.1:7700/KEY --neighbour tls://other.example:7800/KEY\n\n\
        The key is DIR/node.key, made at the first start; its account needs a deposit before it can join the registry."
    )]
    Run(heavy::Run),
    /// Ask a heavy node how it is: children, cells, what it found wrong with others' checks
    Status(heavy::Status),
    /// Have a heavy node show what it last reported of a cell; exit code 1: it cannot
    Check(heavy::Check),
}

/// A light node, and what an owner of cells does.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum Light {
    /// Offer this disk for cells until Ctrl-C
    #[command(
        after_help = "Example:\n  prunedb light run --dir /disk1/light --listen 0.0.0.0:9900 --endpoint light.example:9900 \\\n    \
        --capacity 4TB --price 120 --heavy tls://heavy.example:7800/KEY \\\n    --heavy tls://other.example:7800/KEY --registry tls://10.0.0.1:7700/KEY\n\n\
        The key is DIR/node.key, made at the first start; its account needs a deposit before it can join the registry. \
        --relayed is for disks behind a router: owners come through the heavy node, which sees none of the bytes."
    )]
    Run(light::Run),
    /// Show the public key of this folder, made where there is none: for a deposit
    Key,
    /// Rent a cell and store a file in it, up to 256 MiB
    #[command(
        after_help = "Example:\n  prunedb light rent shard-3.bin --dir ./owner --price-max 150 --epochs 180 --heavy tls://heavy.example:7800/KEY \\\n    \
        --registry tls://10.0.0.1:7700/KEY\n\n\
        The rent for all epochs is set aside at once; an epoch that the holder does not prove comes back at the end. The contract is \
        kept in DIR/cells/. What is stored is not encrypted here: store sealed shards."
    )]
    Rent(tenant::RentArgs),
    /// Read a cell back into a file, checked
    Get(tenant::Get),
    /// Show the cells of this owner: holder, epochs proven, epochs left
    Cells(tenant::Cells),
    /// End a contract: what is left of the rent comes back
    End(tenant::End),
    /// Leave the registry: the light node owes its cells until they end
    Leave(light::Leave),
}

/// Says what to do about somebody who does not answer.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let is_registry = |e: &(dyn Error + 'static)| {
        matches!(e.downcast_ref(), Some(ClientError::Unreachable { .. }))
    };
    let is_heavy =
        |e: &(dyn Error + 'static)| matches!(e.downcast_ref(), Some(LinkError::Unreachable { .. }));
    if error.chain().any(is_registry) {
        error.context("--registry is to name where validators listen, as `prunedb up` shows it behind `registry at`")
    } else if error.chain().any(is_heavy) {
        error.context(
            "is the heavy node running, and is this its address, as `prunedb heavy run` shows it?",
        )
    } else {
        error
    }
}

/// Ends with Ctrl-C; made before anybody is told that a participant is ready.
fn stop_signal(runtime: &Runtime) -> anyhow::Result<Pin<Box<impl Future<Output = ()>>>> {
    let _inside = runtime.enter();
    Ok(Box::pin(super::up::stop_signal()?))
}

/// Tells that a participant is ready.
fn ready(io: &mut Io, report: &Value, line: &str) -> anyhow::Result<()> {
    if io.json {
        io.json(report)?;
    } else {
        io.line(format_args!("{line}"))?;
        io.line(format_args!("ready; Ctrl-C stops"))?;
    }
    Ok(io.sink.finish()?)
}

pub(crate) fn heavy(
    asked: &Heavy,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let done = match asked {
        Heavy::Run(args) => heavy::run(args, dir, runtime, io),
        Heavy::Check(args) => heavy::check(args, runtime, io),
        Heavy::Status(args) => heavy::status(args, runtime, io),
    };
    done.map_err(explain)
}

pub(crate) fn light(
    asked: &Light,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let done = match asked {
        Light::Run(args) => light::run(args, dir, runtime, io),
        Light::Key => light::key(dir, io),
        Light::Rent(args) => tenant::rent(args, dir, runtime, io),
        Light::Get(args) => tenant::get(args, dir, runtime, io),
        Light::Cells(args) => tenant::cells(args, dir, runtime, io),
        Light::End(args) => tenant::end(args, dir, runtime, io),
        Light::Leave(args) => light::leave(args, dir, runtime, io),
    };
    done.map_err(explain)
}

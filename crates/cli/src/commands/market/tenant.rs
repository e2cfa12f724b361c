//! `prunedb light rent`, `get`, `cells` and `end`: who rents.

use super::{Asked, KEY_FILE};
use crate::{
    io::{Exit, Io},
    secret, session,
    text::{count, size},
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_disk::{read_all, write_atomic};
use prunedb_market::{Contract, Tenant};
use prunedb_registry::{Amount, NodeId, canonical::Canonical};
use serde_json::json;
use std::{
    fs::{File, OpenOptions},
    io::{BufReader, Write},
    path::{Path, PathBuf},
};
use tokio::runtime::Runtime;

/// Longest contract file.
const CONTRACT_BYTES_MAX: usize = 4096;

/// What to rent.
#[derive(Args, Debug, Clone)]
pub(crate) struct RentArgs {
    /// What to store
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Most that an epoch may cost
    #[arg(long, value_name = "AMOUNT")]
    price_max: u64,
    /// How long
    #[arg(long, value_name = "EPOCHS")]
    epochs: u32,
    /// Holders that are not wanted, by number: they have a part of the same already
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    except: Vec<u32>,
    #[command(flatten)]
    asked: Asked,
}

/// What to read.
#[derive(Args, Debug, Clone)]
pub(crate) struct Get {
    /// The cell's number
    #[arg(value_name = "CELL")]
    cell: u64,
    /// The file to write; it must not be there
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    asked: Asked,
}

/// Whose cells.
#[derive(Args, Debug, Clone)]
pub(crate) struct Cells {
    #[command(flatten)]
    asked: Asked,
}

/// What to end.
#[derive(Args, Debug, Clone)]
pub(crate) struct End {
    /// The cell's number
    #[arg(value_name = "CELL")]
    cell: u64,
    #[command(flatten)]
    asked: Asked,
}

fn tenant(asked: &Asked, dir: &Path, runtime: &Runtime) -> anyhow::Result<Tenant> {
    let path = dir.join(KEY_FILE);
    ensure!(
        path.exists(),
        "there is no key file {}: `prunedb light key --dir DIR` makes one",
        path.display()
    );
    let seed = secret::key_seed(&path)?;
    let tenant = Tenant::new(&seed, asked.heavy.clone(), &asked.registry.registry);
    Ok(runtime.block_on(tenant)?)
}

fn contract_path(dir: &Path, cell: u64) -> PathBuf {
    dir.join("cells").join(format!("{cell}.contract"))
}

pub(super) fn rent(
    args: &RentArgs,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let tenant = tenant(&args.asked, dir, runtime)?;
    let cells = dir.join("cells");
    super::super::init::make_dir(&cells)?;
    let path = io.path(&args.file);
    let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (content_bytes, file) =
        opened.with_context(|| format!("cannot read {}", path.display()))?;
    let rent = prunedb_market::Rent {
        content_bytes,
        price_max: Amount(args.price_max),
        epochs: args.epochs,
        except: args.except.iter().map(|&node| NodeId(node)).collect(),
    };
    let contract = runtime.block_on(tenant.rent(&rent, BufReader::new(file)))?;
    let kept = contract_path(dir, contract.number);
    write_atomic(&*session::disk(), &kept, &contract.to_bytes()).with_context(|| {
        format!(
            "cell {} is rented, its contract cannot be kept in {}",
            contract.number,
            kept.display()
        )
    })?;
    let (offer, hops) = (&contract.offer, contract.path.len());
    if io.json {
        io.json(&json!({
            "cell": contract.number,
            "root": contract.root.to_string(),
            "cell_bytes": contract.bytes,
            "content_bytes": contract.content_bytes,
            "holder": offer.holder.0,
            "heavy": offer.heavy.0,
            "relayed": offer.is_relayed,
            "price": offer.price.0,
            "epochs": args.epochs,
            "hops": contract.path.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))?;
    } else {
        io.line(format_args!(
            "cell {} of {} at light node {}, {} away, for {} an epoch",
            contract.number,
            size(contract.bytes),
            offer.holder,
            count(hops as u64, "hop"),
            offer.price
        ))?;
    }
    Ok(Exit::Done)
}

pub(super) fn get(args: &Get, dir: &Path, runtime: &Runtime, io: &mut Io) -> anyhow::Result<Exit> {
    let tenant = tenant(&args.asked, dir, runtime)?;
    let kept = contract_path(dir, args.cell);
    let bytes = read_all(&*session::disk(), &kept, CONTRACT_BYTES_MAX)
        .with_context(|| format!("the contract of cell {}: {}", args.cell, kept.display()))?;
    let contract = Contract::from_bytes("contract", &bytes)
        .with_context(|| format!("{} is damaged", kept.display()))?;
    let path = io.path(&args.file);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    let read = runtime.block_on(tenant.read(&contract, |piece| file.write_all(piece)));
    let written = read.map_err(anyhow::Error::from).and_then(|()| Ok(file.sync_all()?));
    if let Err(error) = written {
        // what is there is not the cell
        _ = std::fs::remove_file(&path);
        return Err(error.context(format!("cell {} was not read", args.cell)));
    }
    let bytes = contract.content_bytes;
    if io.json {
        io.json(&json!({ "cell": args.cell, "content_bytes": bytes, "file": path }))?;
    } else {
        io.line(format_args!("cell {}: {} in {}", args.cell, size(bytes), path.display()))?;
    }
    Ok(Exit::Done)
}

pub(super) fn cells(
    args: &Cells,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let tenant = tenant(&args.asked, dir, runtime)?;
    let cells = runtime.block_on(tenant.cells())?;
    if io.json {
        let cell = |(number, rented): &(u64, prunedb_registry::RentedCell)| {
            json!({
                "cell": number,
                "root": rented.cell.root.to_string(),
                "cell_bytes": rented.cell.bytes,
                "holder": rented.cell.holder.0,
                "heavy": rented.cell.holder_heavy.map(|node| node.0),
                "price": rented.cell.price.0,
                "epochs": rented.cell.epochs,
                "epochs_left": rented.epochs_left,
                "epochs_proven": rented.epochs_proven,
                "held": rented.held.0,
            })
        };
        io.json(&json!({ "cells": cells.iter().map(cell).collect::<Vec<_>>() }))?;
        return Ok(Exit::Done);
    }
    for (number, rented) in &cells {
        let past = rented.cell.epochs - rented.epochs_left.min(rented.cell.epochs);
        io.line(format_args!(
            "cell {number}: {} at light node {}, {} of {past} epochs proven, {} left, {} set aside",
            size(rented.cell.bytes),
            rented.cell.holder,
            rented.epochs_proven,
            rented.epochs_left,
            rented.held
        ))?;
    }
    Ok(Exit::Done)
}

pub(super) fn end(args: &End, dir: &Path, runtime: &Runtime, io: &mut Io) -> anyhow::Result<Exit> {
    let tenant = tenant(&args.asked, dir, runtime)?;
    runtime.block_on(tenant.end(args.cell))?;
    // the registry has the last word: the file says where something was
    if let Err(error) = std::fs::remove_file(contract_path(dir, args.cell)) {
        tracing::debug!(%error, "the contract's file stays");
    }
    if io.json {
        io.json(&json!({ "cell": args.cell, "ended": true }))?;
    } else {
        io.line(format_args!("cell {} has ended", args.cell))?;
    }
    Ok(Exit::Done)
}

//! `prunedb light rent`, `get`, `cells` and `end`: who rents.

use super::{Asked, KEY_FILE};
use crate::{
    io::{Exit, Io},
    secret, session,
    text::{count, size},
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_core::Digest;
use prunedb_disk::{read_all, write_atomic};
use prunedb_market::{Contract, Tenant, TenantError};
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
    #[arg(long, value_name = "AMOUNT", value_parser = super::parse::amount)]
    price_max: Amount,
    /// How long
    #[arg(long, value_name = "EPOCHS", value_parser = super::parse::epochs)]
    epochs: u32,
    /// Holders that are not wanted, by number: they have a part of the same already
    #[arg(long, value_name = "NODE,...", value_delimiter = ',', value_parser = super::parse::node)]
    except: Vec<NodeId>,
    #[command(flatten)]
    asked: Asked,
}

/// What to read.
#[derive(Args, Debug, Clone)]
pub(crate) struct Get {
    /// The cell's number
    #[arg(value_name = "CELL", value_parser = super::parse::cell)]
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
    #[arg(value_name = "CELL", value_parser = super::parse::cell)]
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

/// Where the contract is kept until its number is known.
fn pending_path(dir: &Path, holder: NodeId, root: &Digest) -> PathBuf {
    dir.join("cells").join(format!("{holder}-{root}.pending"))
}

/// Keeps a contract under its number.
fn keep(dir: &Path, contract: &Contract, pending: &Path) -> anyhow::Result<()> {
    let kept = contract_path(dir, contract.number);
    write_atomic(&*session::disk(), &kept, &contract.to_bytes()).with_context(|| {
        let (number, kept, pending) = (contract.number, kept.display(), pending.display());
        format!("cell {number} is rented, its contract stays in {pending}: cannot write {kept}")
    })?;
    if let Err(error) = std::fs::remove_file(pending) {
        tracing::warn!(%error, path = %pending.display(), "a file that is not used any more stays");
    }
    Ok(())
}

/// The contract in a file; `None`: there is no such file.
fn contract_at(path: &Path) -> anyhow::Result<Option<Contract>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_all(&*session::disk(), path, CONTRACT_BYTES_MAX)
        .with_context(|| format!("cannot read the contract {}", path.display()))?;
    let contract = Contract::from_bytes("contract", &bytes);
    contract.map(Some).with_context(|| format!("the contract {} is damaged", path.display()))
}

/// The contract of a cell whose renting was interrupted before its number was known.
fn pending_contract(
    tenant: &Tenant,
    dir: &Path,
    runtime: &Runtime,
    number: u64,
) -> anyhow::Result<Contract> {
    let missing = || {
        let path = contract_path(dir, number);
        format!("there is no contract of cell {number}: {} is missing", path.display())
    };
    let rented = runtime.block_on(tenant.cell(number))?.filter(|c| c.owner == tenant.key());
    let rented = rented.with_context(|| {
        format!(
            "{}, and the registry has no such cell of yours (`prunedb light cells` shows them)",
            missing()
        )
    })?;
    let pending = pending_path(dir, rented.cell.holder, &rented.cell.root);
    let found = contract_at(&pending)?.with_context(|| {
        format!("{}; --dir names the folder that the cell was rented with", missing())
    })?;
    let contract = Contract { number, ..found };
    keep(dir, &contract, &pending)?;
    Ok(contract)
}

pub(super) fn rent(
    args: &RentArgs,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let path = io.path(&args.file);
    let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (content_bytes, file) =
        opened.with_context(|| format!("cannot read {}", path.display()))?;
    let tenant = tenant(&args.asked, dir, runtime)?;
    let cells = dir.join("cells");
    super::super::init::make_dir(&cells)?;
    let rent = prunedb_market::Rent {
        content_bytes,
        price_max: args.price_max,
        epochs: args.epochs,
        except: args.except.clone(),
    };
    let placed = runtime.block_on(tenant.place(&rent, BufReader::new(file)))?;
    // on disk before anything is paid: who dies from here on finds the way to the cell again
    let contract = &placed.contract;
    let pending = pending_path(dir, contract.offer.holder, &contract.root);
    write_atomic(&*session::disk(), &pending, &contract.to_bytes())
        .with_context(|| format!("nothing is rented: cannot write {}", pending.display()))?;
    let contract = match runtime.block_on(tenant.settle(placed)) {
        Ok(contract) => contract,
        Err(error) => {
            use prunedb_validator::ClientError::{NotIncluded, Rejected};
            if matches!(error, TenantError::Registry(Rejected { .. } | NotIncluded { .. })) {
                _ = std::fs::remove_file(&pending);
                return Err(error.into());
            }
            return Err(anyhow::Error::from(error).context(
                "it is not known whether the cell is rented: `prunedb light cells` shows it if it is, then `prunedb light get` reads it",
            ));
        }
    };
    keep(dir, &contract, &pending)?;
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
    let contract = match contract_at(&contract_path(dir, args.cell))? {
        Some(contract) => contract,
        None => pending_contract(&tenant, dir, runtime, args.cell)?,
    };
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

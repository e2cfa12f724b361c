//! Whom to ask, and `prunedb registry status`.

use crate::{
    io::{Exit, Io},
    registry::RegistryFolder,
    text::count,
};
use clap::Args;
use prunedb_validator::{Client, DoorAddress, Status};
use serde_json::{Value, json};
use std::path::Path;
use tokio::runtime::Runtime;

/// Whom to ask.
#[derive(Args, Debug, Clone)]
pub(crate) struct At {
    /// Validators to ask, tls://HOST:PORT/KEY each [default: those that run from this folder]
    #[arg(long, value_name = "DOOR,...", value_delimiter = ',')]
    at: Vec<DoorAddress>,
}

impl At {
    pub(super) fn client(&self, dir: &Path) -> anyhow::Result<Client> {
        if self.at.is_empty() {
            RegistryFolder::of(dir).client()
        } else {
            Ok(Client::new(self.at.iter().map(ToString::to_string)))
        }
    }
}

pub(super) fn status(at: &At, dir: &Path, runtime: &Runtime, io: &mut Io) -> anyhow::Result<Exit> {
    let all = runtime.block_on(at.client(dir)?.statuses());
    let answered = all.iter().filter(|(_, status)| status.is_ok()).count();
    if io.json {
        let validators: Vec<Value> = all
            .iter()
            .map(|(address, status)| match status {
                Ok(status) => status_json(address, status),
                Err(error) => json!({ "address": address, "error": error.to_string() }),
            })
            .collect();
        io.json(&json!({ "validators": validators }))?;
        return Ok(Exit::of(answered > 0));
    }
    for (address, status) in &all {
        match status {
            Ok(status) => write(address, status, io)?,
            Err(error) => io.line(format_args!("validator {address}: {error}"))?,
        }
    }
    if answered * 3 <= all.len() * 2 {
        io.note(format!(
            "{answered} of {} validators answer: more than two thirds of them must, or nothing goes on; start the others (`prunedb \
             registry run`, or `prunedb up` where it runs them), or look at their addresses and at what stands between",
            all.len()
        ));
    }
    Ok(Exit::of(answered > 0))
}

fn status_json(address: &str, s: &Status) -> Value {
    json!({
        "address": address,
        "key": s.key.to_string(),
        "registry": s.registry.to_string(),
        "lake": s.lake.to_string(),
        "height": s.height,
        "root": s.root.to_string(),
        "root_height": s.root_height,
        "validators": s.validators.len(),
        "nodes": s.nodes,
        "failing_nodes": s.failing_nodes,
        "groups": s.groups,
        "repairs": s.repairs,
        "batches": s.batches,
        "closing": s.closing,
        "prunable_up_to": s.prunable_up_to,
        "epoch": {
            "number": s.epoch.number,
            "started": s.epoch.started,
            "has_seed": s.epoch.has_seed,
            "owing": s.epoch.owing,
            "proven": s.epoch.proven,
            "settled": s.epoch.settled,
            "weak_groups": s.epoch.weak_groups,
        },
        "lease": s.lease.as_ref().map(|l| json!({
            "term": l.term.0, "holder": l.holder.to_string(), "until": l.until,
        })),
        "head": s.head.map(|h| json!({
            "term": h.term.0, "number": h.number, "root": h.root.to_string(),
        })),
        "escrow": s.escrow.0,
        "waiting_txs": s.waiting_txs,
        "unsigned": s.unsigned,
        "failure": s.failure,
    })
}

fn write(address: &str, s: &Status, io: &mut Io) -> std::io::Result<()> {
    io.line(format_args!(
        "validator {address}: height {}, {} of lake {}",
        s.height,
        count(s.validators.len() as u64, "validator"),
        s.lake
    ))?;
    let closing = s.closing.map_or_else(String::new, |batch| format!(", batch {batch} is closing"));
    io.line(format_args!(
        "  {} batches closed{closing}; batches below {} may be pruned",
        s.batches, s.prunable_up_to
    ))?;
    io.line(format_args!(
        "  {}, {} of them failing or leaving; {}, {} to be filled",
        count(s.nodes.into(), "node"),
        s.failing_nodes,
        count(s.groups.into(), "group"),
        count(s.repairs.into(), "slot")
    ))?;
    let epoch = &s.epoch;
    let phase = match (epoch.has_seed, epoch.settled) {
        (_, true) => "settled",
        (true, false) => "proofs are coming in",
        (false, false) => "waits for its seed",
    };
    io.line(format_args!(
        "  epoch {}: {phase}, {} of {} proven",
        epoch.number, epoch.proven, epoch.owing
    ))?;
    if epoch.weak_groups > 0 {
        io.line(format_args!(
            "  {} with too few good shards: nothing closes",
            count(epoch.weak_groups.into(), "group")
        ))?;
    }
    if let Some(lease) = &s.lease {
        let head = s.head.map_or_else(|| "no head yet".into(), |h| format!("head {}", h.number));
        io.line(format_args!(
            "  lease {} of {} up to height {}; {head}",
            lease.term, lease.holder, lease.until
        ))?;
    }
    if let Some(unsigned) = &s.unsigned {
        io.line(format_args!("  did not sign: {unsigned}"))?;
    }
    if let Some(failure) = &s.failure {
        io.line(format_args!("  stopped: {failure}"))?;
    }
    io.line(format_args!("  root {} after height {}", s.root, s.root_height))
}

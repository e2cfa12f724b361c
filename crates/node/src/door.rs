//! What a connection may do: everything, or what its capability says.

use crate::Upload;
use prunedb_access::{Denied, Gate, Operations, Pass, PublicKey};
use prunedb_core::{LakeId, ShardId, Term};
use prunedb_wire::{Command, Refusal};
use std::collections::HashMap;

/// How a connection came in.
#[derive(Debug)]
pub(crate) enum Door {
    /// everything may be done
    Open,
    /// what a capability allows that its holder has shown
    Closed { peer: PublicKey, pass: Option<Pass> },
}

/// What a command wants to do.
struct Deed {
    operation: Operations,
    lake: LakeId,
    shard: Option<ShardId>,
    term: Option<Term>,
}

impl Door {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Takes a capability; an open door takes any and looks at none.
    pub(crate) fn admit(&mut self, gate: &Gate, shown: &[u8], now: u64) -> Result<(), Denied> {
        if let Self::Closed { peer, pass } = self {
            *pass = None;
            *pass = Some(gate.admit(shown, *peer, now)?);
        }
        Ok(())
    }

    /// Whether a command may be run.
    pub(crate) fn allows(
        &self,
        command: &Command,
        uploads: &HashMap<u32, Upload>,
        now: u64,
    ) -> Result<(), Denied> {
        let Self::Closed { pass, .. } = self else { return Ok(()) };
        if matches!(command, Command::Access { .. }) {
            return Ok(());
        }
        let pass = pass.as_ref().ok_or(Denied::Closed)?;
        match deed(command, uploads) {
            None => pass.in_time(now),
            Some(Deed { operation, lake, shard, term }) => {
                pass.allows(operation, lake, shard, term, now)
            }
        }
    }
}

/// `None` for what every pass allows.
fn deed(command: &Command, uploads: &HashMap<u32, Upload>) -> Option<Deed> {
    let of_shard = |operation, id: ShardId, term| {
        Some(Deed { operation, lake: id.lake, shard: Some(id), term })
    };
    let of_lake = |operation, lake, term| Some(Deed { operation, lake, shard: None, term });
    match command {
        Command::Put { id, term, .. } => of_shard(Operations::WRITE, *id, Some(*term)),
        Command::Commit { handle, term, .. } => {
            let id = uploads.get(handle)?.id();
            of_shard(Operations::WRITE, id, Some(*term))
        }
        Command::Get { id, .. } | Command::Stat { id } => of_shard(Operations::READ, *id, None),
        Command::Prove(audit) => of_shard(Operations::READ, audit.shard, None),
        Command::List { lake, .. } | Command::HeadGet { lake } => {
            of_lake(Operations::READ, *lake, None)
        }
        Command::Delete { id, term } => of_shard(Operations::DELETE, *id, Some(*term)),
        Command::Fence { lake, term } | Command::HeadPut { lake, term, .. } => {
            of_lake(Operations::LEAD, *lake, Some(*term))
        }
        // an upload's chunks follow from its put
        Command::Data { .. } | Command::Abort { .. } => None,
        Command::Ping
        | Command::Info
        | Command::Space
        | Command::Scrub
        | Command::Access { .. } => None,
    }
}

/// What a client is told.
pub(crate) fn refusal(denied: Denied) -> Refusal {
    Refusal::Denied { reason: denied.to_string() }
}

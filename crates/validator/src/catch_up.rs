//! Going on from others' state, where they keep the next block no more.
//!
//! What others give is a file as [`crate::snapshot`] writes it, and the blocks behind it. That its state has the root that it
//! says is looked at here, that this root was agreed on by the orderer: it alone knows who votes. The events in it are the word of
//! who gave it.

use crate::{
    client::{Client, ClientError},
    history::{HISTORY_MAX, Happened},
    message::PART_BYTES_MAX,
    snapshot,
};
use prunedb_consensus::{Finalized, SITTING_HEIGHTS};
use prunedb_core::Digest;
use prunedb_disk::{Disk, create_dir_durable, write_atomic};
use prunedb_registry::State;
use std::{io, path::Path};

pub(crate) mod serve;

/// Why there is no state to go on from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatchUpError {
    /// The other validator does not answer, or refuses.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What it gave is no snapshot.
    #[error("its snapshot after height {height} is damaged: {problem}")]
    Damaged {
        /// after which height
        height: u64,
        /// what is wrong
        problem: String,
    },
    /// What it gave is of another registry.
    #[error("its snapshot is of registry {found}, this one is {expected}")]
    OtherRegistry {
        /// the own one
        expected: Digest,
        /// the one in the snapshot
        found: Digest,
    },
    /// It is no further than this validator.
    #[error(
        "its snapshot after height {height} is not newer than what is here, up to height {here}"
    )]
    Old {
        /// after which height
        height: u64,
        /// the last height here
        here: u64,
    },
    /// It is too long to be one.
    #[error("its snapshot has {total} bytes: {bytes_max} at most", bytes_max = snapshot::BYTES_MAX)]
    Oversized {
        /// how long
        total: u64,
    },
}

/// A state that another validator has.
#[derive(Debug)]
pub struct Snapshot {
    file: Vec<u8>,
    state: State,
    /// the blocks behind it, each with its proof
    pub blocks: Vec<(Finalized, Vec<u8>)>,
}

impl Snapshot {
    /// The state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Keeps it in a validator's folder: it goes on from there.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn save(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        create_dir_durable(disk, dir)?;
        write_atomic(disk, &snapshot::path(dir, self.state.height()), &self.file)
    }
}

/// Validators that keep the block after those that are here no more.
#[derive(Debug)]
pub struct Behind {
    registry: Digest,
    here: u64,
    others: Vec<Client>,
}

/// Asks the others for the block after a height; `None` where one of them has it, or none of them answers.
pub async fn behind(client: &Client, registry: Digest, here: u64) -> Option<Behind> {
    let mut others = Vec::new();
    for address in client.addresses() {
        let other = Client::new([address.to_owned()]);
        match other.blocks(here + 1).await {
            Ok(_) => return None,
            Err(ClientError::Refused { .. }) => others.push(other),
            Err(error) => tracing::info!(%error, address, "it is not asked for a snapshot"),
        }
    }
    (!others.is_empty()).then_some(Behind { registry, here, others })
}

impl Behind {
    /// How many may be asked.
    pub fn count(&self) -> usize {
        self.others.len()
    }

    /// The state of one of them.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn snapshot(&self, number: usize) -> Result<Snapshot, CatchUpError> {
        let other = &self.others[number];
        let (height, total, mut file) = other.snapshot_part(None, 0).await?;
        if height <= self.here {
            return Err(CatchUpError::Old { height, here: self.here });
        }
        if total > snapshot::BYTES_MAX as u64 {
            return Err(CatchUpError::Oversized { total });
        }
        let damaged = |problem: String| CatchUpError::Damaged { height, problem };
        while (file.len() as u64) < total {
            let (_, _, part) = other.snapshot_part(Some(height), file.len() as u64).await?;
            if part.is_empty() || part.len() > PART_BYTES_MAX {
                return Err(damaged("it ends too early".into()));
            }
            file.extend_from_slice(&part);
        }
        let (state, events) = snapshot::decode(&file).map_err(damaged)?;
        if *state.registry() != self.registry {
            return Err(CatchUpError::OtherRegistry {
                expected: self.registry,
                found: *state.registry(),
            });
        }
        if state.height() != height || !are_events(&events) {
            return Err(damaged("it is of another height, or its events are not in order".into()));
        }
        let mut blocks = Vec::new();
        while (blocks.len() as u64) < SITTING_HEIGHTS {
            let more = other.blocks(height + 1 + blocks.len() as u64).await?;
            if more.is_empty() {
                break;
            }
            for (block, proof) in more {
                let block = Finalized::from_bytes(&block).map_err(|e| damaged(e.to_string()))?;
                blocks.push((block, proof));
            }
        }
        Ok(Snapshot { file, state, blocks })
    }
}

/// Whether these are events as a validator keeps them.
fn are_events(events: &[Happened]) -> bool {
    events.len() <= HISTORY_MAX
        && events.windows(2).all(|pair| pair[0].number.checked_add(1) == Some(pair[1].number))
}

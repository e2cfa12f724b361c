//! A validator of a folder with its door.

use super::RegistryFolder;
use anyhow::Context;
use prunedb_consensus::Orderer;
use prunedb_registry::Genesis;
use prunedb_validator::{Copies, Door, DoorAddress, Validator, ValidatorConfig};
use std::{net::SocketAddr, sync::Arc};
use tokio::runtime::Runtime;

/// Heights from snapshot to snapshot.
const SNAPSHOT_HEIGHTS: u64 = 1_024;

/// A running validator. Stop it with [`Seat::stop`].
pub(crate) struct Seat {
    validator: Validator,
    door: Door,
}

impl Seat {
    /// Starts a validator of the folder, and opens its door when what was final before is applied.
    pub(crate) fn start(
        (folder, number): (&RegistryFolder, u8),
        genesis: Genesis,
        orderer: Arc<dyn Orderer>,
        copies: Arc<dyn Copies>,
        listen: SocketAddr,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let dir = folder.validator(number).join("state");
        let config = ValidatorConfig { dir, genesis, snapshot_heights: SNAPSHOT_HEIGHTS };
        let (key, disk) = (folder.validator_key(number)?, crate::session::disk());
        let validator = Validator::start(&config, key, orderer, copies, disk, runtime.handle())?;
        runtime.block_on(validator.caught_up());
        let door = runtime
            .block_on(Door::open(listen, &validator))
            .with_context(|| format!("the registry cannot listen on {listen}"))?;
        Ok(Self { validator, door })
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> DoorAddress {
        self.door.address()
    }

    /// The height that it has applied.
    pub(crate) fn height(&self) -> u64 {
        *self.validator.heights().borrow()
    }

    /// Closes the door, then ends the validator.
    pub(crate) fn stop(self, runtime: &Runtime) {
        runtime.block_on(self.door.close());
        drop(self.validator);
    }
}

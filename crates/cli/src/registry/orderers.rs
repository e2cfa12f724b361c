//! What orders the transactions of the validators of a folder: a journal for one, votes over sockets of this machine for
//! several.

use super::{RegistryFolder, Settings};
use prunedb_consensus::{Local, LocalConfig, Orderer};
use prunedb_core::Digest;
use std::{sync::Arc, time::Duration};

/// One for each validator, in their order.
pub(super) fn start(
    folder: &RegistryFolder,
    settings: &Settings,
    registry: &Digest,
) -> anyhow::Result<Vec<Arc<dyn Orderer>>> {
    let interval = Duration::from_millis(settings.block_ms);
    if settings.validators > 1 {
        return voting(folder, settings.validators, registry, interval);
    }
    let local = LocalConfig { dir: folder.validator(0).join("blocks"), interval };
    Ok(vec![Arc::new(Local::start(crate::session::disk(), &local)?)])
}

#[cfg(feature = "simplex")]
fn voting(
    folder: &RegistryFolder,
    count: u8,
    registry: &Digest,
    interval: Duration,
) -> anyhow::Result<Vec<Arc<dyn Orderer>>> {
    use crate::secret;
    use prunedb_consensus::{Simplex, SimplexConfig};
    use std::net::TcpListener;

    // ports that are free now; held together so that they differ
    let sockets: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut validators = Vec::new();
    for (number, socket) in (0..count).zip(&sockets) {
        validators.push((folder.validator_key(number)?.public(), socket.local_addr()?));
    }
    drop(sockets);
    let mut orderers: Vec<Arc<dyn Orderer>> = Vec::new();
    for number in 0..count {
        let dir = folder.validator(number);
        let config = SimplexConfig {
            seed: secret::key_seed(&dir.join("validator.key"))?,
            dir,
            registry: *registry,
            listen: validators[usize::from(number)].1,
            validators: validators.clone(),
            interval,
            start: None,
        };
        orderers.push(Arc::new(Simplex::start(crate::session::disk(), config)?));
    }
    Ok(orderers)
}

#[cfg(not(feature = "simplex"))]
fn voting(
    _: &RegistryFolder,
    count: u8,
    _: &Digest,
    _: Duration,
) -> anyhow::Result<Vec<Arc<dyn Orderer>>> {
    anyhow::bail!(
        "the registry has {count} validators that vote, and this build of prunedb has no voting in it: build it with `--features simplex`"
    )
}

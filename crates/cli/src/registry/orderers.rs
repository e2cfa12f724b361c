//! What orders the transactions of the validators of a folder: a journal for one, votes over sockets for several.

use super::{Peer, RegistryFolder, Settings};
use prunedb_consensus::{Local, LocalConfig, Orderer};
use prunedb_core::Digest;
use prunedb_registry::Key;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

/// One for each validator, in their order.
pub(super) fn start(
    folder: &RegistryFolder,
    settings: &Settings,
    registry: &Digest,
) -> anyhow::Result<Vec<Arc<dyn Orderer>>> {
    let interval = Duration::from_millis(settings.block_ms);
    match settings.validators {
        0 => Ok(Vec::new()),
        1 => Ok(vec![alone(folder, interval)?]),
        count => {
            // ports that are free now; held together so that they differ
            let sockets: Vec<TcpListener> =
                (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
            let mut validators = Vec::new();
            for (number, socket) in (0..count).zip(&sockets) {
                validators.push((folder.validator_key(number)?.public(), socket.local_addr()?));
            }
            drop(sockets);
            let voting = (0..count).zip(&validators).map(|(number, (_, listen))| {
                voting((folder, number), registry, *listen, validators.clone(), interval)
            });
            voting.collect()
        }
    }
}

/// That of a validator with a process of its own: the first one of its folder.
pub(crate) fn of_peer(
    folder: &RegistryFolder,
    settings: &Settings,
    registry: &Digest,
    listen: SocketAddr,
) -> anyhow::Result<Arc<dyn Orderer>> {
    let interval = Duration::from_millis(settings.block_ms);
    if settings.peers.len() == 1 {
        return alone(folder, interval);
    }
    let address = |peer: &Peer| (peer.key, peer.votes);
    let validators = settings.peers.iter().map(address).collect();
    voting((folder, 0), registry, listen, validators, interval)
}

fn alone(folder: &RegistryFolder, interval: Duration) -> anyhow::Result<Arc<dyn Orderer>> {
    let local = LocalConfig { dir: folder.validator(0).join("blocks"), interval };
    Ok(Arc::new(Local::start(crate::session::disk(), &local)?))
}

#[cfg(feature = "simplex")]
fn voting(
    (folder, number): (&RegistryFolder, u8),
    registry: &Digest,
    listen: SocketAddr,
    validators: Vec<(Key, SocketAddr)>,
    interval: Duration,
) -> anyhow::Result<Arc<dyn Orderer>> {
    use prunedb_consensus::{Simplex, SimplexConfig};

    let dir = folder.validator(number);
    let config = SimplexConfig {
        seed: crate::secret::key_seed(&dir.join("validator.key"))?,
        dir,
        registry: *registry,
        listen,
        validators,
        interval,
        start: None,
    };
    Ok(Arc::new(Simplex::start(crate::session::disk(), config)?))
}

#[cfg(not(feature = "simplex"))]
fn voting(
    _: (&RegistryFolder, u8),
    _: &Digest,
    _: SocketAddr,
    validators: Vec<(Key, SocketAddr)>,
    _: Duration,
) -> anyhow::Result<Arc<dyn Orderer>> {
    anyhow::bail!(
        "the registry has {} validators that vote, and this build of prunedb has no voting in it: build it with `--features simplex`",
        validators.len()
    )
}

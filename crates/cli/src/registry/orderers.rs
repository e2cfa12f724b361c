//! What orders the transactions of the validators of a folder: a journal for one, votes over sockets for several.

use super::{Peer, RegistryFolder, Settings};
use prunedb_consensus::{Local, LocalConfig, Orderer};
use prunedb_registry::{Genesis, Key};
use prunedb_validator::Client;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::runtime::Runtime;

#[cfg(feature = "simplex")]
mod voting;

/// One for each validator, in their order.
pub(super) fn start(
    folder: &RegistryFolder,
    settings: &Settings,
    genesis: &Genesis,
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
                Voting {
                    folder,
                    number,
                    genesis,
                    listen: *listen,
                    peers: validators.clone(),
                    interval,
                }
                .start()
            });
            voting.collect()
        }
    }
}

/// That of a validator with a process of its own: the first one of its folder. Where the others keep the blocks no more that it
/// missed, it goes on from the state that one of them has.
pub(crate) fn of_peer(
    folder: &RegistryFolder,
    settings: &Settings,
    genesis: &Genesis,
    listen: SocketAddr,
    runtime: &Runtime,
) -> anyhow::Result<Arc<dyn Orderer>> {
    let interval = Duration::from_millis(settings.block_ms);
    if genesis.validators.len() == 1 {
        return alone(folder, interval);
    }
    let address = |peer: &Peer| (peer.key, peer.votes);
    let peers = settings.peers.iter().map(address).collect();
    let voting = Voting { folder, number: 0, genesis, listen, peers, interval };
    let me = folder.validator_key(0)?.public();
    let others = settings.peers.iter().filter(|peer| peer.key != me).map(Peer::address);
    let others = Client::new(others.map(|door| door.to_string()));
    voting.start_or_catch_up(&others, runtime)
}

fn alone(folder: &RegistryFolder, interval: Duration) -> anyhow::Result<Arc<dyn Orderer>> {
    let local = LocalConfig { dir: folder.validator(0).join("blocks"), interval };
    Ok(Arc::new(Local::start(crate::session::disk(), &local)?))
}

/// A validator that votes.
#[cfg_attr(
    not(feature = "simplex"),
    expect(dead_code, reason = "this build only says that it cannot vote")
)]
struct Voting<'a> {
    folder: &'a RegistryFolder,
    number: u8,
    genesis: &'a Genesis,
    listen: SocketAddr,
    peers: Vec<(Key, SocketAddr)>,
    interval: Duration,
}

#[cfg(not(feature = "simplex"))]
impl Voting<'_> {
    fn start(self) -> anyhow::Result<Arc<dyn Orderer>> {
        anyhow::bail!(
            "the registry has {} validators that vote, and this build of prunedb has no voting in it: build it with `--features simplex`",
            self.peers.len()
        )
    }

    fn start_or_catch_up(self, _: &Client, _: &Runtime) -> anyhow::Result<Arc<dyn Orderer>> {
        self.start()
    }
}

//! Validators that agree by a vote: simplex, of the same family as Tendermint (BFT, 3f+1, a block is final at once).
//!
//! The library behind it is pinned exactly and shows nowhere outside of this module. A validator has a thread with
//! a runtime of its own, a folder of its own, and one connection to each other validator, authenticated by
//! the key that signs its votes. Leaders take turns; one that is silent is skipped. With `3f + 1` validators
//! `f` may fail in any way.
//!
//! Who votes is told by the registry's state: the validators in it at the end of a sitting vote in the next one. Others that are connected
//! get the same blocks, and may begin to vote in the sitting after they were named.
//!
//! What a block agrees on besides transactions is the root at a checkpoint: a validator that has applied that height and got
//! another root does not vote for it, and reads no further once the others have agreed on it.

mod application;
mod chain;
mod committees;
mod delivery;
mod engine;
mod gossip;
mod proof;
mod shared;
#[cfg(test)]
mod simulation;
mod sittings;
mod start;
mod voting;

pub use start::{Start, StartError};

use crate::{
    block::Finalized,
    journal::{Journal, JournalError},
    orderer::{OrderError, Orderer, Status, SubmitError},
};
use committees::Committees;
use commonware_codec::{Copying, DecodeExt};
use commonware_consensus::{marshal, simplex, types::Height};
use commonware_cryptography::{ChaCha20Poly1305, Signer, ed25519::PrivateKey};
use commonware_p2p::{Address, AddressableManager, authenticated::lookup};
use commonware_runtime::{Runner as _, Supervisor as _, tokio as runtime};
use commonware_stream::{
    cups::{self, Cups},
    sake::{self, Sake},
};
use commonware_utils::{NZU32, NZUsize, ordered};
use engine::{CHANNELS, Channels, Parts, quota};
use prunedb_disk::Disk;
use prunedb_registry::Key;
use shared::Shared;
use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc as std_mpsc},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

pub(crate) type PublicKey = commonware_cryptography::ed25519::PublicKey;
pub(crate) type Scheme = simplex::scheme::ed25519::Scheme;
pub(crate) type Digest = commonware_cryptography::blake3::Digest;
pub(crate) type Context = simplex::types::Context<Digest, PublicKey>;
pub(crate) type Variant = marshal::standard::Standard<chain::Block>;
pub(crate) type Mailbox = marshal::core::Mailbox<Scheme, Variant>;
pub(crate) type Certificate = simplex::types::Finalization<Scheme, Digest>;
type Peers = ordered::Map<PublicKey, Address>;

/// Most validators: their votes make up a certificate of 16 KiB.
const VALIDATORS_MAX: usize = 255;

/// What a [`Simplex`] is made of.
#[derive(Clone)]
pub struct SimplexConfig {
    /// where blocks and votes are kept; nothing else is. It belongs to one key: voting again from an older copy is a lie
    pub dir: PathBuf,
    /// the registry's name: votes for another one do not count
    pub registry: prunedb_core::Digest,
    /// seed of this validator's key pair
    pub seed: Zeroizing<[u8; 32]>,
    /// where it listens
    pub listen: SocketAddr,
    /// who votes first, as the registry's genesis says
    pub founders: Vec<Key>,
    /// who is connected: all that vote or are to vote, this validator with them, and where each is reached
    pub peers: Vec<(Key, SocketAddr)>,
    /// time between a block and the next proposal
    pub interval: Duration,
    /// for a validator that goes on from a state of others: what was before is dropped
    pub start: Option<Start>,
}

impl std::fmt::Debug for SimplexConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimplexConfig")
            .field("dir", &self.dir)
            .field("registry", &self.registry)
            .field("listen", &self.listen)
            .field("peers", &self.peers)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Why a validator does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimplexError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The validators do not make sense.
    #[error("{0}")]
    Validators(&'static str),
    /// The state to begin with.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The thread or the network.
    #[error("the validator does not start: {0}")]
    Thread(String),
}

/// An orderer among validators.
pub struct Simplex {
    shared: Arc<Shared>,
    heights: watch::Receiver<u64>,
    metrics: Arc<Mutex<Option<runtime::Context>>>,
    /// as soon as the engine runs
    marshal: Arc<OnceLock<Mailbox>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Simplex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simplex").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// A key, where it is one.
fn public_key(key: &Key) -> Option<PublicKey> {
    PublicKey::decode(Copying(&key.0)).ok()
}

impl Simplex {
    /// Opens the journal, and votes from now on.
    ///
    /// # Errors
    /// [`SimplexError`].
    pub fn start(disk: Arc<dyn Disk>, config: SimplexConfig) -> Result<Self, SimplexError> {
        let secret =
            PrivateKey::decode(Copying(&config.seed[..])).expect("any 32 bytes are a seed");
        let peers = peers(&config.peers)?;
        if peers.get_value(&secret.public_key()).is_none() {
            return Err(SimplexError::Validators(
                "this validator's key is not among those of the settings",
            ));
        }
        let committees = Committees::open(
            Arc::clone(&disk),
            config.dir.join("committees"),
            config.registry,
            secret.clone(),
            &config.founders,
        )?;
        let journal = Journal::open(disk, &config.dir.join("blocks"))?;
        let (heights, heights_out) = watch::channel(journal.last_height());
        let (gossip_in, gossip) = mpsc::channel(gossip::WAITING_MAX);
        let shared = Arc::new(Shared::new(journal, committees, gossip_in));
        let parts = Parts {
            me: secret.public_key(),
            peers: config.peers.len(),
            prefix: String::new(),
            interval: config.interval,
            floor: None,
            shared: Arc::clone(&shared),
            heights,
            gossip,
        };
        let (stop, stopped) = oneshot::channel();
        let (started, is_started) = std_mpsc::sync_channel(1);
        let metrics = Arc::new(Mutex::new(None));
        let marshal = Arc::new(OnceLock::new());
        let (thread_metrics, thread_marshal) = (Arc::clone(&metrics), Arc::clone(&marshal));
        let thread_shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("prunedb-validator".into()).spawn(move || {
            let storage = config.dir.join("votes");
            let runner = runtime::Config::new().with_worker_threads(2).with_storage_directory(storage);
            runtime::Runner::new(runner).start(|context| async move {
                *thread_metrics.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.child("outside"));
                let (mailbox, handles) = match run(context, &config, peers, secret, parts).await {
                    Ok(running) => running,
                    Err(error) => return drop(started.send(Err(error))),
                };
                let _ = thread_marshal.set(mailbox);
                let _ = started.send(Ok(()));
                let ended = futures_util::future::select_all(handles);
                tokio::select! {
                    _ = stopped => {}
                    (result, ..) = ended => thread_shared.fail(format!("a part of the validator ended: {result:?}")),
                }
            });
        });
        let thread = thread.map_err(|error| SimplexError::Thread(error.to_string()))?;
        let this = Self {
            shared,
            heights: heights_out,
            metrics,
            marshal,
            stop: Some(stop),
            thread: Some(thread),
        };
        match is_started.recv() {
            Ok(Ok(())) => Ok(this),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SimplexError::Thread("its thread ended, its log says why".into())),
        }
    }

    /// Metrics of engine and network, as Prometheus reads them.
    pub fn metrics(&self) -> String {
        let context = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        context.as_ref().map(commonware_runtime::Metrics::encode).unwrap_or_default()
    }
}

/// Who is connected, by their keys.
fn peers(peers: &[(Key, SocketAddr)]) -> Result<Peers, SimplexError> {
    let wrong = SimplexError::Validators;
    if peers.is_empty() || peers.len() > VALIDATORS_MAX {
        return Err(wrong("1 to 255 validators are connected"));
    }
    let peer =
        |(key, address): &(Key, SocketAddr)| Some((public_key(key)?, Address::from(*address)));
    let peers: Option<Vec<_>> = peers.iter().map(peer).collect();
    let peers = peers.ok_or(wrong("a validator's key is not an ed25519 key"))?;
    ordered::Map::try_from(peers).map_err(|_| wrong("a validator is listed twice"))
}

/// Joins the network and starts the engine.
async fn run(
    mut context: runtime::Context,
    config: &SimplexConfig,
    peers: Peers,
    secret: PrivateKey,
    mut parts: Parts,
) -> Result<(Mailbox, Vec<commonware_runtime::Handle<()>>), SimplexError> {
    if let Some(start) = &config.start {
        let known: Vec<Key> = config.peers.iter().map(|(key, _)| *key).collect();
        start.verify(&config.registry, &known, &mut context)?;
        parts.shared.begin(start)?;
        parts.heights.send_replace(parts.shared.journal.last_height());
    }
    parts.floor = parts.shared.floor()?;
    let handshake = Cups::<_, ChaCha20Poly1305>::new(
        Sake {
            signer: secret,
            synchrony_bound: Duration::from_secs(10),
            max_handshake_age: Duration::from_secs(20),
            version: sake::Version::V1,
        },
        cups::Version::V1,
    );
    let count = u32::try_from(peers.len()).expect("at most 255");
    let max_peers = NonZeroUsize::new(peers.len()).expect("at least one");
    let network = lookup::Config {
        // the key says who it is; addresses change behind NAT and in containers
        bypass_ip_check: true,
        allowed_handshake_rate_per_ip: quota(16 + count),
        max_concurrent_handshakes: NZU32!(64),
        tracked_peer_sets: NZUsize!(1),
        ..lookup::Config::local(
            handshake,
            &config.registry.0,
            config.listen,
            max_peers,
            engine::message_bytes_max(),
            NonZeroUsize::new(16 * peers.len()).expect("at least one"),
        )
    };
    let (mut network, mut oracle) = lookup::Network::new(context.child("network"), network);
    oracle.track(0, peers);
    let [votes, certificates, requests, backfill, blocks, txs] =
        CHANNELS.map(|(channel, per_second)| network.register(channel, quota(per_second)));
    let channels = Channels { votes, certificates, requests, backfill, blocks, txs };
    let network = network.start();
    let (mailbox, mut handles) =
        engine::start(context, parts, oracle.clone(), oracle, channels).await;
    handles.push(network);
    Ok((mailbox, handles))
}

impl Orderer for Simplex {
    fn submit(&self, tx: Vec<u8>) -> Result<(), SubmitError> {
        self.shared.submit(tx)
    }

    fn heights(&self) -> watch::Receiver<u64> {
        self.heights.clone()
    }

    fn block(&self, height: u64) -> Result<Option<Finalized>, OrderError> {
        let Some((block, _)) = self.shared.journal.read(height)? else { return Ok(None) };
        self.shared.roots.check(&block)?;
        Ok(Some(block))
    }

    fn applied(&self, height: u64, root: prunedb_core::Digest, validators: &[Key]) {
        self.shared.applied(height, root, validators);
    }

    fn proof(&self, height: u64) -> Result<Option<Vec<u8>>, OrderError> {
        Ok(self.shared.journal.read(height)?.map(|(_, certificate)| certificate))
    }

    fn prune(&self, below: u64) -> Result<(), OrderError> {
        self.shared.journal.prune(below)?;
        let first = self.shared.journal.first_height();
        self.shared.committees.forget_before(sittings::sitting_of(first))?;
        if let Some(marshal) = self.marshal.get() {
            marshal.prune(Height::new(first));
        }
        Ok(())
    }

    fn status(&self) -> Status {
        self.shared.status()
    }
}

impl Drop for Simplex {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the validator's thread had panicked");
        }
    }
}

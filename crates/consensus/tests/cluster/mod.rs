//! Validators in this process, over real sockets on this machine: each with its folder, its thread, and a state that hashes
//! all transactions. A transaction of [`VOTE`] says who the validators are.

use prunedb_consensus::{Follower, Orderer, Simplex, SimplexConfig, SimplexError, Start};
use prunedb_core::Digest;
use prunedb_disk::RealDisk;
use prunedb_registry::{Key, Secret};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// In front of the numbers of those who are the validators from now on.
pub(crate) const VOTE: &[u8] = b"validators:";

/// The state after each height, and when each transaction became final.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) roots: BTreeMap<u64, Digest>,
    pub(crate) validators: BTreeMap<u64, Vec<Key>>,
    pub(crate) txs: BTreeMap<Vec<u8>, Instant>,
}

pub(crate) struct Validator {
    pub(crate) orderer: Arc<Simplex>,
    pub(crate) seen: Arc<Mutex<Seen>>,
    replay: JoinHandle<()>,
}

pub(crate) struct Cluster {
    dir: PathBuf,
    interval: Duration,
    founders: usize,
    peers: Vec<(Key, SocketAddr)>,
    pub(crate) running: Vec<Option<Validator>>,
}

const fn seed(number: usize) -> [u8; 32] {
    let mut seed = [7; 32];
    seed[0] = number.to_le_bytes()[0];
    seed
}

fn key(number: usize) -> Key {
    Secret::from_seed(&seed(number)).key()
}

/// The validators that a transaction names.
fn voted(tx: &[u8]) -> Option<Vec<Key>> {
    Some(tx.strip_prefix(VOTE)?.iter().map(|&number| key(number.into())).collect())
}

impl Cluster {
    /// So many peers, of whom the first ones vote at first; none of them running.
    pub(crate) fn new(dir: PathBuf, founders: usize, count: usize, interval: Duration) -> Self {
        // ports that are free now; held together so that they differ
        let sockets: Vec<TcpListener> =
            (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let address = |socket: &TcpListener| socket.local_addr().expect("it is bound");
        let peers = (0..count).map(|n| (key(n), address(&sockets[n]))).collect();
        Self { dir, interval, founders, peers, running: (0..count).map(|_| None).collect() }
    }

    pub(crate) fn start(&mut self, number: usize) {
        self.start_from(number, None);
    }

    /// Starts a validator, with a state of others where there is one.
    pub(crate) fn start_from(&mut self, number: usize, start: Option<Start>) {
        self.try_start(number, start).expect("a validator");
    }

    pub(crate) fn try_start(
        &mut self,
        number: usize,
        start: Option<Start>,
    ) -> Result<(), SimplexError> {
        let state = start.as_ref().map_or((0, Digest::default(), self.founders()), |start| {
            (start.height, start.root, start.validators.clone())
        });
        self.start_with(number, state, start)
    }

    /// Who votes first.
    fn founders(&self) -> Vec<Key> {
        (0..self.founders).map(key).collect()
    }

    /// Starts a validator that has applied the blocks up to a height.
    pub(crate) fn start_with(
        &mut self,
        number: usize,
        state: (u64, Digest, Vec<Key>),
        start: Option<Start>,
    ) -> Result<(), SimplexError> {
        let config = SimplexConfig {
            dir: self.dir.join(number.to_string()),
            registry: Digest([3; 32]),
            seed: Zeroizing::new(seed(number)),
            listen: self.peers[number].1,
            founders: self.founders(),
            peers: self.peers.clone(),
            interval: self.interval,
            start,
        };
        let orderer = Arc::new(Simplex::start(Arc::new(RealDisk), config)?);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let replay = tokio::spawn(replay(Arc::clone(&orderer), Arc::clone(&seen), state));
        self.running[number] = Some(Validator { orderer, seen, replay });
        Ok(())
    }

    pub(crate) async fn stop(&mut self, number: usize) {
        let Some(validator) = self.running[number].take() else { return };
        validator.replay.abort();
        let _ = validator.replay.await;
        let orderer = Arc::into_inner(validator.orderer).expect("nobody else has it");
        tokio::task::spawn_blocking(|| drop(orderer)).await.expect("it ends");
    }

    pub(crate) fn validator(&self, number: usize) -> &Validator {
        self.running[number].as_ref().expect("it runs")
    }

    pub(crate) fn height(&self, number: usize) -> u64 {
        let seen = self.validator(number).seen.lock().expect("no thread panicked");
        seen.roots.last_key_value().map_or(0, |(height, _)| *height)
    }

    /// Waits until a validator has applied a height.
    pub(crate) async fn reach(&self, number: usize, height: u64) {
        let begun = Instant::now();
        while self.height(number) < height {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let status = self.validator(number).orderer.status();
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "validator {number} is at {status:?}"
            );
        }
    }
}

async fn replay(
    orderer: Arc<Simplex>,
    seen: Arc<Mutex<Seen>>,
    (height, mut root, mut validators): (u64, Digest, Vec<Key>),
) {
    let mut follower = Follower::new(Arc::clone(&orderer), height + 1);
    while let Ok(block) = follower.next().await {
        let mut seen = seen.lock().expect("no thread panicked");
        for tx in block.txs {
            let mut hasher = blake3::Hasher::new();
            root = Digest(*hasher.update(&root.0).update(&tx).finalize().as_bytes());
            validators = voted(&tx).unwrap_or(validators);
            seen.txs.entry(tx).or_insert_with(Instant::now);
        }
        seen.roots.insert(block.height, root);
        seen.validators.insert(block.height, validators.clone());
        orderer.applied(block.height, root, &validators);
    }
}

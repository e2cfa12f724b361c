//! The validators of a life: each with its disk, its links, and the state that it makes of the blocks.

use super::super::{
    Scheme, Simplex,
    engine::{self, CHANNELS, Channels, Parts, quota},
    gossip, scheme,
    shared::Shared,
};
use super::PublicKey;
use crate::{
    Follower, OrderError, Orderer,
    block::{CHECKPOINT_HEIGHTS, Finalized},
    journal::Journal,
};
use commonware_codec::DecodeExt;
use commonware_cryptography::{Signer, ed25519::PrivateKey};
use commonware_p2p::simulated::{Link, Oracle};
use commonware_runtime::{Handle, Spawner, Supervisor, deterministic::Context};
use prunedb_core::Digest;
use prunedb_disk::faulty::{FaultyDisk, Unsynced};
use prunedb_registry::{Event, Genesis, Key, Secret, SignedTx, State};
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// A validator's keys and disk, whether it runs or not.
pub(super) struct Seat {
    pub(super) key: Key,
    pub(super) secret: Secret,
    scheme: Scheme,
    pub(super) peer: PublicKey,
    disk: FaultyDisk,
    lives: u32,
    /// a snapshot of the state with its root, taken when it was crashed
    snapshot: Option<(Vec<u8>, Digest)>,
    pub(super) running: Option<Running>,
}

/// A validator that runs.
pub(super) struct Running {
    pub(super) orderer: Arc<Simplex>,
    pub(super) state: Arc<Mutex<State>>,
    handles: Vec<Handle<()>>,
}

/// Applies a block; what came of it.
pub(super) fn apply(state: &mut State, block: &Finalized) -> Vec<Event> {
    let mut events = state.advance(block.height).unwrap();
    for tx in &block.txs {
        let Ok(tx) = SignedTx::decode(tx) else { continue };
        let Ok(tx) = tx.check(state.registry()) else { continue };
        events.extend(state.apply(block.height, &tx).into_iter().flatten());
    }
    events
}

/// Applies blocks as they come, and tells the roots.
async fn replay(orderer: Arc<Simplex>, state: Arc<Mutex<State>>) {
    let next = state.lock().unwrap().height() + 1;
    let mut follower = Follower::new(Arc::clone(&orderer), next);
    loop {
        match follower.next().await {
            Ok(block) => {
                let mut state = state.lock().unwrap();
                apply(&mut state, &block);
                if block.height.is_multiple_of(CHECKPOINT_HEIGHTS) {
                    orderer.applied(block.height, state.root());
                }
            }
            Err(OrderError::Stopped { .. }) => return,
            Err(error) => panic!("a validator's state is another one: {error}"),
        }
    }
}

impl Seat {
    pub(super) fn new(registry: &Digest, seeds: &[[u8; 32]], number: usize) -> Self {
        let secret = Secret::from_seed(&seeds[number]);
        let private = PrivateKey::decode(commonware_codec::Copying(&seeds[number])).unwrap();
        assert_eq!(
            private.public_key().as_ref(),
            secret.key().0,
            "one key for votes and transactions"
        );
        let keys: Vec<Key> = seeds.iter().map(|seed| Secret::from_seed(seed).key()).collect();
        Self {
            key: secret.key(),
            secret,
            scheme: scheme(registry, &keys, &private).unwrap(),
            peer: private.public_key(),
            disk: FaultyDisk::new(number as u64),
            lives: 0,
            snapshot: None,
            running: None,
        }
    }

    pub(super) async fn start(
        &mut self,
        context: &Context,
        oracle: &Oracle<PublicKey, Context>,
        genesis: &Genesis,
        interval: Duration,
        members: usize,
    ) {
        assert!(self.running.is_none());
        let state = match &self.snapshot {
            Some((bytes, root)) => State::restore(bytes, root).unwrap(),
            None => State::new(genesis).unwrap(),
        };
        let journal = Journal::open(Arc::new(self.disk.clone()), Path::new("/blocks")).unwrap();
        assert!(journal.last_height() >= state.height(), "a block that was applied is gone");
        let (heights, heights_out) = watch::channel(journal.last_height());
        let (gossip_in, gossip) = mpsc::channel(gossip::WAITING_MAX);
        let shared = Arc::new(Shared::new(journal, members, gossip_in));
        let control = oracle.control(self.peer.clone());
        let mut channels = Vec::new();
        for (channel, per_second) in CHANNELS {
            channels.push(control.register(channel, quota(per_second)).await.unwrap());
        }
        let mut channels = channels.into_iter();
        let mut next = || channels.next().unwrap();
        let channels = Channels {
            votes: next(),
            certificates: next(),
            requests: next(),
            backfill: next(),
            blocks: next(),
            txs: next(),
        };
        let parts = Parts {
            registry: *state.registry(),
            scheme: self.scheme.clone(),
            me: self.peer.clone(),
            prefix: format!("{}-", self.peer),
            interval,
            floor: None,
            shared: Arc::clone(&shared),
            heights,
            gossip,
        };
        self.lives += 1;
        let context = context
            .child("validator")
            .with_attribute("key", &self.peer)
            .with_attribute("life", self.lives);
        let (_, mut handles) =
            engine::start(context.child("engine"), parts, oracle.manager(), control, channels)
                .await;
        let orderer = Arc::new(Simplex {
            shared,
            heights: heights_out,
            metrics: Arc::default(),
            stop: None,
            thread: None,
        });
        let state = Arc::new(Mutex::new(state));
        let replay = replay(Arc::clone(&orderer), Arc::clone(&state));
        handles.push(context.child("replay").spawn(move |_| replay));
        self.running = Some(Running { orderer, state, handles });
    }

    /// Ends it as a loss of power would: what its journal had not synced is torn.
    pub(super) async fn crash(&mut self, chance: u64) {
        let Some(running) = self.running.take() else { return };
        for handle in running.handles {
            handle.abort();
            let _ = handle.await;
        }
        let state = running.state.lock().unwrap();
        // half of them begin with a snapshot, half with the first block
        self.snapshot = chance.is_multiple_of(2).then(|| (state.snapshot(), state.root()));
        self.disk = self.disk.crashed(Unsynced::Torn(chance));
    }
}

/// Links a validator to another one, both ways.
pub(super) async fn link(oracle: &Oracle<PublicKey, Context>, a: &Seat, b: &Seat, link: &Link) {
    for (from, to) in [(a, b), (b, a)] {
        // where they are linked already it stays as it is
        let _ = oracle.add_link(from.peer.clone(), to.peer.clone(), link.clone()).await;
    }
}

/// Cuts them off from each other.
pub(super) async fn cut(oracle: &Oracle<PublicKey, Context>, a: &Seat, b: &Seat) {
    for (from, to) in [(a, b), (b, a)] {
        let _ = oracle.remove_link(from.peer.clone(), to.peer.clone()).await;
    }
}

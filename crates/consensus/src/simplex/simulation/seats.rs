//! The validators of a life: each with its disk, its links, and the state that it makes of the blocks.

use super::super::{
    Simplex,
    committees::Committees,
    engine::{self, CHANNELS, Channels, Parts, quota},
    gossip,
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
use prunedb_disk::{
    Disk,
    faulty::{FaultyDisk, Unsynced},
};
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
    private: PrivateKey,
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
                    orderer.applied(block.height, state.root(), state.validators());
                }
            }
            Err(OrderError::Stopped { .. }) => return,
            Err(error) => panic!("a validator's state is another one: {error}"),
        }
    }
}

impl Seat {
    pub(super) fn new(seed: &[u8; 32], number: usize) -> Self {
        let secret = Secret::from_seed(seed);
        let private = PrivateKey::decode(commonware_codec::Copying(&seed[..])).unwrap();
        assert_eq!(
            private.public_key().as_ref(),
            secret.key().0,
            "one key for votes and transactions"
        );
        Self {
            key: secret.key(),
            secret,
            peer: private.public_key(),
            private,
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
        peers: usize,
    ) {
        assert!(self.running.is_none());
        let state = match &self.snapshot {
            Some((bytes, root)) => State::restore(bytes, root).unwrap(),
            None => State::new(genesis).unwrap(),
        };
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let journal = Journal::open(Arc::clone(&disk), Path::new("/blocks")).unwrap();
        assert!(journal.last_height() >= state.height(), "a block that was applied is gone");
        let (heights, heights_out) = watch::channel(journal.last_height());
        let (gossip_in, gossip) = mpsc::channel(gossip::WAITING_MAX);
        let committees = Committees::open(
            disk,
            "/blocks/committees".into(),
            *state.registry(),
            self.private.clone(),
            &genesis.validators,
        );
        let shared = Arc::new(Shared::new(journal, committees.unwrap(), gossip_in));
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
            me: self.peer.clone(),
            peers,
            prefix: format!("{}-", self.peer),
            interval,
            floor: shared.floor().unwrap(),
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
            marshal: Arc::default(),
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

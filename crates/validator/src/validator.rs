//! The driver: reads blocks from the orderer, applies them, keeps snapshots, and does what a validator owes.

use crate::{
    copies::{Copies, OwnCopy},
    history::Happened,
    key::ValidatorKey,
    machine::Machine,
    names::Names,
    snapshot,
};
use prunedb_consensus::{Follower, OrderError, Orderer};
use prunedb_core::Policy;
use prunedb_disk::{Disk, create_dir_durable};
use prunedb_registry::{CloseBatch, Genesis, ParamsError, SignedTx, State, canonical::Canonical};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch};

/// Heights that a validator's own transactions count for.
const OWN_TX_HEIGHTS: u64 = 20;
/// Heights after which what did not come through is sent again.
const AGAIN_HEIGHTS: u64 = 3;

/// What a [`Validator`] is made of.
#[derive(Clone, Debug)]
pub struct ValidatorConfig {
    /// where snapshots and names are kept; nothing else is
    pub dir: PathBuf,
    /// what the registry began with
    pub genesis: Genesis,
    /// heights from snapshot to snapshot
    pub snapshot_heights: u64,
}

/// Why a validator does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValidatorError {
    /// Its folder cannot be used.
    #[error("the validator's folder {}", dir.display())]
    Disk {
        /// which folder
        dir: PathBuf,
        /// what the system said
        #[source]
        source: io::Error,
    },
    /// Its genesis makes no sense.
    #[error(transparent)]
    Genesis(#[from] ParamsError),
    /// The folder is another registry's.
    #[error("{} has the state of another registry: put back the genesis that it began with, or begin anew in an empty folder", dir.display())]
    OtherRegistry {
        /// which folder
        dir: PathBuf,
    },
}

/// What the driver and the doors share.
pub(crate) struct Shared {
    machine: Mutex<Machine>,
    pub(crate) names: Names,
    pub(crate) copies: Arc<dyn Copies>,
    pub(crate) key: ValidatorKey,
    pub(crate) orderer: Arc<dyn Orderer>,
    /// where its snapshots are
    pub(crate) snapshots: (Arc<dyn Disk>, PathBuf),
    /// the height that is applied
    pub(crate) applied: watch::Sender<u64>,
    /// why the closing that was asked for last was not signed
    unsigned: Mutex<Option<String>>,
    /// why no more blocks are applied
    failure: Mutex<Option<String>>,
    /// the last closing that was compared with the own copies: it is asked for again until enough have signed
    pub(crate) own: tokio::sync::Mutex<Option<(CloseBatch, Policy, OwnCopy)>>,
}

impl Shared {
    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn unsigned(&self) -> Option<String> {
        self.unsigned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_unsigned(&self, reason: Option<String>) {
        *self.unsigned.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub(crate) fn failure(&self) -> Option<String> {
        let own = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        own.or_else(|| self.orderer.status().failure)
    }

    fn failed(&self, reason: String) {
        tracing::error!(reason, "the validator applies no more blocks");
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

/// A running validator. Dropping it stops it.
pub struct Validator {
    pub(crate) shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator").field("key", &self.shared.key.public()).finish_non_exhaustive()
    }
}

impl Validator {
    /// Goes on where the newest snapshot was, or begins with the genesis.
    ///
    /// # Errors
    /// [`ValidatorError`].
    ///
    /// # Panics
    /// Where the system gives no thread.
    pub fn start(
        config: &ValidatorConfig,
        key: ValidatorKey,
        orderer: Arc<dyn Orderer>,
        copies: Arc<dyn Copies>,
        disk: Arc<dyn Disk>,
        runtime: &Handle,
    ) -> Result<Self, ValidatorError> {
        let dir = &config.dir;
        let of_disk = |source| ValidatorError::Disk { dir: dir.clone(), source };
        create_dir_durable(&*disk, dir).map_err(of_disk)?;
        let first = State::new(&config.genesis)?;
        let (state, history) = match snapshot::load(&*disk, dir).map_err(of_disk)? {
            Some((state, _)) if state.registry() != first.registry() => {
                return Err(ValidatorError::OtherRegistry { dir: dir.clone() });
            }
            Some(found) => found,
            None => (first, Vec::new()),
        };
        let (applied, _) = watch::channel(state.height());
        let shared = Arc::new(Shared {
            machine: Mutex::new(Machine::new(state, history)),
            names: Names::open(&*disk, dir).map_err(of_disk)?,
            copies,
            key,
            orderer,
            snapshots: (Arc::clone(&disk), dir.clone()),
            applied,
            unsigned: Mutex::default(),
            failure: Mutex::default(),
            own: tokio::sync::Mutex::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let driver =
            Driver { shared: Arc::clone(&shared), disk, config: config.clone(), sent: None };
        let runtime = runtime.clone();
        let thread = std::thread::Builder::new()
            .name("prunedb-validator".into())
            .spawn(move || driver.run(&runtime, stopped))
            .expect("the system gives a thread");
        Ok(Self { shared, stop, thread: Some(thread) })
    }

    /// Its public key.
    pub fn key(&self) -> prunedb_registry::Key {
        self.shared.key.public()
    }

    /// The height that is applied; changes with every block.
    pub fn heights(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    /// Waits until every block that was final before now is applied, or none will be ([`Self::failure`]): before, a door
    /// would answer of the past.
    pub async fn caught_up(&self) {
        let known = *self.shared.orderer.heights().borrow();
        let mut applied = self.heights();
        while *applied.borrow_and_update() < known && self.failure().is_none() {
            // a failure changes no height
            _ = tokio::time::timeout(Duration::from_millis(100), applied.changed()).await;
        }
    }

    /// Looks at the state, which does not change meanwhile: to be brief.
    pub fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(self.shared.machine().state())
    }

    /// Why it applies no more blocks.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure()
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the validator's thread had panicked");
        }
    }
}

/// The thread that applies blocks.
struct Driver {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    config: ValidatorConfig,
    /// the own transaction that was sent last, and at which height
    sent: Option<(prunedb_registry::Body, u64)>,
}

impl Driver {
    fn run(mut self, runtime: &Handle, mut stopped: watch::Receiver<bool>) {
        let from = self.shared.machine().state().height() + 1;
        let mut blocks = Follower::new(Arc::clone(&self.shared.orderer), from);
        loop {
            let next = runtime.block_on(async {
                tokio::select! {
                    next = blocks.next() => Some(next),
                    _ = stopped.wait_for(|&stop| stop) => None,
                }
            });
            match next {
                None => return,
                Some(Ok(block)) => {
                    if let Err(reason) = self.apply(block.height, &block.txs) {
                        return self.shared.failed(reason);
                    }
                }
                Some(Err(OrderError::Stopped { .. })) if *stopped.borrow() => return,
                Some(Err(error)) => return self.shared.failed(error.to_string()),
            }
        }
    }

    fn apply(&mut self, height: u64, txs: &[Vec<u8>]) -> Result<(), String> {
        let mut machine = self.shared.machine();
        let root = machine.apply(height, txs).map_err(|reject| reject.to_string())?;
        let duty = self.shared.key.seed_duty(machine.state());
        let validators = root.map(|_| machine.state().validators().to_vec());
        drop(machine);
        if let (Some(root), Some(validators)) = (root, validators) {
            self.shared.orderer.applied(height, root, &validators);
        }
        self.shared.applied.send_replace(height);
        if height.is_multiple_of(self.config.snapshot_heights) {
            self.save();
        }
        if let Some(duty) = duty {
            self.send(duty, height);
        }
        Ok(())
    }

    /// Takes a snapshot. Where that fails, the one before stays, and the blocks since then with it.
    fn save(&self) {
        let machine = self.shared.machine();
        let events: Vec<Happened> = machine.history().cloned().collect();
        let state = machine.state().clone();
        drop(machine);
        match snapshot::save(&*self.disk, &self.config.dir, &state, &events) {
            Ok(oldest) => {
                if let Err(error) = self.shared.orderer.prune(oldest) {
                    tracing::warn!(%error, "old blocks stay");
                }
            }
            Err(error) => tracing::warn!(%error, "no snapshot was taken"),
        }
    }

    /// Sends a transaction of the validator's own, not again before it had time to come through.
    fn send(&mut self, body: prunedb_registry::Body, height: u64) {
        let is_waiting = |(sent, at): &(prunedb_registry::Body, u64)| {
            *sent == body && height < at + AGAIN_HEIGHTS
        };
        if self.sent.as_ref().is_some_and(is_waiting) {
            return;
        }
        let (registry, nonce) = {
            let machine = self.shared.machine();
            let account = machine.state().bank().accounts.get(&self.shared.key.public());
            (*machine.state().registry(), account.map_or(0, |account| account.nonce))
        };
        let secret = self.shared.key.secret();
        let valid_until = height + OWN_TX_HEIGHTS;
        let tx = SignedTx::sign(&registry, nonce, valid_until, body.clone(), &[secret]);
        if let Err(error) = self.shared.orderer.submit(tx.to_bytes()) {
            tracing::warn!(%error, "a transaction of this validator was not taken");
        }
        self.sent = Some((body, height));
    }
}

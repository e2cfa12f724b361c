//! The writer's part: it holds the lease, has batches closed, follows the elections, reads back, and heeds the watermark.
//!
//! ```text
//! each block:  lease ── taken by each process, renewed; its term is that at the nodes
//!              elected holders ──> Db::follow_elections
//!              next batch in the lake ── Cosign at every validator ──> CloseBatch
//!              closed batches ── the manifest's head ──> CommitHead
//!                             ── read back from random shards ──> AttestReadBack
//!              watermark ──> Db::govern
//! ```
//! Offloading does not wait for any of it: closings follow behind, in their order, and only what may leave this machine waits.

use crate::{
    attest::{AttestError, ReadBack},
    lease::Tenure,
    task::{PAUSE, Stop, Task},
};
use prunedb_core::Term;
use prunedb_engine::{BatchFacts, Connect, Db, Elected, ElectedGroup, Governance, NodeDomains};
use prunedb_registry::{Body, CloseBatch, Key, NodeStatus, Secret, SignedTx, canonical::Canonical};
use prunedb_validator::{Client, ClientError, Happened, PAGE_MAX, Placement, Proposal, Status};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::runtime::Handle;

/// How long one wait for the next block is.
const WAIT_MS: u32 = 1_000;
/// Heights that a closing counts for.
const CLOSE_HEIGHTS: u64 = 200;

/// Why the writer's duties are not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriterError {
    /// The registry did not take it, or does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The database says so.
    #[error(transparent)]
    Engine(#[from] prunedb_engine::Error),
    /// What was closed was not read back.
    #[error(transparent)]
    Attest(#[from] AttestError),
    /// Another lake's registry.
    #[error("this registry is of lake {found}, the database of lake {expected}")]
    OtherLake {
        /// the database's
        expected: prunedb_core::LakeId,
        /// the registry's
        found: prunedb_core::LakeId,
    },
    /// Another process took the lease.
    #[error(
        "{holder} has taken the lease (term {term}, this process had {ours}): nothing is stored in the lake any more; end that writer, \
         then start this one again"
    )]
    Replaced {
        /// the term of this process
        ours: Term,
        /// the one that holds
        term: Term,
        /// who has it
        holder: Key,
    },
    /// Another writer has the lease.
    #[error(
        "{holder} has the lease up to height {until}: nothing is stored in the lake before that writer ends"
    )]
    LeaseHeld {
        /// who
        holder: Key,
        /// its last height
        until: u64,
    },
    /// The lake was written by another database since.
    #[error(
        "another writer has written the lake since: head {head} under term {term}; what was put here and is not in the lake stays \
         here, `prunedb recover` in an empty folder takes the lake over"
    )]
    OtherWriter {
        /// the term of its lease
        term: Term,
        /// the number of its head
        head: u64,
    },
    /// The next batch is in another group than the one whose turn it is.
    #[error(
        "batch {batch} is in group {found} of the lake, the registry has it in group {expected}"
    )]
    Group {
        /// which batch
        batch: u32,
        /// whose turn it is
        expected: u32,
        /// where it is
        found: u32,
    },
    /// Too few validators signed a closing.
    #[error("batch {batch}: {signed} of {validators} validators signed its closing; {}", refused.join("; "))]
    Unsigned {
        /// which batch
        batch: u32,
        /// who signed
        signed: usize,
        /// how many there are
        validators: usize,
        /// what the others said
        refused: Vec<String>,
    },
    /// A closing that was to come in a block did not.
    #[error("the closing of batch {batch} was refused: {reason}")]
    Refused {
        /// which batch
        batch: u32,
        /// why
        reason: String,
    },
}

impl WriterError {
    /// Whether another one has the right to write.
    const fn is_of_another(&self) -> bool {
        matches!(self, Self::Replaced { .. } | Self::LeaseHeld { .. } | Self::OtherWriter { .. })
    }
}

/// What a [`Writer`] works with.
pub struct WriterConfig {
    /// whom to ask
    pub client: Client,
    /// takes the lease: the key of a validator, or one of the writer's own
    pub lease: Secret,
    /// signs beside a writer's own key that it may take the lease
    pub authority: Option<Secret>,
    /// keys of validators in whose name this machine reads back
    pub attesters: Vec<Secret>,
    /// the database; its background offloads
    pub db: Db,
    /// makes the store behind a node's address
    pub connect: Arc<Connect>,
    /// told whenever what the registry says of the lake has changed, after the database was
    pub on_governance: Box<dyn Fn(Governance) + Send>,
    /// where network calls run
    pub runtime: Handle,
}

/// How far the writer is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriterStatus {
    /// the height that was looked at last
    pub height: u64,
    /// batches that this machine has read back
    pub read_back: u32,
    /// why something was not done, the last time
    pub problem: Option<String>,
}

/// The writer of a lake with a registry.
pub struct Writer {
    client: Client,
    db: Db,
    connect: Arc<Connect>,
    on_governance: Box<dyn Fn(Governance) + Send>,
    runtime: Handle,
    status: Arc<Mutex<WriterStatus>>,
    governance: Governance,
    tenure: Tenure,
    /// the next event to look at; `None`: the placement was not looked at yet
    seen: Option<u64>,
    read_back: ReadBack,
    names_offered: u32,
}

impl Writer {
    /// A writer that has done nothing yet.
    pub fn new(config: WriterConfig) -> Self {
        let WriterConfig {
            lease,
            authority,
            attesters,
            client,
            db,
            connect,
            on_governance,
            runtime,
        } = config;
        Self {
            governance: db.governance().unwrap_or_default(),
            client,
            db,
            connect,
            on_governance,
            runtime,
            status: Arc::default(),
            tenure: Tenure::new(lease, authority),
            seen: None,
            read_back: ReadBack::new(attesters),
            names_offered: 0,
        }
    }

    /// How far it is, while it runs.
    pub fn status(&self) -> Arc<Mutex<WriterStatus>> {
        Arc::clone(&self.status)
    }

    /// Does what is due, block after block, in a thread.
    pub fn run(mut self) -> Task {
        let mut height = 0;
        Task::start("prunedb-writer", move |stop| {
            let stepped = self.step(height, stop);
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            status.read_back = self.read_back.done;
            match stepped {
                Ok(reached) => {
                    (status.height, status.problem) = (reached, None);
                    height = reached + 1;
                }
                Err(error) => {
                    let problem = error.to_string();
                    // once each, not with every block
                    if status.problem.as_ref() != Some(&problem) {
                        tracing::warn!(
                            error = problem,
                            "the registry's duties are not done, they are tried again"
                        );
                    }
                    status.problem = Some(problem);
                    drop(status);
                    std::thread::sleep(PAUSE);
                }
            }
        })
    }

    /// Waits for a height, a little, and does what is due then.
    fn step(&mut self, height: u64, stop: &Stop) -> Result<u64, WriterError> {
        let reached = self.wait(self.client.height(height, WAIT_MS))?;
        if reached < height {
            return Ok(reached);
        }
        let status = self.wait(self.client.status())?;
        let (expected, found) = (self.db.lake(), status.lake);
        if expected != found {
            return Err(WriterError::OtherLake { expected, found });
        }
        let mut prunable_up_to = self.governance.prunable_up_to;
        if status.prunable_up_to > prunable_up_to {
            // what leaves this machine does not come back: one validator's word is not enough
            let agreed = self.runtime.block_on(self.client.agreed_watermark());
            prunable_up_to = agreed.unwrap_or(prunable_up_to).max(prunable_up_to);
        }
        self.govern(Governance { prunable_up_to, ..self.governance });
        let kept = self.runtime.block_on(self.tenure.keep(&self.client, &status, &self.db));
        if kept.as_ref().is_err_and(WriterError::is_of_another) {
            self.govern(Governance { lease: None, ..self.governance });
        }
        let term = kept?;
        self.govern(Governance { lease: Some(term), ..self.governance });
        let followed = self.follow(&status);
        let closed = self.close(&status, term);
        let committed = self.commit_head(&status, term);
        let attested = self.read_back.step(&self.client, &self.runtime, &self.db, &status, stop);
        followed.and(closed).and(committed)?;
        attested?;
        Ok(reached)
    }

    fn wait<T>(&self, asked: impl Future<Output = T>) -> T {
        self.runtime.block_on(asked)
    }

    fn govern(&mut self, governance: Governance) {
        if governance != self.governance || self.db.governance().is_none() {
            self.governance = governance;
            self.db.govern(governance);
            (self.on_governance)(governance);
        }
    }

    /// Tells the registry of the manifest's head, once for each batch that closed.
    fn commit_head(&mut self, status: &Status, term: Term) -> Result<(), WriterError> {
        if !self.governance.placed || !self.tenure.wants_head(status) {
            return Ok(());
        }
        let head = self.db.publish_head()?;
        // one that was written under an earlier lease is followed by others
        let Some(head) = head.filter(|head| head.lease == term) else { return Ok(()) };
        Ok(self.runtime.block_on(self.tenure.commit_head(&self.client, status, head))?)
    }

    /// Brings the lake's placement to what was elected.
    fn follow(&mut self, status: &Status) -> Result<(), WriterError> {
        if status.groups == 0 {
            return Ok(());
        }
        let next = match self.seen {
            None => {
                let (_, next) = self.wait(self.client.history(u64::MAX, 0, 0))?;
                next
            }
            Some(seen) => {
                let asked = self.client.history(seen, PAGE_MAX, 0);
                let (events, _) = self.wait(asked)?;
                let Some(last) = events.last() else { return Ok(()) };
                let next = last.number + 1;
                if !events.iter().any(changes_placement) {
                    self.seen = Some(next);
                    return Ok(());
                }
                next
            }
        };
        let placement = self.wait(self.client.placement())?;
        let moved = self.db.follow_elections(&elected(&placement), &*self.connect)?;
        if moved.slots > 0 || moved.stuck_slots > 0 {
            tracing::info!(
                slots = moved.slots,
                copied_shards = moved.copied_shards,
                rebuilt_shards = moved.rebuilt_shards,
                stuck_slots = moved.stuck_slots,
                "elected holders took over"
            );
        }
        self.govern(Governance { placed: true, ..self.governance });
        // what is stuck is tried again
        if moved.stuck_slots == 0 {
            self.seen = Some(next);
        }
        Ok(())
    }

    /// Has the next batch closed, where it is in the lake.
    fn close(&mut self, status: &Status, term: Term) -> Result<(), WriterError> {
        if status.closing.is_some() || !self.governance.placed {
            return Ok(());
        }
        let number = status.batches;
        let Some(batch) = self.db.batch(number)? else { return Ok(()) };
        let expected = number % status.groups.max(1);
        let found = batch.group.unwrap_or(expected);
        if expected != found {
            return Err(WriterError::Group { batch: number, expected, found });
        }
        let key = self.tenure.key().key();
        let (height, account) = self.wait(self.client.account(key))?;
        let nonce = account.ok_or(ClientError::Account { key })?.nonce;
        let close = close_of(&batch, term, expected);
        let (body, valid_until) = (Body::CloseBatch { batch: close }, height + CLOSE_HEIGHTS);
        let signers = [self.tenure.key()];
        let own = SignedTx::sign(&status.registry, nonce, valid_until, body, &signers);
        let (_, signature) = own.signatures[0];
        let names = batch.names.clone();
        let proposal = Proposal { nonce, valid_until, close, names, signature };
        let (signed, refused) = self.wait(self.client.cosign(&proposal));
        // those count that have looked, this writer's own validator like any other
        let validators = status.validators.len();
        let is_validator = |(key, _): &&(_, _)| status.validators.binary_search(key).is_ok();
        let counted = signed.iter().filter(is_validator).count();
        if counted * 3 <= validators * 2 {
            return Err(WriterError::Unsigned {
                batch: number,
                signed: counted,
                validators,
                refused,
            });
        }
        let mut signatures = own.signatures.clone();
        signatures.extend(signed.into_iter().filter(|(signer, _)| *signer != key));
        let tx = SignedTx { signatures, ..own };
        let name = self.wait(self.client.submit(tx.to_bytes()))?;
        let outcome = self.wait(self.client.outcome(name, prunedb_validator::WAIT_MS_MAX))?;
        match outcome.and_then(|outcome| outcome.refused) {
            // another transaction of ours came first: the next block's turn
            Some(refused) if refused.is_nonce => return Ok(()),
            Some(refused) => {
                return Err(WriterError::Refused { batch: number, reason: refused.reason });
            }
            None => tracing::info!(batch = number, signed = counted, "closing"),
        }
        if self.names_offered <= number {
            // those that did not sign serve them, too
            self.wait(self.client.offer_names(number, &batch.names));
            self.names_offered = number + 1;
        }
        Ok(())
    }
}

/// Whether slots may have another holder after an event, or a holder another address.
fn changes_placement(event: &Happened) -> bool {
    matches!(&event.kind[..], "joined" | "gone" | "assigned")
}

fn close_of(batch: &BatchFacts, term: Term, group: u32) -> CloseBatch {
    let facts = &batch.facts;
    CloseBatch {
        batch: batch.number,
        term: term.0,
        first_block: batch.first_record,
        blocks: batch.records,
        container_digest: batch.container_digest,
        root: batch.root,
        codec: facts.codec,
        generation: facts.generation.0,
        leaf_bytes: facts.leaf_bytes,
        leaves_per_shard: facts.leaves_per_shard,
        container_bytes: facts.container_bytes,
        coded_bytes: facts.coded_bytes,
        group,
    }
}

/// The registry's nodes and groups as the engine wants them.
fn elected(placement: &Placement) -> Elected {
    let present = |node: &&(u32, &prunedb_registry::Node)| node.1.status != NodeStatus::Gone;
    let numbered = (0..).zip(&placement.nodes);
    let nodes: Vec<_> = numbered.filter(|node| present(&node)).collect();
    let positions: BTreeMap<u32, usize> =
        nodes.iter().enumerate().map(|(position, (number, _))| (*number, position)).collect();
    // domains are numbers there: equal ones have equal names
    let domain = |number: u32| if number == 0 { String::new() } else { number.to_string() };
    let domains = |node: &prunedb_registry::Node| NodeDomains {
        operator: domain(node.domains[0]),
        network: domain(node.domains[1]),
        place: domain(node.domains[2]),
    };
    let group = |group: &prunedb_registry::SlotGroup| ElectedGroup {
        policy: group.policy,
        slots: group
            .slots
            .iter()
            .map(|slot| slot.holder.and_then(|holder| positions.get(&holder.0).copied()))
            .collect(),
    };
    Elected {
        nodes: nodes
            .iter()
            .map(|(_, node)| (node.endpoint.as_str().to_owned(), domains(node)))
            .collect(),
        groups: placement.groups.iter().map(group).collect(),
    }
}

//! A storage node's part: receipts for what it got, and a proof in every epoch.
//!
//! ```text
//! each block: duty ── slots not filled ──> shard there, and under the root? ──> Receipt
//!                  └─ an epoch's seed ──> samples ──> Prove
//! ```

use crate::{
    shards::{HeldShards, MakeShard},
    task::Task,
};
use prunedb_core::{ContainerId, Digest, Policy, ShardId, ShardIndex};
use prunedb_proof::{SampleProof, merkle};
use prunedb_registry::{Answer, Batch, Body, Endpoint, NodeId, OwedSample, Proof, Receipt, Secret};
use prunedb_validator::{Client, ClientError, Duty, SlotDuty};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::runtime::Handle;

/// How long one wait for the next block is.
const WAIT_MS: u32 = 1_000;
/// Names of batches that are kept.
const NAMES_MAX: usize = 256;

/// Why a node did not do what it owes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HolderError {
    /// The registry did not take it, or does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No validator knows the names of a batch's shards.
    #[error("no validator knows the shard names of batch {batch}")]
    Names {
        /// which batch
        batch: u32,
    },
    /// A sample that is owed cannot be shown.
    #[error("sample {sample} of shard {slot} of batch {batch} cannot be shown: {reason}")]
    Sample {
        /// which batch
        batch: u32,
        /// which shard
        slot: u8,
        /// which sample
        sample: u64,
        /// why
        reason: String,
    },
}

/// A storage node as a holder of the registry.
pub struct Holder {
    client: Client,
    secret: Secret,
    shards: Arc<dyn HeldShards>,
    own: Option<Arc<dyn MakeShard>>,
    runtime: Handle,
    names: HashMap<Digest, Vec<Digest>>,
}

impl Holder {
    /// A node with this key and these shards; with `own`, it makes shards itself from the blocks that its machine has.
    pub fn new(
        client: Client,
        secret: Secret,
        shards: Arc<dyn HeldShards>,
        own: Option<Arc<dyn MakeShard>>,
        runtime: Handle,
    ) -> Self {
        Self { client, secret, shards, own, runtime, names: HashMap::new() }
    }

    /// Does what is due, block after block, in a thread.
    pub fn run(mut self) -> Task {
        Task::each_height("prunedb-holder", move |height, _stop| self.step(height))
    }

    /// Waits for a height, a little, and does what is due then; the height.
    ///
    /// # Errors
    /// [`HolderError`]; what is due stays due.
    pub fn step(&mut self, height: u64) -> Result<u64, HolderError> {
        let reached = self.runtime.block_on(self.client.height(height, WAIT_MS))?;
        if reached < height {
            return Ok(reached);
        }
        if let Some(duty) = self.runtime.block_on(self.client.duty(self.secret.key()))? {
            self.acknowledge(&duty)?;
            if duty.samples > 0 {
                self.prove(&duty)?;
            }
        }
        Ok(reached)
    }

    fn send(&self, duty: &Duty, body: Body) -> Result<(), HolderError> {
        let signers = [&self.secret];
        self.runtime.block_on(self.client.send(&duty.registry, body, &signers))?;
        Ok(())
    }

    /// Says what it has of each slot that is not filled.
    fn acknowledge(&mut self, duty: &Duty) -> Result<(), HolderError> {
        for slot in &duty.slots {
            let mut batches = slot.acknowledged;
            for (number, batch) in &slot.missing {
                if !self.has(duty, slot, *number, batch)? {
                    break;
                }
                batches += 1;
            }
            if batches > slot.acknowledged {
                let receipt =
                    Receipt { node: duty.node, group: slot.group, slot: slot.slot, batches };
                self.send(duty, Body::Receipt { receipt })?;
            }
        }
        Ok(())
    }

    /// Whether the right shard of a batch is here; it is made where the blocks are.
    fn has(
        &mut self,
        duty: &Duty,
        slot: &SlotDuty,
        number: u32,
        batch: &Batch,
    ) -> Result<bool, HolderError> {
        let (index, policy) = (ShardIndex(slot.slot), slot.policy);
        let id = ShardId { lake: duty.lake, container: ContainerId::data(number), index };
        let held = || {
            self.shards.stat(id).unwrap_or_else(|error| {
                tracing::warn!(batch = number, %index, error, "cannot tell whether a shard is here");
                None
            })
        };
        let mut found = held();
        if found.is_none()
            && let Some(own) = &self.own
        {
            match own.make(number, batch, policy, index) {
                Ok(_) => found = held(),
                Err(error) => {
                    tracing::warn!(batch = number, %index, error, "the own shard was not made")
                }
            }
        }
        let Some((name, bytes)) = found else { return Ok(false) };
        let names = self.names(duty, number, batch, policy)?;
        Ok(bytes == batch.shard_bytes() && names[index.as_usize()] == name)
    }

    /// The names of a batch's shards, checked against its root.
    fn names(
        &mut self,
        duty: &Duty,
        number: u32,
        batch: &Batch,
        policy: Policy,
    ) -> Result<Vec<Digest>, HolderError> {
        if let Some(names) = self.names.get(&batch.root) {
            return Ok(names.clone());
        }
        let names = self.runtime.block_on(self.client.names(batch.root))?;
        let facts = batch.facts(duty.lake, number, policy);
        if facts.verify(&names, &batch.root).is_err() {
            return Err(HolderError::Names { batch: number });
        }
        if self.names.len() == NAMES_MAX {
            self.names.clear();
        }
        self.names.insert(batch.root, names.clone());
        Ok(names)
    }

    /// Shows what the epoch's seed asks for.
    fn prove(&mut self, duty: &Duty) -> Result<(), HolderError> {
        let answers = if duty.sequential {
            let mut answers: Vec<Answer> = Vec::new();
            while answers.len() < usize::from(duty.samples) {
                let shown = answers.iter().map(|answer| *answer.sample.sample).collect();
                let owed = self.challenge(duty.node, shown)?;
                let next = owed.last().copied().into_iter().collect::<Vec<_>>();
                answers.extend(self.answers(duty, &next)?);
            }
            answers
        } else {
            let owed = self.challenge(duty.node, Vec::new())?;
            self.answers(duty, &owed)?
        };
        let proof = Proof {
            epoch: duty.epoch,
            node: duty.node,
            endpoint: Endpoint::clone(&duty.endpoint),
            answers,
        };
        self.send(duty, Body::Prove { proof })
    }

    fn challenge(
        &self,
        node: NodeId,
        shown: Vec<[u8; 1024]>,
    ) -> Result<Vec<OwedSample>, HolderError> {
        Ok(self.runtime.block_on(self.client.challenge(node, shown))?)
    }

    /// Answers for some samples, in their order; each shard is read once.
    fn answers(&mut self, duty: &Duty, owed: &[OwedSample]) -> Result<Vec<Answer>, HolderError> {
        let mut of_shard: BTreeMap<(u32, u8), Vec<u64>> = BTreeMap::new();
        for sample in owed {
            of_shard.entry((sample.batch, sample.slot)).or_default().push(sample.sample);
        }
        let mut shown: BTreeMap<(u32, u8), std::vec::IntoIter<SampleProof>> = BTreeMap::new();
        let mut names: BTreeMap<u32, Vec<Digest>> = BTreeMap::new();
        for ((batch, slot), samples) in of_shard {
            let id = ShardId {
                lake: duty.lake,
                container: ContainerId::data(batch),
                index: ShardIndex(slot),
            };
            let proofs = self.shards.show(id, &samples).map_err(|reason| HolderError::Sample {
                batch,
                slot,
                sample: samples[0],
                reason,
            })?;
            shown.insert((batch, slot), proofs.into_iter());
            if let std::collections::btree_map::Entry::Vacant(vacant) = names.entry(batch) {
                let (records, ..) = self.runtime.block_on(self.client.batches(batch, 1))?;
                let root = records.first().ok_or(HolderError::Names { batch })?.root;
                let known = self.names.get(&root).cloned();
                let known = match known {
                    Some(known) => known,
                    None => self.runtime.block_on(self.client.names(root))?,
                };
                vacant.insert(known);
            }
        }
        let mut answers = Vec::with_capacity(owed.len());
        for OwedSample { batch, slot, sample } in owed.iter().copied() {
            let names = &names[&batch];
            let no_names = HolderError::Names { batch };
            let name = *names.get(usize::from(slot)).ok_or(no_names)?;
            let name_path = merkle::path(names, slot.into()).expect("there is such a name");
            let proofs = shown.get_mut(&(batch, slot)).expect("every shard was shown");
            let reason = || "the node showed fewer samples than asked for".to_owned();
            let proof = proofs.next().ok_or_else(|| HolderError::Sample {
                batch,
                slot,
                sample,
                reason: reason(),
            })?;
            answers.push(Answer { name, name_path, sample: proof });
        }
        Ok(answers)
    }
}

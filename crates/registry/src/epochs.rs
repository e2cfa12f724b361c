//! Epochs: a seed, one proof from every node that owes, a settlement.
//!
//! ```text
//! start ── commit ── reveal ── seed ────── proofs ────── settled ── the next one: at a closing, or by time
//!   owed sets are frozen          nobody knew what to keep
//! ```
//! A slot owes the batches that its holder had acknowledged when the epoch began; one that moved since then is excused. A
//! node's proof covers all that it owes, by samples drawn from the seed, so its size does not grow with the lake.

use crate::{
    canonical::canonical_struct,
    event::{Event, Events},
    faults::{FaultReport, priority_samples},
    groups::Slot,
    ids::{Amount, Key},
    reject::{Reject, expect_value},
    state::State,
    tx::{CheckedTx, Proof},
};
use prunedb_core::Digest;
use prunedb_placement::NodeId;
use prunedb_proof::{Challenge, SAMPLE_BYTES, verify_sample};
use std::collections::{BTreeMap, BTreeSet};

canonical_struct! {
    /// The running epoch.
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub struct Epoch {
        /// its number
        pub number: u32,
        /// height at which it began
        pub started: u64,
        /// validators' hashes of their secrets
        pub commitments: BTreeMap<Key, Digest>,
        /// the secrets
        pub reveals: BTreeMap<Key, [u8; 32]>,
        /// the beacon's value
        pub beacon: Option<[u8; 32]>,
        /// the seed, once it is fixed
        pub seed: Option<[u8; 32]>,
        /// the seed of the epoch before
        pub seed_before: Option<[u8; 32]>,
        /// the last seed that was fixed
        pub last_seed: [u8; 32],
        /// batches of each group at its beginning
        pub frozen: Vec<u32>,
        /// closed batches at its beginning
        pub frozen_batches: u32,
        /// nodes that owed something at its beginning
        pub owing: u32,
        /// nodes that proved it
        pub proven: BTreeSet<NodeId>,
        /// proofs are all there, or late
        pub settled: bool,
        /// once settled: groups with fewer good shards than they must have
        pub weak_groups: u32,
        /// faults that this epoch's samples look into
        pub priority: BTreeMap<NodeId, FaultReport>,
        /// faults for the next one
        pub reported: BTreeMap<NodeId, FaultReport>,
    }
}

canonical_struct! {
    /// A sample that a node has to show.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct OwedSample {
        /// of which batch
        pub batch: u32,
        /// of which shard
        pub slot: u8,
        /// which sample of the shard
        pub sample: u64,
    }
}

impl Epoch {
    /// Whether a validator may commit, and not reveal yet, at a height.
    const fn is_commit_phase(&self, height: u64, seed_heights: u64) -> bool {
        height < self.started.saturating_add(seed_heights / 2)
    }
}

impl State {
    pub(crate) fn start_epoch(&mut self, events: &mut Events) {
        let frozen_batches = self.batches.count();
        self.freeze();
        self.epoch = Epoch {
            number: self.epoch.number.saturating_add(1),
            started: self.height,
            seed_before: self.epoch.seed,
            last_seed: self.epoch.last_seed,
            frozen: std::mem::take(&mut self.epoch.frozen),
            frozen_batches,
            owing: self.holdings.owing(),
            priority: std::mem::take(&mut self.epoch.reported),
            ..Epoch::default()
        };
        self.forget_reports();
        if let Some(validators) = self.next_validators.take() {
            self.watermark.attested.retain(|key, _| validators.contains(key));
            self.validators = validators;
            events.push(Event::ValidatorsChanged);
        }
        events.push(Event::EpochStarted(self.epoch.number));
    }

    pub(crate) fn commit_seed(
        &mut self,
        tx: &CheckedTx,
        epoch: u32,
        commitment: Digest,
    ) -> Result<(), Reject> {
        self.require_validator(tx)?;
        expect_value("epoch", epoch, self.epoch.number)?;
        if !self.epoch.is_commit_phase(self.height, self.params.seed_heights) {
            return Err(Reject::Phase("commitments are closed"));
        }
        if self.epoch.commitments.contains_key(&tx.sender()) {
            return Err(Reject::Phase("committed already"));
        }
        self.epoch.commitments.insert(tx.sender(), commitment);
        Ok(())
    }

    pub(crate) fn reveal_seed(
        &mut self,
        tx: &CheckedTx,
        epoch: u32,
        secret: [u8; 32],
    ) -> Result<(), Reject> {
        expect_value("epoch", epoch, self.epoch.number)?;
        if self.epoch.is_commit_phase(self.height, self.params.seed_heights)
            || self.epoch.seed.is_some()
        {
            return Err(Reject::Phase("secrets are revealed between commitments and seed"));
        }
        let commitment = Digest(blake3::derive_key("prunedb v1 seed commitment", &secret));
        if self.epoch.commitments.get(&tx.sender()) != Some(&commitment) {
            return Err(Reject::Signer("who committed to this secret"));
        }
        self.epoch.reveals.insert(tx.sender(), secret);
        Ok(())
    }

    pub(crate) fn beacon(
        &mut self,
        tx: &CheckedTx,
        epoch: u32,
        value: [u8; 32],
    ) -> Result<(), Reject> {
        expect_value("epoch", epoch, self.epoch.number)?;
        if self.params.beacon != Some(tx.sender()) {
            return Err(Reject::Signer("the beacon"));
        }
        if self.epoch.seed.is_some() || self.epoch.beacon.is_some() {
            return Err(Reject::Phase("the epoch has its seed"));
        }
        self.epoch.beacon = Some(value);
        Ok(())
    }

    /// What an epoch does when a block comes.
    pub(crate) fn advance_epoch(&mut self, events: &mut Events) {
        let since = self.height.saturating_sub(self.epoch.started);
        if self.epoch.seed.is_none() && since >= self.params.seed_heights {
            self.fix_seed(events);
        }
        if !self.epoch.settled && self.epoch.seed.is_some() {
            let late = since >= self.params.seed_heights.saturating_add(self.params.proof_heights);
            if late || self.epoch.proven.len() as u64 >= self.epoch.owing.into() {
                self.settle(events);
            }
        }
        self.try_close(events);
        let since = self.height.saturating_sub(self.epoch.started);
        // a closing waits for the proofs of its epoch; the clock does not interrupt it
        if self.epoch.settled && since >= self.params.epoch_heights {
            self.start_epoch(events);
        }
    }

    fn fix_seed(&mut self, events: &mut Events) {
        let mut input = self.epoch.last_seed.to_vec();
        input.extend_from_slice(&self.epoch.number.to_le_bytes());
        input.extend(self.epoch.beacon.into_iter().flatten());
        for (validator, secret) in &self.epoch.reveals {
            input.extend_from_slice(&validator.0);
            input.extend_from_slice(secret);
        }
        let seed = blake3::derive_key("prunedb v1 epoch seed", &input);
        for validator in self.epoch.commitments.keys() {
            if !self.epoch.reveals.contains_key(validator) {
                events.push(Event::SeedWithheld(*validator));
            }
        }
        (self.epoch.seed, self.epoch.last_seed) = (Some(seed), seed);
        events.push(Event::SeedFixed { epoch: self.epoch.number, seed });
    }

    /// The slots that a node owes in this epoch, each with the samples so far.
    pub(crate) fn owed(&self, node: NodeId) -> Vec<(u32, u8, u64)> {
        let mut samples = 0;
        let mut owed = Vec::new();
        for (group, slot) in self.holdings.slots(node) {
            let frozen = self.slot(group, slot).owed;
            if frozen > 0 {
                samples += self.batches.samples(group, frozen);
                owed.push((group, slot, samples));
            }
        }
        owed
    }

    /// The samples that a node has to show in this epoch. `shown` gives what is shown at each position: in a sequential
    /// challenge the next one depends on it.
    ///
    /// # Errors
    /// [`Reject::Phase`] where nothing is to be shown yet, or any more; [`Reject::Node`].
    pub fn challenge(
        &self,
        node: NodeId,
        mut shown: impl FnMut(u16, OwedSample) -> Option<[u8; SAMPLE_BYTES]>,
    ) -> Result<Vec<OwedSample>, Reject> {
        self.present(node)?;
        if self.epoch.settled {
            return Err(Reject::Phase("the epoch's proofs are settled"));
        }
        let seed = self.epoch.seed.ok_or(Reject::Phase("the epoch has no seed yet"))?;
        let owed = self.owed(node);
        let places = owed.last().map_or(0, |last| last.2);
        if places == 0 {
            return Err(Reject::Phase("the node owes nothing in this epoch"));
        }
        let challenge = Challenge { seed, holder: node.0, sequential: self.params.sequential };
        let priority = self.priority_places(node, &owed);
        let first_priority = self.params.samples - priority_samples(self.params.samples);
        let mut before = None;
        let mut out = Vec::new();
        for index in 0..self.params.samples {
            let drawn = match &priority {
                Some(shard) if index >= first_priority => shard.clone(),
                _ => 0..places,
            };
            let among = drawn.end - drawn.start;
            let place = drawn.start + challenge.place(index, among, before.as_ref());
            let position = owed.partition_point(|o| o.2 <= place);
            let (group, slot, _) = owed[position];
            let first = position.checked_sub(1).map_or(0, |p| owed[p].2);
            let at = self.batches.sample(group, place - first);
            let owed = OwedSample { batch: at.batch, slot, sample: at.sample };
            before = shown(index, owed);
            out.push(owed);
        }
        Ok(out)
    }

    pub(crate) fn prove(
        &mut self,
        tx: &CheckedTx,
        proof: &Proof,
        events: &mut Events,
    ) -> Result<(), Reject> {
        let node = proof.node;
        if self.present(node)?.key != tx.sender() {
            return Err(Reject::Signer("the node"));
        }
        expect_value("epoch", proof.epoch, self.epoch.number)?;
        if self.epoch.proven.contains(&node) {
            return Err(Reject::Phase("the node proved in this epoch already"));
        }
        expect_value("answers", proof.answers.len() as u64, self.params.samples)?;
        let answer = |position: u16| &proof.answers[usize::from(position)];
        let samples = self.challenge(node, |position, _| Some(*answer(position).sample.sample))?;
        for (position, OwedSample { batch, slot, sample }) in (0..).zip(samples) {
            let record = self.batches.get(batch).expect("only closed batches are owed");
            let policy = self.groups[record.group as usize].policy;
            let given = answer(position);
            let facts = record.facts(self.lake, batch, policy);
            facts
                .verify_name(&given.name, slot.into(), &given.name_path, &record.root)
                .map_err(|source| Reject::Root { position, source })?;
            verify_sample(&given.name, record.shard_bytes(), sample, &given.sample)
                .map_err(|source| Reject::Sample { position, source })?;
        }
        self.nodes[node.0 as usize].endpoint = proof.endpoint.clone();
        self.epoch.proven.insert(node);
        events.push(Event::Proven(node));
        Ok(())
    }

    /// The end of the proofs: who did not prove is noted, who did is paid, and slots of those who fail too often are elected anew.
    fn settle(&mut self, events: &mut Events) {
        let numbers = 0..u32::try_from(self.nodes.len()).expect("bounded by nodes_max");
        let owed_gib = |samples: u64| samples.saturating_mul(SAMPLE_BYTES as u64) >> 30;
        let mut due = Vec::new();
        for node in numbers.map(NodeId) {
            let samples = self.owed(node).last().map_or(0, |last| last.2);
            let missed = samples > 0 && !self.epoch.proven.contains(&node);
            let place = node.0 as usize;
            let was_suspended = self.nodes[place].is_suspended(&self.params);
            self.nodes[place].misses = (self.nodes[place].misses << 1) | u8::from(missed);
            if samples > 0 && !missed {
                let pay = self.params.pay_per_gib.0.saturating_mul(owed_gib(samples));
                due.push((node, Amount(pay)));
            }
            if missed {
                events.push(Event::Missed(node));
                if let Some(FaultReport { reporter, .. }) = self.epoch.priority.get(&node) {
                    events.push(Event::FaultConfirmed { node, reporter: *reporter });
                }
            }
            if self.nodes[place].is_suspended(&self.params) && !was_suspended {
                self.slash(node, events);
            }
        }
        let (paid, short) = self.pay(&due);
        self.epoch.weak_groups = self.weak_groups();
        self.epoch.settled = true;
        events.push(Event::EpochSettled { epoch: self.epoch.number, paid, short });
        self.raise_watermark(events);
        self.elect(events);
    }

    /// Pays each what is due, or the same share of it where the escrow is short. What was paid, and what was missing.
    fn pay(&mut self, due: &[(NodeId, Amount)]) -> (Amount, Amount) {
        let all: u128 = due.iter().map(|(_, pay)| u128::from(pay.0)).sum();
        let escrow = u128::from(self.bank.escrow.0);
        let mut paid = Amount(0);
        for &(node, pay) in due {
            let share = if all > escrow { u128::from(pay.0) * escrow / all } else { pay.0.into() };
            let share = Amount(u64::try_from(share).expect("at most what is due"));
            let owner = self.nodes[node.0 as usize].owner;
            self.bank.escrow =
                self.bank.escrow.minus(share).expect("shares are at most the escrow");
            self.bank.give(&owner, share);
            paid = paid.plus(share).expect("at most the escrow");
        }
        let short = all.saturating_sub(paid.0.into());
        (paid, Amount(u64::try_from(short).unwrap_or(u64::MAX)))
    }

    fn slash(&mut self, node: NodeId, events: &mut Events) {
        let place = &mut self.nodes[node.0 as usize];
        let amount = place.stake.parts_per_million(self.params.slash_ppm);
        if amount > Amount(0) {
            place.stake = place.stake.minus(amount).expect("a part of the stake");
            let rest = self.reward_reporter(node, amount);
            self.bank.give_escrow(rest);
            events.push(Event::Slashed { node, amount });
        }
    }

    fn weak_groups(&self) -> u32 {
        let weak = self.groups.iter().zip(&self.epoch.frozen).filter(|(group, frozen)| {
            **frozen > 0 && self.proven_slots(group, **frozen) < group.needed(self.params.margin)
        });
        u32::try_from(weak.count()).expect("bounded by groups_max")
    }

    /// Slots whose holder proved at least so many batches in this epoch.
    pub(crate) fn proven_slots(&self, group: &crate::groups::SlotGroup, batches: u32) -> usize {
        let is_proven = |slot: &&Slot| {
            slot.owed >= batches && slot.holder.is_some_and(|n| self.epoch.proven.contains(&n))
        };
        group.slots.iter().filter(is_proven).count()
    }
}

//! The registry's state as one validator has it, with what it remembers beside it: outcomes, events, the last root.
//!
//! Pure: blocks in, answers out. What is remembered beside the state is this validator's own, bounded, and part of no root.

use crate::{
    history::{Happened, History},
    message::{
        Answer, DUTY_BATCHES_MAX, Duty, EpochStatus, Outcome, PAGE_MAX, Placement, Refused,
        SlotDuty, Status,
    },
};
use prunedb_consensus::CHECKPOINT_HEIGHTS;
use prunedb_core::Digest;
use prunedb_registry::{Key, NodeId, NodeStatus, Reject, RentedCell, SignedTx, State};
use std::collections::{HashMap, VecDeque};

/// Outcomes that are kept.
const OUTCOMES_MAX: usize = 16_384;

/// Names a transaction by its bytes.
pub fn tx_name(tx: &[u8]) -> Digest {
    Digest(blake3::derive_key("prunedb v1 transaction bytes", tx))
}

/// The state, and what is remembered beside it.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    /// after the last height that is a checkpoint
    root: (u64, Digest),
    outcomes: Outcomes,
    history: History,
}

#[derive(Debug, Default)]
struct Outcomes {
    by_name: HashMap<Digest, Outcome>,
    order: VecDeque<Digest>,
}

impl Outcomes {
    /// Remembers what became of a transaction; where it comes a second time, the first outcome stays.
    fn add(&mut self, name: Digest, outcome: Outcome) {
        if self.by_name.contains_key(&name) {
            return;
        }
        if self.order.len() == OUTCOMES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_name.remove(&oldest);
        }
        self.order.push_back(name);
        self.by_name.insert(name, outcome);
    }
}

impl Machine {
    pub(crate) fn new(state: State, history: Vec<Happened>) -> Self {
        let root = (state.height(), state.root());
        Self { state, root, outcomes: Outcomes::default(), history: History::restore(history) }
    }

    pub(crate) const fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn history(&self) -> impl Iterator<Item = &Happened> {
        self.history.iter()
    }

    /// Applies the block of the next height; one that was applied already changes nothing. The root, where the height is a
    /// checkpoint.
    ///
    /// # Errors
    /// [`Reject::Height`]: blocks are missing before this one.
    pub(crate) fn apply(&mut self, height: u64, txs: &[Vec<u8>]) -> Result<Option<Digest>, Reject> {
        if height <= self.state.height() {
            return Ok(None);
        }
        let events = self.state.advance(height)?;
        self.history.add(height, &events);
        for bytes in txs {
            let refused = self.apply_tx(height, bytes).err();
            self.outcomes.add(tx_name(bytes), Outcome { height, refused });
        }
        if !height.is_multiple_of(CHECKPOINT_HEIGHTS) {
            return Ok(None);
        }
        let root = self.state.root();
        self.root = (height, root);
        Ok(Some(root))
    }

    fn apply_tx(&mut self, height: u64, bytes: &[u8]) -> Result<(), Refused> {
        let refused = |reason: String| Refused { is_nonce: false, reason };
        let tx = SignedTx::decode(bytes).map_err(|e| refused(e.to_string()))?;
        let tx = tx.check(self.state.registry()).map_err(|e| refused(e.to_string()))?;
        let events = self.state.apply(height, &tx).map_err(|reject| Refused {
            is_nonce: matches!(reject, Reject::Nonce { .. }),
            reason: reject.to_string(),
        })?;
        self.history.add(height, &events);
        Ok(())
    }

    pub(crate) fn outcome(&self, tx: &Digest) -> Option<Outcome> {
        self.outcomes.by_name.get(tx).cloned()
    }

    /// Number of the event that comes next.
    pub(crate) const fn next_event(&self) -> u64 {
        self.history.next()
    }

    pub(crate) fn events(&self, from: u64, count: u32) -> Answer {
        let events = self.history.page(from, count.min(PAGE_MAX) as usize);
        Answer::History { events, next: self.history.next() }
    }

    pub(crate) fn status(
        &self,
        key: Key,
        waiting_txs: u32,
        unsigned: Option<String>,
        failure: Option<String>,
    ) -> Status {
        let state = &self.state;
        let nodes = state.nodes();
        let is_failing = |n: &&prunedb_registry::Node| {
            n.status == NodeStatus::Leaving || (n.status == NodeStatus::Active && n.misses & 1 == 1)
        };
        Status {
            key,
            registry: *state.registry(),
            lake: state.lake(),
            height: state.height(),
            root: self.root.1,
            root_height: self.root.0,
            validators: state.validators().to_vec(),
            nodes: count(nodes.iter().filter(|n| n.status != NodeStatus::Gone).count()),
            failing_nodes: count(nodes.iter().filter(is_failing).count()),
            groups: count(state.groups().len()),
            repairs: count(state.repairs().len()),
            batches: state.batches().count(),
            closing: state.closing().map(|_| state.batches().count()),
            prunable_up_to: state.prunable_up_to(),
            epoch: self.epoch_status(),
            lease: state.lease().cloned(),
            head: state.head().copied(),
            escrow: state.bank().escrow,
            waiting_txs,
            unsigned,
            failure,
        }
    }

    fn epoch_status(&self) -> EpochStatus {
        let epoch = self.state.epoch();
        EpochStatus {
            number: epoch.number,
            started: epoch.started,
            has_seed: epoch.seed.is_some(),
            owing: epoch.owing,
            proven: count(epoch.proven.len()),
            settled: epoch.settled,
            weak_groups: epoch.weak_groups,
        }
    }

    pub(crate) fn placement(&self) -> Placement {
        let state = &self.state;
        Placement {
            height: state.height(),
            nodes: state.nodes().to_vec(),
            groups: state.groups().to_vec(),
            repairs: state.repairs().iter().map(|(at, repair)| (*at, *repair)).collect(),
        }
    }

    pub(crate) fn batches(&self, first: u32, wanted: u32) -> Answer {
        let batches = self.state.batches();
        let wanted = wanted.min(PAGE_MAX) as usize;
        Answer::Batches {
            count: batches.count(),
            batches: batches.iter().skip(first as usize).take(wanted).copied().collect(),
            closing: self.state.closing().copied(),
        }
    }

    pub(crate) fn cells(&self, first: u64, wanted: u32) -> Vec<(u64, RentedCell)> {
        let cells = self.state.market().cells.range(first..);
        cells.take(wanted.min(PAGE_MAX) as usize).map(|(n, cell)| (*n, cell.clone())).collect()
    }

    /// The root of a batch, closed or closing, that these shard names lead to.
    pub(crate) fn root_of_names(&self, batch: u32, names: &[Digest]) -> Option<Digest> {
        let state = &self.state;
        let closing = state.closing().filter(|_| batch == state.batches().count());
        let record = state.batches().get(batch).or(closing)?;
        let policy = state.groups().get(record.group as usize)?.policy;
        let facts = record.facts(state.lake(), batch, policy);
        facts.verify(names, &record.root).ok().map(|()| record.root)
    }

    /// What the node with a key has to do now.
    pub(crate) fn duty(&self, key: &Key) -> Option<Duty> {
        let state = &self.state;
        let node = state.node_of(key)?;
        let epoch = state.epoch();
        let owes = epoch.seed.is_some()
            && !epoch.settled
            && !epoch.proven.contains(&node)
            && state.challenge(node, |_, _| None).is_ok();
        let mut room = DUTY_BATCHES_MAX;
        let mut slots = Vec::new();
        for (number, group) in (0..).zip(state.groups()) {
            for (index, slot) in (0..).zip(&group.slots) {
                if slot.holder != Some(node) {
                    continue;
                }
                let missing: Vec<_> = state.missing_of(number, slot.batches, room).collect();
                if missing.is_empty() {
                    continue;
                }
                room -= missing.len();
                slots.push(SlotDuty {
                    group: number,
                    slot: index,
                    acknowledged: slot.batches,
                    missing,
                    policy: group.policy,
                });
            }
        }
        Some(Duty {
            node,
            endpoint: state.nodes()[node.0 as usize].endpoint.clone(),
            lake: state.lake(),
            registry: *state.registry(),
            height: state.height(),
            epoch: epoch.number,
            samples: if owes { state.params().samples } else { 0 },
            sequential: state.params().sequential,
            slots,
        })
    }

    /// The samples that a node owes.
    ///
    /// # Errors
    /// [`Reject`]: none, now.
    pub(crate) fn challenge(&self, node: NodeId, shown: &[[u8; 1024]]) -> Result<Answer, Reject> {
        let mut samples =
            self.state.challenge(node, |index, _| shown.get(usize::from(index)).copied())?;
        if self.state.params().sequential {
            samples.truncate(shown.len() + 1);
        }
        Ok(Answer::Challenge { samples })
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("the state's lists are bounded far below 2^32")
}

//! A registry with validators and nodes that keep real shards in memory.

use prunedb_core::{Digest, LakeId, Policy};
use prunedb_proof::{merkle, prove_sample};
use prunedb_registry::{
    Amount, Answer, Body, CheckedTx, CloseBatch, Endpoint, Event, Events, Genesis, JoinNode, Key,
    NodeId, OwedSample, Params, Proof, Receipt, Reject, State,
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const AUTHORITY: Key = Key([1; 32]);
/// Those that there may be.
pub(crate) const AUTHORITIES: [Key; 3] = [AUTHORITY, Key([7; 32]), Key([8; 32])];
pub(crate) const VALIDATORS: [Key; 4] = [Key([2; 32]), Key([3; 32]), Key([4; 32]), Key([5; 32])];
pub(crate) const OWNER: Key = Key([6; 32]);
const LEAF_BYTES: u32 = 4096;

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) policy: Policy,
    /// nodes that do nothing any more
    pub(crate) dead: BTreeSet<NodeId>,
    /// every block so far: what was sent in it and accepted
    pub(crate) history: Vec<Vec<CheckedTx>>,
    names: BTreeMap<u32, Vec<Digest>>,
}

/// Short phases, so that tests are short.
pub(crate) fn params() -> Params {
    Params {
        epoch_heights: 40,
        seed_heights: 4,
        proof_heights: 10,
        closing_heights: 5,
        repair_heights: 30,
        samples: 6,
        attesters: 2,
        ..Params::permissioned(AUTHORITY)
    }
}

pub(crate) fn genesis(params: Params) -> Genesis {
    Genesis { lake: LakeId([9; 16]), params, validators: VALIDATORS.to_vec() }
}

pub(crate) fn node_key(number: u32) -> Key {
    let mut key = [100; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    Key(key)
}

/// Shard bytes as everybody can make them again.
fn shard(batch: u32, slot: usize, leaves: u32) -> Vec<u8> {
    let mut bytes = vec![0; (leaves * LEAF_BYTES) as usize];
    let mut hasher = blake3::Hasher::new_derive_key("test shard");
    hasher.update(&batch.to_le_bytes()).update(&slot.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

const fn leaves(batch: u32) -> u32 {
    1 + batch % 3
}

impl World {
    pub(crate) fn new(params: Params, policy: &str) -> Self {
        Self {
            state: State::new(&genesis(params)).unwrap(),
            policy: policy.parse().unwrap(),
            dead: BTreeSet::new(),
            history: Vec::new(),
            names: BTreeMap::new(),
        }
    }

    /// A registry with nodes, groups and the lease.
    pub(crate) fn started(params: Params, policy: &str, nodes: u32, groups: u32) -> Self {
        let mut world = Self::new(params, policy);
        world.block();
        world.deposit(OWNER, 1_000_000);
        for _ in 0..nodes {
            world.join().unwrap();
        }
        let policy = world.policy;
        world.send(Body::OpenGroups { policy, count: groups }, &[AUTHORITY]).unwrap();
        world.send(Body::AcquireLease { term: 0, heights: 10_000 }, &[VALIDATORS[0]]).unwrap();
        world
    }

    /// As many authorities as must sign now.
    pub(crate) fn governors(&self) -> Vec<Key> {
        let params = self.state.params();
        params.authorities[..params.authority_threshold.into()].to_vec()
    }

    /// Begins the next block.
    pub(crate) fn block(&mut self) -> Events {
        self.history.push(Vec::new());
        self.state.advance(self.state.height() + 1).unwrap()
    }

    pub(crate) fn tx(&self, body: Body, signers: &[Key]) -> CheckedTx {
        let nonce = self.state.bank().accounts.get(&signers[0]).map_or(0, |a| a.nonce);
        CheckedTx::unsigned(*self.state.registry(), nonce, u64::MAX, body, signers.to_vec())
    }

    pub(crate) fn send(&mut self, body: Body, signers: &[Key]) -> Result<Events, Reject> {
        let tx = self.tx(body, signers);
        self.apply(&tx)
    }

    /// Applies a transaction; one that is refused changes nothing.
    pub(crate) fn apply(&mut self, tx: &CheckedTx) -> Result<Events, Reject> {
        let before = self.state.clone();
        let applied = self.state.apply(self.state.height(), tx);
        match &applied {
            Ok(_) => self.history.last_mut().unwrap().push(tx.clone()),
            Err(_) => assert_eq!(self.state, before, "a refused transaction changed the state"),
        }
        applied
    }

    pub(crate) fn deposit(&mut self, account: Key, amount: u64) {
        self.send(Body::Deposit { account, amount: Amount(amount) }, &[AUTHORITY]).unwrap();
    }

    pub(crate) fn join(&mut self) -> Result<NodeId, Reject> {
        let number = u32::try_from(self.state.nodes().len()).unwrap();
        let join = JoinNode {
            key: node_key(number),
            endpoint: Endpoint::new(&format!("node-{number}:9900")).unwrap(),
            domains: [number / 2 + 1, 0, 0],
            capacity_gib: 10 + number % 3,
            stake: self.state.params().stake_min,
        };
        let signers = [vec![OWNER, join.key], self.governors()].concat();
        self.send(Body::JoinNode { join }, &signers)?;
        Ok(NodeId(number))
    }

    pub(crate) fn close(&mut self) -> CloseBatch {
        let batch = self.state.batches().count();
        let slots = self.policy.total_shards();
        let names: Vec<Digest> = (0..slots)
            .map(|slot| Digest(*blake3::hash(&shard(batch, slot, leaves(batch))).as_bytes()))
            .collect();
        let mut close = CloseBatch {
            batch,
            term: self.state.lease().map_or(0, |l| l.term.0),
            first_block: u64::from(batch) * 100,
            blocks: 100,
            container_digest: Digest([8; 32]),
            root: Digest::default(),
            codec: 1,
            generation: 0,
            leaf_bytes: LEAF_BYTES,
            leaves_per_shard: leaves(batch),
            container_bytes: 30_000_000,
            coded_bytes: 20_000_000,
            group: batch % u32::try_from(self.state.groups().len()).unwrap(),
        };
        close.root = self.record(&close).root(&names).unwrap();
        self.names.insert(batch, names);
        close
    }

    fn record(&self, close: &CloseBatch) -> prunedb_proof::ContainerFacts {
        prunedb_proof::ContainerFacts {
            lake: LakeId([9; 16]),
            container: prunedb_core::ContainerId::data(close.batch),
            policy: self.policy,
            codec: close.codec,
            generation: prunedb_core::Generation(close.generation),
            leaf_bytes: close.leaf_bytes,
            leaves_per_shard: close.leaves_per_shard,
            container_bytes: close.container_bytes,
            coded_bytes: close.coded_bytes,
        }
    }

    pub(crate) fn send_close(&mut self) -> Result<Events, Reject> {
        let batch = self.close();
        self.send(Body::CloseBatch { batch }, &VALIDATORS[..3])
    }

    /// Every live node acknowledges all that its slots have got.
    pub(crate) fn receipts(&mut self) -> Events {
        let mut events = Events::new();
        for group in 0..u32::try_from(self.state.groups().len()).unwrap() {
            for slot in 0..u8::try_from(self.policy.total_shards()).unwrap() {
                events.extend(self.receipt(group, slot).into_iter().flatten());
            }
        }
        events
    }

    /// One slot's; nothing where its holder is dead, or it says nothing new.
    pub(crate) fn receipt(&mut self, group: u32, slot: u8) -> Option<Events> {
        let place = self.state.groups().get(group as usize)?.slots.get(usize::from(slot))?;
        let node = place.holder.filter(|n| !self.dead.contains(n))?;
        let closing = self.state.closing().is_some_and(|b| b.group == group);
        let batches = self.state.batches().of_group(group) + u32::from(closing);
        if batches == place.batches {
            return None;
        }
        let receipt = Receipt { node, group, slot, batches };
        let key = self.state.nodes()[node.0 as usize].key;
        Some(self.send(Body::Receipt { receipt }, &[key]).unwrap())
    }

    fn answer(&self, owed: OwedSample) -> Answer {
        let (batch, slot) = (owed.batch, usize::from(owed.slot));
        let names = &self.names[&batch];
        Answer {
            name: names[slot],
            name_path: merkle::path(names, slot).unwrap(),
            sample: prove_sample(&shard(batch, slot, leaves(batch)), owed.sample).unwrap(),
        }
    }

    /// A node's proof; `None` where it owes nothing now.
    pub(crate) fn proof(&self, node: NodeId) -> Option<Proof> {
        let mut answers = Vec::new();
        let shown = |_, owed| {
            let answer = self.answer(owed);
            let sample = *answer.sample.sample;
            answers.push(answer);
            Some(sample)
        };
        self.state.challenge(node, shown).ok()?;
        let endpoint = Endpoint::new("moved:1").unwrap();
        Some(Proof { epoch: self.state.epoch().number, node, endpoint, answers })
    }

    /// Every live node proves what it owes.
    pub(crate) fn prove(&mut self) {
        for number in 0..u32::try_from(self.state.nodes().len()).unwrap() {
            let node = NodeId(number);
            if self.dead.contains(&node) || self.state.epoch().proven.contains(&node) {
                continue;
            }
            if let Some(proof) = self.proof(node) {
                let key = self.state.nodes()[number as usize].key;
                self.send(Body::Prove { proof }, &[key]).unwrap();
            }
        }
    }

    /// Blocks in which everybody alive does its duty, until something happens.
    pub(crate) fn run_until(&mut self, mut is_it: impl FnMut(&Event) -> bool) -> Events {
        let mut all = Events::new();
        for _ in 0..200 {
            let mut events = self.block();
            events.extend(self.receipts());
            if self.state.epoch().seed.is_some() && !self.state.epoch().settled {
                self.prove();
            }
            let done = events.iter().any(&mut is_it);
            all.extend(events);
            if done {
                return all;
            }
        }
        panic!("it does not come: {:?}", &all[all.len().saturating_sub(20)..]);
    }

    /// Closes the next batch.
    pub(crate) fn archive(&mut self) -> Events {
        let number = self.state.batches().count();
        self.send_close().unwrap();
        self.run_until(|e| *e == Event::Closed { batch: number })
    }

    /// What must hold after every step.
    pub(crate) fn check(&self) {
        let state = &self.state;
        for group in state.groups() {
            let mut holders: Vec<_> = group.slots.iter().filter_map(|s| s.holder).collect();
            holders.sort_unstable();
            assert!(holders.windows(2).all(|pair| pair[0] != pair[1]), "two slots on a node");
            assert!(group.slots.iter().all(|s| s.owed <= s.batches));
            assert!(group.slots.iter().all(|s| s.holder.is_some() || s.batches == 0));
        }
        let bank = state.bank();
        assert_eq!(state.money(), u128::from(bank.deposited.0 - bank.withdrawn.0));
        assert!(state.prunable_up_to() == 0 || state.prunable_up_to() < state.batches().count());
        let limits = state.params();
        assert!(state.nodes().len() <= limits.nodes_max as usize);
        assert!(bank.accounts.len() <= limits.accounts_max as usize);
        assert!(state.groups().len() <= limits.groups_max as usize);
        // nothing grows but what is counted here: what waits, is reported or repaired has its place in it
        let most = 16_384
            + 1_024 * state.nodes().len()
            + 512 * state.groups().len()
            + 256 * bank.accounts.len()
            + 512 * state.market().cells.len()
            + 128 * state.batches().count() as usize;
        let bytes = state.snapshot().len();
        assert!(bytes <= most, "{bytes} bytes of state, {most} at most");
    }

    /// Whether the same blocks give the same root, and a snapshot comes back as the same state.
    pub(crate) fn check_replay(&self, genesis: &Genesis) {
        let mut again = State::new(genesis).unwrap();
        for (height, block) in (1..).zip(&self.history) {
            again.advance(height).unwrap();
            for tx in block {
                again.apply(height, tx).unwrap();
            }
        }
        let root = self.state.root();
        assert_eq!(again.root(), root, "replay gives another root");
        let snapshot = self.state.snapshot();
        let restored = State::restore(&snapshot, &root).unwrap();
        assert_eq!((restored.root(), restored.snapshot()), (root, snapshot));
    }
}

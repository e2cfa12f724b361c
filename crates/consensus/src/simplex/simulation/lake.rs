//! A lake whose shards everybody can make again, and holders that keep all of it, or less.

use prunedb_core::{ContainerId, Digest, Generation, LakeId, Policy};
use prunedb_proof::{ContainerFacts, SAMPLE_BYTES, merkle, prove_sample};
use prunedb_registry::{Answer, CloseBatch, NodeId, OwedSample, State};

pub(super) const LAKE: LakeId = LakeId([9; 16]);
const LEAF_BYTES: u32 = 4096;

pub(super) fn policy() -> Policy {
    "3+2".parse().unwrap()
}

const fn leaves(batch: u32) -> u32 {
    4 + batch % 3
}

fn shard(batch: u32, slot: usize) -> Vec<u8> {
    let mut bytes = vec![0; (leaves(batch) * LEAF_BYTES) as usize];
    let mut hasher = blake3::Hasher::new_derive_key("simulated shard");
    hasher.update(&batch.to_le_bytes()).update(&slot.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn names(batch: u32) -> Vec<Digest> {
    let name = |slot| Digest(*blake3::hash(&shard(batch, slot)).as_bytes());
    (0..policy().total_shards()).map(name).collect()
}

/// The closing of a batch, as every validator that has its blocks makes it.
pub(super) fn close(batch: u32, term: u64, groups: u32) -> CloseBatch {
    let facts = ContainerFacts {
        lake: LAKE,
        container: ContainerId::data(batch),
        policy: policy(),
        codec: 1,
        generation: Generation(0),
        leaf_bytes: LEAF_BYTES,
        leaves_per_shard: leaves(batch),
        container_bytes: 30_000_000,
        coded_bytes: 20_000_000,
    };
    CloseBatch {
        batch,
        term,
        first_block: u64::from(batch) * 100,
        blocks: 100,
        container_digest: Digest([8; 32]),
        root: facts.root(&names(batch)).unwrap(),
        codec: facts.codec,
        generation: 0,
        leaf_bytes: facts.leaf_bytes,
        leaves_per_shard: facts.leaves_per_shard,
        container_bytes: facts.container_bytes,
        coded_bytes: facts.coded_bytes,
        group: batch % groups,
    }
}

/// What a holder has of what it owes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Honesty {
    /// of a million samples, those that it threw away
    pub(super) lost_ppm: u64,
    /// it answers no challenge
    pub(super) is_silent: bool,
    /// it keeps nothing, and fetches what it is asked for from others: heights that each time takes; 0: it has its shards
    pub(super) fetch_heights: u64,
    /// which ones: another choice in each life
    pub(super) choice: u64,
}

impl Honesty {
    /// Whether it threw a sample away.
    fn lost(self, node: NodeId, owed: OwedSample) -> bool {
        let mut hasher = blake3::Hasher::new_derive_key("simulated loss");
        hasher.update(&node.0.to_le_bytes()).update(&owed.batch.to_le_bytes());
        hasher.update(&[owed.slot]).update(&owed.sample.to_le_bytes());
        hasher.update(&self.choice.to_le_bytes());
        let draw = u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().unwrap());
        draw % 1_000_000 < self.lost_ppm
    }
}

/// What a holder makes of its challenge.
pub(super) struct Shown {
    pub(super) answers: Vec<Answer>,
    /// it had everything
    pub(super) is_whole: bool,
    /// which part of what it owes it threw away
    pub(super) lost_share: f64,
}

/// A holder answers; samples that it threw away it makes up. `None`: it owes nothing now.
pub(super) fn answer(state: &State, node: NodeId, honesty: Honesty) -> Option<Shown> {
    let (mut answers, mut is_whole) = (Vec::new(), true);
    let shown = |_, owed: OwedSample| {
        let slot = usize::from(owed.slot);
        let names = names(owed.batch);
        let mut sample = prove_sample(&shard(owed.batch, slot), owed.sample).unwrap();
        if honesty.lost(node, owed) {
            is_whole = false;
            sample.sample.fill(0);
        }
        let shown = *sample.sample;
        let name_path = merkle::path(&names, slot).unwrap();
        answers.push(Answer { name: names[slot], name_path, sample });
        Some(shown)
    };
    state.challenge(node, shown).ok()?;
    let (mut all, mut lost) = (0u32, 0u32);
    for (group, slot) in held(state, node) {
        let place = state.groups()[group as usize].slots[usize::from(slot)];
        let groups = u32::try_from(state.groups().len()).unwrap();
        for batch in (0..place.owed).map(|nth| group + nth * groups) {
            let samples = u64::from(leaves(batch) * LEAF_BYTES) / SAMPLE_BYTES as u64;
            for sample in 0..samples {
                all += 1;
                lost += u32::from(honesty.lost(node, OwedSample { batch, slot, sample }));
            }
        }
    }
    Some(Shown { answers, is_whole, lost_share: f64::from(lost) / f64::from(all) })
}

/// The slots that a node holds.
pub(super) fn held(state: &State, node: NodeId) -> Vec<(u32, u8)> {
    let mut out = Vec::new();
    for (number, group) in (0..).zip(state.groups()) {
        for (slot, place) in (0..).zip(&group.slots) {
            if place.holder == Some(node) {
                out.push((number, slot));
            }
        }
    }
    out
}

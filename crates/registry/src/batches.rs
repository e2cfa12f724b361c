//! Batches: which blocks are in the lake, under which root, in which group.
//!
//! ```text
//! open -> closing (CloseBatch) -> closed (receipts, the epoch's proofs) -> prunable (the watermark)
//! ```
//! There is one open batch, the next one, and at most one that is closing. Its election is over before a batch closes: every
//! vacant slot was elected, or nobody could take it.

use crate::{
    canonical::{Canonical, canonical_struct},
    event::{Event, Events},
    groups::Repair,
    mmr::Mmr,
    reject::{Reject, expect_value},
    state::State,
    tx::{CheckedTx, CloseBatch},
};
use prunedb_core::{ContainerId, Digest, Generation, LakeId, Policy, Term};
use prunedb_proof::{ContainerFacts, SAMPLE_BYTES};

canonical_struct! {
    /// A closed batch: 128 bytes, never changed.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Batch {
        /// first block
        pub first_block: u64,
        /// how many
        pub blocks: u32,
        /// digest of the container, keyed
        pub container_digest: Digest,
        /// root of the container
        pub root: Digest,
        /// codec version
        pub codec: u32,
        /// generation of the lake key
        pub generation: u32,
        /// sealed bytes of a leaf
        pub leaf_bytes: u32,
        /// leaves of each shard
        pub leaves_per_shard: u32,
        /// length of the container
        pub container_bytes: u64,
        /// length of the coded stream
        pub coded_bytes: u64,
        /// its group
        pub group: u32,
        /// term of its writer
        pub term: u64,
        /// height of its `CloseBatch`
        pub height: u64,
    }
}

impl CloseBatch {
    /// The record that closing it at a height makes.
    pub fn record(&self, height: u64) -> Batch {
        Batch {
            first_block: self.first_block,
            blocks: self.blocks,
            container_digest: self.container_digest,
            root: self.root,
            codec: self.codec,
            generation: self.generation,
            leaf_bytes: self.leaf_bytes,
            leaves_per_shard: self.leaves_per_shard,
            container_bytes: self.container_bytes,
            coded_bytes: self.coded_bytes,
            group: self.group,
            term: self.term,
            height,
        }
    }
}

impl Batch {
    /// Length of each shard.
    pub fn shard_bytes(&self) -> u64 {
        u64::from(self.leaf_bytes) * u64::from(self.leaves_per_shard)
    }

    /// What its root commits to besides the shard names.
    pub fn facts(&self, lake: LakeId, number: u32, policy: Policy) -> ContainerFacts {
        ContainerFacts {
            lake,
            container: ContainerId::data(number),
            policy,
            codec: self.codec,
            generation: Generation(self.generation),
            leaf_bytes: self.leaf_bytes,
            leaves_per_shard: self.leaves_per_shard,
            container_bytes: self.container_bytes,
            coded_bytes: self.coded_bytes,
        }
    }
}

canonical_struct! {
    /// A batch that waits for its holders.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct Closing {
        /// it
        pub batch: Batch,
        /// since when
        pub since: u64,
    }
}

/// All closed batches. The root of the state has their mountain range; the index by group follows from them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batches {
    records: Vec<Batch>,
    mmr: Mmr,
    of_group: Vec<Vec<Held>>,
}

/// A batch of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    batch: u32,
    /// samples of a shard, of this batch and those before it
    samples_so_far: u64,
}

/// One sample of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SampleAt {
    /// the batch
    pub(crate) batch: u32,
    /// which sample of its shard
    pub(crate) sample: u64,
}

impl Batches {
    /// How many are closed.
    pub fn count(&self) -> u32 {
        self.mmr.count
    }

    /// A closed batch.
    pub fn get(&self, number: u32) -> Option<&Batch> {
        self.records.get(number as usize)
    }

    /// All closed batches.
    pub fn iter(&self) -> std::slice::Iter<'_, Batch> {
        self.records.iter()
    }

    /// Their mountain range.
    pub const fn mmr(&self) -> &Mmr {
        &self.mmr
    }

    /// How many batches a group has.
    pub fn of_group(&self, group: u32) -> u32 {
        u32::try_from(self.of_group[group as usize].len()).expect("batches are counted in u32")
    }

    /// The batches of a group from a position on, the oldest first.
    pub(crate) fn in_group(
        &self,
        group: u32,
        from: u32,
    ) -> impl Iterator<Item = (u32, Batch)> + '_ {
        let held = self.of_group[group as usize].iter().skip(from as usize);
        held.map(|h| (h.batch, self.records[h.batch as usize]))
    }

    /// Bytes of one slot of a group.
    pub(crate) fn shard_bytes(&self, group: u32) -> u64 {
        self.samples(group, self.of_group(group)) * SAMPLE_BYTES as u64
    }

    /// Samples of one slot of the first `count` batches of a group.
    pub(crate) fn samples(&self, group: u32, count: u32) -> u64 {
        let last = (count as usize).checked_sub(1);
        last.map_or(0, |last| self.of_group[group as usize][last].samples_so_far)
    }

    /// Sample number `at` of a slot.
    pub(crate) fn sample(&self, group: u32, at: u64) -> SampleAt {
        let held = &self.of_group[group as usize];
        let position = held.partition_point(|h| h.samples_so_far <= at);
        let before = position.checked_sub(1).map_or(0, |p| held[p].samples_so_far);
        SampleAt { batch: held[position].batch, sample: at - before }
    }

    /// The place of a batch among those of its group.
    pub(crate) fn position(&self, batch: u32) -> u32 {
        let held = &self.of_group[self.records[batch as usize].group as usize];
        let position = held.partition_point(|h| h.batch < batch);
        u32::try_from(position).expect("batches are counted in u32")
    }

    pub(crate) fn open_group(&mut self) {
        self.of_group.push(Vec::new());
    }

    pub(crate) fn push(&mut self, batch: Batch) {
        let held = &mut self.of_group[batch.group as usize];
        // saturating: a snapshot is read before its root is known to be right
        let before = held.last().map_or(0, |h| h.samples_so_far);
        let samples = batch.shard_bytes() / SAMPLE_BYTES as u64;
        held.push(Held { batch: self.mmr.count, samples_so_far: before.saturating_add(samples) });
        self.mmr.push(&batch.to_bytes());
        self.records.push(batch);
    }
}

/// Largest leaf count: shards of 64 GiB, far beyond any container.
const LEAVES_MAX: u32 = 1 << 22;

impl State {
    pub(crate) fn close_batch(
        &mut self,
        tx: &CheckedTx,
        close: &CloseBatch,
        events: &mut Events,
    ) -> Result<(), Reject> {
        self.require_lease(tx, close.term)?;
        self.require_validators(tx)?;
        if self.closing.is_some() {
            return Err(Reject::Phase("the batch before is still closing"));
        }
        expect_value("batch", close.batch, self.batches.count())?;
        if close.batch == u32::MAX {
            return Err(Reject::Full("batches"));
        }
        let groups = u32::try_from(self.groups.len()).expect("bounded by groups_max");
        let group =
            close.batch.checked_rem(groups).ok_or(Reject::Phase("there is no group yet"))?;
        expect_value("group", close.group, group)?;
        if let Some(last) = self.batches.iter().last() {
            expect_value(
                "first block",
                close.first_block,
                last.first_block + u64::from(last.blocks),
            )?;
        }
        let has_blocks =
            close.blocks > 0 && close.first_block.checked_add(close.blocks.into()).is_some();
        let is_leaf = matches!(close.leaf_bytes, 4_096 | 16_384);
        if !has_blocks || !is_leaf || !(1..=LEAVES_MAX).contains(&close.leaves_per_shard) {
            return Err(Reject::Phase("the batch has no blocks, or no such shards are made"));
        }
        let batch = close.record(self.height);
        self.closing = Some(Closing { batch, since: self.height });
        events.push(Event::Closing { batch: close.batch, group, root: close.root });
        self.elect(events);
        Ok(())
    }

    pub(crate) fn require_lease(&self, tx: &CheckedTx, term: u64) -> Result<(), Reject> {
        let lease = self.lease.as_ref().ok_or(Reject::Phase("nobody has the lease"))?;
        expect_term(lease.term, term)?;
        if lease.holder != tx.sender() {
            return Err(Reject::Signer("the holder of the lease"));
        }
        if lease.until < self.height {
            return Err(Reject::Phase("the lease has run out"));
        }
        Ok(())
    }

    /// Closes the batch that is closing, where its holders and the epoch's proofs allow it.
    pub(crate) fn try_close(&mut self, events: &mut Events) {
        let Some(closing) = &self.closing else { return };
        if !self.epoch.settled || self.epoch.weak_groups > 0 {
            return;
        }
        let (batch, number) = (closing.batch, self.batches.count());
        let before = self.batches.of_group(batch.group);
        let group = &self.groups[batch.group as usize];
        let slow = group.filled(before);
        let waits =
            slow > 0 && self.height < closing.since.saturating_add(self.params.closing_heights);
        if group.filled(before + 1) < group.needed(self.params.margin) || waits {
            return;
        }
        self.closing = None;
        self.batches.push(batch);
        self.holdings.grown(batch.group);
        let deadline = self.height.saturating_add(self.params.repair_heights);
        for (slot, place) in (0..).zip(&self.groups[batch.group as usize].slots) {
            if place.holder.is_some() && place.batches <= before {
                let repair = Repair { since: self.height, deadline, from: None };
                self.repairs.entry((batch.group, slot)).or_insert(repair);
            }
        }
        events.push(Event::Closed { batch: number });
        self.start_epoch(events);
    }
}

fn expect_term(expected: Term, found: u64) -> Result<(), Reject> {
    let found = Term(found);
    if expected == found { Ok(()) } else { Err(Reject::Term { expected, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_128_bytes_and_every_sample_a_batch() {
        let mut batches = Batches::default();
        batches.open_group();
        batches.open_group();
        for number in 0..6u32 {
            let batch = Batch {
                first_block: 0,
                blocks: 1,
                container_digest: Digest::default(),
                root: Digest::default(),
                codec: 1,
                generation: 0,
                leaf_bytes: 4096,
                leaves_per_shard: 1 + number,
                container_bytes: 0,
                coded_bytes: 0,
                group: number % 2,
                term: 1,
                height: 1,
            };
            assert_eq!(batch.to_bytes().len(), 128);
            batches.push(batch);
        }
        // group 1 has batches 1, 3, 5 with 8, 16, 24 samples
        assert_eq!(
            (batches.of_group(1), batches.samples(1, 2), batches.samples(1, 3)),
            (3, 24, 48)
        );
        let at = |n| batches.sample(1, n);
        assert_eq!(at(0), SampleAt { batch: 1, sample: 0 });
        assert_eq!(at(7), SampleAt { batch: 1, sample: 7 });
        assert_eq!(at(8), SampleAt { batch: 3, sample: 0 });
        assert_eq!(at(47), SampleAt { batch: 5, sample: 23 });
        assert_eq!(batches.position(5), 2);
    }
}

//! Faults that readers report: a shard that its holder did not give becomes a priority challenge.
//!
//! ```text
//! ReportFault ──next epoch──> the last quarter of the holder's samples are drawn from that shard alone
//!                             it misses: the report is confirmed; it is slashed: the reporter has its part
//! ```
//! A report proves nothing by itself, so it costs the holder nothing but where its samples come from; a proof has the same size with
//! and without. Who may report has a part in the lake, and has one report an epoch; a holder has one to answer.

use crate::{
    canonical::canonical_struct,
    event::{Event, Events},
    ids::{Amount, Key},
    nodes::NodeStatus,
    reject::Reject,
    state::State,
    tx::CheckedTx,
};
use prunedb_placement::NodeId;
use std::ops::Range;

canonical_struct! {
    /// A shard that a reader did not get.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct FaultReport {
        /// who says so
        pub reporter: Key,
        /// of which batch
        pub batch: u32,
        /// which shard
        pub slot: u8,
    }
}

/// How many of a proof's samples come from the reported shard.
pub(crate) fn priority_samples(samples: u16) -> u16 {
    samples.div_ceil(4)
}

impl State {
    pub(crate) fn report_fault(
        &mut self,
        tx: &CheckedTx,
        node: NodeId,
        batch: u32,
        slot: u8,
        events: &mut Events,
    ) -> Result<(), Reject> {
        let reporter = tx.sender();
        self.require_part(&reporter)?;
        self.present(node)?;
        let group = self.batches.get(batch).ok_or(Reject::Phase("there is no such batch"))?.group;
        let slots = &self.groups[group as usize].slots;
        let is_its = slots.get(usize::from(slot)).is_some_and(|place| {
            place.holder == Some(node) && place.batches > self.batches.position(batch)
        });
        if !is_its {
            return Err(Reject::Slot { group, slot, node });
        }
        if self.epoch.reported.contains_key(&node) {
            return Err(Reject::Phase("the node is reported in this epoch already"));
        }
        if self.epoch.reported.values().any(|report| report.reporter == reporter) {
            return Err(Reject::Phase("the sender reported in this epoch already"));
        }
        self.epoch.reported.insert(node, FaultReport { reporter, batch, slot });
        events.push(Event::FaultReported { node, reporter });
        Ok(())
    }

    /// Who has a part in the lake.
    pub(crate) fn require_part(&self, key: &Key) -> Result<(), Reject> {
        let has_it = self.validators.binary_search(key).is_ok()
            || self.params.authorities.binary_search(key).is_ok()
            || self.nodes.iter().any(|n| n.owner == *key && n.status == NodeStatus::Active);
        has_it
            .then_some(())
            .ok_or(Reject::Signer("a validator, an authority, or the owner of a node"))
    }

    /// The places, among those of all that a node owes, of the shard that was reported; nothing where it does not owe it.
    pub(crate) fn priority_places(
        &self,
        node: NodeId,
        owed: &[(u32, u8, u64)],
    ) -> Option<Range<u64>> {
        let report = self.epoch.priority.get(&node)?;
        let group = self.batches.get(report.batch)?.group;
        let at = owed.iter().position(|o| (o.0, o.1) == (group, report.slot))?;
        let first = at.checked_sub(1).map_or(0, |before| owed[before].2);
        let position = self.batches.position(report.batch);
        let slot = self.groups[group as usize].slots[usize::from(report.slot)];
        (position < slot.owed).then(|| {
            let places = |batches| first + self.batches.samples(group, batches);
            places(position)..places(position + 1)
        })
    }

    /// The reporter's part of a slash, given to it; what is left.
    pub(crate) fn reward_reporter(&mut self, node: NodeId, slashed: Amount) -> Amount {
        let Some(report) = self.epoch.priority.get(&node) else { return slashed };
        let reporter = report.reporter;
        self.reward(&reporter, slashed)
    }

    /// The part of a slash of who showed what it is for, given to it; what is left.
    pub(crate) fn reward(&mut self, who: &Key, slashed: Amount) -> Amount {
        let reward = slashed.parts_per_million(self.params.reward_ppm);
        self.bank.give(who, reward);
        slashed.minus(reward).expect("a part of it")
    }
}

//! The watermark: which batches the chain's own nodes may prune. It never falls.
//!
//! A batch may be pruned when the one after it is closed, a whole epoch of proofs has passed over it, its group has at
//! least `p + margin` holders that proved it, and enough validators have read it back.

use crate::{
    canonical::canonical_struct,
    event::{Event, Events},
    ids::Key,
    reject::Reject,
    state::State,
    tx::CheckedTx,
};
use std::collections::BTreeMap;

canonical_struct! {
    /// How far batches may be pruned.
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub(crate) struct Watermark {
        /// batches below this may be pruned
        pub prunable_up_to: u32,
        /// for each validator: batches below this it has read back
        pub attested: BTreeMap<Key, u32>,
    }
}

impl State {
    pub(crate) fn attest_read_back(&mut self, tx: &CheckedTx, up_to: u32) -> Result<(), Reject> {
        self.require_validator(tx)?;
        if up_to > self.batches.count() {
            let expected = self.batches.count().into();
            return Err(Reject::Value { what: "batches read back", expected, found: up_to.into() });
        }
        if self.watermark.attested.get(&tx.sender()).is_some_and(|&before| before >= up_to) {
            return Err(Reject::Phase("the validator attested as much already"));
        }
        self.watermark.attested.insert(tx.sender(), up_to);
        Ok(())
    }

    /// Batches below this were read back by enough of those who are validators now.
    fn attested(&self) -> u32 {
        let enough = usize::from(self.params.attesters);
        let of = |key| self.watermark.attested.get(key).copied().unwrap_or(0);
        let mut attested: Vec<u32> = self.validators.iter().map(of).collect();
        attested.sort_unstable_by(|a, b| b.cmp(a));
        match enough.checked_sub(1) {
            None => u32::MAX,
            Some(last) => attested.get(last).copied().unwrap_or(0),
        }
    }

    /// Raises the watermark as far as this epoch's proofs allow.
    pub(crate) fn raise_watermark(&mut self, events: &mut Events) {
        let closed_after = self.batches.count().saturating_sub(1);
        let most = self.attested().min(closed_after).min(self.epoch.frozen_batches);
        let before = self.watermark.prunable_up_to;
        while self.watermark.prunable_up_to < most {
            let number = self.watermark.prunable_up_to;
            let batch = self.batches.get(number).expect("below the count of batches");
            let group = &self.groups[batch.group as usize];
            let position = self.batches.position(number);
            if self.proven_slots(group, position + 1) < group.needed(self.params.margin) {
                break;
            }
            self.watermark.prunable_up_to += 1;
        }
        if self.watermark.prunable_up_to > before {
            events.push(Event::PrunableUpTo(self.watermark.prunable_up_to));
        }
    }
}

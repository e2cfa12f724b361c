//! What happened, as numbered events: the last [`HISTORY_MAX`] of them.

use prunedb_registry::{Amount, Event, Key, NodeId, canonical::canonical_struct};
use std::collections::VecDeque;

/// Events that are kept.
pub const HISTORY_MAX: usize = 65_536;

canonical_struct! {
    /// One event, flat: what does not apply is not there.
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub struct Happened {
        /// its number, from 0
        pub number: u64,
        /// height of its block
        pub height: u64,
        /// what: a word such as `closed`
        pub kind: String,
        /// which batch; for `prunable`: all below
        pub batch: Option<u32>,
        /// which placement group
        pub group: Option<u32>,
        /// which slot
        pub slot: Option<u8>,
        /// which node; for `assigned`: the new holder
        pub node: Option<NodeId>,
        /// for `assigned`: the holder before
        pub from: Option<NodeId>,
        /// which epoch
        pub epoch: Option<u32>,
        /// whose
        pub key: Option<Key>,
        /// how much
        pub amount: Option<Amount>,
        /// anything else
        pub number_of: Option<u64>,
    }
}

impl Happened {
    /// The event as it is told; its number comes later.
    fn of(height: u64, event: &Event) -> Self {
        let kind = |kind: &str| Self { height, kind: kind.into(), ..Self::default() };
        match *event {
            Event::Joined(node) => Self { node: Some(node), ..kind("joined") },
            Event::Leaving(node) => Self { node: Some(node), ..kind("leaving") },
            Event::Gone(node) => Self { node: Some(node), ..kind("gone") },
            Event::Assigned { group, slot, from, to } => {
                Self { group: Some(group), slot: Some(slot), from, node: to, ..kind("assigned") }
            }
            Event::Filled { group, slot } => {
                Self { group: Some(group), slot: Some(slot), ..kind("filled") }
            }
            Event::Closing { batch, group, .. } => {
                Self { batch: Some(batch), group: Some(group), ..kind("closing") }
            }
            Event::Closed { batch } => Self { batch: Some(batch), ..kind("closed") },
            Event::EpochStarted(epoch) => Self { epoch: Some(epoch), ..kind("epoch") },
            Event::SeedFixed { epoch, .. } => Self { epoch: Some(epoch), ..kind("seed") },
            Event::SeedWithheld(key) => Self { key: Some(key), ..kind("seed_withheld") },
            Event::Proven(node) => Self { node: Some(node), ..kind("proven") },
            Event::Missed(node) => Self { node: Some(node), ..kind("missed") },
            Event::AnswerDemanded { heavy, epoch, cell } => Self {
                node: Some(heavy),
                epoch: Some(epoch),
                number_of: Some(cell),
                ..kind("answer_demanded")
            },
            Event::Convicted { node, by } => {
                Self { node: Some(node), key: Some(by), ..kind("convicted") }
            }
            Event::Slashed { node, amount } => {
                Self { node: Some(node), amount: Some(amount), ..kind("slashed") }
            }
            Event::EpochSettled { epoch, paid, .. } => {
                Self { epoch: Some(epoch), amount: Some(paid), ..kind("settled") }
            }
            Event::PrunableUpTo(batch) => Self { batch: Some(batch), ..kind("prunable") },
            Event::Deposited(key, amount) => {
                Self { key: Some(key), amount: Some(amount), ..kind("deposited") }
            }
            Event::Withdrawn(key, amount) => {
                Self { key: Some(key), amount: Some(amount), ..kind("withdrawn") }
            }
            Event::Leased { holder, term } => {
                Self { key: Some(holder), number_of: Some(term.0), ..kind("leased") }
            }
            Event::Head { number, .. } => Self { number_of: Some(number), ..kind("head") },
            Event::ParamsChanged => kind("params_changed"),
            Event::ValidatorsChanged => kind("validators_changed"),
            Event::CellRented(cell) => Self { number_of: Some(cell), ..kind("cell_rented") },
            Event::CellAdopted(cell) => Self { number_of: Some(cell), ..kind("cell_adopted") },
            Event::CellEnded(cell) => Self { number_of: Some(cell), ..kind("cell_ended") },
            _ => kind("other"),
        }
    }
}

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: VecDeque<Happened>,
    next: u64,
}

impl History {
    /// What a snapshot has of it.
    pub(crate) fn restore(events: Vec<Happened>) -> Self {
        let next = events.last().map_or(0, |last| last.number + 1);
        Self { events: events.into(), next }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Happened> {
        self.events.iter()
    }

    pub(crate) fn add(&mut self, height: u64, events: &[Event]) {
        for event in events {
            if self.events.len() == HISTORY_MAX {
                self.events.pop_front();
            }
            self.events.push_back(Happened { number: self.next, ..Happened::of(height, event) });
            self.next += 1;
        }
    }

    /// Number of the event that comes next.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Up to `count` events from a number on; older ones than those that are kept are left out.
    pub(crate) fn page(&self, from: u64, count: usize) -> Vec<Happened> {
        let first = self.events.front().map_or(self.next, |event| event.number);
        let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        self.events.iter().skip(skipped).take(count).cloned().collect()
    }
}

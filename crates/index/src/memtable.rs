//! What was inserted since the last flush, in RAM.
//!
//! Keyed entries lie in sixteen open-addressing tables by the first bits of their prefix. A slot's home grows with the
//! prefix and probing only goes forward, so a table is almost in the order of its prefixes: each stretch of taken slots
//! holds all entries whose homes are in it, and sorting stretch by stretch sorts the table. Nothing is removed but all.
//!
//! A table of a million entries is larger than the caches, and a lock taken between two of its misses keeps the
//! processor from overlapping them. So each table has a few entries waiting in front of it that are placed together.
//!
//! Cost: 16 bytes per slot, 23 to 46 bytes per entry.

use crate::{
    entry::{Entry, Location, PREFIX_BITS},
    merge::Suspect,
    sequence_page::SequenceKey,
};
use prunedb_core::TableId;
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

const SHARD_BITS: u32 = 4;
const SLOT_BITS_MIN: u32 = 6;
const EMPTY: Entry = Entry(u128::MAX);
/// Entries that wait to be placed together; each lookup looks at all of them.
const WAITING_MAX: usize = 32;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Memtable {
    shards: [RwLock<Table>; 1 << SHARD_BITS],
    sequences: RwLock<BTreeMap<TableId, BTreeMap<u64, Location>>>,
}

impl Memtable {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::new(Table::new(SLOT_BITS_MIN))),
            sequences: RwLock::default(),
        }
    }

    /// An empty one whose tables, once used, begin as large as those of this one.
    pub(crate) fn new_alike(&self) -> Self {
        let table = |i: usize| RwLock::new(Table::new(read(&self.shards[i]).slot_bits));
        Self { shards: std::array::from_fn(table), sequences: RwLock::default() }
    }

    pub(crate) fn insert(&self, entry: Entry) {
        let shard = entry.prefix() >> (PREFIX_BITS - SHARD_BITS);
        write(&self.shards[usize::try_from(shard).expect("4 bits")]).insert(entry);
    }

    /// Of two locations of one position the older one stays; both are handed back.
    pub(crate) fn insert_sequence(
        &self,
        (table, position): SequenceKey,
        at: Location,
    ) -> Option<Suspect> {
        let mut sequences = write(&self.sequences);
        let kept = sequences.entry(table).or_default().entry(position).or_insert(at);
        let younger = (*kept).max(at);
        *kept = (*kept).min(at);
        (younger != *kept).then_some((*kept, younger))
    }

    pub(crate) fn find(&self, prefix: u64, found: &mut Vec<Location>) {
        let shard = prefix >> (PREFIX_BITS - SHARD_BITS);
        read(&self.shards[usize::try_from(shard).expect("4 bits")]).find(prefix, found);
    }

    pub(crate) fn find_sequence(&self, (table, position): SequenceKey) -> Option<Location> {
        read(&self.sequences).get(&table)?.get(&position).copied()
    }

    pub(crate) fn range(&self, table: TableId, from: u64, limit: usize) -> Vec<(u64, Location)> {
        read(&self.sequences)
            .get(&table)
            .map(|t| t.range(from..).take(limit).map(|(&p, &at)| (p, at)).collect())
            .unwrap_or_default()
    }

    pub(crate) fn bounds(&self, table: TableId) -> Option<(u64, u64)> {
        let sequences = read(&self.sequences);
        let table = sequences.get(&table)?;
        Some((*table.first_key_value()?.0, *table.last_key_value()?.0))
    }

    /// All keyed entries, ascending.
    pub(crate) fn sorted_entries(&self) -> Vec<Entry> {
        let mut out = Vec::with_capacity(self.keyed_len());
        for shard in &self.shards {
            let mut shard = write(shard);
            shard.place_waiting();
            shard.append_sorted(&mut out);
        }
        out
    }

    /// All sequence entries, ascending.
    pub(crate) fn sorted_sequences(&self) -> Vec<(SequenceKey, Location)> {
        let sequences = read(&self.sequences);
        let entries = sequences.iter().flat_map(|(&table, positions)| {
            positions.iter().map(move |(&position, &at)| ((table, position), at))
        });
        entries.collect()
    }

    pub(crate) fn keyed_len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    pub(crate) fn sequence_len(&self) -> usize {
        read(&self.sequences).values().map(BTreeMap::len).sum()
    }

    pub(crate) fn ram_bytes(&self) -> usize {
        // a B-tree's nodes are at least half full
        let per_position = 2 * size_of::<(u64, Location)>();
        let keyed: usize = self.shards.iter().map(|shard| read(shard).slots.capacity()).sum();
        keyed * size_of::<Entry>() + self.sequence_len() * per_position
    }
}

/// The locks guard plain memory, which no holder leaves half changed by panicking.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// One open-addressing table. Homes are the first `1 << slot_bits` slots; what overflows the end goes on behind it.
#[derive(Debug)]
struct Table {
    slots: Vec<Entry>,
    /// of the slots; of those to be made while there are none
    slot_bits: u32,
    placed: usize,
    waiting: Vec<Entry>,
}

impl Table {
    fn new(slot_bits: u32) -> Self {
        Self { slots: Vec::new(), slot_bits, placed: 0, waiting: Vec::new() }
    }

    /// Entries that wait may be there already, so this may be a little too much.
    fn len(&self) -> usize {
        self.placed + self.waiting.len()
    }

    fn home(&self, prefix: u64) -> usize {
        let rest_bits = PREFIX_BITS - SHARD_BITS;
        let rest = prefix & ((1 << rest_bits) - 1);
        usize::try_from(rest >> (rest_bits - self.slot_bits)).expect("few bits")
    }

    fn insert(&mut self, entry: Entry) {
        self.waiting.push(entry);
        if self.waiting.len() == WAITING_MAX {
            self.place_waiting();
        }
    }

    fn place_waiting(&mut self) {
        while self.len() * 10 > self.slots.len() * 7 {
            self.grow();
        }
        let waiting = std::mem::take(&mut self.waiting);
        // touch all homes first: independent loads, whose misses overlap
        let homes = waiting.iter().map(|entry| self.slots[self.home(entry.prefix())].0);
        std::hint::black_box(homes.fold(0, |all, slot| all ^ slot));
        waiting.iter().for_each(|&entry| self.place(entry));
        self.waiting = waiting;
        self.waiting.clear();
    }

    fn place(&mut self, entry: Entry) {
        let home = self.home(entry.prefix());
        for slot in &mut self.slots[home..] {
            if *slot == entry {
                return;
            }
            if *slot == EMPTY {
                *slot = entry;
                self.placed += 1;
                return;
            }
        }
        self.slots.push(entry);
        self.placed += 1;
    }

    fn grow(&mut self) {
        self.slot_bits += u32::from(!self.slots.is_empty());
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; 1 << self.slot_bits]);
        self.placed = 0;
        old.into_iter().filter(|&e| e != EMPTY).for_each(|e| self.place(e));
    }

    fn find(&self, prefix: u64, found: &mut Vec<Location>) {
        let waiting = self.waiting.iter();
        found.extend(waiting.filter(|e| e.prefix() == prefix).map(|e| e.location()));
        if !self.slots.is_empty() {
            let probed = self.slots[self.home(prefix)..].iter().take_while(|&&e| e != EMPTY);
            found.extend(probed.filter(|e| e.prefix() == prefix).map(|e| e.location()));
        }
    }

    fn append_sorted(&self, out: &mut Vec<Entry>) {
        for stretch in self.slots.split(|&e| e == EMPTY) {
            let start = out.len();
            out.extend_from_slice(stretch);
            out[start..].sort_unstable();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set(
            // few distinct prefixes at the table's end, some anywhere: long stretches, also past the last home
            entries in proptest::collection::vec((prop_oneof![0u64..1 << 48, (1u64 << 48) - 20..1 << 48], 0u32..9), 0..600),
        ) {
            let memtable = Memtable::new();
            let mut model = BTreeSet::new();
            for &(prefix, container) in &entries {
                let entry = Entry::new(prefix, Location { container, offset: 0 });
                memtable.insert(entry);
                model.insert(entry);
            }
            for &(prefix, _) in entries.iter().step_by(7) {
                let mut found = Vec::new();
                memtable.find(prefix, &mut found);
                found.sort_unstable();
                found.dedup();
                let expected: Vec<_> = model.iter().filter(|e| e.prefix() == prefix).map(|e| e.location()).collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(memtable.sorted_entries(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(memtable.keyed_len(), model.len());
        }
    }

    #[test]
    fn the_older_location_of_a_position_stays() {
        let memtable = Memtable::new();
        let [old, new] = [1, 2].map(|container| Location { container, offset: 0 });
        let key = (TableId(3), 9);
        assert_eq!(memtable.insert_sequence(key, new), None);
        assert_eq!(memtable.insert_sequence(key, new), None);
        assert_eq!(memtable.insert_sequence(key, old), Some((old, new)));
        assert_eq!(memtable.insert_sequence(key, new), Some((old, new)));
        assert_eq!(memtable.find_sequence(key), Some(old));
        assert_eq!(memtable.bounds(TableId(3)), Some((9, 9)));
        assert_eq!(memtable.bounds(TableId(4)), None);
    }
}

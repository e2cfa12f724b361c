//! What was inserted since the last flush, in RAM.
//!
//! Keyed entries are appended to one of 256 partitions by the first bits of their prefix, each with a table of chains
//! over its entries: inserting touches the end of a partition and one head, of which all are in the processor's second
//! cache, and a flush sorts partition by partition, each in the cache. Nothing is removed but all.
//!
//! Cost: 20 bytes per entry (up to twice that while a partition grows) and 1 MB of heads; a lookup walks a chain of
//! about four entries per million.

use crate::{
    entry::{Entry, Location, PREFIX_BITS},
    merge::Suspect,
    sequence_page::SequenceKey,
};
use prunedb_core::TableId;
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

const PARTITION_BITS: u32 = 8;
/// Parts of a memtable, by the first bits of the prefix.
pub(crate) const PARTITIONS: usize = 1 << PARTITION_BITS;
const HEAD_BITS: u32 = 10;
const END: u32 = u32::MAX;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Memtable {
    keyed: RwLock<Vec<Partition>>,
    sequences: RwLock<BTreeMap<TableId, BTreeMap<u64, Location>>>,
}

impl Memtable {
    pub(crate) fn new() -> Self {
        let keyed = (0..PARTITIONS).map(|_| Partition::default()).collect();
        Self { keyed: RwLock::new(keyed), sequences: RwLock::default() }
    }

    /// An empty one with room for as much as this one has.
    pub(crate) fn new_alike(&self) -> Self {
        let alike = |partition: &Partition| Partition::with_capacity(partition.entries.len());
        let keyed = read(&self.keyed).iter().map(alike).collect();
        Self { keyed: RwLock::new(keyed), sequences: RwLock::default() }
    }

    pub(crate) fn insert(&self, entries: &[Entry]) {
        let mut partitions = write(&self.keyed);
        for &entry in entries {
            partitions[partition_of(entry.prefix())].insert(entry);
        }
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
        read(&self.keyed)[partition_of(prefix)].find(prefix, found);
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

    /// Hands out the keyed entries of one partition, in the order in which they came.
    pub(crate) fn partition<T>(&self, partition: usize, take: impl FnOnce(&[Entry]) -> T) -> T {
        take(&read(&self.keyed)[partition].entries)
    }

    /// All sequence entries, ascending.
    pub(crate) fn sorted_sequences(&self) -> Vec<(SequenceKey, Location)> {
        let sequences = read(&self.sequences);
        let entries = sequences.iter().flat_map(|(&table, positions)| {
            positions.iter().map(move |(&position, &at)| ((table, position), at))
        });
        entries.collect()
    }

    /// Keyed entries; one that was inserted twice counts twice.
    pub(crate) fn keyed_len(&self) -> usize {
        read(&self.keyed).iter().map(|partition| partition.entries.len()).sum()
    }

    pub(crate) fn sequence_len(&self) -> usize {
        read(&self.sequences).values().map(BTreeMap::len).sum()
    }

    pub(crate) fn ram_bytes(&self) -> usize {
        // a B-tree's nodes are at least half full
        let per_position = 2 * size_of::<(u64, Location)>();
        let keyed: usize = read(&self.keyed).iter().map(Partition::ram_bytes).sum();
        keyed + self.sequence_len() * per_position
    }
}

/// The locks guard plain memory, which no holder leaves half changed by panicking.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn partition_of(prefix: u64) -> usize {
    usize::try_from(prefix >> (PREFIX_BITS - PARTITION_BITS)).expect("8 bits")
}

/// The prefixes of a partition.
pub(crate) fn prefixes_of(partition: usize) -> Range<u64> {
    let width = 1 << (PREFIX_BITS - PARTITION_BITS);
    let first = partition as u64 * width;
    first..first + width
}

/// Entries in the order of their arrival, and chains over them by the next bits of the prefix.
#[derive(Debug, Default)]
struct Partition {
    entries: Vec<Entry>,
    /// of each entry, the one before it in its chain
    chained: Vec<u32>,
    /// of each chain, the last entry; none while there are no entries
    heads: Vec<u32>,
}

impl Partition {
    fn with_capacity(entries: usize) -> Self {
        Self {
            entries: Vec::with_capacity(entries),
            chained: Vec::with_capacity(entries),
            heads: Vec::new(),
        }
    }

    fn head_of(prefix: u64) -> usize {
        let bits = prefix >> (PREFIX_BITS - PARTITION_BITS - HEAD_BITS);
        usize::try_from(bits & ((1 << HEAD_BITS) - 1)).expect("10 bits")
    }

    fn insert(&mut self, entry: Entry) {
        if self.heads.is_empty() {
            self.heads = vec![END; 1 << HEAD_BITS];
        }
        let number = u32::try_from(self.entries.len()).expect("a flush comes long before");
        let head = &mut self.heads[Self::head_of(entry.prefix())];
        self.chained.push(std::mem::replace(head, number));
        self.entries.push(entry);
    }

    fn find(&self, prefix: u64, found: &mut Vec<Location>) {
        let mut next = self.heads.get(Self::head_of(prefix)).copied().unwrap_or(END);
        while let Some(entry) = self.entries.get(next as usize) {
            if entry.prefix() == prefix {
                found.push(entry.location());
            }
            next = self.chained[next as usize];
        }
    }

    fn ram_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + (self.chained.capacity() + self.heads.capacity()) * size_of::<u32>()
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
            // few distinct prefixes at the end, some anywhere: long chains, full and empty partitions
            entries in proptest::collection::vec((prop_oneof![0u64..1 << 48, (1u64 << 48) - 20..1 << 48], 0u32..9), 0..600),
        ) {
            let memtable = Memtable::new();
            let mut model = BTreeSet::new();
            for batch in entries.chunks(70) {
                let entry = |&(prefix, container): &(u64, u32)| Entry::new(prefix, Location { container, offset: 0 });
                let batch: Vec<Entry> = batch.iter().map(entry).collect();
                memtable.insert(&batch);
                model.extend(batch);
            }
            for &(prefix, _) in entries.iter().step_by(7) {
                let mut found = Vec::new();
                memtable.find(prefix, &mut found);
                found.sort_unstable();
                found.dedup();
                let expected: Vec<_> = model.iter().filter(|e| e.prefix() == prefix).map(|e| e.location()).collect();
                prop_assert_eq!(found, expected);
            }
            let mut all = BTreeSet::new();
            for partition in 0..PARTITIONS {
                let entries = memtable.partition(partition, <[Entry]>::to_vec);
                prop_assert!(entries.iter().all(|e| prefixes_of(partition).contains(&e.prefix())));
                all.extend(entries);
            }
            prop_assert_eq!(all, model);
            prop_assert_eq!(memtable.keyed_len(), entries.len());
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

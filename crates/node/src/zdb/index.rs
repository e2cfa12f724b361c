//! Where the newest record of each key is: in memory, without the keys.
//!
//! A slot holds 64 bits of a keyed hash and a place, 16 bytes; the key in the record is the last check. With the
//! table's own bytes and its free slots that is 20 to 40 bytes per key. The table is cut into parts, so that growing
//! copies a little at a time.

use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// A place in a log, which rewriting the log changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) log: u32,
    pub(crate) unit: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u64,
    place: Place,
}

const _: () = assert!(size_of::<Slot>() == 16);

const PARTS: usize = 64;

/// Hash to places.
#[derive(Debug)]
pub(crate) struct Index {
    parts: Vec<HashTable<Slot>>,
    len: u64,
}

/// Hashes keys; secret, so that nobody can choose keys that collide.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyHasher(RandomState);

impl KeyHasher {
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.0.hash_one(key)
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| HashTable::new()).collect(), len: 0 }
    }
}

impl Index {
    /// Keys.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.allocation_size() as u64).sum()
    }

    /// Places of keys with this hash: nearly always one or none.
    pub(crate) fn places(&self, hash: u64) -> impl Iterator<Item = Place> {
        let slots = self.parts[part(hash)].iter_hash(hash);
        slots.filter(move |slot| slot.hash == hash).map(|slot| slot.place)
    }

    /// Whether the newest record of a key with this hash is there.
    pub(crate) fn has(&self, hash: u64, place: Place) -> bool {
        self.places(hash).any(|found| found == place)
    }

    /// Adds a key.
    pub(crate) fn insert(&mut self, hash: u64, place: Place) {
        self.parts[part(hash)].insert_unique(hash, Slot { hash, place }, |slot| slot.hash);
        self.len += 1;
    }

    /// A key's record is somewhere else now; whether it was where it was said to be.
    pub(crate) fn replace(&mut self, hash: u64, from: Place, to: Place) -> bool {
        let same = |slot: &Slot| slot.hash == hash && slot.place == from;
        match self.parts[part(hash)].find_mut(hash, same) {
            Some(slot) => {
                slot.place = to;
                true
            }
            None => false,
        }
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, hash: u64, place: Place) {
        let same = |slot: &Slot| slot.hash == hash && slot.place == place;
        if let Ok(found) = self.parts[part(hash)].find_entry(hash, same) {
            found.remove();
            self.len -= 1;
        }
    }
}

/// The table looks at the hash's low and highest bits: the part follows from others.
fn part(hash: u64) -> usize {
    usize::try_from(hash >> 40).expect("24 bits") % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_one_hash_stay_apart() {
        let place = |unit| Place { log: 1, unit };
        let mut index = Index::default();
        index.insert(7, place(1));
        index.insert(7, place(2));
        assert!(index.replace(7, place(2), place(3)));
        assert!(!index.replace(7, place(2), place(4)));
        index.remove(7, place(1));
        assert_eq!(index.places(7).collect::<Vec<_>>(), [place(3)]);
        assert!(index.has(7, place(3)) && !index.has(8, place(3)));
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn a_key_takes_at_most_forty_bytes() {
        let mut index = Index::default();
        let hasher = KeyHasher::default();
        for n in 0..200_000_u32 {
            index.insert(hasher.hash(&n.to_le_bytes()), Place { log: 0, unit: n });
        }
        assert!(index.bytes() <= 40 * index.len(), "{} bytes", index.bytes());
    }
}

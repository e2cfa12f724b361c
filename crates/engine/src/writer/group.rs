//! A group: puts that become durable together.

use crate::local::Active;
use prunedb_core::{TableId, units::RECORD_ALIGN};
use prunedb_format::container::TableKind;
use std::time::Instant;

/// Bytes are hashed in steps that begin at multiples of this, so that the hash runs at its full width, soon after they
/// were written, so that they are still in the cache.
const HASH_STEP_BYTES: u64 = 64 << 10;

/// Records as the container will have them, and what happens before and after them.
#[derive(Default)]
pub(super) struct Group {
    pub(super) container: u32,
    /// the container's new file, where this is its first group
    pub(super) begins: Option<Active>,
    /// where in the container it starts
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<Noted>,
    /// of its bytes, how many are hashed
    hashed: usize,
    /// when its first put came
    pub(super) since: Option<Instant>,
    /// the hash of all the container's bytes, where this is its last group
    pub(super) seals: Option<blake3::Hasher>,
}

/// A record of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted {
    pub(super) table: TableId,
    pub(super) kind: TableKind,
    /// in the container
    pub(super) offset: u32,
    pub(super) key_bytes: u16,
}

impl Group {
    /// An empty one that starts there.
    pub(super) fn at(container: u32, start: u64) -> Self {
        Self { container, start, ..Self::default() }
    }

    /// Hashes what is there in whole steps.
    pub(super) fn hash_steps(&mut self, hasher: &mut blake3::Hasher) {
        let end = self.start + self.bytes.len() as u64;
        let steps_end = end / HASH_STEP_BYTES * HASH_STEP_BYTES;
        let until = steps_end.saturating_sub(self.start);
        self.hash_until(usize::try_from(until).expect("within the group"), hasher);
    }

    /// Hashes the rest.
    pub(super) fn hash_rest(&mut self, hasher: &mut blake3::Hasher) {
        self.hash_until(self.bytes.len(), hasher);
    }

    fn hash_until(&mut self, until: usize, hasher: &mut blake3::Hasher) {
        if until > self.hashed {
            hasher.update(&self.bytes[self.hashed..until]);
            self.hashed = until;
        }
    }

    /// Its records and their keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&Noted, &[u8])> {
        self.records.iter().map(|record| {
            let at = usize::try_from(u64::from(record.offset) - self.start);
            let key_at = at.expect("within the group") + RECORD_ALIGN;
            (record, &self.bytes[key_at..key_at + usize::from(record.key_bytes)])
        })
    }

    /// Empties it, its memory stays.
    pub(super) fn clear(&mut self) {
        let (mut bytes, mut records) =
            (std::mem::take(&mut self.bytes), std::mem::take(&mut self.records));
        bytes.clear();
        records.clear();
        *self = Self { bytes, records, ..Self::default() };
    }
}

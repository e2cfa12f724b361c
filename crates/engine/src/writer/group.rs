//! A group: puts that become durable together.

use super::Put;
use crate::local::Active;
use prunedb_core::TableId;
use prunedb_format::container::TableKind;
use std::time::Instant;

/// Bytes are hashed and written in steps that begin at multiples of this, so that the hash runs at its full width.
const STEP_BYTES: u64 = 64 << 10;
/// So many at once: few calls of the system, and what was just encoded is still in the processor's second cache.
const STEPS_BYTES_MIN: u64 = 256 << 10;

/// What an exceptional put took beyond this goes back to the system.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Records as the container will have them, and what happens before and after them.
#[derive(Default)]
pub(super) struct Group {
    pub(super) container: u32,
    /// the container's new file, where this is its first group
    pub(super) begins: Option<Active>,
    /// where in the container it starts
    pub(super) start: u64,
    /// those that are not in the file yet
    pub(super) bytes: Vec<u8>,
    /// where in the container they start
    pub(super) bytes_at: u64,
    records: Vec<Noted>,
    /// one after another
    keys: Vec<u8>,
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
    key_bytes: u16,
}

impl Group {
    /// An empty one that starts there.
    pub(super) fn at(container: u32, start: u64) -> Self {
        Self { container, start, bytes_at: start, ..Self::default() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Notes a record whose bytes it has.
    pub(super) fn note(&mut self, put: &Put<'_>, offset: u32) {
        let key_bytes = u16::try_from(put.key.len()).expect("keys are at most 1 KiB");
        self.records.push(Noted { table: put.table, kind: put.kind, offset, key_bytes });
        self.keys.extend_from_slice(put.key);
    }

    /// How many of its bytes end with a step, where they are worth a write.
    pub(super) fn whole_steps(&self) -> usize {
        let end = self.bytes_at + self.bytes.len() as u64;
        let steps = (end / STEP_BYTES * STEP_BYTES).saturating_sub(self.bytes_at);
        if steps < STEPS_BYTES_MIN { 0 } else { usize::try_from(steps).expect("within the group") }
    }

    /// The first bytes are in the file.
    pub(super) fn pass_on(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.bytes_at += bytes as u64;
    }

    /// Its records and their keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&Noted, &[u8])> {
        let mut rest = self.keys.as_slice();
        self.records.iter().map(move |record| {
            let (key, others) = rest.split_at(record.key_bytes.into());
            rest = others;
            (record, key)
        })
    }

    /// Memory that it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        let records = self.records.capacity() * size_of::<Noted>();
        self.bytes.capacity() + self.keys.capacity() + records
    }

    /// Empties it, its memory stays.
    pub(super) fn clear(&mut self) {
        let Self { mut bytes, mut records, mut keys, .. } = std::mem::take(self);
        bytes.clear();
        records.clear();
        keys.clear();
        *self = Self { bytes, records, keys, ..Self::default() };
    }
}

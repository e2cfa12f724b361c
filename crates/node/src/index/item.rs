//! An item of a run: where a shard is, or that it is not there any more.

use crate::{
    block::Place,
    layout::{PAGE_BYTES, SHARD_BYTES_MAX, array_at, u32_at, u64_at},
    state::Entry,
};
use prunedb_core::{Digest, ShardId, Term};

/// Size of an item.
pub(crate) const ITEM_BYTES: usize = 80;

const DAMAGED: u32 = 1;
const GONE: u32 = 2;

/// What is known of a shard: where it is; `None` where it is gone.
pub(crate) type Change = Option<Entry>;

/// ```text
/// offset  size  field
///      0    24  shard id
///     24     4  segment
///     28     4  offset of the record / 4096
///     32     4  bytes of the shard
///     36     4  0; 1: known to be damaged; 2: gone, all that follows and the three fields before are zero
///     40     8  term
///     48    32  name
/// ```
pub(super) fn encode(id: ShardId, change: Change) -> [u8; ITEM_BYTES] {
    let mut out = [0; ITEM_BYTES];
    out[..24].copy_from_slice(&id.to_bytes());
    let Some(entry) = change else {
        out[36..40].copy_from_slice(&GONE.to_le_bytes());
        return out;
    };
    let place = entry.place(id);
    let page = u32::try_from(place.offset / PAGE_BYTES).expect("offsets are below 2^44");
    let bytes = u32::try_from(place.shard_bytes).expect("shards are at most 256 MiB");
    let flags = if entry.damaged { DAMAGED } else { 0 };
    for (field, number) in
        out[24..40].as_chunks_mut().0.iter_mut().zip([entry.segment, page, bytes, flags])
    {
        *field = number.to_le_bytes();
    }
    out[40..48].copy_from_slice(&entry.term.0.to_le_bytes());
    out[48..].copy_from_slice(entry.name.as_bytes());
    out
}

/// `None` where a byte is not as it would be written.
pub(super) fn decode(item: &[u8; ITEM_BYTES]) -> Option<(ShardId, Change)> {
    let id = ShardId::from_bytes(&array_at(item, 0))?;
    if u32_at(item, 36) == GONE {
        return (encode(id, None) == *item).then_some((id, None));
    }
    let offset = u64::from(u32_at(item, 28)) * PAGE_BYTES;
    let shard_bytes = u64::from(u32_at(item, 32));
    if !(1..=SHARD_BYTES_MAX).contains(&shard_bytes) || offset < PAGE_BYTES {
        return None;
    }
    let place = Place { id, offset, shard_bytes };
    let (term, name) = (Term(u64_at(item, 40)), Digest(array_at(item, 48)));
    let mut entry = Entry::new(u32_at(item, 24), place, term, name);
    entry.damaged = u32_at(item, 36) == DAMAGED;
    (encode(id, Some(entry)) == *item).then_some((id, Some(entry)))
}

//! The data payloads of one row that had to be read or padded, side by side in memory.
//!
//! Leaves are a power of two long: laid end to end, the same column of all shards would fall into the same few cache sets.
//! So each payload begins a little further along, at a multiple of a cache line.

use prunedb_core::Policy;

const LINE_BYTES: usize = 64;
/// Shifts neighbours by one sub-tile of the erasure code, so that the columns of a tile spread over the cache.
const STAGGER_BYTES: usize = 1024;

pub(crate) struct RowBuffer {
    bytes: Vec<u8>,
    start: usize,
    stride: usize,
    payload_bytes: usize,
    data_shards: usize,
}

impl RowBuffer {
    pub(crate) fn new(policy: Policy, payload_bytes: usize) -> Self {
        let stride = payload_bytes.next_multiple_of(LINE_BYTES) + STAGGER_BYTES;
        let data_shards = policy.data_shards();
        let bytes = vec![0; stride * data_shards + LINE_BYTES];
        let start = bytes.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
        Self { bytes, start, stride, payload_bytes, data_shards }
    }

    pub(crate) fn payload_mut(&mut self, shard: usize) -> &mut [u8] {
        &mut self.bytes[self.start + shard * self.stride..][..self.payload_bytes]
    }

    /// All data payloads, in order.
    pub(crate) fn payloads(&self) -> Vec<&[u8]> {
        let rows = &self.bytes[self.start..][..self.data_shards * self.stride];
        rows.chunks_exact(self.stride).map(|row| &row[..self.payload_bytes]).collect()
    }
}

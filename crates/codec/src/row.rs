//! The payloads of one row, side by side in memory.
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
    total_shards: usize,
}

impl RowBuffer {
    pub(crate) fn new(policy: Policy, payload_bytes: usize) -> Self {
        let stride = payload_bytes.next_multiple_of(LINE_BYTES) + STAGGER_BYTES;
        let bytes = vec![0; stride * policy.total_shards() + LINE_BYTES];
        let start = bytes.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
        let (data_shards, total_shards) = (policy.data_shards(), policy.total_shards());
        Self { bytes, start, stride, payload_bytes, data_shards, total_shards }
    }

    pub(crate) fn payload_mut(&mut self, shard: usize) -> &mut [u8] {
        &mut self.bytes[self.start + shard * self.stride..][..self.payload_bytes]
    }

    /// All data payloads, and all parity payloads to be written.
    pub(crate) fn split(&mut self) -> (Vec<&[u8]>, Vec<&mut [u8]>) {
        let rows = &mut self.bytes[self.start..][..self.total_shards * self.stride];
        let (data, parity) = rows.split_at_mut(self.data_shards * self.stride);
        let data = data.chunks_exact(self.stride).map(|row| &row[..self.payload_bytes]);
        let parity = parity.chunks_exact_mut(self.stride).map(|row| &mut row[..self.payload_bytes]);
        (data.collect(), parity.collect())
    }
}

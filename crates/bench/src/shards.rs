//! Bytes that look like shards.

/// Shards in one piece of memory. Each begins at its own distance from a page's begin, as the slices of a container do:
/// at equal distances the same column of all shards would fall into the same few cache sets.
#[derive(Debug)]
pub struct Shards {
    memory: Vec<u8>,
    count: usize,
    shard_bytes: usize,
    stride: usize,
}

const PAGE_BYTES: usize = 4096;
const LINE_BYTES: usize = 64;

impl Shards {
    /// Shards of random bytes: the same ones each time.
    pub fn new(count: usize, shard_bytes: usize) -> Self {
        let stride = shard_bytes.next_multiple_of(LINE_BYTES) + 5 * LINE_BYTES;
        let mut memory = vec![0; count * stride + PAGE_BYTES];
        fill_random(1, &mut memory);
        Self { memory, count, shard_bytes, stride }
    }

    /// Each shard's bytes.
    pub fn slices(&self) -> Vec<&[u8]> {
        let (shard_bytes, start) =
            (self.shard_bytes, self.memory.as_ptr().align_offset(PAGE_BYTES));
        let shards = self.memory[start..].chunks_exact(self.stride).take(self.count);
        shards.map(|shard| &shard[..shard_bytes]).collect()
    }

    /// Each shard's bytes, to be written.
    pub fn slices_mut(&mut self) -> Vec<&mut [u8]> {
        let (shard_bytes, start) =
            (self.shard_bytes, self.memory.as_ptr().align_offset(PAGE_BYTES));
        let shards = self.memory[start..].chunks_exact_mut(self.stride).take(self.count);
        shards.map(|shard| &mut shard[..shard_bytes]).collect()
    }
}

/// Bytes that no compressor shortens, the same ones for the same seed; made as fast as memory is written.
pub(crate) fn fill_random(seed: u64, bytes: &mut [u8]) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
}

//! Memory for a run of bytes of each shard, as the encoder and the processor's caches like it.
//!
//! Leaves are a power of two long: laid end to end, the same column of all shards would fall into the same few sets of a
//! cache. So each run begins at a cache line, a few lines further along. Against one allocation a shard (which begin at 16
//! bytes past a line, all alike) that is worth 5 % of coding, sealing and hashing 16+4, and 14 % for 20+80.

const LINE_BYTES: usize = 64;
/// Shifts neighbours against each other.
const STAGGER_BYTES: usize = 5 * LINE_BYTES;

/// Equally long runs of bytes, one for each shard. Made once and used again: new memory costs a page fault each 4 KiB.
#[derive(Debug)]
pub struct ShardBuffers {
    bytes: Vec<u8>,
    start: usize,
    stride: usize,
    shards: usize,
    run_bytes: usize,
}

impl ShardBuffers {
    /// `run_bytes` zeros for each of `shards` shards.
    pub fn new(shards: usize, run_bytes: usize) -> Self {
        let stride = run_bytes.next_multiple_of(LINE_BYTES) + STAGGER_BYTES;
        let bytes = vec![0; stride * shards + LINE_BYTES];
        let start = bytes.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
        Self { bytes, start, stride, shards, run_bytes }
    }

    /// One shard's run.
    ///
    /// # Panics
    /// Where there is no such shard.
    pub fn run(&self, shard: usize) -> &[u8] {
        assert!(shard < self.shards, "a shard that there is");
        &self.bytes[self.start + shard * self.stride..][..self.run_bytes]
    }

    /// One shard's run, to be written.
    ///
    /// # Panics
    /// Where there is no such shard.
    pub fn run_mut(&mut self, shard: usize) -> &mut [u8] {
        assert!(shard < self.shards, "a shard that there is");
        &mut self.bytes[self.start + shard * self.stride..][..self.run_bytes]
    }

    /// Every shard's run, to be written.
    pub fn runs_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let runs = self.bytes[self.start..].chunks_exact_mut(self.stride).take(self.shards);
        runs.map(|run| &mut run[..self.run_bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_aligned_and_apart() {
        for (shards, run_bytes) in [(1, 1), (20, 16_384), (3, 16_368), (255, 4096), (2, 0)] {
            let mut buffers = ShardBuffers::new(shards, run_bytes);
            for (byte, run) in (0..=255).zip(buffers.runs_mut()) {
                assert_eq!((run.as_ptr().addr() % LINE_BYTES, run.len()), (0, run_bytes));
                run.fill(byte);
            }
            for (byte, shard) in (0..=255).zip(0..shards) {
                assert!(buffers.run(shard).iter().all(|&b| b == byte));
                assert_eq!(buffers.run_mut(shard).len(), run_bytes);
            }
        }
    }
}

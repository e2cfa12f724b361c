//! Blocks: 16 KiB of a shard and their checksum, written and read in batches.
//!
//! A block's check is CRC-32C of its bytes, XORed with CRC-32C of (shard id, block number): a block that a disk put
//! in another's place fails like a flipped one. Reading touches only the blocks that hold the range asked for.

use crate::layout::{BLOCK_BYTES, BLOCK_STRIDE, CHECK_BYTES, DATA_OFFSET, crc32c};
use bytes::Bytes;
use prunedb_core::ShardId;
use prunedb_disk::File;
use std::io;

/// Blocks of one read or write of the file.
pub(crate) const BATCH_BLOCKS: usize = 16;

/// What is XORed into a block's CRC.
fn salt(id: ShardId, block: u32) -> u32 {
    let mut place = [0; ShardId::BYTES + 4];
    place[..ShardId::BYTES].copy_from_slice(&id.to_bytes());
    place[ShardId::BYTES..].copy_from_slice(&block.to_le_bytes());
    crc32c(&place)
}

/// The check of one block.
fn check(id: ShardId, block: u32, data: &[u8]) -> u32 {
    crc32c(data) ^ salt(id, block)
}

/// Puts a stream of bytes into blocks, ready to be written a batch at a time.
#[derive(Debug)]
pub(crate) struct BlockBuffer {
    id: ShardId,
    /// blocks with their checks, the last one perhaps unfinished
    bytes: Vec<u8>,
    /// bytes of the unfinished block
    open_bytes: usize,
    /// number of the unfinished block
    block: u32,
}

impl BlockBuffer {
    pub(crate) fn new(id: ShardId, shard_bytes: u64) -> Self {
        let blocks =
            usize::try_from(shard_bytes.div_ceil(BLOCK_BYTES as u64)).unwrap_or(usize::MAX);
        let bytes = Vec::with_capacity(blocks.min(BATCH_BLOCKS) * BLOCK_STRIDE);
        Self { id, bytes, open_bytes: 0, block: 0 }
    }

    /// Takes bytes from the front of `data`, up to the end of the batch.
    pub(crate) fn fill(&mut self, data: &mut &[u8]) {
        while !data.is_empty() && !self.is_full() {
            let (now, rest) = data.split_at(data.len().min(BLOCK_BYTES - self.open_bytes));
            self.bytes.extend_from_slice(now);
            self.open_bytes += now.len();
            *data = rest;
            if self.open_bytes == BLOCK_BYTES {
                self.end_block();
            }
        }
    }

    /// Ends the last block of the shard, if it is a short one.
    pub(crate) fn finish(&mut self) {
        if self.open_bytes > 0 {
            self.end_block();
        }
    }

    /// Whether the batch must be written now.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BLOCKS * BLOCK_STRIDE
    }

    pub(crate) fn batch(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    fn end_block(&mut self) {
        let data = &self.bytes[self.bytes.len() - self.open_bytes..];
        let check = check(self.id, self.block, data);
        self.bytes.extend_from_slice(&check.to_le_bytes());
        self.open_bytes = 0;
        self.block += 1;
    }
}

/// Why a range could not be read.
#[derive(Debug)]
pub(crate) struct BadBlock {
    /// first byte of the block, within the shard
    pub(crate) offset: u64,
    /// the disk's error; `None` where the checksum was wrong
    pub(crate) source: Option<io::Error>,
}

/// Where a shard is: enough to read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) id: ShardId,
    /// of its record, in the segment
    pub(crate) offset: u64,
    pub(crate) shard_bytes: u64,
}

impl Place {
    /// Blocks of the shard.
    fn blocks(&self) -> u64 {
        self.shard_bytes.div_ceil(BLOCK_BYTES as u64)
    }

    /// Data bytes of one block.
    fn block_bytes(&self, block: u64) -> usize {
        let left = self.shard_bytes - block * BLOCK_BYTES as u64;
        usize::try_from(left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES))
    }

    /// Reads and checks a range that is within the shard and not empty.
    pub(crate) fn read(&self, file: &dyn File, offset: u64, bytes: u64) -> Result<Bytes, BadBlock> {
        debug_assert!(bytes > 0 && offset + bytes <= self.shard_bytes);
        let first = offset / BLOCK_BYTES as u64;
        let end = (offset + bytes).div_ceil(BLOCK_BYTES as u64);
        let room = usize::try_from((end - first) * BLOCK_STRIDE as u64).expect("ranges fit memory");
        let mut out = Vec::with_capacity(room);
        let mut block = first;
        while block < end {
            let batch_end = end.min(block + BATCH_BLOCKS as u64);
            self.read_batch(file, block, batch_end, &mut out)?;
            block = batch_end;
        }
        let skip = usize::try_from(offset % BLOCK_BYTES as u64).expect("below a block");
        let bytes = usize::try_from(bytes).expect("ranges fit memory");
        Ok(Bytes::from(out).slice(skip..skip + bytes))
    }

    /// Reads and checks the whole shard, handing its bytes over batch by batch.
    pub(crate) fn read_all(
        &self,
        file: &dyn File,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), BadBlock> {
        let mut out = Vec::with_capacity(BATCH_BLOCKS * BLOCK_STRIDE);
        let mut block = 0;
        while block < self.blocks() {
            let batch_end = self.blocks().min(block + BATCH_BLOCKS as u64);
            out.clear();
            self.read_batch(file, block, batch_end, &mut out)?;
            each(&out);
            block = batch_end;
        }
        Ok(())
    }

    /// Appends the data of blocks `first..end` to `out`.
    fn read_batch(
        &self,
        file: &dyn File,
        first: u64,
        end: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), BadBlock> {
        let bad = |block: u64, source| BadBlock { offset: block * BLOCK_BYTES as u64, source };
        let start = out.len();
        let stored: usize = (first..end).map(|block| self.block_bytes(block) + CHECK_BYTES).sum();
        out.resize(start + stored, 0);
        file.read_exact_at(
            &mut out[start..],
            self.offset + DATA_OFFSET + first * BLOCK_STRIDE as u64,
        )
        .map_err(|source| bad(first, Some(source)))?;
        // close the gaps that the checks leave, front to back
        let (mut from, mut to) = (start, start);
        for block in first..end {
            let data_end = from + self.block_bytes(block);
            let (data, rest) = out[from..].split_at(data_end - from);
            let found =
                u32::from_le_bytes(*rest.first_chunk().expect("a check is read with its block"));
            let number = u32::try_from(block).expect("shards have fewer blocks");
            if found != check(self.id, number, data) {
                return Err(bad(block, None));
            }
            out.copy_within(from..data_end, to);
            to += data_end - from;
            from = data_end + CHECK_BYTES;
        }
        out.truncate(to);
        Ok(())
    }
}

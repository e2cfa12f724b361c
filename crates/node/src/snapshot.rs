//! What the segments held at some moment, and which runs say where their shards are, so that a start need not look at
//! every record.
//!
//! ```text
//! snapshot   header | runs, newest first | segments
//! ```
//! It is replaced whole, by renaming. Whatever does not fit makes the start walk everything: the segments alone are the
//! truth. format: node-index.
//!
//! Cost: 64 bytes per segment on disk.

use crate::layout::{Mark, array_at, crc32c, u32_at, u64_at};
use prunedb_disk::{Disk, File, Open};
use std::{collections::BTreeMap, io, path::Path, sync::Arc};

const MAGIC: &[u8; 8] = b"PDBSNAP\x02";
/// Size of every item: the header, a run, a segment.
const ITEM_BYTES: usize = 64;
/// Items of one block, which has a check of its own.
const BLOCK_ITEMS: usize = 1023;
const BLOCK_BYTES: usize = BLOCK_ITEMS * ITEM_BYTES + 4;
/// Runs that are believed; merging leaves a few.
const RUNS_MAX: u64 = 1 << 10;

/// A segment that has not changed since the snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QuietSegment {
    pub(crate) mark: Mark,
    /// shards in it
    pub(crate) records: u64,
    pub(crate) used_bytes: u64,
    /// what runs of earlier generations say of it does not count
    pub(crate) since: u64,
}

/// What a start begins with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) generation: u64,
    /// sequence number of the last commit
    pub(crate) sequence: u64,
    /// commits up to this one are durable
    pub(crate) durable_through: u64,
    /// generation and items of each run, newest first
    pub(crate) runs: Vec<(u64, u64)>,
    pub(crate) segments: BTreeMap<u32, QuietSegment>,
}

impl Snapshot {
    /// Writes a new file, durably but for its name.
    pub(crate) fn write(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        if disk.exists(path)? {
            disk.remove(path)?;
        }
        let mut out = Writer {
            file: disk.open(path, Open::CreateNew)?,
            block: Vec::with_capacity(BLOCK_BYTES),
            number: 0,
        };
        out.put(&self.header())?;
        for run in &self.runs {
            out.put(&run_item(*run))?;
        }
        for (number, segment) in &self.segments {
            out.put(&segment_item(*number, segment))?;
        }
        out.finish()
    }

    /// Reads a snapshot; `None` where a byte is not as it was written.
    pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Self>> {
        let file = disk.open(path, Open::Read)?;
        let mut input = Reader { file: &*file, items: Vec::new(), next: 0, block: 0 };
        let Some(first) = input.take()? else { return Ok(None) };
        let [generation, sequence, durable_through, runs, segments] =
            [8, 16, 24, 32, 40].map(|at| u64_at(&first, at));
        let mut found = Self { generation, sequence, durable_through, ..Self::default() };
        if first != found.header_of(runs, segments) || runs > RUNS_MAX {
            return Ok(None);
        }
        for _ in 0..runs {
            let Some(item) = input.take()? else { return Ok(None) };
            let run = (u64_at(&item, 0), u64_at(&item, 8));
            if item != run_item(run) {
                return Ok(None);
            }
            found.runs.push(run);
        }
        for _ in 0..segments {
            let Some(item) = input.take()? else { return Ok(None) };
            let number = u32_at(&item, 0);
            let [records, used_bytes, since] = [8, 16, 24].map(|at| u64_at(&item, at));
            let segment = QuietSegment { mark: array_at(&item, 32), records, used_bytes, since };
            let is_next = found.segments.last_key_value().is_none_or(|(last, _)| *last < number);
            if item != segment_item(number, &segment) || !is_next {
                return Ok(None);
            }
            found.segments.insert(number, segment);
        }
        Ok(Some(found))
    }

    fn header(&self) -> [u8; ITEM_BYTES] {
        self.header_of(self.runs.len() as u64, self.segments.len() as u64)
    }

    fn header_of(&self, runs: u64, segments: u64) -> [u8; ITEM_BYTES] {
        let numbers = [self.generation, self.sequence, self.durable_through, runs, segments];
        let mut out = [0; ITEM_BYTES];
        out[..8].copy_from_slice(MAGIC);
        put_u64s(&mut out[8..], &numbers);
        out
    }
}

fn put_u64s(out: &mut [u8], numbers: &[u64]) {
    for (field, number) in out.as_chunks_mut().0.iter_mut().zip(numbers) {
        *field = number.to_le_bytes();
    }
}

fn run_item((generation, items): (u64, u64)) -> [u8; ITEM_BYTES] {
    let mut out = [0; ITEM_BYTES];
    put_u64s(&mut out, &[generation, items]);
    out
}

fn segment_item(number: u32, segment: &QuietSegment) -> [u8; ITEM_BYTES] {
    let mut out = [0; ITEM_BYTES];
    out[..4].copy_from_slice(&number.to_le_bytes());
    put_u64s(&mut out[8..], &[segment.records, segment.used_bytes, segment.since]);
    out[32..48].copy_from_slice(&segment.mark);
    out
}

/// Puts items into blocks, and blocks into the file.
struct Writer {
    file: Arc<dyn File>,
    block: Vec<u8>,
    number: u64,
}

impl Writer {
    fn put(&mut self, item: &[u8; ITEM_BYTES]) -> io::Result<()> {
        self.block.extend_from_slice(item);
        if self.block.len() == BLOCK_BYTES - 4 { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let check = block_check(&self.block, self.number);
        self.block.extend_from_slice(&check.to_le_bytes());
        self.file.write_all_at(&self.block, self.number * BLOCK_BYTES as u64)?;
        self.block.clear();
        self.number += 1;
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        self.file.sync_data()
    }
}

/// Takes items out of blocks, each of which is checked.
struct Reader<'a> {
    file: &'a dyn File,
    items: Vec<u8>,
    next: usize,
    block: u64,
}

impl Reader<'_> {
    /// The next item; `None` at the end, or where a block is damaged.
    fn take(&mut self) -> io::Result<Option<[u8; ITEM_BYTES]>> {
        if self.next == self.items.len() {
            self.items.resize(BLOCK_BYTES, 0);
            self.next = 0;
            let read = self.file.read_at(&mut self.items, self.block * BLOCK_BYTES as u64)?;
            let Some(bytes) = read.checked_sub(4) else { return Ok(None) };
            let check = u32_at(&self.items, bytes);
            self.items.truncate(bytes);
            if check != block_check(&self.items, self.block) {
                return Ok(None);
            }
            self.block += 1;
        }
        let item = self.items.get(self.next..).and_then(|rest| rest.first_chunk()).copied();
        self.next += ITEM_BYTES;
        Ok(item)
    }
}

/// A block in another's place fails like a flipped one.
fn block_check(block: &[u8], number: u64) -> u32 {
    crc32c(block) ^ crc32c(&number.to_le_bytes())
}

//! What the segments held at the last clean stop, so that a start need not look at every record.
//!
//! ```text
//! snapshot   header | segments | shards       written whole at a clean stop
//! changed    header | number, number, ...     segments that were written to since, each listed before the first write
//! ```
//! A segment that is not listed is as the snapshot says. Those that are listed, damaged, new, or the last one are walked.
//! Whatever does not fit (a check that fails, a file that is missing or of another length, a shard that a walked segment
//! has and a quiet one, too) makes the start walk everything: the segments alone are the truth. format: node-segment.
//!
//! Cost: 80 bytes per shard on disk; one sync per segment that is written to for the first time since the snapshot.

use crate::{
    block::Place,
    layout::{PAGE_BYTES, SHARD_BYTES_MAX, array_at, crc32c, u32_at, u64_at},
    state::{Entry, State, lock},
};
use prunedb_core::{Digest, ShardId, Term};
use prunedb_disk::{Disk, File, Open, read_all, write_atomic};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex},
};

const SNAPSHOT: &str = "snapshot";
const CHANGED: &str = "changed";
const SNAPSHOT_MAGIC: &[u8; 8] = b"PDBSNAP\x01";
const CHANGED_MAGIC: &[u8; 8] = b"PDBCHNG\x01";
/// Size of every item: the header, a segment, a shard.
const ITEM_BYTES: usize = 80;
/// Items of one block, which has a check of its own.
const BLOCK_ITEMS: usize = 819;
const BLOCK_BYTES: usize = BLOCK_ITEMS * ITEM_BYTES + 4;
const LISTED_BYTES: usize = 16;
/// Segments of a list that is believed.
const LISTED_MAX: usize = 1 << 20;

/// A segment that has not changed since the snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QuietSegment {
    pub(crate) records: u64,
    pub(crate) used_bytes: u64,
    pub(crate) file_bytes: u64,
}

/// What a start begins with.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// sequence number of the last commit
    pub(crate) sequence: u64,
    pub(crate) quiet: BTreeMap<u32, QuietSegment>,
    /// shards in quiet segments
    pub(crate) shards: BTreeMap<ShardId, Entry>,
}

/// Which segments were written to since the snapshot.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    listed: BTreeSet<u32>,
    /// `None` where there is no snapshot: nothing needs to be listed
    list: Option<List>,
    /// there may be a snapshot without a list that is kept up: nothing may change
    broken: bool,
}

#[derive(Debug)]
struct List {
    file: Arc<dyn File>,
    generation: u64,
    bytes: u64,
}

impl Changes {
    /// To be called before a segment is written to for the first time.
    pub(crate) fn note(&mut self, segment: u32) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(
                "a snapshot could not be taken back: start the node anew",
            ));
        }
        let Some(list) = &mut self.list else { return Ok(()) };
        if self.listed.contains(&segment) {
            return Ok(());
        }
        list.file.write_all_at(&listed(list.generation, segment), list.bytes)?;
        list.file.sync_data()?;
        list.bytes += LISTED_BYTES as u64;
        self.listed.insert(segment);
        Ok(())
    }

    /// What the last clean stop left, and the list to go on with; `None` where it cannot be used.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Option<(Self, Snapshot)>> {
        if !disk.exists(&dir.join(SNAPSHOT))? || !disk.exists(&dir.join(CHANGED))? {
            return Ok(None);
        }
        let bytes = read_all(disk, &dir.join(CHANGED), LISTED_BYTES * (LISTED_MAX + 1))?;
        let Some((generation, listed)) = read_list(&bytes) else { return Ok(None) };
        let file = disk.open(&dir.join(SNAPSHOT), Open::Read)?;
        let Some(snapshot) = Snapshot::read(&*file, generation, &listed)? else { return Ok(None) };
        let file = disk.open(&dir.join(CHANGED), Open::ReadWrite)?;
        let list = List { file, generation, bytes: bytes.len() as u64 };
        Ok(Some((Self { listed, list: Some(list), broken: false }, snapshot)))
    }

    /// There is no snapshot any more.
    pub(crate) fn forget(&mut self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        *self = Self { broken: true, ..Self::default() };
        for name in [SNAPSHOT, CHANGED] {
            let path = dir.join(name);
            if disk.exists(&path)? {
                disk.remove(&path)?;
            }
        }
        disk.sync_dir(dir)?;
        self.broken = false;
        Ok(())
    }

    /// How many segments have changed since the snapshot, if there is one.
    pub(crate) fn count(&self) -> Option<usize> {
        self.list.as_ref().map(|_| self.listed.len())
    }

    /// Writes a snapshot, unless something is under way, or in doubt. Whoever would change something waits in
    /// [`Changes::note`] until it is written: the caller holds the lock around `self`.
    pub(crate) fn take(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        state: &Mutex<State>,
    ) -> io::Result<bool> {
        let taken = self.try_take(disk, dir, state);
        if taken.is_err() {
            // half of it may be there, without a list that is kept up
            self.forget(disk, dir)?;
        }
        taken
    }

    fn try_take(&mut self, disk: &dyn Disk, dir: &Path, state: &Mutex<State>) -> io::Result<bool> {
        let (sequence, segments, shards) = {
            let state = lock(state);
            let poisoned = state.segments.values().any(|held| held.segment.is_poisoned());
            let busy = state.uploads > 0 || !state.busy.is_empty() || !state.syncing.is_empty();
            if busy || poisoned || !state.stale.is_empty() {
                return Ok(false);
            }
            let mut segments = Vec::with_capacity(state.segments.len());
            for (&number, held) in &state.segments {
                // damage is looked for again at each start
                if !held.damaged {
                    let (records, used_bytes) = (held.records, held.used_bytes);
                    let file_bytes = held.segment.file.len()?;
                    segments.push((number, QuietSegment { records, used_bytes, file_bytes }));
                }
            }
            (state.sequence, segments, state.shards.len() as u64)
        };
        let generation = self.list.as_ref().map_or(1, |list| list.generation + 1);
        let beside = dir.join("snapshot.tmp");
        if disk.exists(&beside)? {
            disk.remove(&beside)?;
        }
        let mut out = Writer::new(disk.open(&beside, Open::CreateNew)?);
        out.put(&header(generation, sequence, segments.len() as u64, shards))?;
        for (number, segment) in &segments {
            out.put(&segment_item(*number, segment))?;
        }
        let mut after = None;
        loop {
            let some: Vec<(ShardId, Entry)> = {
                let state = lock(state);
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                let behind = state.shards.range((from, Bound::Unbounded));
                behind.take(BLOCK_ITEMS).map(|(id, entry)| (*id, *entry)).collect()
            };
            let Some((last, _)) = some.last() else { break };
            after = Some(*last);
            for (id, entry) in &some {
                out.put(&shard_item(*id, entry))?;
            }
        }
        out.finish()?;
        // a crash in between leaves a list of another generation: everything is walked then
        disk.rename(&beside, &dir.join(SNAPSHOT))?;
        disk.sync_dir(dir)?;
        write_atomic(disk, &dir.join(CHANGED), &list_header(generation))?;
        let file = disk.open(&dir.join(CHANGED), Open::ReadWrite)?;
        let bytes = LISTED_BYTES as u64;
        let list = Some(List { file, generation, bytes });
        *self = Self { list, ..Self::default() };
        Ok(true)
    }
}

impl Snapshot {
    /// Reads a snapshot of this generation, without what has changed; `None` where anything is wrong.
    fn read(file: &dyn File, generation: u64, listed: &BTreeSet<u32>) -> io::Result<Option<Self>> {
        let mut input = Reader { file, items: Vec::new(), next: 0, block: 0 };
        let Some(first) = input.take()? else { return Ok(None) };
        let (sequence, segments, shards) =
            (u64_at(&first, 16), u64_at(&first, 24), u64_at(&first, 32));
        let length = (1 + segments.saturating_add(shards)).div_ceil(BLOCK_ITEMS as u64) * 4;
        let items = segments
            .checked_add(shards)
            .and_then(|n| n.checked_add(1)?.checked_mul(ITEM_BYTES as u64));
        let right = first == header(generation, sequence, segments, shards)
            && items.is_some_and(|items| items.checked_add(length) == file.len().ok());
        if !right {
            return Ok(None);
        }
        let (mut all, mut quiet) = (BTreeSet::new(), BTreeMap::new());
        for _ in 0..segments {
            let Some(item) = input.take()? else { return Ok(None) };
            let number = u32_at(&item, 0);
            let segment = QuietSegment {
                records: u64_at(&item, 8),
                used_bytes: u64_at(&item, 16),
                file_bytes: u64_at(&item, 24),
            };
            if item != segment_item(number, &segment) || !all.insert(number) {
                return Ok(None);
            }
            if !listed.contains(&number) {
                quiet.insert(number, segment);
            }
        }
        let mut found = Vec::new();
        for _ in 0..shards {
            let Some((id, entry)) = input.take()?.as_ref().and_then(read_shard) else {
                return Ok(None);
            };
            if found.last().is_some_and(|(last, _)| *last >= id) {
                return Ok(None);
            }
            if quiet.contains_key(&entry.segment) {
                found.push((id, entry));
            }
        }
        Ok(Some(Self { sequence, quiet, shards: found.into_iter().collect() }))
    }
}

/// Puts items into blocks, and blocks into the file.
struct Writer {
    file: Arc<dyn File>,
    block: Vec<u8>,
    number: u64,
}

impl Writer {
    fn new(file: Arc<dyn File>) -> Self {
        Self { file, block: Vec::with_capacity(BLOCK_BYTES), number: 0 }
    }

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

fn header(generation: u64, sequence: u64, segments: u64, shards: u64) -> [u8; ITEM_BYTES] {
    let mut out = [0; ITEM_BYTES];
    out[..8].copy_from_slice(SNAPSHOT_MAGIC);
    for (field, number) in
        out[8..40].as_chunks_mut().0.iter_mut().zip([generation, sequence, segments, shards])
    {
        *field = number.to_le_bytes();
    }
    out
}

fn segment_item(number: u32, segment: &QuietSegment) -> [u8; ITEM_BYTES] {
    let mut out = [0; ITEM_BYTES];
    out[..4].copy_from_slice(&number.to_le_bytes());
    out[8..16].copy_from_slice(&segment.records.to_le_bytes());
    out[16..24].copy_from_slice(&segment.used_bytes.to_le_bytes());
    out[24..32].copy_from_slice(&segment.file_bytes.to_le_bytes());
    out
}

fn shard_item(id: ShardId, entry: &Entry) -> [u8; ITEM_BYTES] {
    let place = entry.place(id);
    let page = u32::try_from(place.offset / PAGE_BYTES).expect("offsets are below 2^44");
    let bytes = u32::try_from(place.shard_bytes).expect("shards are at most 256 MiB");
    let mut out = [0; ITEM_BYTES];
    out[..24].copy_from_slice(&id.to_bytes());
    for (field, number) in out[24..40].as_chunks_mut().0.iter_mut().zip([
        entry.segment,
        page,
        bytes,
        u32::from(entry.damaged),
    ]) {
        *field = number.to_le_bytes();
    }
    out[40..48].copy_from_slice(&entry.term.0.to_le_bytes());
    out[48..].copy_from_slice(entry.name.as_bytes());
    out
}

fn read_shard(item: &[u8; ITEM_BYTES]) -> Option<(ShardId, Entry)> {
    let id = ShardId::from_bytes(&array_at(item, 0))?;
    let offset = u64::from(u32_at(item, 28)) * PAGE_BYTES;
    let shard_bytes = u64::from(u32_at(item, 32));
    if !(1..=SHARD_BYTES_MAX).contains(&shard_bytes) || offset < PAGE_BYTES {
        return None;
    }
    let place = Place { id, offset, shard_bytes };
    let (term, name) = (Term(u64_at(item, 40)), Digest(array_at(item, 48)));
    let mut entry = Entry::new(u32_at(item, 24), place, term, name);
    entry.damaged = u32_at(item, 36) == 1;
    (shard_item(id, &entry) == *item).then_some((id, entry))
}

/// The first item of a list.
fn list_header(generation: u64) -> [u8; LISTED_BYTES] {
    let mut out = [0; LISTED_BYTES];
    out[..8].copy_from_slice(CHANGED_MAGIC);
    out[8..].copy_from_slice(&generation.to_le_bytes());
    out
}

/// A segment in a list: the generation, its number, and a check of both.
fn listed(generation: u64, segment: u32) -> [u8; LISTED_BYTES] {
    let mut out = [0; LISTED_BYTES];
    out[..8].copy_from_slice(&generation.to_le_bytes());
    out[8..12].copy_from_slice(&segment.to_le_bytes());
    let check = crc32c(&out[..12]);
    out[12..].copy_from_slice(&check.to_le_bytes());
    out
}

/// The generation of a list and what is in it; `None` where a byte is not as it was written.
fn read_list(bytes: &[u8]) -> Option<(u64, BTreeSet<u32>)> {
    let (items, rest) = bytes.as_chunks::<LISTED_BYTES>();
    let (first, items) = items.split_first().filter(|_| rest.is_empty())?;
    let generation = u64_at(first, 8);
    if *first != list_header(generation) {
        return None;
    }
    let read = |item: &[u8; LISTED_BYTES]| {
        let segment = u32_at(item, 8);
        (*item == listed(generation, segment)).then_some(segment)
    };
    let segments = items.iter().map(read).collect::<Option<_>>()?;
    Some((generation, segments))
}

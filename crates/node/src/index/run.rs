//! A run: items by rising shard id in a file that is written once, and found by the first ids of its pages.
//!
//! ```text
//! page 0    header
//! 1..=n     51 items of 80 bytes each, the last page perhaps fewer
//! behind    the first id of each of these pages, 170 to a page
//! ```
//! Each page ends with a check that its number is part of. Only the first ids are in memory: half a byte per shard. A
//! lookup reads one page. format: node-index.

use super::item::{self, Change, ITEM_BYTES};
use crate::layout::{array_at, crc32c, u32_at};
use prunedb_core::ShardId;
use prunedb_disk::{Disk, File, Open};
use std::{io, ops::Bound, path::Path, sync::Arc};

const MAGIC: &[u8; 8] = b"PDBSRUN\x01";
const PAGE_BYTES: usize = 4096;
/// Where a page's check is.
const CHECK_AT: usize = PAGE_BYTES - 4;
/// Items of a page.
pub(super) const PAGE_ITEMS: usize = 51;
/// First ids of a page.
const PAGE_FIRSTS: usize = 170;
/// Pages that are read or written at once where many are.
const BATCH_PAGES: usize = 64;

const _: () = assert!(PAGE_ITEMS * ITEM_BYTES <= CHECK_AT);
const _: () = assert!(PAGE_FIRSTS * ShardId::BYTES <= CHECK_AT);

/// An open run.
#[derive(Debug)]
pub(crate) struct Run {
    /// of the snapshot that it was written for
    pub(super) generation: u64,
    pub(super) items: u64,
    file: Arc<dyn File>,
    /// of each page
    firsts: Vec<ShardId>,
    last: ShardId,
}

/// A run that is being written.
pub(crate) struct Writer {
    file: Arc<dyn File>,
    generation: u64,
    items: u64,
    firsts: Vec<ShardId>,
    last: Option<ShardId>,
    /// items of the page that is not full
    page: Vec<u8>,
    out: Pages,
}

/// Pages on their way into a file.
struct Pages {
    bytes: Vec<u8>,
    /// number of the first of them
    number: u64,
}

impl Run {
    /// Name of a run's file.
    pub(super) fn file_name(generation: u64) -> String {
        format!("{generation:08}.run")
    }

    /// The generation that a file name stands for.
    pub(super) fn parse_file_name(name: &str) -> Option<u64> {
        let generation = name.strip_suffix(".run")?.parse().ok()?;
        (Self::file_name(generation) == name).then_some(generation)
    }

    /// Opens a run that a snapshot names.
    ///
    /// # Errors
    /// Those of the disk; `InvalidData` where it is not as it was written.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        generation: u64,
        items: u64,
    ) -> io::Result<Self> {
        let file = disk.open(&dir.join(Self::file_name(generation)), Open::Read)?;
        let damaged = |page| damaged(generation, page);
        let pages = items.div_ceil(PAGE_ITEMS as u64);
        let firsts_pages = pages.div_ceil(PAGE_FIRSTS as u64);
        let file_pages = pages.checked_add(firsts_pages).and_then(|all| all.checked_add(1));
        let file_bytes = file_pages.and_then(|all| all.checked_mul(PAGE_BYTES as u64));
        // what is allocated below is in the file
        if items == 0 || file_bytes != Some(file.len()?) {
            return Err(damaged(0));
        }
        let mut header = vec![0; PAGE_BYTES];
        read_pages(&*file, generation, 0, &mut header)?;
        let last = ShardId::from_bytes(&array_at(&header, 24)).ok_or_else(|| damaged(0))?;
        if header != header_page(generation, items, last) {
            return Err(damaged(0));
        }
        let mut firsts = Vec::with_capacity(usize::try_from(pages).map_err(|_| damaged(0))?);
        let mut buffer = Vec::new();
        for at in (0..firsts_pages).step_by(BATCH_PAGES) {
            let count = usize::try_from(firsts_pages - at)
                .map_or(BATCH_PAGES, |left| left.min(BATCH_PAGES));
            buffer.resize(count * PAGE_BYTES, 0);
            read_pages(&*file, generation, 1 + pages + at, &mut buffer)?;
            for (nth, page) in (1 + pages + at..).zip(buffer.chunks(PAGE_BYTES)) {
                let left = usize::try_from(pages).unwrap_or(usize::MAX) - firsts.len();
                for id in page.as_chunks().0.iter().take(left.min(PAGE_FIRSTS)) {
                    let id = ShardId::from_bytes(id).ok_or_else(|| damaged(nth))?;
                    if firsts.last().is_some_and(|last| *last >= id) {
                        return Err(damaged(nth));
                    }
                    firsts.push(id);
                }
            }
        }
        Ok(Self { generation, items, file, firsts, last })
    }

    /// What a snapshot says to name it: generation and items.
    pub(crate) fn named(&self) -> (u64, u64) {
        (self.generation, self.items)
    }

    /// What the run says of a shard; `None` where it says nothing.
    ///
    /// # Errors
    /// Those of the disk; `InvalidData` where the page is not as it was written.
    pub(super) fn get(&self, id: ShardId) -> io::Result<Option<Change>> {
        let behind = self.firsts.partition_point(|first| *first <= id);
        let Some(page) = behind.checked_sub(1).filter(|_| id <= self.last) else { return Ok(None) };
        let mut found = Vec::with_capacity(PAGE_ITEMS);
        self.read(page, 1, &mut found)?;
        let at = found.binary_search_by_key(&id, |(id, _)| *id);
        Ok(at.ok().map(|at| found[at].1))
    }

    /// Up to `count` items behind a bound, in order; fewer only at the end.
    ///
    /// # Errors
    /// Those of [`Self::get`].
    pub(super) fn range(
        &self,
        from: Bound<ShardId>,
        count: usize,
    ) -> io::Result<Vec<(ShardId, Change)>> {
        let is_before = |id: &ShardId| match from {
            Bound::Unbounded => false,
            Bound::Included(from) => *id < from,
            Bound::Excluded(from) => *id <= from,
        };
        // the page before the first one that is behind holds some, perhaps
        let mut page = self.firsts.partition_point(is_before).saturating_sub(1);
        let mut found = Vec::new();
        while found.len() < count && page < self.firsts.len() {
            let wanted = (count - found.len()).div_ceil(PAGE_ITEMS);
            let pages = wanted.min(BATCH_PAGES).min(self.firsts.len() - page);
            self.read(page, pages, &mut found)?;
            let skip = found.partition_point(|(id, _)| is_before(id));
            found.drain(..skip);
            page += pages;
        }
        found.truncate(count);
        Ok(found)
    }

    /// Appends the items of some pages of items, counted from 0.
    fn read(
        &self,
        page: usize,
        pages: usize,
        found: &mut Vec<(ShardId, Change)>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; pages * PAGE_BYTES];
        read_pages(&*self.file, self.generation, 1 + page as u64, &mut buffer)?;
        for (nth, bytes) in (page..).zip(buffer.chunks(PAGE_BYTES)) {
            let damaged = || damaged(self.generation, 1 + nth as u64);
            let left = self.items - (nth * PAGE_ITEMS) as u64;
            let items = usize::try_from(left).map_or(PAGE_ITEMS, |left| left.min(PAGE_ITEMS));
            for (at, bytes) in bytes.as_chunks().0.iter().take(items).enumerate() {
                let (id, change) = item::decode(bytes).ok_or_else(damaged)?;
                let fits = match at {
                    0 => id == self.firsts[nth],
                    _ => found.last().is_some_and(|(last, _)| *last < id),
                };
                if !fits {
                    return Err(damaged());
                }
                found.push((id, change));
            }
        }
        Ok(())
    }
}

impl Writer {
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, generation: u64) -> io::Result<Self> {
        let path = dir.join(Run::file_name(generation));
        // left by one that failed
        if disk.exists(&path)? {
            disk.remove(&path)?;
        }
        Ok(Self {
            file: disk.open(&path, Open::CreateNew)?,
            generation,
            items: 0,
            firsts: Vec::new(),
            last: None,
            page: Vec::with_capacity(PAGE_BYTES),
            out: Pages { bytes: Vec::new(), number: 1 },
        })
    }

    /// Takes the next item.
    pub(crate) fn put(&mut self, id: ShardId, change: Change) -> io::Result<()> {
        assert!(self.last.is_none_or(|last| last < id), "items come by rising id");
        if self.page.is_empty() {
            self.firsts.push(id);
        }
        self.last = Some(id);
        self.items += 1;
        self.page.extend_from_slice(&item::encode(id, change));
        if self.page.len() == PAGE_ITEMS * ITEM_BYTES { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> io::Result<()> {
        self.out.put(&self.page);
        self.page.clear();
        if self.out.bytes.len() >= BATCH_PAGES * PAGE_BYTES {
            self.out.write(&*self.file)
        } else {
            Ok(())
        }
    }

    /// Writes what is left, and makes the file durable, but not its name; `None` where there was no item.
    pub(crate) fn finish(mut self) -> io::Result<Option<Run>> {
        let Some(last) = self.last else { return Ok(None) };
        if !self.page.is_empty() {
            self.end_page()?;
        }
        for some in self.firsts.chunks(PAGE_FIRSTS) {
            let bytes: Vec<u8> = some.iter().flat_map(|id| id.to_bytes()).collect();
            self.out.put(&bytes);
        }
        self.out.write(&*self.file)?;
        self.file.write_all_at(&header_page(self.generation, self.items, last), 0)?;
        self.file.sync_data()?;
        let Self { file, generation, items, firsts, .. } = self;
        Ok(Some(Run { generation, items, file, firsts, last }))
    }
}

impl Pages {
    /// Makes a page of what it is to hold.
    fn put(&mut self, content: &[u8]) {
        let number = self.number + (self.bytes.len() / PAGE_BYTES) as u64;
        self.bytes.extend_from_slice(&page(number, content));
    }

    fn write(&mut self, file: &dyn File) -> io::Result<()> {
        file.write_all_at(&self.bytes, self.number * PAGE_BYTES as u64)?;
        self.number += (self.bytes.len() / PAGE_BYTES) as u64;
        self.bytes.clear();
        Ok(())
    }
}

/// A page with its check. One in another's place fails like a flipped one.
fn page(number: u64, content: &[u8]) -> [u8; PAGE_BYTES] {
    let mut out = [0; PAGE_BYTES];
    out[..content.len()].copy_from_slice(content);
    let check = page_check(number, &out[..CHECK_AT]);
    out[CHECK_AT..].copy_from_slice(&check.to_le_bytes());
    out
}

fn page_check(number: u64, bytes: &[u8]) -> u32 {
    crc32c(bytes) ^ crc32c(&number.to_le_bytes())
}

/// ```text
/// offset  size  field
///      0     8  magic "PDBSRUN\x01"
///      8     8  generation of the snapshot that it was written for
///     16     8  items
///     24    24  the last id
/// ```
fn header_page(generation: u64, items: u64, last: ShardId) -> [u8; PAGE_BYTES] {
    let mut out = [0; 48];
    out[..8].copy_from_slice(MAGIC);
    out[8..16].copy_from_slice(&generation.to_le_bytes());
    out[16..24].copy_from_slice(&items.to_le_bytes());
    out[24..].copy_from_slice(&last.to_bytes());
    page(0, &out)
}

/// Reads whole pages and checks each.
fn read_pages(file: &dyn File, generation: u64, first: u64, buffer: &mut [u8]) -> io::Result<()> {
    file.read_exact_at(buffer, first * PAGE_BYTES as u64)?;
    for (number, page) in (first..).zip(buffer.chunks(PAGE_BYTES)) {
        if u32_at(page, CHECK_AT) != page_check(number, &page[..CHECK_AT]) {
            return Err(damaged(generation, number));
        }
    }
    Ok(())
}

fn damaged(generation: u64, page: u64) -> io::Error {
    let what = format!("run {generation} of the index of shards: page {page} is damaged");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

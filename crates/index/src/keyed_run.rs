//! A keyed run: entries in the order of their prefix, spread over home pages.
//!
//! The home of a prefix of `b` bits among `n` home pages is `prefix * n >> b`: no directory, one page read per lookup.
//! Entries that find their page full go on in the next one, before its own, so the run is one ascending sequence of
//! entries and each lies at its home or behind it. A page that is followed by entries of its own or earlier homes says
//! so; a search goes on while the page says so and its last entry is not above the prefix. Overflow may run over any
//! number of pages and past the last home page.
//!
//! A run of `n` home pages carries `b = 40 + max(0, log2(n) - 2)`, at most 48 bits per prefix, and never more than its
//! sources had: pages store 40 bits above their first entry. Where a page would span more it is closed early.
//!
//! The filter is read when there is time; until then lookups do without it.
//!
//! Cost: one page read per lookup that the filter does not stop; RAM: the filter.

use crate::{
    entry::{Entry, Location, PREFIX_BITS},
    error::Error,
    filter::{BLOCK_BYTES, Filter},
    keyed_page::{KeyedPage, PageBuilder},
    page::{PAGE_BYTES, SLOT_BYTES},
    run_file::{FinishedRun, RunFile, RunHeader, RunKind, RunWriter, page_of},
};
use std::{
    ops::RangeInclusive,
    sync::{Arc, OnceLock},
};

/// Entries per home page that a new run is laid out for: 94 % full, so that 0.6 % of lookups read a second page.
const HOME_ENTRIES: u64 = 320;
const FILTER_HEADER_BYTES: usize = 8;
const FILTER_PAGE_BLOCKS: usize = (PAGE_BYTES - FILTER_HEADER_BYTES) / BLOCK_BYTES;
const ENTRIES: usize = 0;
const FILTER: usize = 1;
/// Pages that a cursor reads at once.
const CURSOR_PAGES: u32 = 32;

fn home_page(prefix: u64, home_pages: u32, prefix_bits: u32) -> u32 {
    let home = (u128::from(prefix) * u128::from(home_pages)) >> prefix_bits;
    u32::try_from(home).expect("below the number of home pages")
}

/// The first prefix whose home is behind this page.
fn home_end(page: u32, home_pages: u32, prefix_bits: u32) -> u64 {
    let end = ((u128::from(page) + 1) << prefix_bits).div_ceil(u128::from(home_pages));
    u64::try_from(end).unwrap_or(u64::MAX)
}

/// Bits of a prefix that pages of a run of so many home pages can tell apart.
fn prefix_bits_of(home_pages: u32) -> u32 {
    (40 + home_pages.ilog2().saturating_sub(2)).min(PREFIX_BITS)
}

/// An open keyed run.
#[derive(Debug)]
pub(crate) struct KeyedRun {
    file: RunFile,
    filter: OnceLock<Filter>,
}

impl KeyedRun {
    /// Takes an open file; the filter is still to be loaded.
    pub(crate) fn open(file: RunFile) -> Result<Self, Error> {
        let header = file.header();
        let bits = u32::from(header.prefix_bits);
        let filter_pages = header.filter_blocks.div_ceil(FILTER_PAGE_BLOCKS as u64);
        if header.kind != RunKind::Keyed
            || !(40..=PREFIX_BITS).contains(&bits)
            || header.home_pages == 0
            || header.pages[ENTRIES] < header.home_pages
            || u64::from(header.pages[FILTER]) != filter_pages
        {
            return Err(file.damaged("impossible header"));
        }
        Ok(Self { file, filter: OnceLock::new() })
    }

    /// Reads the filter, if the run has one that is not loaded; its bytes.
    pub(crate) fn load_filter(&self) -> Result<u64, Error> {
        if self.filter_bytes() == self.loaded_filter_bytes() {
            return Ok(0);
        }
        let filter = read_filter(&self.file)?;
        // another thread may have been faster with the same
        self.filter.get_or_init(|| filter);
        Ok(self.filter_bytes())
    }

    pub(crate) fn file(&self) -> &RunFile {
        &self.file
    }

    pub(crate) fn prefix_bits(&self) -> u32 {
        u32::from(self.file.header().prefix_bits)
    }

    /// Bytes of the filter, loaded or not; 0 for a run without one.
    pub(crate) fn filter_bytes(&self) -> u64 {
        self.file.header().filter_blocks * BLOCK_BYTES as u64
    }

    pub(crate) fn loaded_filter_bytes(&self) -> u64 {
        self.filter.get().map_or(0, |filter| filter.bytes() as u64)
    }

    /// Whether the run may have a prefix of 48 bits; always where the filter is not loaded.
    pub(crate) fn passes(&self, prefix: u64) -> bool {
        let prefix = prefix >> (PREFIX_BITS - self.prefix_bits());
        self.filter.get().is_none_or(|filter| filter.contains(prefix))
    }

    /// Adds the locations of a prefix of 48 bits that [`Self::passes`]; the number of pages read.
    pub(crate) fn find(&self, prefix: u64, found: &mut Vec<Location>) -> Result<u32, Error> {
        let header = self.file.header();
        let bits = self.prefix_bits();
        let prefix = prefix >> (PREFIX_BITS - bits);
        let mut page = [0; PAGE_BYTES];
        let home = home_page(prefix, header.home_pages, bits);
        for number in home..header.pages[ENTRIES] {
            self.file.read_page(1 + number, &mut page)?;
            let read = KeyedPage::parse(&page).ok_or(self.file.damaged("a page overflows"))?;
            if !read.find(prefix, |entry| found.push(entry.location())) {
                return Ok(number - home + 1);
            }
        }
        Err(self.file.damaged("its last page says that another follows"))
    }
}

fn read_filter(file: &RunFile) -> Result<Filter, Error> {
    let header = file.header();
    let blocks = usize::try_from(header.filter_blocks).expect("bounded by its pages");
    let mut filter = Filter::new(blocks, u32::from(header.prefix_bits));
    let (start, end) = (header.region_start(FILTER), header.region_start(FILTER + 1));
    let mut slots = Vec::new();
    let mut block = 0;
    for first in (start..end).step_by(CURSOR_PAGES as usize) {
        file.read_slots(first, CURSOR_PAGES.min(end - first), &mut slots)?;
        for slot in slots.chunks_exact(SLOT_BYTES) {
            let bytes = &page_of(slot)[FILTER_HEADER_BYTES..];
            filter.read_blocks(block, &bytes[..FILTER_PAGE_BLOCKS * BLOCK_BYTES]);
            block += FILTER_PAGE_BLOCKS;
        }
    }
    Ok(filter)
}

/// How far a keyed run without a filter is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    /// pages of entries that are closed
    pub(crate) pages: u32,
    pub(crate) home_pages: u32,
    /// entries in those
    pub(crate) entries: u64,
    /// every entry below this one is in those
    pub(crate) next_entry: u128,
}

/// Writes a keyed run from ascending entries.
#[derive(Debug)]
pub(crate) struct KeyedRunWriter {
    writer: RunWriter,
    home_pages: u32,
    prefix_bits: u32,
    containers: RangeInclusive<u32>,
    /// the page that is being filled
    open: PageBuilder,
    /// its number among the entry pages
    page: u32,
    /// the first prefix whose home is behind it
    home_end: u64,
    /// one above the last entry
    above_last: u128,
    entries: u64,
    filter: Option<Filter>,
}

impl KeyedRunWriter {
    /// For at most `entries_max` entries, at least one, of these containers, from sources whose prefixes have
    /// `source_bits` bits at least.
    pub(crate) fn new(
        writer: RunWriter,
        entries_max: u64,
        containers: RangeInclusive<u32>,
        source_bits: u32,
        filter_bits: Option<u32>,
    ) -> Self {
        let home_pages = u32::try_from(entries_max.div_ceil(HOME_ENTRIES).max(1))
            .expect("a run of 2^32 pages would be 16 TB");
        let prefix_bits = prefix_bits_of(home_pages).min(source_bits);
        let filter = filter_bits.map(|bits| {
            let blocks = Filter::blocks_for(entries_max, bits);
            Filter::new(usize::try_from(blocks).expect("a filter fits in memory"), prefix_bits)
        });
        Self {
            writer,
            home_pages,
            prefix_bits,
            containers,
            open: PageBuilder::new(),
            page: 0,
            home_end: home_end(0, home_pages, prefix_bits),
            above_last: 0,
            entries: 0,
            filter,
        }
    }

    /// Where to go on after [`Self::checkpoint`].
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            pages: self.page,
            home_pages: self.home_pages,
            // those of the open page are written again
            entries: self.entries - self.open.len() as u64,
            next_entry: self.open.first().map_or(self.above_last, |entry| entry.0),
        }
    }

    /// Makes the pages so far durable; from then on the file outlives the writer. Only for runs without a filter.
    pub(crate) fn checkpoint(&mut self) -> Result<(), Error> {
        assert!(self.filter.is_none());
        self.writer.checkpoint()
    }

    /// Goes on from a checkpoint, with a writer that was resumed and the rest as it was made with.
    pub(crate) fn resume(mut self, progress: &Progress) -> Result<Self, Error> {
        let run = self.writer.number();
        let unfit = Error::DamagedRun { run, reason: "its checkpoint does not fit" };
        if progress.home_pages != self.home_pages || self.filter.is_some() {
            return Err(unfit);
        }
        if progress.pages > 0 {
            let mut page = [0; PAGE_BYTES];
            self.writer.read_page(progress.pages, &mut page)?;
            let last = KeyedPage::parse(&page).and_then(|page| page.last());
            if last.is_some_and(|last| last.0 >= progress.next_entry) {
                return Err(unfit);
            }
        }
        self.page = progress.pages;
        self.home_end = home_end(self.page, self.home_pages, self.prefix_bits);
        self.entries = progress.entries;
        self.above_last = progress.next_entry;
        Ok(self)
    }

    pub(crate) fn number(&self) -> u64 {
        self.writer.number()
    }

    pub(crate) fn abandon(&mut self) {
        self.writer.abandon();
    }

    /// Bits of the prefixes that this run takes.
    pub(crate) fn prefix_bits(&self) -> u32 {
        self.prefix_bits
    }

    /// Adds an entry, not below the one before; an equal one is dropped.
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry) -> Result<(), Error> {
        if entry.0 < self.above_last {
            assert_eq!(entry.0 + 1, self.above_last, "entries ascend");
            return Ok(());
        }
        self.above_last = entry.0 + 1;
        let prefix = entry.prefix();
        while prefix >= self.home_end {
            self.close_page(false)?;
        }
        if !self.open.takes(prefix) {
            self.close_page(true)?;
        }
        self.open.push(entry);
        self.entries += 1;
        if let Some(filter) = &mut self.filter {
            filter.insert(prefix);
        }
        Ok(())
    }

    fn close_page(&mut self, continues: bool) -> Result<(), Error> {
        let mut page = [0; PAGE_BYTES];
        self.open.close(continues, &mut page);
        self.writer.append(&mut page)?;
        self.page += 1;
        self.home_end = home_end(self.page, self.home_pages, self.prefix_bits);
        Ok(())
    }

    /// Makes the run durable.
    pub(crate) fn finish(mut self) -> Result<(KeyedRun, u32), Error> {
        while self.page < self.home_pages || self.open.len() > 0 {
            self.close_page(false)?;
        }
        let mut filter_blocks = 0;
        if let Some(filter) = &self.filter {
            filter_blocks = filter.bytes() / BLOCK_BYTES;
            for first in (0..filter_blocks).step_by(FILTER_PAGE_BLOCKS) {
                let mut page = [0; PAGE_BYTES];
                filter.write_blocks(first, &mut page[FILTER_HEADER_BYTES..]);
                self.writer.append(&mut page)?;
            }
        }
        let filter_pages = self.writer.next_page() - 1 - self.page;
        let FinishedRun { file, header_crc } = self.writer.finish(&RunHeader {
            kind: RunKind::Keyed,
            prefix_bits: u8::try_from(self.prefix_bits).expect("at most 48"),
            pages: [self.page, filter_pages, 0, 0],
            home_pages: self.home_pages,
            entries: self.entries,
            filter_blocks: filter_blocks as u64,
            container_min: *self.containers.start(),
            container_max: *self.containers.end(),
        })?;
        let filter = self.filter.map_or_else(OnceLock::new, OnceLock::from);
        Ok((KeyedRun { file, filter }, header_crc))
    }
}

/// Reads a run's entries in order.
#[derive(Debug)]
pub(crate) struct KeyedCursor {
    run: Arc<KeyedRun>,
    next_page: u32,
    slots: Vec<u8>,
    /// of the slots, the one whose page is being handed out
    slot: usize,
    /// entries of that page that were handed out
    taken: usize,
    last: Entry,
}

impl KeyedCursor {
    /// Begins with the first entry whose prefix, of the run's bits, is not below this one.
    pub(crate) fn at(run: Arc<KeyedRun>, prefix: u64) -> Result<Self, Error> {
        let next_page = home_page(prefix, run.file.header().home_pages, run.prefix_bits());
        let mut cursor =
            Self { run, next_page, slots: Vec::new(), slot: 0, taken: 0, last: Entry(0) };
        if prefix > 0 {
            cursor.take_below(prefix, &mut Vec::new(), |entry| entry.0)?;
        }
        Ok(cursor)
    }

    pub(crate) fn run(&self) -> &KeyedRun {
        &self.run
    }

    /// Appends the entries whose prefix is below `end`, each as `to_number` makes one of it.
    pub(crate) fn take_below(
        &mut self,
        end: u64,
        out: &mut Vec<u128>,
        to_number: impl Fn(Entry) -> u128,
    ) -> Result<(), Error> {
        let run = Arc::clone(&self.run);
        let damaged = |reason| run.file().damaged(reason);
        while self.slot * SLOT_BYTES < self.slots.len() || self.read_pages()? {
            let page = page_of(&self.slots[self.slot * SLOT_BYTES..][..SLOT_BYTES]);
            let page = KeyedPage::parse(page).ok_or_else(|| damaged("a page overflows"))?;
            let last_in_page = page.last().map_or(0, Entry::prefix);
            if last_in_page >> self.run.prefix_bits() != 0 {
                return Err(damaged("a prefix is too long"));
            }
            let below = if last_in_page < end { page.count() } else { page.count_below(end) };
            let below = below.max(self.taken);
            let (mut last, mut ascending) = (self.last, true);
            out.extend(page.entries_in(self.taken..below).map(|entry| {
                ascending &= entry >= last;
                last = entry;
                to_number(entry)
            }));
            if !ascending || last.prefix() >= end {
                return Err(damaged("its entries do not ascend"));
            }
            self.last = last;
            self.taken = below;
            if below < page.count() {
                return Ok(());
            }
            self.slot += 1;
            self.taken = 0;
        }
        Ok(())
    }

    /// Reads the next pages; whether there were any.
    fn read_pages(&mut self) -> Result<bool, Error> {
        let file = self.run.file();
        let count = CURSOR_PAGES.min(file.header().pages[ENTRIES] - self.next_page);
        if count > 0 {
            file.read_slots(1 + self.next_page, count, &mut self.slots)?;
            self.next_page += count;
            self.slot = 0;
        }
        Ok(count > 0)
    }
}

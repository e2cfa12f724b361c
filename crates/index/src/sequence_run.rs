//! A sequence run: (table, position) to location, in order.
//!
//! ```text
//! tables: span of each table      fences of fences      in RAM
//!                                        |
//!                  fences: first key of every page of entries
//!                                        |
//!                       entries, 272 to a page, one table per page
//! ```
//! Positions may have gaps of any size. One entry per (table, position).
//!
//! Cost: a lookup outside a table's span reads nothing; in a table without gaps one page of entries, else a page of
//! fences before. RAM: 16 bytes per 92,480 entries and 40 per table, once they are needed.

use crate::{
    entry::Location,
    error::Error,
    page::{PAGE_BYTES, Page, SLOT_BYTES},
    run_file::{FinishedRun, RunFile, RunHeader, RunKind, RunWriter, page_of},
    sequence_page::{
        self, PAGE_ENTRIES, PAGE_FENCES, PAGE_TABLES, SequenceKey, SequencePage, TableSpan,
    },
};
use prunedb_core::TableId;
use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

const ENTRIES: usize = 0;
const FENCES: usize = 1;
const TOP_FENCES: usize = 2;
const TABLES: usize = 3;
/// Pages that a cursor reads at once.
const CURSOR_PAGES: u32 = 32;

/// An open sequence run.
#[derive(Debug)]
pub(crate) struct SequenceRun {
    file: RunFile,
    guide: OnceLock<Guide>,
}

/// What leads to the pages.
#[derive(Debug)]
struct Guide {
    /// ascending by table
    tables: Vec<TableSpan>,
    /// first key of every page of fences
    top_fences: Vec<SequenceKey>,
}

impl SequenceRun {
    /// Takes an open file; reads its tables and the fences of its fences, where the file is here: what lies elsewhere is
    /// read when it is needed, so that opening waits for nobody.
    pub(crate) fn open(file: RunFile) -> Result<Self, Error> {
        let header = *file.header();
        let [entries, fences, top_fences, tables] = header.pages;
        let fan_out = u32::try_from(PAGE_FENCES).expect("340");
        if header.kind != RunKind::Sequence
            || entries == 0
            || tables == 0
            || fences != entries.div_ceil(fan_out)
            || top_fences != fences.div_ceil(fan_out)
        {
            return Err(file.damaged("impossible header"));
        }
        let run = Self { file, guide: OnceLock::new() };
        if run.file.is_here() {
            run.guide()?;
        }
        Ok(run)
    }

    fn guide(&self) -> Result<&Guide, Error> {
        match self.guide.get() {
            Some(guide) => Ok(guide),
            None => {
                let guide = self.read_guide()?;
                // another thread may have been faster with the same
                Ok(self.guide.get_or_init(|| guide))
            }
        }
    }

    fn read_guide(&self) -> Result<Guide, Error> {
        let (mut tables, mut top_fences) = (Vec::new(), Vec::new());
        let mut page = [0; PAGE_BYTES];
        for number in self.region(TOP_FENCES) {
            self.file.read_page(number, &mut page)?;
            let fences = sequence_page::decode_fences(&page);
            top_fences.extend(fences.ok_or(self.file.damaged("a page of fences overflows"))?);
        }
        for number in self.region(TABLES) {
            self.file.read_page(number, &mut page)?;
            let spans = sequence_page::decode_tables(&page);
            tables.extend(spans.ok_or(self.file.damaged("a page of tables overflows"))?);
        }
        let ascend = tables.is_sorted_by(|a: &TableSpan, b| a.table < b.table);
        if !ascend
            || tables.iter().any(|t| t.first > t.last)
            || top_fences.len() != self.file.header().pages[FENCES] as usize
        {
            return Err(self.file.damaged("its tables or fences do not fit together"));
        }
        Ok(Guide { tables, top_fences })
    }

    fn region(&self, region: usize) -> std::ops::Range<u32> {
        self.file.header().region_start(region)..self.file.header().region_start(region + 1)
    }

    pub(crate) fn file(&self) -> &RunFile {
        &self.file
    }

    pub(crate) fn ram_bytes(&self) -> usize {
        self.guide.get().map_or(0, |guide| {
            guide.tables.capacity() * size_of::<TableSpan>()
                + guide.top_fences.capacity() * size_of::<SequenceKey>()
        })
    }

    /// What the run knows of a table.
    pub(crate) fn span(&self, table: TableId) -> Result<Option<&TableSpan>, Error> {
        let tables = &self.guide()?.tables;
        let index = tables.binary_search_by_key(&table, |t| t.table);
        Ok(index.ok().map(|index| &tables[index]))
    }

    /// The location of a position.
    pub(crate) fn find(&self, key: SequenceKey) -> Result<Option<Location>, Error> {
        let span = self.span(key.0)?.filter(|span| (span.first..=span.last).contains(&key.1));
        let Some(span) = span else {
            return Ok(None);
        };
        let mut buffer = [0; PAGE_BYTES];
        let number = self.page_of_key(span, key.1, &mut buffer)?;
        let page = self.read_entries(number, &mut buffer)?;
        let index = page.lower_bound(key.1);
        let found = page.table() == key.0 && index < page.len() && page.get(index).0 == key.1;
        Ok(found.then(|| page.get(index).1))
    }

    /// Up to `limit` entries of a table from a position on, in order.
    pub(crate) fn range(
        &self,
        table: TableId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Location)>, Error> {
        let mut out = Vec::new();
        let Some(span) = self.span(table)?.filter(|span| limit > 0 && span.last >= from) else {
            return Ok(out);
        };
        let mut buffer = [0; PAGE_BYTES];
        // every page before this one ends before `from`
        let start = self.page_of_key(span, from.max(span.first), &mut buffer)?;
        for number in start..self.file.header().pages[ENTRIES] {
            let page = self.read_entries(number, &mut buffer)?;
            if page.table() > table {
                break;
            }
            if page.table() == table {
                for index in page.lower_bound(from)..page.len() {
                    if out.len() == limit {
                        return Ok(out);
                    }
                    out.push(page.get(index));
                }
            }
        }
        Ok(out)
    }

    /// The page of entries that has the position, if any has.
    fn page_of_key(
        &self,
        span: &TableSpan,
        position: u64,
        buffer: &mut Page,
    ) -> Result<u32, Error> {
        let page = match span.page_of(position) {
            Some(page) => page,
            None => self.page_by_fences((span.table, position), buffer)?,
        };
        if page >= self.file.header().pages[ENTRIES] {
            return Err(self.file.damaged("a table or fence leads behind its entries"));
        }
        Ok(page)
    }

    fn page_by_fences(&self, key: SequenceKey, buffer: &mut Page) -> Result<u32, Error> {
        let top_fences = &self.guide()?.top_fences;
        let fences = top_fences.partition_point(|&fence| fence <= key).saturating_sub(1);
        let fences = u32::try_from(fences).expect("no more than pages");
        self.file.read_page(self.region(FENCES).start + fences, buffer)?;
        let below = sequence_page::decode_fences(buffer)
            .ok_or(self.file.damaged("a page of fences overflows"))?
            .take_while(|&fence| fence <= key)
            .count();
        let page = fences as usize * PAGE_FENCES + below.saturating_sub(1);
        Ok(u32::try_from(page).expect("no more than pages and one page's fences"))
    }

    fn read_entries<'a>(
        &self,
        number: u32,
        buffer: &'a mut Page,
    ) -> Result<SequencePage<'a>, Error> {
        self.file.read_page(1 + number, buffer)?;
        SequencePage::parse(buffer).ok_or(self.file.damaged("impossible page of entries"))
    }
}

/// Writes a sequence run from ascending entries.
#[derive(Debug)]
pub(crate) struct SequenceRunWriter {
    writer: RunWriter,
    open: Vec<(u64, Location)>,
    tables: Vec<TableSpan>,
    fences: Vec<SequenceKey>,
    entries: u64,
    containers: Option<(u32, u32)>,
}

impl SequenceRunWriter {
    pub(crate) fn new(writer: RunWriter) -> Self {
        Self {
            writer,
            open: Vec::with_capacity(PAGE_ENTRIES),
            tables: Vec::new(),
            fences: Vec::new(),
            entries: 0,
            containers: None,
        }
    }

    /// Adds an entry whose key is above the one before.
    pub(crate) fn push(
        &mut self,
        (table, position): SequenceKey,
        at: Location,
    ) -> Result<(), Error> {
        let last = self.tables.last().map(|span| (span.table, span.last));
        assert!(last < Some((table, position)), "keys ascend");
        let same_table = last.is_some_and(|(last, _)| last == table);
        if self.open.len() == PAGE_ENTRIES || !same_table {
            self.close_page()?;
        }
        if same_table {
            let span = self.tables.last_mut().expect("the same table has a span");
            span.last = position;
            span.entries += 1;
        } else {
            let page = u32::try_from(self.fences.len()).expect("the writer counts in u32");
            let (first, last) = (position, position);
            self.tables.push(TableSpan { table, page, first, last, entries: 1 });
        }
        if self.open.is_empty() {
            self.fences.push((table, position));
        }
        self.open.push((position, at));
        self.entries += 1;
        let (min, max) = self.containers.get_or_insert((at.container, at.container));
        (*min, *max) = ((*min).min(at.container), (*max).max(at.container));
        Ok(())
    }

    fn close_page(&mut self) -> Result<(), Error> {
        if let Some(&(table, _)) = self.fences.last()
            && !self.open.is_empty()
        {
            self.writer.append(&mut sequence_page::encode_entries(table, &self.open))?;
            self.open.clear();
        }
        Ok(())
    }

    /// Makes the run durable. At least one entry was pushed.
    pub(crate) fn finish(mut self) -> Result<(SequenceRun, u32), Error> {
        self.close_page()?;
        let mut pages = [self.fences.len(), 0, 0, 0];
        let mut top_fences = Vec::new();
        for fences in self.fences.chunks(PAGE_FENCES) {
            top_fences.push(fences[0]);
            self.writer.append(&mut sequence_page::encode_fences(fences))?;
            pages[FENCES] += 1;
        }
        for fences in top_fences.chunks(PAGE_FENCES) {
            self.writer.append(&mut sequence_page::encode_fences(fences))?;
            pages[TOP_FENCES] += 1;
        }
        for tables in self.tables.chunks(PAGE_TABLES) {
            self.writer.append(&mut sequence_page::encode_tables(tables))?;
            pages[TABLES] += 1;
        }
        let (container_min, container_max) = self.containers.unwrap_or_default();
        let FinishedRun { file, header_crc } = self.writer.finish(&RunHeader {
            kind: RunKind::Sequence,
            prefix_bits: 0,
            pages: pages.map(|p| u32::try_from(p).expect("the writer counts in u32")),
            home_pages: 0,
            entries: self.entries,
            filter_blocks: 0,
            container_min,
            container_max,
        })?;
        let guide = Guide { tables: self.tables, top_fences };
        Ok((SequenceRun { file, guide: OnceLock::from(guide) }, header_crc))
    }
}

/// Reads a run's entries in order.
#[derive(Debug)]
pub(crate) struct SequenceCursor {
    run: Arc<SequenceRun>,
    next_page: u32,
    entries: VecDeque<(SequenceKey, Location)>,
    last: Option<SequenceKey>,
}

impl SequenceCursor {
    pub(crate) fn new(run: Arc<SequenceRun>) -> Self {
        Self { run, next_page: 0, entries: VecDeque::new(), last: None }
    }

    /// The next entry, left in place.
    pub(crate) fn peek(&mut self) -> Result<Option<(SequenceKey, Location)>, Error> {
        if self.entries.is_empty() {
            self.read_pages()?;
        }
        Ok(self.entries.front().copied())
    }

    /// Passes the entry that [`Self::peek`] showed.
    pub(crate) fn advance(&mut self) {
        self.entries.pop_front();
    }

    fn read_pages(&mut self) -> Result<(), Error> {
        let file = self.run.file();
        let count = CURSOR_PAGES.min(file.header().pages[ENTRIES] - self.next_page);
        if count == 0 {
            return Ok(());
        }
        let mut slots = Vec::new();
        file.read_slots(1 + self.next_page, count, &mut slots)?;
        self.next_page += count;
        for slot in slots.chunks_exact(SLOT_BYTES) {
            let page = SequencePage::parse(page_of(slot))
                .ok_or(file.damaged("impossible page of entries"))?;
            for index in 0..page.len() {
                let (position, at) = page.get(index);
                let key = (page.table(), position);
                if self.last >= Some(key) {
                    return Err(file.damaged("its entries do not ascend"));
                }
                self.last = Some(key);
                self.entries.push_back((key, at));
            }
        }
        Ok(())
    }
}

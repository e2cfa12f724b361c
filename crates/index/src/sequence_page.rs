//! The pages of a sequence run.
//!
//! ```text
//! entries page                            fences page                    tables page
//! offset  size  field                     offset  size  field            offset  size  field
//!      0     4  crc                            0     4  crc                   0     4  crc
//!      4     2  count, 1..=272                 4     2  count, 1..=340        4     2  count, 1..=127
//!      6     2  zero                           6     2  zero                  6     2  zero
//!      8     4  table                          8  4080  340 x 12: table       8  4064  127 x 32: table u32,
//!     12  4080  272 x 15: position u64,                 u32, position u64              page u32, first u64,
//!               offset/16 u24,               4088     4  zero                           last u64, entries u64
//!               container u32                                             4072    20  zero
//! ```
//! Little-endian; unused space is zero. A page of entries belongs to one table.

use crate::{
    entry::Location,
    page::{PAGE_BYTES, Page, u16_at, u32_at, u64_at},
};
use prunedb_core::TableId;

const HEADER_BYTES: usize = 12;
const ENTRY_BYTES: usize = 15;
/// Most entries of a page.
pub(crate) const PAGE_ENTRIES: usize = 272;
const LIST_HEADER_BYTES: usize = 8;
const FENCE_BYTES: usize = 12;
/// Most fences of a page.
pub(crate) const PAGE_FENCES: usize = 340;
const TABLE_BYTES: usize = 32;
/// Most tables of a page.
pub(crate) const PAGE_TABLES: usize = 127;
const _: () = assert!(HEADER_BYTES + PAGE_ENTRIES * ENTRY_BYTES == PAGE_BYTES);
const _: () = assert!(LIST_HEADER_BYTES + PAGE_FENCES * FENCE_BYTES <= PAGE_BYTES);
const _: () = assert!(LIST_HEADER_BYTES + PAGE_TABLES * TABLE_BYTES <= PAGE_BYTES);

/// Names a record of a sequence table; in the order of runs.
pub(crate) type SequenceKey = (TableId, u64);

/// What a run knows of one of its tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TableSpan {
    pub(crate) table: TableId,
    /// its first page of entries
    pub(crate) page: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) entries: u64,
}

impl TableSpan {
    /// The page of entries that has a position of the span, where that can be told without looking: every page of a
    /// table without gaps is full.
    pub(crate) fn page_of(&self, position: u64) -> Option<u32> {
        let gapless = self.last.checked_sub(self.first)? == self.entries.checked_sub(1)?;
        let pages = position.checked_sub(self.first)? / PAGE_ENTRIES as u64;
        if gapless { self.page.checked_add(u32::try_from(pages).ok()?) } else { None }
    }
}

fn page_with_count(count: usize) -> Page {
    let mut page = [0; PAGE_BYTES];
    page[4..6].copy_from_slice(&u16::try_from(count).expect("few per page").to_le_bytes());
    page
}

/// Lays out a page of entries of one table; positions ascend.
pub(crate) fn encode_entries(table: TableId, entries: &[(u64, Location)]) -> Page {
    assert!((1..=PAGE_ENTRIES).contains(&entries.len()));
    let mut page = page_with_count(entries.len());
    page[8..12].copy_from_slice(&table.0.to_le_bytes());
    for ((position, at), out) in
        entries.iter().zip(page[HEADER_BYTES..].chunks_exact_mut(ENTRY_BYTES))
    {
        out[..8].copy_from_slice(&position.to_le_bytes());
        out[8..].copy_from_slice(&at.pack().to_le_bytes()[..7]);
    }
    page
}

/// A page of entries that was read and whose checksum fits.
pub(crate) struct SequencePage<'a> {
    table: TableId,
    entries: &'a [[u8; ENTRY_BYTES]],
}

impl<'a> SequencePage<'a> {
    /// `None` where the count is impossible.
    pub(crate) fn parse(page: &'a Page) -> Option<Self> {
        let (entries, _) = page[HEADER_BYTES..].as_chunks();
        let entries = entries.get(..usize::from(u16_at(page, 4))).filter(|e| !e.is_empty())?;
        Some(Self { table: TableId(u32_at(page, 8)), entries })
    }

    pub(crate) fn table(&self) -> TableId {
        self.table
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, index: usize) -> (u64, Location) {
        let entry = &self.entries[index];
        let mut packed = [0; 8];
        packed[..7].copy_from_slice(&entry[8..]);
        (u64_at(entry, 0), Location::unpack(u64::from_le_bytes(packed)))
    }

    /// Index of the first entry whose position is not below this one.
    pub(crate) fn lower_bound(&self, position: u64) -> usize {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).0 < position { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Lays out a page of fences: the first keys of consecutive pages.
pub(crate) fn encode_fences(fences: &[SequenceKey]) -> Page {
    assert!((1..=PAGE_FENCES).contains(&fences.len()));
    let mut page = page_with_count(fences.len());
    for ((table, position), out) in
        fences.iter().zip(page[LIST_HEADER_BYTES..].chunks_exact_mut(FENCE_BYTES))
    {
        out[..4].copy_from_slice(&table.0.to_le_bytes());
        out[4..].copy_from_slice(&position.to_le_bytes());
    }
    page
}

/// Reads a page of fences; `None` where the count is impossible.
pub(crate) fn decode_fences(page: &Page) -> Option<impl ExactSizeIterator<Item = SequenceKey>> {
    let (fences, _) = page[LIST_HEADER_BYTES..].as_chunks::<FENCE_BYTES>();
    let fences = fences.get(..usize::from(u16_at(page, 4))).filter(|f| !f.is_empty())?;
    Some(fences.iter().map(|bytes| (TableId(u32_at(bytes, 0)), u64_at(bytes, 4))))
}

/// Lays out a page of table spans.
pub(crate) fn encode_tables(tables: &[TableSpan]) -> Page {
    assert!((1..=PAGE_TABLES).contains(&tables.len()));
    let mut page = page_with_count(tables.len());
    for (span, out) in tables.iter().zip(page[LIST_HEADER_BYTES..].chunks_exact_mut(TABLE_BYTES)) {
        out[..4].copy_from_slice(&span.table.0.to_le_bytes());
        out[4..8].copy_from_slice(&span.page.to_le_bytes());
        out[8..16].copy_from_slice(&span.first.to_le_bytes());
        out[16..24].copy_from_slice(&span.last.to_le_bytes());
        out[24..].copy_from_slice(&span.entries.to_le_bytes());
    }
    page
}

/// Reads a page of table spans; `None` where the count is impossible.
pub(crate) fn decode_tables(page: &Page) -> Option<impl ExactSizeIterator<Item = TableSpan>> {
    let (tables, _) = page[LIST_HEADER_BYTES..].as_chunks::<TABLE_BYTES>();
    let tables = tables.get(..usize::from(u16_at(page, 4))).filter(|t| t.len() <= PAGE_TABLES)?;
    Some(tables.iter().map(|bytes| TableSpan {
        table: TableId(u32_at(bytes, 0)),
        page: u32_at(bytes, 4),
        first: u64_at(bytes, 8),
        last: u64_at(bytes, 16),
        entries: u64_at(bytes, 24),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_of_entries_round_trip(
            table: u32,
            positions in proptest::collection::btree_map(any::<u64>(), (any::<u32>(), 0u32..1 << 24), 1..=272),
            wanted: u64,
        ) {
            let entries: Vec<_> = positions
                .iter()
                .map(|(&p, &(container, slot))| (p, Location { container, offset: slot * 16 }))
                .collect();
            let page = encode_entries(TableId(table), &entries);
            let read = SequencePage::parse(&page).unwrap();
            prop_assert_eq!(read.table(), TableId(table));
            prop_assert_eq!((0..read.len()).map(|i| read.get(i)).collect::<Vec<_>>(), entries.clone());
            prop_assert_eq!(read.lower_bound(wanted), entries.partition_point(|e| e.0 < wanted));
        }

        #[test]
        fn any_bytes_are_a_page_or_refused(head: [u8; 64], rest: u8, position: u64) {
            let mut page = [rest; PAGE_BYTES];
            page[..64].copy_from_slice(&head);
            for count in [None, Some(1u16), Some(127), Some(339), Some(340)] {
                if let Some(count) = count {
                    page[4..6].copy_from_slice(&count.to_le_bytes());
                }
                if let Some(read) = SequencePage::parse(&page) {
                    prop_assert!(read.lower_bound(position) <= read.len());
                    (0..read.len()).for_each(|i| _ = read.get(i));
                }
                if let Some(fences) = decode_fences(&page) {
                    prop_assert!((1..=340).contains(&fences.count()));
                }
                if let Some(tables) = decode_tables(&page) {
                    prop_assert!(tables.count() <= PAGE_TABLES);
                }
            }
        }
    }

    #[test]
    fn pages_of_gapless_tables_are_computed() {
        let span = TableSpan { table: TableId(0), page: 5, first: 100, last: 1099, entries: 1000 };
        let pages = [100, 371, 372, 1099].map(|position| span.page_of(position));
        assert_eq!(pages, [Some(5), Some(5), Some(6), Some(8)]);
        assert_eq!(span.page_of(99), None);
        assert_eq!(TableSpan { entries: 999, ..span }.page_of(100), None);
        assert_eq!(TableSpan { page: u32::MAX, ..span }.page_of(372), None);
        assert_eq!(TableSpan { entries: 0, ..span }.page_of(100), None);
    }

    #[test]
    fn lists_round_trip() {
        let fences: Vec<_> = (0..340).map(|i| (TableId(i / 100), u64::from(i) << 40)).collect();
        let page = encode_fences(&fences);
        assert_eq!(decode_fences(&page).unwrap().collect::<Vec<_>>(), fences);
        let tables: Vec<_> = (0..127)
            .map(|i| TableSpan { table: TableId(i), page: 9, first: 1, last: u64::MAX, entries: 7 })
            .collect();
        let page = encode_tables(&tables);
        assert_eq!(decode_tables(&page).unwrap().collect::<Vec<_>>(), tables);
    }
}

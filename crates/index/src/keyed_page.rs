//! A page of a keyed run.
//!
//! ```text
//! offset  size  field
//!      0     4  crc
//!      4     2  count       entries, 0..=340; bit 15: the next page goes on with entries whose home is not behind it
//!      6     6  base        u48: prefix of the first entry
//!     12  4080  entries     340 x 12: 24 bits offset/16, 32 bits container, 40 bits prefix minus base
//! ```
//! Little-endian. Entries ascend through the whole run; unused space is zero.

use crate::{
    entry::Entry,
    page::{PAGE_BYTES, Page, u16_at},
};
use std::ops::Range;

pub(crate) const ENTRY_BYTES: usize = 12;
const HEADER_BYTES: usize = 12;
/// Most entries of a page.
pub(crate) const PAGE_ENTRIES: usize = (PAGE_BYTES - HEADER_BYTES) / ENTRY_BYTES;
/// A prefix in a page is less than this above the page's first one.
pub(crate) const PREFIX_SPAN: u64 = 1 << 40;
const CONTINUES: u16 = 1 << 15;
const _: () =
    assert!(PAGE_ENTRIES == 340 && HEADER_BYTES + PAGE_ENTRIES * ENTRY_BYTES == PAGE_BYTES);

/// A page that is being filled with ascending entries.
#[derive(Debug)]
pub(crate) struct PageBuilder {
    /// each entry is written as 16 bytes, of which the next one overwrites the last four
    bytes: Box<[u8; PAGE_BYTES + 4]>,
    count: usize,
    base: u64,
    first: Entry,
}

impl PageBuilder {
    pub(crate) fn new() -> Self {
        Self { bytes: Box::new([0; PAGE_BYTES + 4]), count: 0, base: 0, first: Entry(0) }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The first entry, where there is one.
    pub(crate) fn first(&self) -> Option<Entry> {
        (self.count > 0).then_some(self.first)
    }

    /// Whether an entry with this prefix, not below those before it, has a place here.
    pub(crate) fn takes(&self, prefix: u64) -> bool {
        self.count == 0 || (self.count < PAGE_ENTRIES && prefix - self.base < PREFIX_SPAN)
    }

    /// Adds an entry that this page takes.
    pub(crate) fn push(&mut self, entry: Entry) {
        if self.count == 0 {
            (self.first, self.base) = (entry, entry.prefix());
        }
        let at = HEADER_BYTES + self.count * ENTRY_BYTES;
        self.bytes[at..at + 16].copy_from_slice(&entry.relative_to(self.base).to_le_bytes());
        self.count += 1;
    }

    /// Lays the page out and begins an empty one; the checksum is still to be written.
    pub(crate) fn close(&mut self, continues: bool, page: &mut Page) {
        let count = u16::try_from(self.count).expect("at most 340");
        let end = HEADER_BYTES + self.count * ENTRY_BYTES;
        self.bytes[4..6]
            .copy_from_slice(&(count | if continues { CONTINUES } else { 0 }).to_le_bytes());
        self.bytes[6..HEADER_BYTES].copy_from_slice(&self.base.to_le_bytes()[..6]);
        page[..end].copy_from_slice(&self.bytes[..end]);
        page[end..].fill(0);
        (self.count, self.base) = (0, 0);
    }
}

/// A page that was read and whose checksum fits.
pub(crate) struct KeyedPage<'a> {
    base: u64,
    entries: &'a [[u8; ENTRY_BYTES]],
    continues: bool,
}

impl<'a> KeyedPage<'a> {
    /// `None` where the count is impossible.
    pub(crate) fn parse(page: &'a Page) -> Option<Self> {
        let count = u16_at(page, 4);
        let mut base = [0; 8];
        base[..6].copy_from_slice(&page[6..12]);
        let (entries, _) = page[HEADER_BYTES..].as_chunks();
        Some(Self {
            base: u64::from_le_bytes(base),
            entries: entries.get(..usize::from(count & !CONTINUES))?,
            continues: count & CONTINUES != 0,
        })
    }

    pub(crate) fn entries_in(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = Entry> {
        self.entries[range].iter().map(|bytes| Entry::from_bytes_at(self.base, bytes))
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn last(&self) -> Option<Entry> {
        self.entries.last().map(|bytes| Entry::from_bytes_at(self.base, bytes))
    }

    /// How many entries come before the first whose prefix is not below this one.
    pub(crate) fn count_below(&self, prefix: u64) -> usize {
        self.entries.partition_point(|e| Entry::from_bytes_at(self.base, e).prefix() < prefix)
    }

    /// Hands out the entries of one prefix; whether the next page may have more of them.
    pub(crate) fn find(&self, prefix: u64, mut found: impl FnMut(Entry)) -> bool {
        for bytes in &self.entries[self.count_below(prefix)..] {
            let entry = Entry::from_bytes_at(self.base, bytes);
            if entry.prefix() != prefix {
                return false;
            }
            found(entry);
        }
        self.continues
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Location;
    use proptest::prelude::*;

    fn entry(prefix: u64, container: u32) -> Entry {
        Entry::new(prefix, Location { container, offset: 16 })
    }

    fn page_of(entries: &[Entry], continues: bool) -> Page {
        let mut builder = PageBuilder::new();
        // what an earlier, fuller page left must not show
        (0..PAGE_ENTRIES).for_each(|_| builder.push(entry(1, u32::MAX)));
        let mut page = [0xee; PAGE_BYTES];
        builder.close(true, &mut page);
        for &entry in entries {
            assert!(builder.takes(entry.prefix()));
            builder.push(entry);
        }
        assert_eq!((builder.first(), builder.len()), (entries.first().copied(), entries.len()));
        page[..4].fill(0);
        builder.close(continues, &mut page);
        page
    }

    proptest! {
        #[test]
        fn pages_round_trip(
            base in 0u64..(1 << 48) - PREFIX_SPAN, deltas in proptest::collection::vec((0u64..1 << 40, any::<u32>()), 0..=340), continues: bool,
        ) {
            let mut entries: Vec<_> = deltas.iter().map(|&(d, c)| entry(base + d, c)).collect();
            entries.sort_unstable();
            let page = page_of(&entries, continues);
            let read = KeyedPage::parse(&page).unwrap();
            prop_assert_eq!(read.entries_in(0..read.count()).collect::<Vec<_>>(), entries.clone());
            for wanted in entries.iter().step_by(17) {
                let mut found = Vec::new();
                let more = read.find(wanted.prefix(), |e| found.push(e));
                let expected: Vec<_> = entries.iter().copied().filter(|e| e.prefix() == wanted.prefix()).collect();
                prop_assert_eq!(more, continues && expected.last() == entries.last());
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn any_bytes_are_a_page_or_refused(head: [u8; 64], prefix in 0u64..1 << 48) {
            let mut page = [0xff; PAGE_BYTES];
            page[..64].copy_from_slice(&head);
            if let Some(read) = KeyedPage::parse(&page) {
                read.find(prefix, |_| {});
                prop_assert!(read.entries_in(0..read.count()).count() <= PAGE_ENTRIES);
            }
        }
    }

    #[test]
    fn a_search_goes_on_only_past_a_page_that_says_so() {
        let entries = [entry(5, 0), entry(7, 1)];
        for (continues, prefix, more) in [
            (true, 4, false),
            (true, 6, false),
            (true, 7, true),
            (true, 8, true),
            (false, 8, false),
        ] {
            let page = page_of(&entries, continues);
            assert_eq!(KeyedPage::parse(&page).unwrap().find(prefix, |_| {}), more, "{prefix}");
        }
    }
}

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

pub(crate) const ENTRY_BYTES: usize = 12;
const HEADER_BYTES: usize = 12;
/// Most entries of a page.
pub(crate) const PAGE_ENTRIES: usize = (PAGE_BYTES - HEADER_BYTES) / ENTRY_BYTES;
/// A prefix in a page is less than this above the page's first one.
pub(crate) const PREFIX_SPAN: u64 = 1 << 40;
const CONTINUES: u16 = 1 << 15;
const _: () =
    assert!(PAGE_ENTRIES == 340 && HEADER_BYTES + PAGE_ENTRIES * ENTRY_BYTES == PAGE_BYTES);

/// Lays out a page of ascending entries; the checksum is still to be written.
pub(crate) fn encode(entries: &[Entry], continues: bool) -> Page {
    assert!(entries.len() <= PAGE_ENTRIES);
    let mut page = [0; PAGE_BYTES];
    let count = u16::try_from(entries.len()).expect("at most 340");
    page[4..6].copy_from_slice(&(count | if continues { CONTINUES } else { 0 }).to_le_bytes());
    let base = entries.first().map_or(0, |e| e.prefix());
    page[6..12].copy_from_slice(&base.to_le_bytes()[..6]);
    for (entry, out) in entries.iter().zip(page[HEADER_BYTES..].chunks_exact_mut(ENTRY_BYTES)) {
        out.copy_from_slice(&entry.to_bytes_from(base));
    }
    page
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

    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = Entry> {
        self.entries.iter().map(|bytes| Entry::from_bytes_at(self.base, bytes))
    }

    /// Hands out the entries of one prefix; whether the next page may have more of them.
    pub(crate) fn find(&self, prefix: u64, mut found: impl FnMut(Entry)) -> bool {
        let prefix_at = |i: usize| Entry::from_bytes_at(self.base, &self.entries[i]).prefix();
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            if prefix_at(middle) < prefix { low = middle + 1 } else { high = middle }
        }
        for bytes in &self.entries[low..] {
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

    proptest! {
        #[test]
        fn pages_round_trip(
            base in 0u64..(1 << 48) - PREFIX_SPAN, deltas in proptest::collection::vec((0u64..1 << 40, any::<u32>()), 0..=340), continues: bool,
        ) {
            let mut entries: Vec<_> = deltas.iter().map(|&(d, c)| entry(base + d, c)).collect();
            entries.sort_unstable();
            let page = encode(&entries, continues);
            let read = KeyedPage::parse(&page).unwrap();
            prop_assert_eq!(read.entries().collect::<Vec<_>>(), entries.clone());
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
                prop_assert!(read.entries().count() <= PAGE_ENTRIES);
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
            let page = encode(&entries, continues);
            assert_eq!(KeyedPage::parse(&page).unwrap().find(prefix, |_| {}), more, "{prefix}");
        }
    }
}

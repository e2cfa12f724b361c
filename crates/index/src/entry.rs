//! A location, and the entry that leads to it.
//!
//! An entry is one integer, so that sorting, merging and searching compare one number:
//! ```text
//! bit 104      56         24          0
//!      | prefix | container | offset/16 |
//! ```
//! The prefix is the first bits of the key's hash (see [`crate::hash`]); the low 56 bits are the packed location.

/// Bits of a hash that an entry may carry; a run stores as many as its pages can tell apart.
pub(crate) const PREFIX_BITS: u32 = 48;
const LOCATION_BITS: u32 = 56;
const OFFSET_BITS: u32 = 24;

/// Where a record starts: a data container, and bytes from the container's start.
///
/// Ordered by age: a lower location was put earlier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Location {
    /// number of the data container
    pub container: u32,
    /// bytes from the container's start: a multiple of 16, below 2^28
    pub offset: u32,
}

impl Location {
    /// Offsets are below this.
    pub const OFFSET_END: u32 = 1 << 28;

    /// Whether the offset can be stored.
    pub const fn is_storable(self) -> bool {
        self.offset < Self::OFFSET_END && self.offset.is_multiple_of(16)
    }

    /// The low 56 bits of an entry.
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.container) << OFFSET_BITS | u64::from(self.offset / 16)
    }

    #[expect(clippy::cast_possible_truncation, reason = "fields of 32 and 24 bits")]
    pub(crate) fn unpack(packed: u64) -> Self {
        Self {
            container: (packed >> OFFSET_BITS) as u32,
            offset: (packed as u32 & ((1 << OFFSET_BITS) - 1)) * 16,
        }
    }
}

/// A hash prefix and a location. See the module's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Entry(pub(crate) u128);

impl Entry {
    pub(crate) fn new(prefix: u64, at: Location) -> Self {
        debug_assert!(prefix < 1 << PREFIX_BITS);
        Self(u128::from(prefix) << LOCATION_BITS | u128::from(at.pack()))
    }

    #[expect(clippy::cast_possible_truncation, reason = "entries have at most 48 + 56 bits")]
    pub(crate) fn prefix(self) -> u64 {
        (self.0 >> LOCATION_BITS) as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low 56 bits are the location")]
    pub(crate) fn packed(self) -> u64 {
        self.0 as u64 & ((1 << LOCATION_BITS) - 1)
    }

    pub(crate) fn location(self) -> Location {
        Location::unpack(self.packed())
    }

    /// The entry above the number of what it came from: sorts by prefix, which is the high half, then by location.
    pub(crate) fn tagged(self, source: u8) -> u128 {
        self.0 << 8 | u128::from(source)
    }

    /// Takes [`Self::tagged`] apart.
    #[expect(clippy::cast_possible_truncation, reason = "the low 8 bits are the source")]
    pub(crate) fn untag(tagged: u128) -> (Self, u8) {
        (Self(tagged >> 8), tagged as u8)
    }

    /// The same entry with the last `bits` of its prefix forgotten.
    pub(crate) fn narrowed(self, bits: u32) -> Self {
        let prefix = u128::from(self.prefix() >> bits);
        Self(prefix << LOCATION_BITS | u128::from(self.packed()))
    }

    /// The entry counted from a base prefix less than 2^40 below its own: 96 bits, which pages store.
    pub(crate) fn relative_to(self, base_prefix: u64) -> u128 {
        let relative = self.0 - (u128::from(base_prefix) << LOCATION_BITS);
        debug_assert!(relative < 1 << 96);
        relative
    }

    /// Reads the 96 bits of [`Self::relative_to`].
    pub(crate) fn from_bytes_at(base_prefix: u64, bytes: &[u8; 12]) -> Self {
        let mut wide = [0; 16];
        wide[..12].copy_from_slice(bytes);
        Self((u128::from(base_prefix) << LOCATION_BITS) + u128::from_le_bytes(wide))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_round_trip_and_sort_by_prefix_then_age(
            prefix in 0u64..1 << 48, base_back in 0u64..1 << 40, container: u32, slot in 0u32..1 << 24,
        ) {
            let at = Location { container, offset: slot * 16 };
            prop_assert!(at.is_storable());
            prop_assert_eq!(Location::unpack(at.pack()), at);
            let entry = Entry::new(prefix, at);
            prop_assert_eq!((entry.prefix(), entry.location()), (prefix, at));
            let base = prefix.saturating_sub(base_back);
            prop_assert_eq!(Entry::from_bytes_at(base, entry.relative_to(base).to_le_bytes().first_chunk().unwrap()), entry);
            prop_assert_eq!(Entry::untag(entry.tagged(7)), (entry, 7));
            prop_assert_eq!(entry.tagged(255) >> 64, u128::from(prefix));
            prop_assert_eq!(entry.narrowed(8), Entry::new(prefix >> 8, at));
            if container > 0 {
                let older = Location { container: container - 1, offset: 1 << 27 };
                prop_assert!(Entry::new(prefix, older) < entry);
            }
        }
    }

    #[test]
    fn offsets_that_cannot_be_stored_are_seen() {
        assert!(!Location { container: 0, offset: 8 }.is_storable());
        assert!(!Location { container: 0, offset: Location::OFFSET_END }.is_storable());
    }
}

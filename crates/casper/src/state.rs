//! What a node notes of the blocks that it has whole.

use crate::bytesrepr::{Reader, ShapeError};
use std::ops::RangeInclusive;

/// Disjoint ranges of complete blocks, the highest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Completed {
    ranges: Vec<RangeInclusive<u64>>,
}

impl Completed {
    /// The key in `state_store`.
    pub(crate) const KEY: &'static [u8] = b"completed_blocks_disjoint_sequences";

    /// Reads the node's note: a count, and for each range its highest and lowest height.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ShapeError> {
        let (mut reader, mut ranges) = (Reader::new(bytes), Vec::new());
        reader.many(|reader| {
            let (high, low) = (reader.u64()?, reader.u64()?);
            ranges.push(low..=high);
            Ok(())
        })?;
        reader.end()?;
        Ok(Self::of(ranges))
    }

    /// Unites ranges that touch.
    pub(crate) fn of(mut ranges: Vec<RangeInclusive<u64>>) -> Self {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_unstable_by_key(|range| std::cmp::Reverse(*range.end()));
        let mut united: Vec<RangeInclusive<u64>> = Vec::new();
        for range in ranges {
            match united.last_mut() {
                Some(above) if range.end().saturating_add(1) >= *above.start() => {
                    *above = *above.start().min(range.start())..=*above.end();
                }
                _ => united.push(range),
            }
        }
        Self { ranges: united }
    }

    /// As the node writes it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let count = u32::try_from(self.ranges.len()).expect("ranges of one file");
        let mut bytes = count.to_le_bytes().to_vec();
        for range in &self.ranges {
            bytes.extend(range.end().to_le_bytes());
            bytes.extend(range.start().to_le_bytes());
        }
        bytes
    }

    /// The ranges, the highest first.
    pub(crate) fn ranges(&self) -> &[RangeInclusive<u64>] {
        &self.ranges
    }

    pub(crate) fn contains(&self, height: u64) -> bool {
        self.ranges.iter().any(|range| range.contains(&height))
    }

    /// These and another range.
    pub(crate) fn with(&self, range: RangeInclusive<u64>) -> Self {
        Self::of(self.ranges.iter().cloned().chain([range]).collect())
    }

    /// What is left of them from this height on.
    pub(crate) fn from(&self, low: u64) -> Self {
        let cut = |range: &RangeInclusive<u64>| low.max(*range.start())..=*range.end();
        Self::of(self.ranges.iter().map(cut).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_node_s_note() {
        let bytes = [&[1, 0, 0, 0][..], &[0xd1], &[0; 15]].concat();
        let completed = Completed::read(&bytes).unwrap();
        assert_eq!(completed.ranges(), [0..=209]);
        assert_eq!(completed.to_bytes(), bytes);
        assert!(Completed::read(&bytes[..19]).is_err());
    }

    proptest! {
        #[test]
        fn ranges_are_sets(ranges in prop::collection::vec((0u64..60, 0u64..60), 0..8), low in 0u64..60) {
            let set = |ranges: &[RangeInclusive<u64>]| {
                ranges.iter().cloned().flatten().collect::<BTreeSet<u64>>()
            };
            let ranges: Vec<_> = ranges.iter().map(|&(a, b)| a..=b).collect();
            let completed = Completed::of(ranges.clone());
            prop_assert_eq!(set(completed.ranges()), set(&ranges));
            prop_assert_eq!(Completed::read(&completed.to_bytes()).unwrap(), completed.clone());
            for pair in completed.ranges().windows(2) {
                prop_assert!(*pair[1].end() + 1 < *pair[0].start(), "disjoint, the highest first");
            }
            let cut: BTreeSet<u64> = set(&ranges).into_iter().filter(|&at| at >= low).collect();
            let cut_off = completed.from(low);
            prop_assert_eq!(set(cut_off.ranges()), cut);
        }
    }
}

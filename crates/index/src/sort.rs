//! Sorting numbers that are spread evenly over a range: entries, whose order is that of a hash.
//!
//! Each number goes straight to its bucket, of which there is one for every few numbers; then only buckets are sorted.
//! Two passes whatever the count, about a third of the time of a comparing sort. Many equal prefixes (a key that was put
//! often) only make one bucket large.

/// Numbers of a bucket that are sorted by insertion.
const SMALL_BUCKET: u32 = 24;
/// Prefixes are the high half of what is sorted.
const PREFIX_SHIFT: u32 = 64;

/// Memory for sorting, kept from one time to the next.
#[derive(Debug, Default)]
pub(crate) struct Sorter {
    ends: Vec<u32>,
    sorted: Vec<u128>,
}

impl Sorter {
    /// The numbers in ascending order; the high 64 bits of each are in `first..end`.
    ///
    /// # Panics
    /// Where one is not.
    pub(crate) fn sort(&mut self, numbers: &[u128], first: u64, end: u64) -> &[u128] {
        let Some(log2) = numbers.len().checked_ilog2() else { return &[] };
        let span = (end - first).max(1);
        let shift = (64 - (span - 1).leading_zeros()).saturating_sub(log2.saturating_sub(1));
        let buckets = usize::try_from((span - 1) >> shift).expect("fewer than numbers") + 1;
        let bucket = |number: u128| {
            let prefix = u64::try_from(number >> PREFIX_SHIFT).expect("the high half");
            usize::try_from((prefix.wrapping_sub(first)) >> shift).unwrap_or(usize::MAX)
        };
        self.ends.clear();
        self.ends.resize(buckets, 0);
        numbers.iter().for_each(|&number| self.ends[bucket(number)] += 1);
        let (mut begin, mut largest) = (0, 0);
        for end in &mut self.ends {
            largest = largest.max(*end);
            (*end, begin) = (begin, begin + *end);
        }
        self.sorted.resize(numbers.len(), 0);
        for &number in numbers {
            let at = &mut self.ends[bucket(number)];
            self.sorted[*at as usize] = number;
            *at += 1;
        }
        if largest > SMALL_BUCKET {
            self.sort_large_buckets();
        }
        insertion_sort(&mut self.sorted);
        &self.sorted
    }

    fn sort_large_buckets(&mut self) {
        let mut begin = 0;
        for &end in &self.ends {
            if end - begin > SMALL_BUCKET {
                self.sorted[begin as usize..end as usize].sort_unstable();
            }
            begin = end;
        }
    }
}

/// Fast where nothing is far from its place.
fn insertion_sort(numbers: &mut [u128]) {
    for i in 1..numbers.len() {
        let number = numbers[i];
        let mut at = i;
        while at > 0 && numbers[at - 1] > number {
            numbers[at] = numbers[at - 1];
            at -= 1;
        }
        numbers[at] = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_whatever_is_in_the_range(
            first in 0u64..1 << 48, span in prop_oneof![1u64..5, 1u64..100, 1u64..1 << 56],
            numbers in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 0..300),
        ) {
            // half of them under one prefix
            let number = |&(prefix, low, same): &(u64, u64, bool)| {
                let prefix = if same { first } else { first + prefix % span };
                u128::from(prefix) << 64 | u128::from(low)
            };
            let mut numbers: Vec<u128> = numbers.iter().map(number).collect();
            let mut sorter = Sorter::default();
            sorter.sort(&[u128::from(first) << 64; 7], first, first + span);
            let sorted = sorter.sort(&numbers, first, first + span).to_vec();
            numbers.sort_unstable();
            prop_assert_eq!(sorted, numbers);
        }
    }
}

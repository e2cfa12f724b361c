//! Which samples a holder must show: drawn from a seed that nobody knew before, so that none of it can be chosen.
//!
//! ```text
//! draw j = first 8 bytes of H("prunedb v1 challenge", seed || holder u32 || j u16 || tie)
//! tie    = nothing, or (sequential) the name of what was shown for j-1: H("prunedb v1 challenge tie", sample)
//! place  = (draw * places) >> 64
//! ```
//! A sequential challenge cannot be answered in parallel: who has to fetch its samples from others pays a round trip for
//! each, one after another.

use crate::{SAMPLE_BYTES, domain};
use prunedb_core::Digest;

/// The samples that one holder owes for one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// the epoch's seed
    pub seed: [u8; 32],
    /// number of the holder
    pub holder: u32,
    /// each sample depends on the one before
    pub sequential: bool,
}

impl Challenge {
    /// The place of sample `index` among `places`; `before`: the sample shown for `index - 1`.
    ///
    /// # Panics
    /// Where there are no places.
    pub fn place(&self, index: u16, places: u64, before: Option<&[u8; SAMPLE_BYTES]>) -> u64 {
        assert!(places > 0, "who owes nothing is not challenged");
        let tie = before
            .filter(|_| self.sequential)
            .map(|sample| domain::hash("prunedb v1 challenge tie", &[sample]));
        let tie: &[u8] = tie.as_ref().map_or(&[], |tie| &tie.0);
        let parts = [&self.seed[..], &self.holder.to_le_bytes(), &index.to_le_bytes(), tie];
        let Digest(hash) = domain::hash("prunedb v1 challenge", &parts);
        let draw = u64::from_le_bytes(hash[..8].try_into().expect("8 of 32 bytes"));
        u64::try_from((u128::from(draw) * u128::from(places)) >> 64).expect("below places")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Challenge = Challenge { seed: [7; 32], holder: 3, sequential: false };

    #[test]
    fn places_are_the_published_ones() {
        let shown = [9; SAMPLE_BYTES];
        let tied = Challenge { sequential: true, ..PLAIN };
        let places: Vec<u64> = (0..4)
            .map(|i| PLAIN.place(i, 1_000_000, Some(&shown)))
            .chain((0..4).map(|i| tied.place(i, 1_000_000, (i > 0).then_some(&shown))))
            .collect();
        assert_eq!(places[0], places[4], "the first one has nothing before it");
        let text = places.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/challenge/v1/places.txt");
        if cfg!(bless) {
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap().trim());
    }

    #[test]
    fn every_place_is_drawn_about_as_often() {
        let mut counts = [0u32; 16];
        for index in 0..16_000 {
            counts[usize::try_from(PLAIN.place(index, 16, None)).unwrap()] += 1;
        }
        // 1,000 each; six sigma are 184
        assert!(counts.iter().all(|c| c.abs_diff(1000) < 184), "{counts:?}");
    }

    #[test]
    fn seed_holder_index_and_tie_count() {
        let of = |c: Challenge, index, before: Option<&[u8; SAMPLE_BYTES]>| {
            c.place(index, u64::MAX, before)
        };
        let base = of(PLAIN, 1, None);
        assert_ne!(of(Challenge { seed: [8; 32], ..PLAIN }, 1, None), base);
        assert_ne!(of(Challenge { holder: 4, ..PLAIN }, 1, None), base);
        assert_ne!(of(PLAIN, 2, None), base);
        let tied = Challenge { sequential: true, ..PLAIN };
        assert_ne!(of(tied, 1, Some(&[1; SAMPLE_BYTES])), of(tied, 1, Some(&[2; SAMPLE_BYTES])));
        assert_eq!(of(PLAIN, 1, Some(&[1; SAMPLE_BYTES])), base);
    }
}

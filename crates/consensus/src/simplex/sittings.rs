//! Sittings: stretches of heights in which the same validators vote.
//!
//! Sitting 0 has the heights 0 to [`SITTING_HEIGHTS`], sitting `t` those above `t * SITTING_HEIGHTS` up to and with `(t + 1) * SITTING_HEIGHTS`. Who votes in a
//! sitting is who the registry's validators are in the state after the last height of the sitting before.

use crate::block::SITTING_HEIGHTS;
use commonware_consensus::types::{Epoch, EpochInfo, Epocher, Height};

/// The sitting of a height.
pub(crate) const fn sitting_of(height: u64) -> u64 {
    height.saturating_sub(1) / SITTING_HEIGHTS
}

/// The last height before a sitting.
pub(crate) const fn eve_of(sitting: u64) -> u64 {
    sitting.saturating_mul(SITTING_HEIGHTS)
}

/// What the library asks about sittings; it calls them epochs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sittings;

impl Epocher for Sittings {
    fn containing(&self, height: Height) -> Option<EpochInfo> {
        let epoch = Epoch::new(sitting_of(height.get()));
        Some(EpochInfo::new(epoch, height, self.first(epoch)?, self.last(epoch)?))
    }

    fn first(&self, epoch: Epoch) -> Option<Height> {
        match epoch.get() {
            0 => Some(Height::zero()),
            sitting => Some(Height::new(sitting.checked_mul(SITTING_HEIGHTS)?.checked_add(1)?)),
        }
    }

    fn last(&self, epoch: Epoch) -> Option<Height> {
        Some(Height::new(epoch.get().checked_add(1)?.checked_mul(SITTING_HEIGHTS)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_height_is_in_one_sitting_and_sittings_touch() {
        for height in 0..3 * SITTING_HEIGHTS {
            let info = Sittings.containing(Height::new(height)).unwrap();
            assert!((info.first().get()..=info.last().get()).contains(&height), "{info:?}");
            assert_eq!(
                Sittings.last(info.epoch()).unwrap().next(),
                Sittings.first(info.epoch().next()).unwrap()
            );
        }
        assert_eq!(sitting_of(SITTING_HEIGHTS), 0);
        assert_eq!(sitting_of(SITTING_HEIGHTS + 1), 1);
        assert_eq!(sitting_of(eve_of(7) + 1), 7);
        assert_eq!(Sittings.last(Epoch::new(u64::MAX)), None);
    }
}

//! Draws that everybody makes alike: a stream of numbers for each group, from the election's seed.

use blake3::{Hasher, OutputReader};

/// What a stream is for: no two uses share one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// who gets a vacant slot
    Fill,
    /// who takes a slot over
    Rebalance,
    /// in which order groups are rebalanced
    Order,
}

impl Purpose {
    const fn context(self) -> &'static str {
        match self {
            Self::Fill => "prunedb v1 election fill",
            Self::Rebalance => "prunedb v1 election rebalance",
            Self::Order => "prunedb v1 election order",
        }
    }
}

/// The draws of one group.
pub(crate) struct Draws(OutputReader);

impl Draws {
    pub(crate) fn new(purpose: Purpose, seed: &[u8; 32], group: u32) -> Self {
        let mut hasher = Hasher::new_derive_key(purpose.context());
        hasher.update(seed).update(&group.to_le_bytes());
        Self(hasher.finalize_xof())
    }

    /// Draw number `index`.
    pub(crate) fn at(&mut self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        self.0.set_position(index as u64 * 8);
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// A number below `bound` that a draw stands for; the bias is at most `bound / 2^64`.
pub(crate) fn below(draw: u64, bound: u64) -> u64 {
    let scaled = (u128::from(draw) * u128::from(bound)) >> 64;
    u64::try_from(scaled).expect("below a bound of 64 bits")
}

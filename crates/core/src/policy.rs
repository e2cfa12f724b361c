//! The policy `p+q`: any `p` shards of `p+q` give the container back.

use crate::ids::ShardIndex;
use std::{fmt, str::FromStr};

/// How many shards a container has, and how many of them are needed.
///
/// `p` >= 2, `q` >= 1, `p+q` <= 255. Storage overhead is `q/p` on top of the data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Policy {
    data_shards: u8,
    parity_shards: u8,
}

/// A policy that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not of the form `p+q`.
    #[error("`{0}` is not a policy: write p+q, such as 16+4")]
    Syntax(String),
    /// Outside of what the code can do.
    #[error(
        "policy {data_shards}+{parity_shards} is impossible: p must be at least 2, q at least 1, p+q at most 255"
    )]
    Range {
        /// p
        data_shards: usize,
        /// q
        parity_shards: usize,
    },
}

impl Policy {
    /// The policy `data_shards+parity_shards`.
    ///
    /// # Errors
    /// [`PolicyError::Range`] unless p >= 2, q >= 1 and p+q <= 255.
    pub const fn new(data_shards: usize, parity_shards: usize) -> Result<Self, PolicyError> {
        // the first two bounds keep the sum from overflowing
        if data_shards < 2
            || parity_shards < 1
            || data_shards > 254
            || parity_shards > 253
            || data_shards + parity_shards > 255
        {
            return Err(PolicyError::Range { data_shards, parity_shards });
        }
        #[expect(clippy::cast_possible_truncation, reason = "both are at most 254")]
        Ok(Self { data_shards: data_shards as u8, parity_shards: parity_shards as u8 })
    }

    /// `p`: shards that hold the data, and the number needed to read.
    pub const fn data_shards(self) -> usize {
        self.data_shards as usize
    }

    /// `q`: shards that may be lost.
    pub const fn parity_shards(self) -> usize {
        self.parity_shards as usize
    }

    /// `p+q`.
    pub const fn total_shards(self) -> usize {
        self.data_shards as usize + self.parity_shards as usize
    }

    /// Every shard index of this policy, data shards first.
    pub fn shards(self) -> impl DoubleEndedIterator<Item = ShardIndex> + ExactSizeIterator {
        (0..self.data_shards + self.parity_shards).map(ShardIndex)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data_shards, self.parity_shards)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(s: &str) -> Result<Self, PolicyError> {
        let number = |part: &str| {
            // no sign, no spaces: `str::parse` would take a leading `+`
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<usize>().ok()).flatten()
        };
        let (data, parity) = s
            .split_once('+')
            .and_then(|(p, q)| Some((number(p)?, number(q)?)))
            .ok_or_else(|| PolicyError::Syntax(s.into()))?;
        Self::new(data, parity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_possible_policy_round_trips_and_no_other_exists() {
        for p in 0..=300usize {
            for q in 0..=300usize {
                let policy = Policy::new(p, q);
                assert_eq!(policy.is_ok(), p >= 2 && q >= 1 && p + q <= 255, "{p}+{q}");
                assert_eq!(format!("{p}+{q}").parse(), policy);
            }
        }
        assert!(Policy::new(usize::MAX, usize::MAX).is_err());
        for text in ["", "16", "+", "16+", "+4", "16+4+2", "a+b", "16 + 4", "++4", "16++4"] {
            assert!(matches!(text.parse::<Policy>(), Err(PolicyError::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn shards_are_numbered_data_first() {
        let policy: Policy = "16+4".parse().unwrap();
        let shards: Vec<_> = policy.shards().collect();
        assert_eq!((shards.len(), shards[0], shards[19]), (20, ShardIndex(0), ShardIndex(19)));
    }
}

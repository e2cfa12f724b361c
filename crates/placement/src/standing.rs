//! How a container stands when some of its shards are gone.

use prunedb_core::Policy;

/// How a container stands, from good to bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// Every shard is there.
    Whole,
    /// Shards are missing, and more may be lost.
    Degraded,
    /// It can be read, and one more loss would be the end of it.
    AtRisk,
    /// Fewer than `p` shards are left.
    Lost,
}

impl Standing {
    /// The standing of a container of which so many shards are missing.
    pub const fn of(policy: Policy, missing: usize) -> Self {
        let most = policy.parity_shards();
        match missing {
            _ if missing > most => Self::Lost,
            _ if missing == most => Self::AtRisk,
            0 => Self::Whole,
            _ => Self::Degraded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_whole_to_lost() {
        let of = |policy: &str, missing| Standing::of(policy.parse().unwrap(), missing);
        assert_eq!(
            [0, 1, 3, 4, 5, 20].map(|m| of("16+4", m)),
            [
                Standing::Whole,
                Standing::Degraded,
                Standing::Degraded,
                Standing::AtRisk,
                Standing::Lost,
                Standing::Lost
            ]
        );
        assert_eq!(
            [0, 1, 2].map(|m| of("2+1", m)),
            [Standing::Whole, Standing::AtRisk, Standing::Lost]
        );
    }
}

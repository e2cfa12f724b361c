//! The way between two machines: continents, latency, bandwidth, and what is wrong with it.

use prunedb_disk::faulty::Chance;
use std::time::Duration;

/// A continent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Continent(usize);

/// Milliseconds from one continent to another: Europe, North and South America, Africa, Asia, Oceania.
const ONE_WAY_MS: [[u64; 6]; 6] = [
    [8, 45, 100, 60, 85, 140],
    [45, 15, 65, 95, 75, 80],
    [100, 65, 15, 120, 150, 145],
    [60, 95, 120, 25, 100, 150],
    [85, 75, 150, 100, 25, 60],
    [140, 80, 145, 150, 60, 10],
];
/// What a node's line carries.
const BYTES_PER_MS: u64 = 50_000;
/// A disk finds something in so long at most, on top of the way.
const SEEK_US: u64 = 9_000;
/// A connection that is not made within this has failed, and so has a request without an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

impl Continent {
    pub(crate) const COUNT: usize = ONE_WAY_MS.len();

    /// The continent of a node: all of them have some.
    pub(crate) const fn of(node: usize) -> Self {
        Self(node % Self::COUNT)
    }

    /// One way, where nothing delays.
    pub(crate) const fn milliseconds_to(self, to: Self) -> u64 {
        ONE_WAY_MS[self.0][to.0]
    }
}

/// How a node can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// As usual.
    Well,
    /// It answers, and takes twenty times as long.
    Slow,
    /// What is sent is never answered.
    Hangs,
    /// Nothing gets through, in either direction.
    Cut,
}

impl Reach {
    const SLOW_FACTOR: u32 = 20;

    fn factor(self) -> u32 {
        if self == Self::Slow { Self::SLOW_FACTOR } else { 1 }
    }
}

/// How long bytes take from one machine to another.
pub(crate) fn way(
    from: Continent,
    to: Continent,
    bytes: usize,
    reach: Reach,
    chance: &mut Chance,
) -> Duration {
    let base = Duration::from_millis(from.milliseconds_to(to));
    // a quarter more at most, seldom three times as much
    let jitter = base / 4 * u32::try_from(chance.below(100)).expect("below 100") / 100;
    let burst = if chance.one_in(50) { base * 2 } else { Duration::ZERO };
    (base + jitter + burst + carried(bytes)) * reach.factor()
}

/// How long a node's line is busy with so many bytes.
pub(crate) fn sent(bytes: usize, reach: Reach) -> Duration {
    carried(bytes) * reach.factor()
}

/// How long a node thinks.
pub(crate) fn thought(reach: Reach, chance: &mut Chance) -> Duration {
    Duration::from_micros(500 + chance.below(SEEK_US)) * reach.factor()
}

fn carried(bytes: usize) -> Duration {
    Duration::from_micros(bytes as u64 * 1000 / BYTES_PER_MS)
}

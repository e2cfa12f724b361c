//! How one node has been doing: how long its reads take, and whether it is better left alone for a while.
//!
//! ```text
//! answers to reads -> sketch of latencies -> when a read is hedged
//! all answers      -> round trip          -> which nodes are near
//! unreachable      -> left alone for 5 s, then twice as long each time, up to 5 min
//! 3 reads overtaken-> the same: the node is slow
//! upload overtaken -> the same, for uploads only
//! ```
//! Left alone means: not the first choice. A node that is needed is asked all the same, so a wrong guess costs time and
//! never data. Everything takes the time as an argument: milliseconds since the lake was opened.
//!
//! Cost: about 300 bytes a node; an answer is one lock and a few additions.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Buckets of a sketch: half powers of two from [`FLOOR_US`] on, so that the last one begins at two minutes.
const BUCKETS: usize = 44;
/// What is faster is not told apart.
const FLOOR_US: u64 = 64;
/// Older answers weigh half as much after so long...
const HALF_LIFE_MS: u64 = 60_000;
/// ...or after so many newer ones.
const WEIGHT_MAX: f32 = 256.0;
/// With fewer answers a sketch says nothing.
const WEIGHT_MIN: f32 = 8.0;
/// Latencies are noted for so many bytes of an answer.
const UNIT_BYTES: u64 = 256 << 10;
/// Reads that were overtaken one after another make a node slow.
const OVERTAKEN_MAX: u32 = 3;
/// How long a node is left alone the first time, and at most.
const ALONE_MS: std::ops::RangeInclusive<u64> = 5_000..=300_000;

/// A decaying histogram of latencies.
#[derive(Debug, Clone)]
pub(crate) struct Sketch {
    counts: [f32; BUCKETS],
    weight: f32,
    halved_ms: u64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { counts: [0.0; BUCKETS], weight: 0.0, halved_ms: 0 }
    }
}

impl Sketch {
    /// Notes an answer of some bytes.
    pub(crate) fn add(&mut self, now_ms: u64, took: Duration, bytes: u64) {
        self.age(now_ms);
        let us = took.as_micros() / u128::from(units(bytes));
        let us = u64::try_from(us).unwrap_or(u64::MAX);
        self.counts[bucket(us)] += 1.0;
        self.weight += 1.0;
        if self.weight > WEIGHT_MAX {
            self.halve();
        }
    }

    /// What a share of the answers of so many bytes stayed below; `None` while too little is known.
    pub(crate) fn quantile(&mut self, now_ms: u64, share: f32, bytes: u64) -> Option<Duration> {
        self.age(now_ms);
        if self.weight < WEIGHT_MIN {
            return None;
        }
        let mut left = self.weight * share;
        let found = self.counts.iter().position(|count| {
            left -= count;
            left <= 0.0
        });
        let us = upper_edge_us(found.unwrap_or(BUCKETS - 1));
        Some(Duration::from_micros(us.saturating_mul(units(bytes))))
    }

    fn age(&mut self, now_ms: u64) {
        let periods = now_ms.saturating_sub(self.halved_ms) / HALF_LIFE_MS;
        for _ in 0..periods.min(16) {
            self.halve();
        }
        self.halved_ms += periods * HALF_LIFE_MS;
    }

    fn halve(&mut self) {
        self.counts.iter_mut().for_each(|count| *count *= 0.5);
        self.weight *= 0.5;
    }
}

/// How often an answer's bytes count.
const fn units(bytes: u64) -> u64 {
    1 + bytes.saturating_sub(1) / UNIT_BYTES
}

fn bucket(us: u64) -> usize {
    (0..BUCKETS - 1).find(|&at| us < upper_edge_us(at)).unwrap_or(BUCKETS - 1)
}

const fn upper_edge_us(bucket: usize) -> u64 {
    let whole = FLOOR_US << (bucket / 2);
    if bucket.is_multiple_of(2) { whole } else { whole + whole * 4 / 10 }
}

/// A time to be left alone that grows with each failure.
#[derive(Debug, Clone, Copy, Default)]
struct Alone {
    failures: u32,
    until_ms: u64,
}

impl Alone {
    fn fail(&mut self, now_ms: u64) {
        if self.until_ms > now_ms {
            return; // calls that were under way together fail together
        }
        let (first, most) = (*ALONE_MS.start(), *ALONE_MS.end());
        self.until_ms = now_ms + (first << self.failures.min(16)).min(most);
        self.failures += 1;
    }
}

#[derive(Debug, Default)]
struct State {
    reads: Sketch,
    /// of anything small, smoothed, or what it was at least; zero while nothing is known
    round_trip: Duration,
    /// reads that others overtook since the last one that was answered
    overtaken: u32,
    unreachable: Alone,
    slow_reads: Alone,
    slow_uploads: Alone,
}

impl State {
    /// An answer took so long, for so many bytes as count once.
    fn near(&mut self, took: Duration) {
        let before = self.round_trip;
        self.round_trip = if before.is_zero() { took } else { (before * 7 + took) / 8 };
    }
}

/// One node's health, shared by all who call it.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<State>);

impl Health {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It answered something, or could not be reached.
    pub(crate) fn reached(&self, now_ms: u64, reached: bool) {
        let mut state = self.lock();
        if reached {
            state.unreachable = Alone::default();
        } else {
            state.unreachable.fail(now_ms);
        }
    }

    /// Something small was answered.
    pub(crate) fn answered(&self, took: Duration) {
        self.lock().near(took);
    }

    /// How long it takes to answer, as far as that is known: zero else, so that it is asked.
    pub(crate) fn round_trip(&self) -> Duration {
        self.lock().round_trip
    }

    /// A read was answered.
    pub(crate) fn read(&self, now_ms: u64, took: Duration, bytes: u64) {
        let mut state = self.lock();
        state.reads.add(now_ms, took, bytes);
        state.near(took / u32::try_from(units(bytes)).unwrap_or(u32::MAX));
        state.overtaken = 0;
        state.slow_reads = Alone::default();
    }

    /// A read was given up after so long because others were faster; whether that is later than was to be expected of this
    /// node. What it would have taken is unknown, so the sketch learns nothing: a guess would only make the next hedge later.
    pub(crate) fn given_up(&self, now_ms: u64, after: Duration, is_late: bool) {
        let mut state = self.lock();
        state.round_trip = state.round_trip.max(after);
        if !is_late {
            return;
        }
        state.overtaken += 1;
        if state.overtaken >= OVERTAKEN_MAX {
            state.overtaken = 0;
            state.slow_reads.fail(now_ms);
        }
    }

    /// An upload ended in time, or was given up because others were faster.
    pub(crate) fn uploaded(&self, now_ms: u64, in_time: bool) {
        let mut state = self.lock();
        if in_time {
            state.slow_uploads = Alone::default();
        } else {
            state.slow_uploads.fail(now_ms);
        }
    }

    /// What a share of its reads of so many bytes stayed below; `None` while too little is known.
    pub(crate) fn quantile(&self, now_ms: u64, share: f32, bytes: u64) -> Option<Duration> {
        self.lock().reads.quantile(now_ms, share, bytes)
    }

    /// Whether reads should try others first.
    pub(crate) fn avoid_for_reads(&self, now_ms: u64) -> bool {
        let state = self.lock();
        state.unreachable.until_ms > now_ms || state.slow_reads.until_ms > now_ms
    }

    /// Whether an upload should do without it.
    pub(crate) fn avoid_for_uploads(&self, now_ms: u64) -> bool {
        let state = self.lock();
        state.unreachable.until_ms > now_ms || state.slow_uploads.until_ms > now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_a_half_power_of_two_of_the_real_one(
            mut took in proptest::collection::vec(100u64..60_000_000, 8..200),
            share in 0.05f32..0.99,
        ) {
            let mut sketch = Sketch::default();
            took.iter().for_each(|&us| sketch.add(0, Duration::from_micros(us), 1));
            took.sort_unstable();
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss,
                reason = "a rank below 200")]
            let rank = ((took.len() as f32 * share).ceil() as usize).clamp(1, took.len());
            let (found, real) = (sketch.quantile(0, share, 1).unwrap(), took[rank - 1]);
            let found = u64::try_from(found.as_micros()).unwrap();
            prop_assert!(found >= real && found <= real + real / 2 + 1, "{found} for {real}");
        }
    }

    #[test]
    fn old_answers_fade_and_long_ones_count_by_their_bytes() {
        let mut sketch = Sketch::default();
        (0..100).for_each(|_| sketch.add(0, ms(1000), 1));
        assert!(sketch.quantile(0, 0.5, 1).unwrap() >= ms(1000));
        (0..100).for_each(|_| sketch.add(5 * HALF_LIFE_MS, ms(8), 4 * UNIT_BYTES));
        let median = sketch.quantile(5 * HALF_LIFE_MS, 0.5, 1).unwrap();
        assert!(median >= ms(2) && median <= ms(3), "{median:?}");
        assert_eq!(sketch.quantile(5 * HALF_LIFE_MS, 0.5, 4 * UNIT_BYTES).unwrap(), median * 4);
        assert_eq!(sketch.quantile(20 * HALF_LIFE_MS, 0.5, 1), None);
    }

    #[test]
    fn how_near_a_node_is_comes_from_whatever_it_answers() {
        let health = Health::default();
        assert_eq!(health.round_trip(), Duration::ZERO);
        health.answered(ms(80));
        assert_eq!(health.round_trip(), ms(80));
        health.read(0, ms(160), 2 * UNIT_BYTES);
        assert_eq!(health.round_trip(), ms(80));
        health.read(0, ms(160), 1);
        assert_eq!(health.round_trip(), ms(90));
        // it takes longer than others did
        health.given_up(0, ms(120), false);
        health.given_up(0, ms(10), false);
        assert_eq!(health.round_trip(), ms(120));
    }

    #[test]
    fn a_node_is_left_alone_longer_each_time_until_it_answers() {
        let health = Health::default();
        let mut now = 0;
        for wait in [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
            health.reached(now, false);
            health.reached(now, false); // at the same time: counts once
            assert!(health.avoid_for_reads(now + wait - 1) && health.avoid_for_uploads(now));
            assert!(!health.avoid_for_reads(now + wait));
            now += wait;
        }
        health.reached(now, false);
        health.reached(now, true);
        assert!(!health.avoid_for_reads(now) && !health.avoid_for_uploads(now));
        // slow reads are no reason not to write, nor the other way round
        (0..OVERTAKEN_MAX).for_each(|_| health.given_up(now, ms(9), false));
        assert!(!health.avoid_for_reads(now));
        (0..OVERTAKEN_MAX).for_each(|_| health.given_up(now, ms(9), true));
        assert!(health.avoid_for_reads(now) && !health.avoid_for_uploads(now));
        health.read(now, ms(1), 1);
        health.uploaded(now, false);
        assert!(!health.avoid_for_reads(now) && health.avoid_for_uploads(now));
    }
}

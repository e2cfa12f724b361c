//! A limit in bytes per second: a bucket that fills at that rate and holds one second's worth.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// See the module's text. Everybody who takes from it shares the rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// 0: no limit
    bytes_per_s: u64,
    /// when the bucket will have paid for everything taken so far, were it as empty as can be
    paid: Mutex<Option<Instant>>,
}

impl Throttle {
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s, paid: Mutex::default() }
    }

    /// Takes so many bytes; waits while more than a second's worth was taken ahead.
    pub(crate) async fn take(&self, bytes: u64) {
        if self.bytes_per_s == 0 {
            return;
        }
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        let now = Instant::now();
        let wait = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let start = paid.map_or(now, |paid| paid.max(now));
            *paid = Some(start + cost);
            (start + cost).saturating_duration_since(now + Duration::from_secs(1))
        };
        sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_rate_passes_and_a_second_ahead() {
        let throttle = Throttle::new(1_000_000);
        let start = Instant::now();
        for _ in 0..100 {
            throttle.take(100_000).await;
        }
        let took = start.elapsed();
        assert!(
            took >= Duration::from_millis(8990) && took <= Duration::from_millis(9010),
            "{took:?}"
        );
        // what was not used is not saved up beyond that second
        sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..20 {
            throttle.take(100_000).await;
        }
        assert!(start.elapsed() >= Duration::from_millis(990), "{:?}", start.elapsed());
        let free = Throttle::new(0);
        let start = Instant::now();
        free.take(u64::MAX).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

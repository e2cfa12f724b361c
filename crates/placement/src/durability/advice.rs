//! What to change: the least of each that makes a plan hold.

use super::plan::Lake;
use prunedb_core::Policy;

/// What would make a plan hold, or hold cheaper; each alone, everything else as planned. `None`: that alone does not do it,
/// or nothing is to be gained.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Advice {
    /// the least repair bandwidth that keeps the plan, bytes a second
    pub repair_bytes_per_s: Option<f64>,
    /// the most data that can be kept
    pub data_bytes: Option<f64>,
    /// the least q at the same p that keeps it
    pub policy: Option<Policy>,
    /// the lazy threshold that keeps it with the least repair traffic, and that traffic
    pub lazy: Option<(usize, f64)>,
}

/// Looks for the least change.
pub fn advise(lake: &Lake) -> Advice {
    let holds = |lake: Lake| lake.figures().refusals.is_empty();
    let with_bandwidth = |repair_bytes_per_s| Lake { repair_bytes_per_s, ..*lake };
    let with_data = |data_bytes| Lake { data_bytes, ..*lake };
    let n = lake.policy.data_shards();
    let policies = (1..=255 - n).filter_map(|q| Policy::new(n, q).ok());
    let policy =
        policies.take_while(|policy| policy.total_shards() <= lake.nodes).find(|&policy| {
            lake.lazy_shards < policy.parity_shards() && holds(Lake { policy, ..*lake })
        });
    let lazy = (0..lake.policy.parity_shards())
        .map(|lazy_shards| Lake { lazy_shards, ..*lake })
        .filter(|&lake| holds(lake))
        .map(|lake| (lake.lazy_shards, lake.figures().repair_traffic_bytes_per_s))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    Advice {
        repair_bytes_per_s: threshold(lake.repair_bytes_per_s, |r| holds(with_bandwidth(r))),
        // the other way round: the reciprocal of data must be large enough
        data_bytes: threshold(1.0 / lake.data_bytes, |r| holds(with_data(1.0 / r)))
            .map(|r| 1.0 / r),
        policy,
        lazy,
    }
}

/// The least value that holds, to a thousandth; `holds` must go from no to yes once. Looks up to 2^60 times either way.
fn threshold(start: f64, holds: impl Fn(f64) -> bool) -> Option<f64> {
    let (mut no, mut yes) = (start, start);
    if holds(start) {
        no = (1..=60).map(|i| start / 2_f64.powi(i)).find(|&value| !holds(value))?;
    } else {
        yes = (1..=60).map(|i| start * 2_f64.powi(i)).find(|&value| holds(value))?;
    }
    while yes / no > 1.001 {
        let middle = (yes * no).sqrt();
        if holds(middle) { yes = middle } else { no = middle }
    }
    Some(yes)
}

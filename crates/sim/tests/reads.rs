//! Point reads while nodes are gone. `cargo test -p prunedb-sim --test reads -- --nocapture` prints the figures
//! (docs/benchmarks/reads-under-faults.md).

use prunedb_sim::{Gone, PointReads, Times, point_reads};
use std::time::Duration;

#[test]
fn a_record_whose_node_is_gone_costs_a_round_trip_and_a_little() {
    for (policy, how) in
        [("16+4", Gone::Crashed), ("16+4", Gone::Hanging), ("20+80", Gone::Crashed)]
    {
        let found = point_reads(1, policy.parse().expect("a policy"), how);
        let PointReads { gone, healthy, degraded } =
            found.unwrap_or_else(|reason| panic!("{policy}: {reason}"));
        for (what, times, ms_max) in [("healthy", healthy, 15), ("degraded", degraded, 30)] {
            let Times { reads, round_trip, p50, longer, p99 } = times;
            println!(
                "{policy}, {gone} nodes {how:?}, {what}: {reads} reads, round trip {round_trip:?}, p50 {p50:?}, \
                 p50 beyond its round trip {longer:?}, p99 {p99:?}"
            );
            assert!(longer <= Duration::from_millis(ms_max), "{policy} {how:?} {what}: {times:?}");
        }
    }
}

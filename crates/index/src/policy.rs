//! Which runs to merge next. Pure.
//!
//! Keyed runs: eight runs of a level make one of the next, so a key is rewritten once per level. Filters stand before
//! every run while they are small in all. Then everything is merged into the *base*, a run without a filter, and from
//! there on again whenever the filters before the others outgrow what is free and a quarter of a byte per key, or a third
//! of the keys is not in the base: RAM stays small, and a lookup reads one page of the base, and for a third of the keys
//! at most another one. Each key is written about twice where all filters fit (4e7 keys at 64 MiB), three times at 1e8
//! keys, and eight times at most, whatever the size. Sequence runs need no filters, and no base.

use crate::run_file::RunKind;

/// What the policy knows of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunSummary {
    pub(crate) number: u64,
    pub(crate) kind: RunKind,
    pub(crate) level: u8,
    pub(crate) entries: u64,
    pub(crate) filter_bytes: u64,
    pub(crate) container_min: u32,
}

/// Runs to merge into one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) sources: Vec<u64>,
    pub(crate) kind: RunKind,
    pub(crate) level: u8,
    pub(crate) filter: bool,
}

/// Most runs that one merge reads.
pub(crate) const SOURCES_MAX: usize = 255;

/// The most useful merge, if any is due.
pub(crate) fn next_merge(
    runs: &[RunSummary],
    fan_in: usize,
    filter_bytes_free: u64,
) -> Option<Plan> {
    let mut runs = runs.to_vec();
    runs.sort_unstable_by_key(|run| (run.container_min, run.number));
    into_base(&runs, filter_bytes_free)
        .or_else(|| up_a_level(&runs, RunKind::Keyed, fan_in))
        .or_else(|| up_a_level(&runs, RunKind::Sequence, fan_in))
}

fn into_base(runs: &[RunSummary], filter_bytes_free: u64) -> Option<Plan> {
    let keyed: Vec<_> = runs.iter().filter(|run| run.kind == RunKind::Keyed).collect();
    let entries: u64 = keyed.iter().map(|run| run.entries).sum();
    let filter_bytes: u64 = keyed.iter().map(|run| run.filter_bytes).sum();
    let beside: u64 = keyed.iter().filter(|r| r.filter_bytes > 0).map(|r| r.entries).sum();
    // a small base is not rewritten for a few keys
    let many_beside = beside < entries && beside > entries / 3;
    let due = filter_bytes > filter_bytes_free.max(entries / 4)
        || many_beside && filter_bytes > filter_bytes_free / 16;
    (due && keyed.len() > 1).then(|| Plan {
        sources: keyed.iter().take(SOURCES_MAX).map(|run| run.number).collect(),
        kind: RunKind::Keyed,
        level: keyed.iter().map(|run| run.level).max().unwrap_or(0).saturating_add(1),
        filter: false,
    })
}

/// The oldest runs of the lowest level that is full.
fn up_a_level(runs: &[RunSummary], kind: RunKind, fan_in: usize) -> Option<Plan> {
    let is_base = |run: &RunSummary| kind == RunKind::Keyed && run.filter_bytes == 0;
    let tiered = || runs.iter().filter(move |run| run.kind == kind && !is_base(run));
    let full = |level: u8| tiered().filter(|run| run.level == level).count() >= fan_in;
    let level = (0..u8::MAX).find(|&level| full(level))?;
    Some(Plan {
        sources: tiered().filter(|r| r.level == level).take(fan_in).map(|r| r.number).collect(),
        kind,
        level: level + 1,
        filter: kind == RunKind::Keyed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u64, level: u8, entries: u64, filter_bytes: u64) -> RunSummary {
        let container_min = u32::try_from(number).unwrap();
        RunSummary { number, kind: RunKind::Keyed, level, entries, filter_bytes, container_min }
    }

    /// Flushes many runs of equal size; (merges of each key, most filter bytes, most runs).
    fn simulate(flushes: u64, keys: u64, free: u64) -> (f64, u64, usize) {
        let (mut runs, mut written, mut filter_max, mut runs_max) = (Vec::new(), 0, 0, 0);
        let mut next = flushes;
        for flush in 0..flushes {
            runs.push(run(flush, 0, keys, keys * 2));
            while let Some(plan) = next_merge(&runs, 8, free) {
                let (sources, rest): (Vec<RunSummary>, Vec<RunSummary>) =
                    runs.iter().partition(|r| plan.sources.contains(&r.number));
                let entries = sources.iter().map(|r| r.entries).sum();
                written += entries;
                let filter = if plan.filter { entries * 12 / 8 } else { 0 };
                runs = rest;
                let container_min = sources.iter().map(|r| r.container_min).min().unwrap();
                runs.push(RunSummary { container_min, ..run(next, plan.level, entries, filter) });
                next += 1;
            }
            filter_max = filter_max.max(runs.iter().map(|r| r.filter_bytes).sum());
            runs_max = runs_max.max(runs.len());
        }
        (written as f64 / (flushes * keys) as f64, filter_max, runs_max)
    }

    #[test]
    fn rewrites_filters_and_runs_stay_bounded() {
        for flushes in [5, 20, 100, 1000, 5000] {
            let keys = 1_000_000;
            let free = 64 << 20;
            let (merged, filter_bytes, runs) = simulate(flushes, keys, free);
            println!("{flushes} flushes: each key merged {merged:.2} times, {runs} runs");
            let merged_max = if flushes <= 100 { 2.5 } else { 8.0 };
            assert!(merged < merged_max, "{flushes}: {merged}");
            assert!(filter_bytes <= free.max(flushes * keys / 4));
            assert!(runs <= 24);
        }
    }

    #[test]
    fn the_oldest_runs_of_a_full_level_go_first() {
        let runs: Vec<_> = (0..20).rev().map(|n| run(n, 0, 10, 12)).collect();
        let plan = next_merge(&runs, 16, 1 << 20).unwrap();
        assert_eq!((plan.sources, plan.level, plan.filter), ((0..16).collect(), 1, true));
        assert_eq!(next_merge(&runs[..15], 16, 1 << 20), None);
        assert_eq!(next_merge(&[run(0, 3, 1 << 40, 0)], 16, 0), None);
    }
}

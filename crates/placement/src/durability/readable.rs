//! Whether a container can be read just now.

use prunedb_core::Policy;

/// Chance that fewer than `p` of the `p+q` nodes are up at a moment, each being up a share `uptime` of the time, one independent
/// of the other.
pub fn unreadable(policy: Policy, uptime: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shards are at most 255")]
    let real = |n: usize| n as f64;
    if uptime <= 0.0 {
        return 1.0;
    }
    let n = policy.total_shards();
    let mut sum = 0.0;
    // ln of C(n, up), by its factors
    let mut ways = 0.0_f64;
    for up in 0..policy.data_shards() {
        sum += (ways + real(up) * uptime.ln() + real(n - up) * (-uptime).ln_1p()).exp();
        ways += (real(n - up) / real(up + 1)).ln();
    }
    sum.min(1.0)
}

/// Chance that more than `spare` of `holders` are among `lost` nodes that are drawn from `nodes`, all alike.
pub fn loss_by_chance(nodes: usize, lost: usize, holders: usize, spare: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "nodes are far below 2^52")]
    let ln_ways = |of: usize, take: usize| -> f64 {
        (0..take).map(|i| ((of - i) as f64 / (i + 1) as f64).ln()).sum()
    };
    let (others, lost) = (nodes.saturating_sub(holders), lost.min(nodes));
    let all = ln_ways(nodes, lost);
    let least = (spare + 1).max(lost.saturating_sub(others));
    let chance = |hit: usize| (ln_ways(holders, hit) + ln_ways(others, lost - hit) - all).exp();
    (least..=holders.min(lost)).map(chance).sum::<f64>().min(1.0)
}

//! What is repaired first, and what can wait. Pure.

use prunedb_core::Policy;

/// Chance that one more shard of a container is lost before repair comes round: the order below is the same for any small
/// one, it only has to weigh one more spare shard of one policy against the size of another.
const LOSS: f64 = 0.01;

/// How likely a container with so many good shards is lost before the next repair, as a logarithm: higher is more
/// urgent. What is lost already comes last, nothing but its nodes can help it.
pub(super) fn urgency(policy: Policy, good: usize) -> f64 {
    let Some(spare) = good.checked_sub(policy.data_shards()) else { return f64::NEG_INFINITY };
    // one more than the spare ones has to go: binomial(good, spare + 1) * LOSS^(spare + 1)
    let gone = spare + 1;
    let count = |n: usize| f64::from(u32::try_from(n).expect("a policy has at most 255 shards"));
    (1..=gone).map(|i| ((count(good) - count(i) + 1.0) / count(i)).ln() + LOSS.ln()).sum()
}

/// Slots of a group that must be lost before they move to other nodes. A few parity shards are rebuilt at any loss; with
/// many it waits until half of them are gone, and then restores all: rebuilding for each lost node would read `p` shards
/// for one, over and over (eager repair of 20+80 costs 18 times the traffic).
pub(crate) const fn lazy_losses(policy: Policy) -> usize {
    const FEW_PARITY: usize = 8;
    if policy.parity_shards() <= FEW_PARITY { 1 } else { policy.parity_shards() / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_that_is_nearest_to_its_loss_comes_first() {
        let of = |policy: &str, good| urgency(policy.parse().unwrap(), good);
        // of one policy: fewest spare shards first
        assert!(of("16+4", 16) > of("16+4", 17) && of("16+4", 17) > of("16+4", 19));
        // with equally many to spare, the one with more shards that may go
        assert!(of("20+80", 21) > of("16+4", 17));
        // 30 of 80 parity shards gone is no hurry beside one of four
        assert!(of("16+4", 19) > of("20+80", 70));
        assert!(of("20+80", 21) > of("16+4", 18));
        // what is lost cannot be helped
        assert_eq!(of("2+1", 1), f64::NEG_INFINITY);
    }

    #[test]
    fn few_parity_shards_are_restored_at_any_loss_many_lazily() {
        let of = |policy: &str| lazy_losses(policy.parse().unwrap());
        assert_eq!([of("2+1"), of("16+4"), of("8+8"), of("20+80")], [1, 1, 1, 40]);
    }
}

//! `cargo bench -p prunedb-placement`: milliseconds of an election over 4,096 groups, the best of ten.

use prunedb_core::Policy;
use prunedb_placement::{Election, Group, Limits, Member, NodeId};
use std::time::{Duration, Instant};

fn main() {
    for (name, nodes, limits) in [
        ("16+4", 100, Limits::default()),
        ("16+4", 100, Limits { slots_per_domain: [2, 3, 0], margin: 1, strict: false }),
        ("20+80", 500, Limits::default()),
    ] {
        let policy: Policy = name.parse().expect("a policy");
        let mut members: Vec<Member> = (0..nodes).map(member).collect();
        let mut groups = vec![Group::vacant(policy); 4096];
        let first = best(1, || elect(&members, &limits, &mut groups.clone()));
        elect(&members, &limits, &mut groups);
        let before = groups.clone();
        let had = groups.iter().filter(|g| g.slot_of(NodeId(7)).is_some()).count();
        members.remove(7);
        let mut moved = 0;
        let after = best(10, || {
            groups.clone_from(&before);
            moved = elect(&members, &limits, &mut groups);
        });
        assert_eq!(moved, had, "exactly the slots of the node that left");
        println!(
            "placement::elect/policy={name}/nodes={nodes}/limits={:?}: {:.1} ms after one left ({moved} slots), {:.0} ms at first",
            limits.slots_per_domain,
            after.as_secs_f64() * 1e3,
            first.as_secs_f64() * 1e3
        );
    }
}

fn member(n: u32) -> Member {
    let weight = [100, 200, 500][(n % 3) as usize];
    Member { node: NodeId(n), weight, domains: [1 + n / 5, 1 + n % 17, 0], takes_new: true }
}

fn elect(members: &[Member], &limits: &Limits, groups: &mut [Group]) -> usize {
    let election = Election { seed: [1; 32], members, limits, rebalance_slots: 0 };
    election.elect(groups).expect("enough nodes").moves.len()
}

fn best<T>(runs: usize, mut work: impl FnMut() -> T) -> Duration {
    let timed = |_| {
        let started = Instant::now();
        std::hint::black_box(work());
        started.elapsed()
    };
    (0..runs).map(timed).min().expect("one run at least")
}

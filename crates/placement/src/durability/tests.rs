//! Against the design's figures, the exact recursion, and a simulation that knows nodes and no chain.

use super::*;
use prunedb_core::Policy;

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

fn chain(policy: Policy, life_years: f64, repair_hours: f64, lazy_shards: usize) -> Chain {
    Chain {
        slots: policy.total_shards(),
        parity_slots: policy.parity_shards(),
        deaths_per_year: 1.0 / life_years,
        repairs_per_year: YEAR_HOURS / repair_hours,
        lazy_shards,
        domain_losses_per_year: 0.0,
        slots_per_domain: 1,
    }
}

fn lake(nodes: usize, policy: Policy, data_tb: f64, repair_mbps: f64) -> Lake {
    Lake {
        nodes,
        policy,
        node_life_years: 3.0,
        repair_bytes_per_s: repair_mbps * 1e6,
        data_bytes: data_tb * 1e12,
        detect_hours: 1.0,
        lazy_shards: 0,
        groups: nodes,
        domains: None,
        uptime: 0.99,
        loss_per_year_max: 1e-6,
    }
}

/// Whether two figures are equal to one part in `parts`.
fn near(found: f64, expected: f64, parts: f64) -> bool {
    (found / expected - 1.0).abs() < 1.0 / parts
}

#[test]
fn the_chain_gives_the_exact_figures() {
    // worked out with 80 digits
    for (text, life, hours, lazy, expected) in [
        ("16+4", 3.0, 24.0, 0, 4.0e-7),
        ("16+4", 3.0, 168.0, 0, 6.0e-4),
        ("16+4", 1.0, 72.0, 0, 4.3e-3),
        ("20+80", 3.0, 24.0, 0, 2.3e-105),
        ("20+80", 3.0, 720.0, 0, 2.0e-18),
        ("29+51", 1.0, 168.0, 0, 7.2e-15),
    ] {
        let found = chain(policy(text), life, hours, lazy).loss_per_year();
        assert!(near(found, expected, 30.0), "{text} {life} y {hours} h: {found:e}");
    }
}

#[test]
fn without_repair_a_group_lives_as_long_as_its_nodes() {
    let found = chain(policy("2+1"), 3.0, f64::INFINITY, 0).years_to_loss();
    assert!(near(found, 3.0 / 3.0 + 3.0 / 2.0, 1e9), "{found}");
    let all_at_once = Chain {
        domain_losses_per_year: 0.5,
        slots_per_domain: 2,
        ..chain(policy("2+1"), 1e12, 24.0, 0)
    };
    assert!(near(all_at_once.years_to_loss(), 2.0, 1e6));
}

/// xorshift: the tests' own randomness, the same every time.
struct Dice(u64);

impl Dice {
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn exponential(&mut self, mean: f64) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        -mean * (((self.0 >> 11) as f64 + 1.0) / 9_007_199_254_740_993.0).ln()
    }
}

/// Mean years until a group is lost: each node with a clock of its own, each domain too, one repair at a time.
fn simulated(chain: &Chain, runs: u32) -> f64 {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut years = 0.0;
    for _ in 0..runs {
        let life = 1.0 / chain.deaths_per_year;
        let fresh = |dice: &mut Dice, now: f64| now + dice.exponential(life);
        let mut dies: Vec<Option<f64>> =
            (0..chain.slots).map(|_| Some(fresh(&mut dice, 0.0))).collect();
        let mut repair: Option<f64> = None;
        loop {
            let next = (0..dies.len())
                .filter_map(|slot| Some((dies[slot]?, slot)))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .expect("loss comes before the last node");
            if let Some(done) = repair.filter(|&done| done < next.0) {
                for slot in &mut dies {
                    *slot = slot.or_else(|| Some(fresh(&mut dice, done)));
                }
                repair = None;
                continue;
            }
            dies[next.1] = None;
            let missing = dies.iter().filter(|d| d.is_none()).count();
            if missing > chain.parity_slots {
                years += next.0;
                break;
            }
            if missing > chain.lazy_shards && repair.is_none() {
                repair = Some(next.0 + dice.exponential(1.0 / chain.repairs_per_year));
            }
        }
    }
    years / f64::from(runs)
}

#[test]
fn a_simulation_of_nodes_agrees_with_the_chain() {
    for (text, life, hours, lazy) in [
        ("4+2", 1.0, 720.0, 0),
        ("3+3", 0.5, 1500.0, 1),
        ("2+4", 0.3, 1500.0, 2),
        ("16+4", 1.0, 1000.0, 0),
    ] {
        let chain = chain(policy(text), life, hours, lazy);
        let (found, expected) = (simulated(&chain, 4000), chain.years_to_loss());
        // the mean of 4,000 exponential times is within 6 % in 3.8 sigma
        assert!(near(found, expected, 16.0), "{text}: simulated {found}, chain {expected}");
    }
}

#[test]
fn repair_traffic_and_times_are_those_of_the_design() {
    let eager = lake(100, policy("20+80"), 100.0, 1250.0);
    let lazy = Lake { lazy_shards: 40, ..eager };
    assert!(near(eager.figures().repair_traffic_bytes_per_s, 111e6, 100.0));
    assert!(near(lazy.figures().repair_traffic_bytes_per_s, 6.1e6, 50.0));
    // 500 TB on each of 20 nodes
    let big = lake(20, policy("16+4"), 8000.0, 100.0).figures();
    assert!(near(big.node_bytes, 500e12, 1e9));
    assert!(near(big.rebuild_hours / 24.0, 984.0, 1000.0), "{}", big.rebuild_hours / 24.0);
    assert!(big.refusals.iter().any(|r| matches!(r, Refusal::FallsBehind { .. })), "{big:?}");
    let rebuilt = lake(100, policy("16+4"), 100.0, 1250.0).figures().rebuild_hours;
    assert!(near(rebuilt, 4.7, 50.0), "{rebuilt}");
}

#[test]
fn what_cannot_be_kept_is_refused_and_the_advice_holds() {
    let good = lake(24, policy("16+4"), 1.0, 100.0);
    assert_eq!(good.figures().refusals, []);
    let few = Lake { nodes: 19, ..good };
    assert!(matches!(
        few.figures().refusals[..],
        [Refusal::TooFewNodes { needed: 20, found: 19, .. }]
    ));
    let domains = Some(Domains { count: 4, losses_per_year: 0.0 });
    let lumped = Lake { domains, ..good };
    assert!(matches!(lumped.figures().refusals[..], [Refusal::Domain { slots: 5, .. }]));

    let slow = lake(24, policy("16+4"), 40.0, 100.0);
    let refusals = slow.figures().refusals;
    assert!(matches!(refusals[..], [Refusal::Loss { .. }]), "{refusals:?}");
    let advice = advise(&slow);
    let holds = |lake: Lake| lake.figures().refusals.is_empty();
    let bandwidth = advice.repair_bytes_per_s.unwrap();
    assert!(holds(Lake { repair_bytes_per_s: bandwidth, ..slow }));
    assert!(!holds(Lake { repair_bytes_per_s: bandwidth * 0.99, ..slow }));
    let data = advice.data_bytes.unwrap();
    assert!(
        holds(Lake { data_bytes: data, ..slow })
            && !holds(Lake { data_bytes: data * 1.01, ..slow })
    );
    let wider = advice.policy.unwrap();
    assert!(holds(Lake { policy: wider, ..slow }) && wider.parity_shards() > 4);
    let (threshold, traffic) = advise(&lake(100, policy("20+80"), 100.0, 200.0)).lazy.unwrap();
    assert!(threshold > 20 && traffic < 10e6, "{threshold} {traffic}");
}

#[test]
fn more_repair_never_makes_it_worse() {
    let mut before = f64::INFINITY;
    for step in 0..60 {
        let figures = lake(40, policy("16+4"), 100.0, 10.0 * 1.2_f64.powi(step)).figures();
        assert!(figures.container_loss_per_year <= before, "{step}");
        assert!(figures.lake_loss_per_year >= figures.container_loss_per_year);
        before = figures.container_loss_per_year;
    }
}

#[test]
fn readable_as_the_binomial_says() {
    // P(fewer than 2 of 3 up) = (1-u)^3 + 3 u (1-u)^2
    assert!(near(unreadable(policy("2+1"), 0.9), 0.001 + 3.0 * 0.9 * 0.01, 1e9));
    assert!(near(unreadable(policy("16+4"), 0.9), 4.3e-2, 50.0));
    assert!(unreadable(policy("20+80"), 0.5) < 1e-9);
    assert_eq!(unreadable(policy("2+1"), 0.0), 1.0);
}

#[test]
fn figures_that_make_no_sense_are_refused() {
    let good = lake(24, policy("16+4"), 1.0, 100.0);
    assert_eq!(good.check(), Ok(()));
    for bad in [
        Lake { nodes: 0, ..good },
        Lake { node_life_years: f64::NAN, ..good },
        Lake { repair_bytes_per_s: 0.0, ..good },
        Lake { data_bytes: f64::INFINITY, ..good },
        Lake { detect_hours: -1.0, ..good },
        Lake { lazy_shards: 4, ..good },
        Lake { groups: 0, ..good },
        Lake { uptime: 1.0, ..good },
        Lake { loss_per_year_max: 0.0, ..good },
        Lake { domains: Some(Domains { count: 0, losses_per_year: 0.1 }), ..good },
    ] {
        assert!(matches!(bad.check(), Err(PlanError::Value { .. })), "{bad:?}");
    }
}

#[test]
fn losing_nodes_at_random_as_counted_by_hand() {
    // 3 of 4 nodes hold a container that needs 2: 2 lost ones hit it twice in 3 of 6 draws
    assert!(near(loss_by_chance(4, 2, 3, 1), 0.5, 1e9));
    assert_eq!(loss_by_chance(24, 4, 20, 4), 0.0);
    assert!(near(loss_by_chance(20, 5, 20, 4), 1.0, 1e9));
    assert!(near(loss_by_chance(24, 24, 20, 4), 1.0, 1e9));
    assert_eq!(loss_by_chance(24, 0, 20, 4), 0.0);
}

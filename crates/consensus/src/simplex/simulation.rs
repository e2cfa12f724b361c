//! Whole lives of a registry under virtual time: validators, network, holders, and those who cheat. A seed is a life, and
//! goes the same way each time. A thousand of them:
//! `PRUNEDB_SIM_SEEDS=1000 cargo test -p prunedb-consensus --features simplex simulation`; `PRUNEDB_SIM_FIRST=N` begins at another.
//!
//! ```text
//! seats  validators: the engine of [`super::engine`], the journal on a disk that tears, the registry's state machine
//! lake   shards, and holders that threw some away
//! town   transactions of everybody, also of those who may not
//! ```
//! What is production code: consensus engine, marshal, journal, pool, gossip, state machine, proofs and signatures. What is not:
//! sockets, clocks, and the threads of [`super::Simplex`].
//!
//! In every third life a validator goes and another one, which was not there at first, votes in its place.
//!
//! Checked in every life: all validators have the same blocks; their states have the same root; nothing was applied that its
//! sender had no right to; who threw away what it was asked for never passes; who fetches it from others does not where samples
//! are sequential; money adds up. When the faults are over, all
//! catch up. Over all lives: cheaters are caught as often as `1-(1-a)^(K*T)` says, within three sigma.

mod lake;
mod seats;
mod town;

use super::{PublicKey, proof::Proof, sittings::sitting_of};
use crate::{Orderer, block::Finalized};
use commonware_cryptography::certificate::Scheme as _;
use commonware_p2p::simulated::{self, Link, Network, Oracle};
use commonware_runtime::{Clock, Runner, Supervisor, deterministic};
use commonware_utils::{NZUsize, TestRng, ordered::Quorum as _, probability};
use lake::Honesty;
use prunedb_core::Digest;
use prunedb_registry::{Event, Genesis, Key, NodeId, Params, State};
use rand_core::Rng;
use seats::Seat;
use std::{collections::BTreeMap, num::NonZeroUsize, time::Duration};
use town::{HOLDERS, Town, Trial};

/// Heights with faults, and how long the rest may take.
const HEIGHTS: u64 = 120;
const PATIENCE: Duration = Duration::from_secs(300);
const STEP: Duration = Duration::from_millis(100);

/// The holder that keeps nothing, and fetches what it has to show from others.
const PROXY: NodeId = NodeId(8);

/// What a life came to.
#[derive(Clone, PartialEq, Debug)]
struct Story {
    height: u64,
    root: Digest,
    batches: u32,
    moved: u32,
    withheld: u32,
    missed: BTreeMap<NodeId, u32>,
    trials: Vec<Trial>,
    /// proofs that were taken although something was thrown away that they had to show
    fooled: u32,
    /// proofs that were taken although everything in them was another one's
    proxied: u32,
}

fn links(seed: u64) -> Link {
    let (latency_ms, jitter_ms, success_rate) = match seed % 4 {
        0 => (5, 1, probability!(1.0)),
        1 => (20, 10, probability!(0.97)),
        2 => (50, 20, probability!(0.95)),
        _ => (80, 30, probability!(0.9)),
    };
    let ms = Duration::from_millis;
    Link { latency: ms(latency_ms), jitter: ms(jitter_ms), success_rate }
}

fn honesty(number: u32, choice: u64) -> Honesty {
    let lost_ppm = match number {
        5 => 10_000,
        6 => 100_000,
        7 => 1_000_000,
        _ => 0,
    };
    let fetch_heights = if NodeId(number) == PROXY { 2 } else { 0 };
    Honesty { lost_ppm, is_silent: number == 4, fetch_heights, choice }
}

/// Four validators, seven, or sixteen.
const fn members(seed: u64) -> usize {
    match seed % 20 {
        7 => 16,
        n if n % 5 == 4 => 7,
        _ => 4,
    }
}

/// Whether a validator goes, and another one comes.
const fn changes(seed: u64) -> bool {
    seed % 3 == 1
}

fn live(seed: u64) -> Story {
    let config = deterministic::Config::new().with_seed(seed).with_timeout(Some(PATIENCE * 2));
    deterministic::Runner::new(config).start(|context| life(context, seed))
}

async fn life(context: deterministic::Context, seed: u64) -> Story {
    let mut chance = TestRng::new(seed);
    let mut seats: Vec<Seat> = (0..members(seed) + usize::from(changes(seed)))
        .map(|n| Seat::new(&[u8::try_from(n).unwrap() + 10; 32], n))
        .collect();
    let mut keys: Vec<Key> = seats[..members(seed)].iter().map(|s| s.key).collect();
    keys.sort_unstable();
    let change = changes(seed).then(|| (seats[members(seed) - 1].key, seats[members(seed)].key));
    let mut town = Town::new(|number| honesty(number, seed), Some(seats[1].key), change);
    let params = Params {
        epoch_heights: 12,
        seed_heights: 4,
        proof_heights: 6,
        closing_heights: 8,
        repair_heights: 20,
        samples: 6,
        sequential: seed.is_multiple_of(2),
        // of the others, none is suspended for what it lost: their epochs are counted
        misses_max: misses_max(seed),
        ..Params::permissioned(town.authority.key())
    };
    let genesis = Genesis { lake: lake::LAKE, params, validators: keys };

    let peers: Vec<PublicKey> = seats.iter().map(|s| s.peer.clone()).collect();
    let network = simulated::Config {
        max_size: super::engine::message_bytes_max(),
        max_peers_per_set: NonZeroUsize::new(peers.len()).unwrap(),
        disconnect_on_block: true,
        tracked_peer_sets: NZUsize!(1),
    };
    let (network, oracle) = Network::new_with_peers(context.child("network"), network, peers).await;
    network.start();
    let everybody = seats.len();
    let link = links(seed);
    for a in 0..everybody {
        for b in a + 1..everybody {
            seats::link(&oracle, &seats[a], &seats[b], &link).await;
        }
    }
    let interval = Duration::from_millis(50);
    for seat in seats.iter_mut().take(members(seed)) {
        seat.start(&context, &oracle, &genesis, interval, everybody).await;
    }

    let started = context.current();
    let mut is_split = false;
    loop {
        context.sleep(STEP).await;
        let height = heights(&seats).max().unwrap_or(0);
        if height >= HEIGHTS {
            break;
        }
        let waited = context.current().duration_since(started).unwrap();
        assert!(waited < PATIENCE, "seed {seed}: stuck at height {height}");
        act(&mut town, &seats, &mut chance);
        match chance.next_u64() % 60 {
            0 => {
                let at = below(&mut chance, everybody);
                seats[at].crash(chance.next_u64()).await;
            }
            1..=4 => {
                if let Some(seat) = seats.iter_mut().find(|s| s.running.is_none()) {
                    seat.start(&context, &oracle, &genesis, interval, everybody).await;
                }
            }
            5 if !is_split => {
                is_split = true;
                split(&oracle, &seats, below(&mut chance, everybody - 1) + 1).await;
            }
            6..=9 if is_split => {
                is_split = false;
                join(&oracle, &seats, &link).await;
            }
            _ => {}
        }
    }
    // the faults are over: everybody catches up, and the chain goes on
    join(&oracle, &seats, &link).await;
    for seat in &mut seats {
        if seat.running.is_none() {
            seat.start(&context, &oracle, &genesis, interval, everybody).await;
        }
    }
    let goal = heights(&seats).max().unwrap_or(0) + 20;
    let healed = context.current();
    while heights(&seats).min().unwrap_or(0) < goal {
        context.sleep(STEP).await;
        act(&mut town, &seats, &mut chance);
        let waited = context.current().duration_since(healed).unwrap();
        let all: Vec<u64> = heights(&seats).collect();
        assert!(waited < PATIENCE, "seed {seed}: some do not catch up to {goal}: {all:?}");
    }
    if let Some((_, comes)) = town.change {
        vote_in_their_place(seed, &seats, comes);
    }
    audit(seed, &seats, &genesis, town)
}

/// After the change exactly those vote who were named, and the newcomer's signatures count.
fn vote_in_their_place(seed: u64, seats: &[Seat], comes: Key) {
    let orderers: Vec<_> = seats.iter().map(|s| &s.running.as_ref().unwrap().orderer).collect();
    for (at, orderer) in orderers.iter().enumerate() {
        assert_eq!(orderer.status().votes, at + 2 != seats.len(), "seed {seed}: validator {at}");
    }
    let signs = |height| {
        let proof = orderers[0].proof(height).unwrap().unwrap();
        let certificate = Proof::decode(&proof).unwrap().certificate?;
        let scheme = orderers[0].shared.committees.of(sitting_of(height)).unwrap();
        let mut signers = certificate.certificate.signers.iter();
        let key = |signer| scheme.participants().key(signer).unwrap().as_ref() == comes.0;
        Some(signers.any(key))
    };
    let last = orderers[0].status().height;
    assert!(
        (1..=last).any(|height| signs(height) == Some(true)),
        "seed {seed}: the newcomer never votes"
    );
}

fn below(chance: &mut TestRng, bound: usize) -> usize {
    usize::try_from(chance.next_u64() % bound as u64).unwrap()
}

/// Heights of the states of those that run.
fn heights(seats: &[Seat]) -> impl Iterator<Item = u64> {
    seats.iter().filter_map(|s| s.running.as_ref()).map(|r| r.state.lock().unwrap().height())
}

/// Everybody looks at one validator's state, and sends what it has to say to one or two.
fn act(town: &mut Town, seats: &[Seat], chance: &mut TestRng) {
    let running: Vec<_> = seats.iter().filter_map(|s| s.running.as_ref()).collect();
    if running.is_empty() {
        return;
    }
    let state = running[below(chance, running.len())].state.lock().unwrap().clone();
    for tx in town.act(&state, seats, chance.next_u64()) {
        for _ in 0..2 {
            let _ = running[below(chance, running.len())].orderer.submit(tx.clone());
        }
    }
}

async fn split(oracle: &Oracle<PublicKey, deterministic::Context>, seats: &[Seat], at: usize) {
    for a in &seats[..at] {
        for b in &seats[at..] {
            seats::cut(oracle, a, b).await;
        }
    }
}

async fn join(oracle: &Oracle<PublicKey, deterministic::Context>, seats: &[Seat], link: &Link) {
    for (at, a) in seats.iter().enumerate() {
        for b in &seats[at + 1..] {
            seats::link(oracle, a, b, link).await;
        }
    }
}

/// Reads every validator's blocks from the first one on.
fn audit(seed: u64, seats: &[Seat], genesis: &Genesis, town: Town) -> Story {
    let orderers: Vec<_> = seats.iter().map(|s| &s.running.as_ref().unwrap().orderer).collect();
    let last = orderers.iter().map(|o| o.status().height).min().unwrap();
    let mut state = State::new(genesis).unwrap();
    let mut story = Story {
        height: last,
        root: Digest::default(),
        batches: 0,
        moved: 0,
        withheld: 0,
        missed: BTreeMap::new(),
        trials: town.trials,
        fooled: 0,
        proxied: 0,
    };
    let mut agreed = 0;
    for height in 1..=last {
        let epoch = state.epoch().number;
        let blocks: Vec<Finalized> =
            orderers.iter().map(|o| o.block(height).unwrap().unwrap()).collect();
        assert!(
            blocks.iter().all(|b| *b == blocks[0]),
            "seed {seed}: two blocks at height {height}"
        );
        agreed += u32::from(blocks[0].checkpoint.is_some());
        for event in seats::apply(&mut state, &blocks[0]) {
            match event {
                Event::Assigned { from: Some(_), to: Some(_), .. } => story.moved += 1,
                Event::SeedWithheld(_) => story.withheld += 1,
                Event::Missed(node) => *story.missed.entry(node).or_default() += 1,
                Event::Proven(node) => {
                    let caught = |t: &&Trial| t.node == node && t.epoch == epoch && t.is_caught;
                    story.fooled += u32::from(story.trials.iter().any(|t| caught(&t)));
                    assert_ne!(node, NodeId(7), "seed {seed}: it has nothing left");
                    if node == PROXY {
                        assert!(!state.params().sequential, "seed {seed}: it fetched all in time");
                        story.proxied += 1;
                    }
                }
                _ => {}
            }
        }
    }
    assert!(agreed >= 3, "seed {seed}: roots were agreed on {agreed} times");
    assert_eq!(state.nodes().len(), HOLDERS as usize, "seed {seed}: a Sybil joined");
    assert_eq!(state.money(), 0, "seed {seed}: money out of nothing");
    assert!(state.market().cells.is_empty(), "seed {seed}: a cell with forged footprints");
    for (number, batch) in (0..).zip(state.batches().iter()) {
        assert_eq!(
            batch.root,
            lake::close(number, batch.term, town::GROUPS).root,
            "seed {seed}: a lie was closed"
        );
    }
    (story.root, story.batches) = (state.root(), state.batches().count());
    story
}

/// Lives that one run has: so many, from a seed on.
fn seeds() -> std::ops::Range<u64> {
    let number = |name, default| {
        std::env::var(name).ok().map_or(default, |n| n.parse().expect("a number of seeds"))
    };
    let first = number("PRUNEDB_SIM_FIRST", 0);
    first..first + number("PRUNEDB_SIM_SEEDS", 16)
}

/// Epochs that a holder may miss in a life before it is suspended: in every third one soon, in the others hardly ever.
const fn misses_max(seed: u64) -> u8 {
    if seed.is_multiple_of(3) { 2 } else { 8 }
}

/// How far a count of catches is from what the formula says, in sigma.
fn sigmas(trials: &[(f64, bool)]) -> f64 {
    let expected: f64 = trials.iter().map(|t| t.0).sum();
    let variance: f64 = trials.iter().map(|t| t.0 * (1.0 - t.0)).sum();
    let caught = trials.iter().filter(|t| t.1).count() as f64;
    if variance == 0.0 { 0.0 } else { (caught - expected) / variance.sqrt() }
}

#[test]
fn lives_with_faults_and_cheaters() {
    let stories: Vec<Story> = seeds()
        .map(|seed| {
            let story = live(seed);
            println!(
                "seed {seed}: {} validators, height {}, {} batches, {} slots moved, {} secrets withheld, missed {:?}",
                members(seed), story.height, story.batches, story.moved, story.withheld, story.missed
            );
            assert_eq!(story.fooled, 0, "seed {seed}: a proof passed without its sample");
            story
        })
        .collect();
    assert!(stories.iter().any(|s| s.batches >= 4), "no life gets anywhere");
    assert!(stories.iter().any(|s| s.moved > 0), "nobody who fails is replaced");
    assert!(stories.iter().any(|s| s.withheld > 0));
    // where samples are asked for all at once, fetching them passes; where each names the next, it never does
    assert!(stories.iter().any(|s| s.proxied > 0), "the proxy never got anything through");
    let is_missed = |s: &Story| s.proxied == 0 && s.missed.contains_key(&PROXY);
    assert!(stories.iter().any(is_missed), "the proxy was asked for nothing");
    for (node, lost) in [(NodeId(5), "1 %"), (NodeId(6), "10 %"), (NodeId(7), "all")] {
        let of = |story: &Story| -> Vec<(f64, bool)> {
            let its = story.trials.iter().filter(|t| t.node == node);
            its.map(|t| (t.expected, t.is_caught)).collect()
        };
        let epochs: Vec<(f64, bool)> = stories.iter().flat_map(of).collect();
        // caught at least once in a life's first epochs: as many as there are whether it is caught or not, since who is caught often
        // enough is suspended and has no more of them (counted over whole lives, catches would seem to be too many)
        let lives: Vec<(f64, bool)> = seeds()
            .zip(&stories)
            .map(|(seed, story)| {
                let mut first = of(story);
                first.truncate(misses_max(seed).into());
                let escapes: f64 = first.iter().map(|t| 1.0 - t.0).product();
                (1.0 - escapes, first.iter().any(|t| t.1))
            })
            .collect();
        for (what, trials) in [("epochs", &epochs), ("lives", &lives)] {
            let (sigma, caught) = (sigmas(trials), trials.iter().filter(|t| t.1).count());
            let expected: f64 = trials.iter().map(|t| t.0).sum();
            println!(
                "lost {lost}: caught in {caught} of {} {what}, {expected:.1} expected ({sigma:+.2} sigma)",
                trials.len()
            );
            assert!(sigma.abs() <= 3.0, "lost {lost}, {what}: {sigma:+.2} sigma");
        }
        assert!(epochs.len() >= stories.len(), "too few epochs to say anything");
    }
}

#[test]
fn a_life_goes_the_same_way_twice() {
    assert_eq!(live(3), live(3));
}

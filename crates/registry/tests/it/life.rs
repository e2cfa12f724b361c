//! The life of batches and slots: closings, proofs, losses, the watermark.

use crate::world::{VALIDATORS, World, genesis, node_key, params};
use prunedb_core::Digest;
use prunedb_registry::{Body, Event, Leave, NodeId, NodeStatus, Params, Reject};

fn attest(world: &mut World, up_to: u32) {
    for validator in &VALIDATORS[..2] {
        world.send(Body::AttestReadBack { up_to }, &[*validator]).unwrap();
    }
}

#[test]
fn batches_close_when_their_holders_have_them_and_prune_a_proof_later() {
    let mut world = World::started(params(), "2+2", 6, 3);
    for batch in 0..5 {
        world.archive();
        world.check();
        assert_eq!(world.state.batches().count(), batch + 1);
        attest(&mut world, batch + 1);
        // a batch may go once the one after it is closed, and its own epoch of proofs is over
        assert_eq!(world.state.prunable_up_to(), batch.saturating_sub(1), "after batch {batch}");
    }
    let settled = world.run_until(|e| matches!(e, Event::EpochSettled { .. }));
    assert!(settled.contains(&Event::PrunableUpTo(4)), "{settled:?}");
    assert!(world.state.repairs().is_empty());
    assert_eq!(world.state.nodes()[0].endpoint.as_str(), "moved:1");
    world.check_replay(&genesis(params()));
}

#[test]
fn without_read_backs_nothing_is_prunable() {
    let mut world = World::started(params(), "2+2", 6, 1);
    for _ in 0..4 {
        world.archive();
    }
    world.send(Body::AttestReadBack { up_to: 4 }, &[VALIDATORS[0]]).unwrap();
    world.run_until(|e| matches!(e, Event::EpochSettled { .. }));
    assert_eq!(world.state.prunable_up_to(), 0, "one validator of two");
}

#[test]
fn sequential_challenges_are_proven_too() {
    let mut world = World::started(Params { sequential: true, ..params() }, "2+2", 5, 2);
    for _ in 0..3 {
        world.archive();
    }
    let settled = world.run_until(|e| matches!(e, Event::EpochSettled { .. }));
    assert!(settled.iter().any(|e| matches!(e, Event::EpochSettled { .. })));
    assert!(world.state.nodes().iter().all(|n| n.misses == 0));
}

#[test]
fn a_dead_node_loses_its_slots_and_they_are_filled_again() {
    let mut world = World::started(params(), "2+2", 7, 4);
    for _ in 0..4 {
        world.archive();
    }
    let dead = NodeId(2);
    let held = |world: &World| {
        let slots = world.state.groups().iter().flat_map(|g| &g.slots);
        slots.filter(|s| s.holder == Some(dead)).count()
    };
    let had = held(&world);
    assert!(had > 0);
    world.dead.insert(dead);
    let first = world.run_until(|e| *e == Event::Missed(dead));
    assert!(
        !first.iter().any(|e| matches!(e, Event::Assigned { .. })),
        "one missed epoch moves nothing"
    );
    assert_eq!(held(&world), had);
    let second = world.run_until(|e| *e == Event::Missed(dead));
    let moved: Vec<_> = second.iter().filter(|e| matches!(e, Event::Assigned { .. })).collect();
    assert_eq!((moved.len(), held(&world)), (had, 0), "exactly its slots move");
    assert!(
        moved
            .iter()
            .all(|e| matches!(e, Event::Assigned { from: Some(n), to: Some(_), .. } if *n == dead))
    );
    // their new holders fill them, and closings go on
    world.archive();
    assert!(world.state.repairs().is_empty());
    world.check();
    world.check_replay(&genesis(params()));
}

#[test]
fn a_leaving_node_owes_until_others_have_its_shards() {
    let mut world = World::started(params(), "2+2", 6, 2);
    world.archive();
    world.archive();
    let leaver = NodeId(1);
    let events =
        world.send(Body::LeaveNode { leave: Leave { node: leaver } }, &[node_key(1)]).unwrap();
    let slots = events.iter().filter(|e| matches!(e, Event::Assigned { .. })).count();
    assert!(slots > 0 && world.state.nodes()[1].status == NodeStatus::Leaving);
    assert_eq!(world.state.repairs().values().filter(|r| r.from == Some(leaver)).count(), slots);
    let gone = world.receipts();
    assert!(gone.contains(&Event::Gone(leaver)), "{gone:?}");
    assert_eq!(world.state.nodes()[1].status, NodeStatus::Gone);
    let again = world.send(Body::LeaveNode { leave: Leave { node: leaver } }, &[node_key(1)]);
    assert_eq!(again, Err(Reject::Node(leaver)));
    world.archive();
    world.check_replay(&genesis(params()));
}

#[test]
fn a_slot_that_is_not_filled_in_time_goes_to_another_node() {
    let mut world = World::started(params(), "2+2", 7, 1);
    world.archive();
    let leaver = world.state.groups()[0].slots[0].holder.unwrap();
    world.send(Body::LeaveNode { leave: Leave { node: leaver } }, &[node_key(leaver.0)]).unwrap();
    let lazy = world.state.groups()[0].slots[0].holder.unwrap();
    world.dead.insert(lazy);
    let events = world.run_until(|e| *e == Event::Gone(leaver));
    assert!(events.contains(&Event::Missed(lazy)), "{events:?}");
    assert_ne!(world.state.groups()[0].slots[0].holder, Some(lazy));
}

#[test]
fn a_closing_waits_for_p_and_the_margin_and_not_for_the_last_holder() {
    let mut world = World::started(params(), "2+2", 6, 1);
    let slots = world.state.groups()[0].slots.clone();
    let holder = |slot: usize| slots[slot].holder.unwrap();
    world.dead.extend([holder(0), holder(1)]);
    world.send_close().unwrap();
    let second = world.send_close();
    assert_eq!(second, Err(Reject::Phase("the batch before is still closing")));
    for _ in 0..20 {
        world.block();
        world.receipts();
    }
    assert!(world.state.closing().is_some(), "two of four: p, and no margin");
    world.dead.remove(&holder(1));
    world.run_until(|e| *e == Event::Closed { batch: 0 });
    assert_eq!(world.state.repairs().keys().collect::<Vec<_>>(), [&(0, 0)]);
}

#[test]
fn a_weak_group_stops_closings_until_it_is_proven_again() {
    let mut world = World::started(params(), "2+2", 4, 1);
    world.archive();
    world.dead.extend([NodeId(0), NodeId(1)]);
    world.send_close().unwrap();
    world.run_until(|e| matches!(e, Event::EpochSettled { epoch: 1, .. }));
    assert_eq!(world.state.epoch().weak_groups, 1);
    for _ in 0..20 {
        world.block();
        world.receipts();
    }
    assert!(world.state.closing().is_some());
    world.dead.clear();
    world.run_until(|e| *e == Event::Closed { batch: 1 });
    assert_eq!(world.state.epoch().weak_groups, 0);
}

#[test]
fn seeds_come_from_what_validators_reveal() {
    let mut world = World::started(params(), "2+2", 4, 1);
    let secret = [7; 32];
    let commitment = Digest(blake3::derive_key("prunedb v1 seed commitment", &secret));
    let commit = |epoch| Body::CommitSeed { epoch, commitment };
    world.send(commit(0), &[VALIDATORS[0]]).unwrap();
    world.send(commit(0), &[VALIDATORS[1]]).unwrap();
    assert!(matches!(world.send(commit(0), &[VALIDATORS[0]]), Err(Reject::Phase(_))));
    assert!(matches!(
        world.send(commit(1), &[VALIDATORS[2]]),
        Err(Reject::Value { what: "epoch", .. })
    ));
    let reveal = Body::RevealSeed { epoch: 0, secret };
    assert!(
        matches!(world.send(reveal.clone(), &[VALIDATORS[0]]), Err(Reject::Phase(_))),
        "too early"
    );
    let mut silent = World::started(params(), "2+2", 4, 1);
    for w in [&mut world, &mut silent] {
        w.block();
        w.block();
    }
    assert!(matches!(world.send(commit(0), &[VALIDATORS[2]]), Err(Reject::Phase(_))), "too late");
    assert!(matches!(world.send(reveal.clone(), &[VALIDATORS[2]]), Err(Reject::Signer(_))));
    world.send(reveal, &[VALIDATORS[0]]).unwrap();
    let events = world.block();
    assert!(events.contains(&Event::SeedWithheld(VALIDATORS[1])), "{events:?}");
    silent.block();
    assert_ne!(world.state.epoch().seed.unwrap(), silent.state.epoch().seed.unwrap());
}

#[test]
fn a_beacon_names_the_seed_where_there_is_one() {
    let beacon = VALIDATORS[3];
    let params = || Params { beacon: Some(beacon), ..params() };
    let seed = |value| {
        let mut world = World::started(params(), "2+2", 4, 1);
        let body = Body::Beacon { epoch: 0, value };
        assert!(matches!(world.send(body.clone(), &[VALIDATORS[0]]), Err(Reject::Signer(_))));
        world.send(body.clone(), &[beacon]).unwrap();
        assert!(matches!(world.send(body, &[beacon]), Err(Reject::Phase(_))));
        (0..4).for_each(|_| drop(world.block()));
        world.state.epoch().seed.unwrap()
    };
    assert_ne!(seed([1; 32]), seed([2; 32]));
}

#[test]
fn a_reported_shard_is_what_the_last_quarter_of_the_samples_shows() {
    let mut world = World::started(Params { samples: 8, ..params() }, "2+2", 4, 2);
    (0..4).for_each(|_| drop(world.archive()));
    let (batch, slot) = (2, 1);
    let group = world.state.batches().get(batch).unwrap().group;
    let node = world.state.groups()[group as usize].slots[1].holder.unwrap();
    let fault = Body::ReportFault { node, batch, slot };
    assert!(matches!(world.send(fault.clone(), &[node_key(2)]), Err(Reject::Signer(_))));
    let other = NodeId((node.0 + 1) % 4);
    assert!(matches!(
        world.send(Body::ReportFault { node: other, batch, slot }, &[VALIDATORS[0]]),
        Err(Reject::Slot { .. })
    ));
    assert!(matches!(
        world.send(Body::ReportFault { node, batch: 99, slot }, &[VALIDATORS[0]]),
        Err(Reject::Phase(_))
    ));
    let reported = world.send(fault.clone(), &[VALIDATORS[0]]).unwrap();
    assert_eq!(reported, [Event::FaultReported { node, reporter: VALIDATORS[0] }]);
    assert!(matches!(world.send(fault, &[VALIDATORS[1]]), Err(Reject::Phase(_))), "once is enough");

    world.run_until(|e| matches!(e, Event::EpochStarted(_)));
    while world.state.epoch().seed.is_none() {
        world.block();
    }
    let samples = world.state.challenge(node, |_, _| Some([0; 1024])).unwrap();
    assert!(samples[6..].iter().all(|s| (s.batch, s.slot) == (batch, slot)), "{samples:?}");
    assert!(samples[..6].iter().any(|s| (s.batch, s.slot) != (batch, slot)), "{samples:?}");
    world.run_until(|e| matches!(e, Event::EpochStarted(_)));
    assert!(world.state.epoch().priority.is_empty(), "a report is for one epoch");
}

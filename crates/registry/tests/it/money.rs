//! Pay, stakes, slashing: no money comes from nowhere, none is lost.

use crate::world::{AUTHORITY, OWNER, VALIDATORS, World, genesis, node_key, params};
use prunedb_registry::{Amount, Body, Event, NodeId, Params, Reject};

fn paying() -> Params {
    Params {
        slash_ppm: 200_000,
        pay_per_gib: Amount(7),
        stake_min: Amount(1_000),
        stake_per_gib: Amount(100),
        ..params()
    }
}

#[test]
fn deposits_transfers_and_withdrawals_add_up() {
    let mut world = World::new(params(), "2+2");
    world.block();
    world.deposit(OWNER, 500);
    world.deposit(VALIDATORS[0], 5);
    world.send(Body::Transfer { account: VALIDATORS[0], amount: Amount(100) }, &[OWNER]).unwrap();
    world.send(Body::FundEscrow { amount: Amount(50) }, &[OWNER]).unwrap();
    let events = world.send(Body::Withdraw { amount: Amount(105) }, &[VALIDATORS[0]]).unwrap();
    assert_eq!(events, [Event::Withdrawn(VALIDATORS[0], Amount(105))]);
    let funds = |needed, found| Err(Reject::Funds { needed: Amount(needed), found: Amount(found) });
    assert_eq!(world.send(Body::Withdraw { amount: Amount(1) }, &[VALIDATORS[0]]), funds(1, 0));
    assert_eq!(world.send(Body::FundEscrow { amount: Amount(351) }, &[OWNER]), funds(351, 350));
    let stranger = node_key(77);
    let to_nobody = world.send(Body::Transfer { account: stranger, amount: Amount(1) }, &[OWNER]);
    assert_eq!(to_nobody, Err(Reject::Account(stranger)));
    let from_nobody = world.send(Body::Withdraw { amount: Amount(0) }, &[stranger]);
    assert_eq!(from_nobody, Err(Reject::Account(stranger)));
    let own = world.send(Body::Deposit { account: OWNER, amount: Amount(9) }, &[OWNER]);
    assert!(matches!(own, Err(Reject::Signer(_))));
    let too_much =
        world.send(Body::Deposit { account: OWNER, amount: Amount(u64::MAX) }, &[AUTHORITY]);
    assert_eq!(too_much, Err(Reject::Overflow));
    assert_eq!((world.state.money(), world.state.bank().escrow), (400, Amount(50)));
    world.check();
}

#[test]
fn who_fails_twice_loses_a_part_of_its_stake_and_the_rest_comes_back() {
    let mut world = World::started(paying(), "2+2", 6, 2);
    let staked = world.state.bank().accounts[&OWNER].balance;
    assert_eq!(staked, Amount(1_000_000 - 6_000));
    world.archive();
    world.archive();
    let dead = NodeId(3);
    world.dead.insert(dead);
    let events = world.run_until(|e| matches!(e, Event::Slashed { .. }));
    assert!(events.contains(&Event::Slashed { node: dead, amount: Amount(200) }));
    assert_eq!(world.state.nodes()[3].stake, Amount(800));
    assert_eq!(world.state.bank().escrow, Amount(200));
    world.receipts();
    world
        .send(Body::LeaveNode { leave: prunedb_registry::Leave { node: dead } }, &[OWNER])
        .unwrap();
    assert_eq!(world.state.nodes()[3].stake, Amount(0));
    assert_eq!(world.state.bank().accounts[&OWNER].balance, Amount(1_000_000 - 5_000 - 200));
    world.check();
    world.check_replay(&genesis(paying()));
}

#[test]
fn too_small_a_stake_is_refused_and_more_can_be_added() {
    let mut world = World::started(Params { stake_min: Amount(0), ..paying() }, "2+2", 4, 1);
    world.send(Body::AddStake { node: NodeId(0), amount: Amount(5_000) }, &[OWNER]).unwrap();
    assert_eq!(world.state.nodes()[0].stake, Amount(5_000));
    let nobody = world.send(Body::AddStake { node: NodeId(9), amount: Amount(1) }, &[OWNER]);
    assert_eq!(nobody, Err(Reject::Node(NodeId(9))));
    let mut poor = World::new(paying(), "2+2");
    poor.block();
    poor.deposit(OWNER, 999);
    assert!(matches!(poor.join(), Err(Reject::Funds { .. })));
}

#[test]
fn who_reported_a_node_that_is_slashed_has_its_part() {
    let rules = Params { misses_max: 1, slash_ppm: 500_000, ..paying() };
    let mut world = World::started(rules, "2+2", 6, 1);
    world.archive();
    let node = world.state.groups()[0].slots[0].holder.unwrap();
    world.send(Body::ReportFault { node, batch: 0, slot: 0 }, &[VALIDATORS[2]]).unwrap();
    world.run_until(|e| matches!(e, Event::EpochStarted(_)));
    world.dead.insert(node);
    let stake = world.state.nodes()[node.0 as usize].stake;
    let confirmed = Event::FaultConfirmed { node, reporter: VALIDATORS[2] };
    world.run_until(|e| *e == confirmed);
    let reward = world.state.bank().accounts[&VALIDATORS[2]].balance;
    assert_eq!(reward, Amount(stake.0 / 2 * 15 / 100));
    assert!(reward > Amount(0));
    world.check();
}

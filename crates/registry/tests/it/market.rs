//! Rented cells.

use crate::world::{OWNER, VALIDATORS, World, genesis, node_key, params};
use prunedb_core::Digest;
use prunedb_registry::{Amount, Body, Cell, Event, NodeId, Reject};

const TENANT: prunedb_registry::Key = VALIDATORS[1];

fn cell() -> Cell {
    Cell {
        holder: NodeId(0),
        root: Digest([1; 32]),
        bytes: 256 << 20,
        price: Amount(1_000),
        epochs: 3,
        owner_heavy: Some(NodeId(1)),
        holder_heavy: Some(NodeId(2)),
    }
}

fn rent(world: &mut World, cell: Cell) -> Result<prunedb_registry::Events, Reject> {
    let signers: Vec<_> = [TENANT].into_iter().chain((0..3).map(node_key)).collect();
    world.send(Body::RentCell { cell }, &signers)
}

fn report(world: &mut World, proven: &[u8]) -> Result<prunedb_registry::Events, Reject> {
    let epoch = world.state.epoch().number - 1;
    let (heavy, answers_root) = (NodeId(2), Digest([5; 32]));
    let body = Body::ReportCells { heavy, epoch, answers_root, proven: proven.to_vec() };
    world.send(body, &[node_key(2)])
}

fn next_epoch(world: &mut World) {
    world.run_until(|e| matches!(e, Event::EpochStarted(_)));
}

#[test]
fn a_cell_is_paid_for_each_proven_epoch_and_the_rest_goes_back() {
    let mut world = World::started(params(), "2+2", 4, 1);
    world.deposit(TENANT, 5_000);
    let before = world.state.bank().accounts[&OWNER].balance.0;
    rent(&mut world, cell()).unwrap();
    assert_eq!(world.state.bank().accounts[&TENANT].balance, Amount(2_000));
    world.check();
    // the epoch in which it was rented does not count: there was no time for a check
    next_epoch(&mut world);
    assert!(matches!(report(&mut world, &[1]), Err(Reject::Value { expected: 0, .. })));
    report(&mut world, &[]).unwrap();
    assert_eq!(world.state.market().cells[&0].epochs_left, 3);
    for (proven, earned) in [([1], 1_000), ([0], 1_000), ([1], 2_000)] {
        next_epoch(&mut world);
        let events = report(&mut world, &proven).unwrap();
        // all nodes have one owner here: holder and heavy nodes together get the price
        assert_eq!(world.state.bank().accounts[&OWNER].balance.0 - before, earned);
        assert!(
            matches!(report(&mut world, &proven), Err(Reject::Phase(_))),
            "one report an epoch"
        );
        world.check();
        assert_eq!(events.contains(&Event::CellEnded(0)), earned == 2_000);
    }
    assert_eq!(
        world.state.bank().accounts[&TENANT].balance,
        Amount(3_000),
        "one epoch was not proven"
    );
    assert!(world.state.market().cells.is_empty());
    world.check_replay(&genesis(params()));
}

#[test]
fn cells_of_a_silent_heavy_node_go_over_to_another_one_and_no_money_is_lost() {
    let mut world = World::started(params(), "2+2", 4, 1);
    world.deposit(TENANT, 5_000);
    rent(&mut world, cell()).unwrap();
    let adopt = |world: &mut World, signers: &[u32]| {
        let body = Body::AdoptCells { holder: NodeId(0), heavy: NodeId(1) };
        let signers: Vec<_> = signers.iter().map(|&n| node_key(n)).collect();
        world.send(body, &signers)
    };
    next_epoch(&mut world);
    next_epoch(&mut world);
    report(&mut world, &[1]).unwrap();
    assert!(matches!(adopt(&mut world, &[0, 1]), Err(Reject::Phase(_))), "it has just reported");
    next_epoch(&mut world);
    assert!(matches!(adopt(&mut world, &[0, 1]), Err(Reject::Phase(_))), "the report is due now");
    next_epoch(&mut world);
    for signers in [&[0][..], &[1], &[0, 2]] {
        assert!(matches!(adopt(&mut world, signers), Err(Reject::Signer(_))), "{signers:?}");
    }
    let before = world.state.market().cells[&0].clone();
    let events = adopt(&mut world, &[1, 0]).unwrap();
    assert_eq!(events, [Event::CellAdopted(0)]);
    let now = world.state.market().cells[&0].clone();
    assert_eq!(now.cell.holder_heavy, Some(NodeId(1)));
    assert_eq!((now.held, now.epochs_left), (before.held, before.epochs_left), "nothing is lost");
    assert!(matches!(adopt(&mut world, &[0, 1]), Err(Reject::Phase(_))), "once");
    // the one before has nothing to report any more, and the new one from the next epoch on
    report(&mut world, &[]).unwrap();
    assert!(!now.is_checked_by(NodeId(1), now.since_epoch));
    next_epoch(&mut world);
    next_epoch(&mut world);
    let epoch = world.state.epoch().number - 1;
    let body = Body::ReportCells {
        heavy: NodeId(1),
        epoch,
        answers_root: Digest([6; 32]),
        proven: vec![1],
    };
    world.send(body, &[node_key(1)]).unwrap();
    assert_eq!(world.state.market().cells[&0].epochs_proven, 2);
    world.check();
    world.check_replay(&genesis(params()));
}

#[test]
fn a_rent_needs_everybody_who_is_named_and_the_money() {
    let mut world = World::started(params(), "2+2", 4, 1);
    world.deposit(TENANT, 2_999);
    assert!(matches!(rent(&mut world, cell()), Err(Reject::Funds { .. })));
    world.deposit(TENANT, 1);
    let unsigned = world.send(Body::RentCell { cell: cell() }, &[TENANT, node_key(0), node_key(1)]);
    assert!(matches!(unsigned, Err(Reject::Signer(_))));
    let refused = [
        Cell { holder: NodeId(99), ..cell() },
        Cell { holder_heavy: None, ..cell() },
        Cell { epochs: 0, ..cell() },
        Cell { bytes: (256 << 20) + 1, ..cell() },
        Cell { price: Amount(u64::MAX), ..cell() },
    ];
    for cell in refused {
        assert!(rent(&mut world, cell).is_err(), "{cell:?}");
    }
    rent(&mut world, cell()).unwrap();
    assert!(matches!(world.send(Body::EndCell { cell: 0 }, &[OWNER]), Err(Reject::Signer(_))));
    assert!(matches!(world.send(Body::EndCell { cell: 1 }, &[TENANT]), Err(Reject::Phase(_))));
    world.send(Body::EndCell { cell: 0 }, &[TENANT]).unwrap();
    assert_eq!(world.state.bank().accounts[&TENANT].balance, Amount(3_000));
}

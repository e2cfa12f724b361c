//! Two writers of one lake: one of them is refused, and nothing that is published is undone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, check, fill, quiet};
use prunedb_engine::{Error, TableKind};

const BYTES: usize = 5000;

#[test]
fn a_writer_that_comes_back_after_a_recovery_stays_out_however_often_it_tries() {
    let (world, db) = World::open_new("2+1", 4);
    fill(&db, 0, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    drop(db);
    let place = world.dir.path().join("elsewhere");
    let (taken, _) = world.recover(&place, &mut quiet()).unwrap();
    fill(&taken, 10, 10, BYTES);
    taken.flush(&mut quiet()).unwrap();
    for _ in 0..5 {
        let old = world.open().unwrap();
        fill(&old, 100, 3, BYTES);
        for _ in 0..3 {
            let error = old.flush(&mut quiet()).unwrap_err();
            assert!(matches!(error, Error::Fenced { .. }), "{error}");
        }
    }
    fill(&taken, 20, 10, BYTES);
    taken.flush(&mut quiet()).unwrap();
    drop(taken);
    let (again, _) = world.recover(&world.dir.path().join("third"), &mut quiet()).unwrap();
    check(&again, 0, 30, BYTES);
}

#[test]
fn a_writer_that_comes_back_before_the_recovered_one_published_is_fenced_off() {
    let (world, db) = World::open_new("2+1", 4);
    fill(&db, 0, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    drop(db);
    let place = world.dir.path().join("elsewhere");
    let (taken, _) = world.recover(&place, &mut quiet()).unwrap();
    fill(&taken, 10, 300, BYTES);
    assert!(taken.offload_next().unwrap().is_some());
    let old = world.open().unwrap();
    fill(&old, 1000, 3, BYTES);
    let error = old.flush(&mut quiet()).unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    taken.flush(&mut quiet()).unwrap();
    check(&taken, 0, 310, BYTES);
}

#[test]
fn of_two_recoveries_with_one_term_only_one_believes_that_it_published() {
    let (world, db) = World::open_new("2+1", 4);
    fill(&db, 0, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    drop(db);
    let (one, _) = world.recover(&world.dir.path().join("one"), &mut quiet()).unwrap();
    let (two, _) = world.recover(&world.dir.path().join("two"), &mut quiet()).unwrap();
    // both take their term before either publishes
    fill(&one, 10, 300, BYTES);
    assert!(one.offload_next().unwrap().is_some());
    two.ensure_table("two", TableKind::Keyed).unwrap();
    two.flush(&mut quiet()).unwrap();
    // first its manifest container meets the other's of that number, then its head the other's head
    let error = one.flush(&mut quiet()).unwrap_err();
    assert!(matches!(error, Error::Offload { .. }), "{error}");
    for _ in 0..3 {
        let error = one.flush(&mut quiet()).unwrap_err();
        assert!(matches!(error, Error::Fenced { .. }), "{error}");
    }
    two.ensure_table("three", TableKind::Keyed).unwrap();
    // the number of its next manifest container may be spoilt too, then it takes the one after
    assert!((0..3).any(|_| two.flush(&mut quiet()).is_ok()));
    check(&one, 0, 310, BYTES);
}

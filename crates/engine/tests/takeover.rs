//! Two writers of one lake: one of them is refused, and nothing that is published is undone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, check, fill, quiet};
use prunedb_engine::{Db, Error, TableKind};

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
    // its manifest container meets the other's of that number, and before it would clear that away it finds the other's head
    for _ in 0..4 {
        let error = one.flush(&mut quiet()).unwrap_err();
        assert!(matches!(error, Error::Fenced { .. }), "{error}");
    }
    two.ensure_table("three", TableKind::Keyed).unwrap();
    // the number of its next manifest container may be spoilt too, then it takes the one after
    assert!((0..3).any(|_| two.flush(&mut quiet()).is_ok()));
    check(&one, 0, 310, BYTES);
}

#[test]
fn a_seed_with_an_old_head_leads_to_the_newest_one() {
    let (world, db) = World::open_new("2+2", 5);
    fill(&db, 0, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    world.set_offline(&[3], true);
    fill(&db, 10, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    world.set_offline(&[3], false);
    drop(db);
    let recover = |place: &str, report: &mut prunedb_engine::OnProgress<'_>| {
        let dir = world.dir.path().join(place);
        let (disk, options) = (World::disk(), world.options(&dir));
        let handle = world.runtime.handle().clone();
        let seed = ["node-03".to_owned()];
        Db::recover(disk, options, world.secret(), &seed, &world.connect(), handle, report)
    };
    let (db, recovered) = recover("one", &mut quiet()).unwrap();
    check(&db, 0, 20, BYTES);
    assert_eq!((recovered.nodes_answered, recovered.nodes_needed), (5, 3));
    drop(db);
    // where the nodes go before everything is indexed, nothing is said not to be there, and all is found when they are back
    let mut nodes_go = |progress: prunedb_engine::Progress| {
        world.set_offline(&[0, 1, 2, 4], progress.what == "index");
    };
    let (db, recovered) = recover("two", &mut nodes_go).unwrap();
    assert_eq!(recovered.unindexed.len() as u64, recovered.containers);
    let sequence = db.table("test/sequence").unwrap();
    let found = db.get(&sequence, &3u64.to_be_bytes());
    assert!(matches!(found, Err(Error::Unindexed { .. })), "{found:?}");
    drop(db);
    world.set_offline(&[0, 1, 2, 4], false);
    let dir = world.dir.path().join("two");
    check(&world.open_on(World::disk(), &dir).unwrap(), 0, 20, BYTES);
}

/// A writer takes a term with each start, also where it publishes nothing under it: found by seed 91 of the simulator.
#[test]
fn a_takeover_never_meets_the_term_of_a_writer_that_started_again_and_again() {
    let (world, old) = World::open_new("2+1", 4);
    fill(&old, 0, 10, 1000);
    old.flush(&mut quiet()).unwrap();
    drop(old);
    // enough nodes to take a term, too few to store anything
    world.set_offline(&[0, 1], true);
    for start in 1..3 {
        let old = world.open().unwrap();
        fill(&old, start * 10, 10, 1000);
        old.flush(&mut quiet()).unwrap_err();
    }
    let old = world.open().unwrap();
    old.flush(&mut quiet()).unwrap_err();
    world.set_offline(&[0, 1], false);
    let (new, _) = world.recover(&world.dir.path().join("new"), &mut quiet()).unwrap();
    fill(&new, 100, 10, 1000);
    new.flush(&mut quiet()).unwrap();
    let refused = old.flush(&mut quiet()).unwrap_err();
    assert!(matches!(refused, Error::Fenced { .. }), "{refused}");
    check(&new, 100, 10, 1000);
}

//! Changing the policy of what is stored.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, check, fill, quiet};
use prunedb_core::Policy;
use prunedb_disk::{
    Disk,
    faulty::{FaultyDisk, Unsynced},
};
use prunedb_engine::{Db, Depth, Error};
use prunedb_store::ShardStore;
use std::{path::Path, sync::Arc};

const RECORDS: u64 = 120;
const BYTES: usize = 20_000;

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

/// Policies of all containers, those of index and manifest counted, each once.
fn policies(db: &Db) -> Vec<Policy> {
    let all = db.holders().unwrap().containers;
    let mut policies: Vec<Policy> = all.into_iter().map(|c| c.policy).collect();
    policies.dedup();
    policies
}

fn shards(world: &World) -> u64 {
    let of = |store: &prunedb_store::MemoryStore| world.runtime.block_on(store.space()).unwrap();
    world.stores.values().map(|store| of(store).shards).sum()
}

#[test]
fn a_new_policy_holds_for_all_containers_and_the_old_shards_go_later() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, RECORDS, BYTES);
    db.evict(&mut quiet()).unwrap();
    let reader = world.open_reader("reader").unwrap();
    let changed = db.change_policy(policy("2+2"), &mut quiet()).unwrap();
    assert!(changed.containers >= 2 && changed.waiting == 0, "{changed:?}");
    assert_eq!(policies(&db), [policy("2+2")]);
    assert_eq!(db.status().unwrap().policy, policy("2+2"));
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    check(&db, 0, RECORDS, BYTES);
    // a reader that knows the old shards only, and once it has followed
    check(&reader, 0, RECORDS, BYTES);
    assert!(reader.refresh().unwrap());
    check(&reader, 0, RECORDS, BYTES);
    assert_eq!(reader.status().unwrap().records, db.status().unwrap().records);

    // again there is nothing to do, and another change waits for the old shards to go
    assert_eq!(db.change_policy(policy("2+2"), &mut quiet()).unwrap().containers, 0);
    assert_eq!(db.change_policy(policy("3+3"), &mut quiet()).unwrap().waiting, changed.containers);
    let before = shards(&world);
    for round in 0..20 {
        fill(&db, RECORDS + round, 1, 100);
        db.flush(&mut quiet()).unwrap();
    }
    assert!(shards(&world) < before + 20 * 30, "the old shards are gone");
    // a reader that comes now finds edits that name shards that are gone: seed 1062 of the simulator
    check(&world.open_reader("late").unwrap(), 0, RECORDS, BYTES);
    assert_eq!(db.change_policy(policy("3+3"), &mut quiet()).unwrap().waiting, 0);
    assert_eq!(policies(&db), [policy("3+3")]);
    // any three nodes may go
    for lost in [[0, 1, 2], [5, 6, 7], [1, 3, 6]] {
        world.set_offline(&lost, true);
        check(&db, 0, RECORDS, BYTES);
        world.set_offline(&lost, false);
    }
    drop(db);
    let (db, _) = world.recover(&world.dir.path().join("new"), &mut quiet()).unwrap();
    check(&db, 0, RECORDS, BYTES);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());

    let wide = db.change_policy(policy("8+8"), &mut quiet());
    assert!(matches!(wide, Err(Error::TooFewNodes { needed: 16, given: 8, .. })), "{wide:?}");
}

#[test]
fn a_writer_that_takes_over_deletes_the_old_shards() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, RECORDS, BYTES);
    db.evict(&mut quiet()).unwrap();
    let changed = db.change_policy(policy("2+2"), &mut quiet()).unwrap();
    drop(db);
    let (db, _) = world.recover(&world.dir.path().join("new"), &mut quiet()).unwrap();
    assert!(db.change_policy(policy("3+3"), &mut quiet()).unwrap().waiting > 0);
    let before = shards(&world);
    for round in 0..20 {
        fill(&db, RECORDS + round, 1, 100);
        db.flush(&mut quiet()).unwrap();
    }
    // each flush adds a container, and one of the manifest; six shards of each that was coded anew are gone
    assert!(shards(&world) + changed.containers * 6 < before + 20 * 12, "{changed:?}");
    check(&db, 0, RECORDS, BYTES);
    assert_eq!(db.change_policy(policy("3+3"), &mut quiet()).unwrap().waiting, 0);
    assert_eq!(policies(&db), [policy("3+3")]);
}

#[test]
fn a_change_that_is_interrupted_anywhere_loses_nothing_and_goes_on() {
    let mut deaths = 0;
    for step in 0.. {
        let world = World::new("4+2", 8);
        let disk = FaultyDisk::new(step);
        let dir = Path::new("/prune");
        let on = |disk: &FaultyDisk| Arc::new(disk.clone()) as Arc<dyn Disk>;
        let nodes = world.stores.keys().cloned().collect();
        Db::create(&on(&disk), &world.options(dir), world.secret().lake_id(), nodes).unwrap();
        let db = world.open_on(on(&disk), dir).unwrap();
        fill(&db, 0, RECORDS / 4, BYTES);
        db.evict(&mut quiet()).unwrap();
        // damage of a shard that the new policy does not have: seed 1137 of the simulator
        let lost = world.shard(&db, 0, 5);
        assert!(world.holder(lost).lose(lost));
        assert_eq!(db.verify(Depth::Quick, &mut quiet()).unwrap().faults.len(), 1);
        disk.die_after(step * 3);
        let changed = db.change_policy(policy("2+2"), &mut quiet());
        let left = disk.crashed(Unsynced::Torn(step));
        drop(db);
        let db = world.open_on(on(&left), dir).unwrap();
        check(&db, 0, RECORDS / 4, BYTES);
        assert_eq!(db.repair(false, &mut quiet()).unwrap().failed, []);
        db.change_policy(policy("2+2"), &mut quiet()).unwrap();
        assert_eq!(policies(&db), [policy("2+2")]);
        assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy(), "step {step}");
        check(&db, 0, RECORDS / 4, BYTES);
        if changed.is_ok() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 3, "it died {deaths} times");
}

//! Shards on the nodes that nothing names.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, check, fill, quiet};
use prunedb_core::{ContainerId, Digest, ShardId, Term};
use prunedb_engine::{Db, Depth, Error, Governance, ORPHAN_AGE, Swept};
use prunedb_store::{MemoryStore, PutMode, ShardStore};
use std::time::{Duration, SystemTime};

const BYTES: usize = 20_000;
const DAY: Duration = ORPHAN_AGE;

/// A time so long after another one.
fn at(since: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + since
}

fn put(world: &World, store: &MemoryStore, id: ShardId, term: Term, byte: u8) {
    world.runtime.block_on(async {
        let mut upload = store.put(id, term, 100, PutMode::IfAbsent).await.unwrap();
        upload.write(vec![byte; 100].into()).await.unwrap();
        upload.commit(Digest(*blake3::hash(&[byte; 100]).as_bytes())).await.unwrap();
    });
}

fn sweep(db: &Db, since: Duration) -> Swept {
    db.sweep(at(since), DAY, false, &mut quiet()).unwrap()
}

#[test]
fn what_nothing_names_goes_after_a_day_and_nothing_else() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 200, BYTES);
    db.evict(&mut quiet()).unwrap();
    assert_eq!(sweep(&db, Duration::ZERO).orphans, 0);
    let term = db.status().unwrap().term;
    // under a name of the future, under one that its slot has elsewhere, and one that is replaced by another in time
    let future = world.shard(&db, 900, 3);
    let elsewhere = world.shard(&db, 0, 1);
    let changed = world.shard(&db, 901, 0);
    let holder = world.holder(elsewhere).name().to_owned();
    let other = world.stores.values().find(|store| store.name() != holder).unwrap();
    for id in [future, elsewhere, changed] {
        put(&world, other, id, term, 1);
    }
    let seen = sweep(&db, Duration::ZERO);
    assert_eq!((seen.orphans, seen.orphan_bytes, seen.deleted, seen.nodes), (3, 300, 0, 8));
    let status = db.status().unwrap();
    assert_eq!((status.orphans, status.orphan_bytes), (3, 300));
    assert!(other.lose(changed));
    put(&world, other, changed, term, 2);

    // what is known survives a restart; a dry run changes nothing
    drop(db);
    let db = world.open().unwrap();
    assert_eq!(sweep(&db, DAY / 2).deleted, 0);
    let dry = db.sweep(at(DAY), DAY, true, &mut quiet()).unwrap();
    assert_eq!((dry.orphans, dry.deleted, dry.deleted_bytes), (3, 2, 200));
    let swept = sweep(&db, DAY);
    assert_eq!((swept.orphans, swept.deleted), (3, 2), "{swept:?}");
    let has = |id| world.runtime.block_on(other.stat(id)).unwrap().is_some();
    assert!(!has(future) && !has(elsewhere) && has(changed));
    assert_eq!(db.status().unwrap().orphans, 1);
    assert_eq!(sweep(&db, DAY * 2).deleted, 1);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    check(&db, 0, 200, BYTES);
}

#[test]
fn with_a_registry_no_shard_of_a_batch_goes_whoever_has_it() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 100, BYTES);
    db.flush(&mut quiet()).unwrap();
    let term = db.status().unwrap().term;
    let other = &world.stores["node-03"];
    // of a batch that this machine does not know yet, and in containers that no registry speaks of
    let batch = world.shard(&db, 900, 3);
    let [index, manifest] = [ContainerId::index(900), ContainerId::manifest(900)]
        .map(|container| ShardId { container, ..batch });
    // noted before the registry was there
    put(&world, other, batch, term, 1);
    assert_eq!(sweep(&db, Duration::ZERO).orphans, 1);
    db.govern(Governance { placed: true, prunable_up_to: 0, lease: Some(Term(1)) });
    [index, manifest].into_iter().for_each(|id| put(&world, other, id, term, 1));
    assert_eq!((sweep(&db, DAY * 2).orphans, sweep(&db, DAY * 4).deleted), (2, 2));
    let has = |id| world.runtime.block_on(other.stat(id)).unwrap().is_some();
    assert!(has(batch) && !has(index) && !has(manifest));
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    check(&db, 0, 100, BYTES);
}

#[test]
fn what_is_coded_anew_moved_or_replaced_is_named_as_long_as_somebody_may_read_it() {
    let (world, db) = World::open_new("4+2", 9);
    fill(&db, 0, 100, BYTES);
    db.evict(&mut quiet()).unwrap();
    let reader = world.open_reader("reader").unwrap();
    db.change_policy("2+2".parse().unwrap(), &mut quiet()).unwrap();
    assert_eq!(sweep(&db, Duration::ZERO).orphans, 0, "old shards are retired, not forgotten");
    check(&reader, 0, 100, BYTES);
    // a slot moves, its old node comes back with what nobody asks it for any more
    world.set_offline(&[2], true);
    db.repair(true, &mut quiet()).unwrap();
    let down = sweep(&db, DAY);
    assert_eq!((down.nodes, down.failed.len()), (8, 1), "{down:?}");
    world.set_offline(&[2], false);
    assert!(sweep(&db, DAY).orphans > 0);
    assert!(sweep(&db, DAY * 2).deleted > 0);
    check(&reader, 0, 100, BYTES);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    check(&db, 0, 100, BYTES);
}

/// Deleting what one address has and the other is to have would take the only copy.
#[test]
fn one_node_under_two_addresses_costs_a_shard_that_is_rebuilt() {
    let mut world = World::new("4+2", 5);
    let same = world.stores["node-00"].clone();
    world.stores.insert("node-99".into(), same);
    world.create().unwrap();
    let db = world.open().unwrap();
    fill(&db, 0, 200, BYTES);
    db.evict(&mut quiet()).unwrap();
    let seen = sweep(&db, Duration::ZERO).orphans;
    assert!(seen > 5, "{seen}");
    let swept = sweep(&db, DAY);
    let told: Vec<&str> = swept.failed.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!((swept.deleted, told.len()), (0, 2), "{swept:?}");
    assert!(told.iter().all(|reason| reason.contains("it is the same node as node-")), "{told:?}");
    db.repair(false, &mut quiet()).unwrap();
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    check(&db, 0, 200, BYTES);
}

/// The copy that an earlier holder has may be the last one.
#[test]
fn what_another_node_is_to_have_stays_until_it_has_it() {
    let (world, db) = World::open_new("2+1", 4);
    fill(&db, 0, 20, BYTES);
    db.flush(&mut quiet()).unwrap();
    let term = db.status().unwrap().term;
    let id = world.shard(&db, 0, 1);
    let holder = world.holder(id).clone();
    let other = world.stores.values().find(|store| store.name() != holder.name()).unwrap();
    put(&world, other, id, term, 1);
    assert_eq!(sweep(&db, Duration::ZERO).orphans, 1);
    holder.set_offline(true);
    assert_eq!(sweep(&db, DAY).deleted, 0);
    holder.set_offline(false);
    assert!(holder.lose(id));
    assert_eq!(sweep(&db, DAY).deleted, 0);
    db.verify(Depth::Quick, &mut quiet()).unwrap();
    db.repair(false, &mut quiet()).unwrap();
    assert_eq!(sweep(&db, DAY).deleted, 1);
}

#[test]
fn a_writer_that_lost_the_lake_deletes_nothing() {
    let (world, db) = World::open_new("2+1", 4);
    fill(&db, 0, 20, BYTES);
    db.flush(&mut quiet()).unwrap();
    let (new, _) = world.recover(&world.dir.path().join("new"), &mut quiet()).unwrap();
    fill(&new, 20, 100, BYTES);
    new.flush(&mut quiet()).unwrap();
    for since in [Duration::ZERO, DAY * 3] {
        let refused = db.sweep(at(since), DAY, false, &mut quiet());
        assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    }
    // nor one that cannot know
    world.set_offline(&[0, 1, 2], true);
    let alone = new.sweep(at(DAY), DAY, false, &mut quiet());
    assert!(matches!(alone, Err(Error::Quorum { needed: 2, answered: 1, .. })), "{alone:?}");
    world.set_offline(&[0, 1, 2], false);
    assert!(new.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    check(&new, 0, 120, BYTES);
    assert_eq!(
        world
            .open_reader("r")
            .unwrap()
            .sweep(at(DAY), DAY, true, &mut quiet())
            .unwrap_err()
            .to_string(),
        Error::ReadOnly.to_string()
    );
}

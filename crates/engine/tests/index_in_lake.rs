//! The index in the lake: read page by page where the local files are gone, taken by a recovery, cleaned up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, check, fill, quiet, value};
use prunedb_core::{ContainerId, ContainerKind};
use prunedb_engine::{Db, Depth, Error, Outages};
use prunedb_store::ShardStore as _;
use std::{collections::BTreeSet, path::Path};

/// Files of runs in the index's folder.
fn run_files(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir.join("metadata/index")).unwrap();
    names.filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "run")).count()
}

/// Index containers of which some node has a shard.
fn index_containers(world: &World, db: &Db) -> BTreeSet<ContainerId> {
    let list = |store: &prunedb_store::MemoryStore| {
        world.runtime.block_on(store.list(db.lake(), None, 1000)).unwrap()
    };
    let all = world.stores.values().flat_map(list).map(|stat| stat.id.container);
    all.filter(|id| id.kind == ContainerKind::Index).collect()
}

/// Takes so many shards of a container away that it is lost.
fn lose(world: &World, db: &Db, container: u32) {
    // the last data shard, where the footer is, and all parity
    for shard in 3..6 {
        let id = world.shard(db, container, shard);
        assert!(world.holder(id).lose(id));
    }
}

#[test]
fn lookups_go_to_the_lake_where_the_local_index_is_gone() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 300, 5000);
    let evicted = db.evict(&mut quiet()).unwrap();
    db.evict_index().unwrap();
    assert!(evicted.kept.is_empty() && evicted.bytes > 0);
    assert_eq!(run_files(world.dir.path()), 0);
    check(&db, 0, 300, 5000);
    // also with nodes down, after a reopen, and beside new runs
    world.set_offline(&[0, 5], true);
    drop(db);
    let db = world.open().unwrap();
    check(&db, 0, 300, 5000);
    world.set_offline(&[0, 5], false);
    fill(&db, 300, 50, 5000);
    db.flush(&mut quiet()).unwrap();
    db.close().unwrap();
    assert!(run_files(world.dir.path()) > 0);
    let db = world.open().unwrap();
    check(&db, 0, 350, 5000);
    let absent = db.get(&db.table("test/keyed").unwrap(), &999u64.to_le_bytes());
    assert_eq!(absent.unwrap(), None);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

#[test]
fn a_database_opens_without_nodes_although_its_index_is_there_only() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 300, 5000);
    db.evict(&mut quiet()).unwrap();
    db.evict_index().unwrap();
    db.close().unwrap();
    let nodes = [0, 1, 2, 3, 4, 5, 6, 7];
    world.set_offline(&nodes, true);
    let db = world.open().unwrap();
    for (table, key) in [("test/keyed", 7u64.to_le_bytes()), ("test/sequence", 7u64.to_be_bytes())]
    {
        let error = db.get(&db.table(table).unwrap(), &key).unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error}");
    }
    // what is put now is found, where nothing older has to be looked for
    let fresh = db.ensure_table("test/fresh", prunedb_engine::TableKind::Sequence).unwrap();
    db.put(&fresh, &1u64.to_be_bytes(), b"new").unwrap();
    world.set_offline(&nodes, false);
    assert_eq!(db.get(&fresh, &1u64.to_be_bytes()).unwrap().unwrap(), b"new");
    check(&db, 0, 300, 5000);
}

#[test]
fn a_damaged_page_in_the_lake_is_rebuilt_from_other_shards() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 300, 5000);
    db.evict(&mut quiet()).unwrap();
    db.evict_index().unwrap();
    for id in index_containers(&world, &db) {
        let id = prunedb_core::ShardId { container: id, ..world.shard(&db, 0, 0) };
        assert!(world.holder(id).falsify(id, 100));
    }
    check(&db, 0, 300, 5000);
    assert!(db.status().unwrap().damaged_shards > 0);
    db.repair(false, &mut quiet()).unwrap();
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

#[test]
fn a_recovery_takes_the_index_from_the_lake_and_reads_no_footer() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 600, 5000);
    db.evict(&mut quiet()).unwrap();
    db.evict_index().unwrap();
    let containers = db.status().unwrap().containers;
    assert!(containers > 2);
    lose(&world, &db, 1);
    drop(db);
    let new = world.dir.path().join("new");
    let (db, recovered) = world.recover(&new, &mut quiet()).unwrap();
    assert_eq!((recovered.containers, recovered.unindexed), (containers, vec![]));
    assert_eq!(run_files(&new), 0);
    let sequence = db.table("test/sequence").unwrap();
    let mut lost = 0;
    for number in 0..600u64 {
        match db.get(&sequence, &number.to_be_bytes()) {
            Ok(found) => assert_eq!(found, Some(value(number, 5000)), "{number}"),
            Err(Error::Lost { container, .. }) if container == ContainerId::data(1) => lost += 1,
            Err(error) => panic!("{number}: {error}"),
        }
    }
    assert!((1..600).contains(&lost));
    // and it goes on
    fill(&db, 600, 30, 5000);
    db.evict(&mut quiet()).unwrap();
    db.evict_index().unwrap();
    check(&db, 600, 30, 5000);
}

#[test]
fn a_recovery_without_an_index_skips_what_is_lost_and_names_it() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 600, 5000);
    db.flush(&mut quiet()).unwrap();
    assert!(index_containers(&world, &db).is_empty());
    lose(&world, &db, 1);
    drop(db);
    let new = world.dir.path().join("new");
    let (db, recovered) = world.recover(&new, &mut quiet()).unwrap();
    assert_eq!(recovered.unindexed, [ContainerId::data(1)]);
    let looked_up = |db: &Db| {
        let (sequence, keyed) =
            (db.table("test/sequence").unwrap(), db.table("test/keyed").unwrap());
        let mut refused = 0;
        for number in 0..600u64 {
            match db.get(&sequence, &number.to_be_bytes()) {
                Ok(found) => assert_eq!(found, Some(value(number, 5000)), "{number}"),
                Err(Error::Unindexed { container }) => {
                    assert_eq!(container, ContainerId::data(1));
                    // nor is it said of the keyed one that it is not there
                    assert!(db.get(&keyed, &number.to_le_bytes()).is_err());
                    refused += 1;
                }
                Err(error) => panic!("{number}: {error}"),
            }
        }
        refused
    };
    let refused = looked_up(&db);
    assert!((1..600).contains(&refused));
    // a position that no container can hold is not there
    let sequence = db.table("test/sequence").unwrap();
    assert_eq!(db.get(&sequence, &9999u64.to_be_bytes()).unwrap(), None);
    db.close().unwrap();
    let db = Db::open(
        World::disk(),
        world.options(&new),
        world.secret(),
        &world.connect(),
        world.runtime.handle().clone(),
    );
    assert_eq!(looked_up(&db.unwrap()), refused);
}

/// What a lookup of each position says: never that one is absent that was put.
fn refused(db: &Db, count: u64) -> u64 {
    let sequence = db.table("test/sequence").unwrap();
    let mut refused = 0;
    for number in 0..count {
        match db.get(&sequence, &number.to_be_bytes()) {
            Ok(found) => assert_eq!(found, Some(value(number, 5000)), "{number}"),
            Err(Error::Unindexed { .. } | Error::Lost { .. }) => refused += 1,
            Err(error) => panic!("{number}: {error}"),
        }
    }
    refused
}

#[test]
fn an_index_that_lacks_a_container_does_not_pass_for_the_whole_in_the_lake() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 600, 5000);
    db.flush(&mut quiet()).unwrap();
    lose(&world, &db, 1);
    drop(db);
    let (db, recovered) = world.recover(&world.dir.path().join("new"), &mut quiet()).unwrap();
    assert_eq!(recovered.unindexed, [ContainerId::data(1)]);
    // an index goes to the lake, and somebody begins with it
    db.evict_index().unwrap();
    assert!(!index_containers(&world, &db).is_empty());
    let lost = refused(&db, 600);
    assert!((1..600).contains(&lost));
    drop(db);
    let (db, recovered) = world.recover(&world.dir.path().join("newer"), &mut quiet()).unwrap();
    assert_eq!(recovered.unindexed, [ContainerId::data(1)]);
    assert_eq!(db.status().unwrap().unindexed, recovered.unindexed);
    assert_eq!(refused(&db, 600), lost);
    // nor is a hole shown where a container is
    let sequence = db.table("test/sequence").unwrap();
    let range = db.range(&sequence, 0, 600);
    assert!(matches!(range, Err(Error::Unindexed { .. })), "{range:?}");
    assert!(db.iter(&sequence).unwrap().any(|entry| entry.is_err()));
    assert_eq!(db.range(&sequence, 0, 10).unwrap().len(), 10);
}

#[test]
fn containers_are_looked_into_when_their_nodes_are_back() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 600, 5000);
    db.flush(&mut quiet()).unwrap();
    let containers = db.status().unwrap().containers;
    drop(db);
    let dir = world.dir.path().join("new");
    let nodes = [0, 1, 2, 3, 4, 5, 6, 7];
    let mut nodes_go =
        |progress: prunedb_engine::Progress| world.set_offline(&nodes, progress.what == "index");
    let (db, recovered) = world.recover(&dir, &mut nodes_go).unwrap();
    assert_eq!(recovered.unindexed.len() as u64, containers);
    assert_eq!(refused(&db, 600), 600);
    world.set_offline(&nodes, false);
    db.heal(&mut Outages::default()).unwrap();
    check(&db, 0, 600, 5000);
    // and that is durable: after a crash all is known, while the nodes are gone again (what was read is cached)
    drop(db);
    world.set_offline(&nodes, true);
    check(&world.open_on(World::disk(), &dir).unwrap(), 0, 600, 5000);
}

#[test]
fn an_index_that_was_not_built_to_its_end_is_not_asked() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 600, 5000);
    db.seal().unwrap();
    db.close().unwrap();
    // a page of the index, and the footer of a container that is only here
    let flip = |file: &Path, at: fn(usize) -> usize| {
        let mut bytes = std::fs::read(file).unwrap();
        let at = at(bytes.len());
        bytes[at] ^= 1;
        std::fs::write(file, bytes).unwrap();
    };
    for run in std::fs::read_dir(world.dir.path().join("metadata/index")).unwrap() {
        let run = run.unwrap().path();
        if run.extension().is_some_and(|e| e == "run") {
            flip(&run, |_| 4096 + 100);
        }
    }
    flip(&world.dir.path().join("data/d0000000001.sealed"), |bytes| bytes - 100);
    let db = world.open().unwrap();
    let sequence = db.table("test/sequence").unwrap();
    // only the first lookup meets the page
    for number in [0u64, 599, 0] {
        let found = db.get(&sequence, &number.to_be_bytes());
        assert!(matches!(found, Err(Error::Damaged { .. })), "{number} is {}", found.is_ok());
    }
    db.close().unwrap_err();
}

#[test]
fn containers_of_merged_runs_leave_the_lake_some_heads_later() {
    let (world, db) = World::open_new("2+1", 4);
    let mut most = 0;
    for round in 0..60 {
        fill(&db, round * 3, 3, 100);
        db.evict(&mut quiet()).unwrap();
        db.evict_index().unwrap();
        most = most.max(index_containers(&world, &db).len());
    }
    // two runs a round, merged by sixteen, and those of the last heads
    assert!((16..=120).contains(&most), "{most}");
    assert!(index_containers(&world, &db).len() < 100);
    check(&db, 0, 180, 100);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    drop(db);
    let (db, recovered) = world.recover(&world.dir.path().join("new"), &mut quiet()).unwrap();
    assert_eq!((recovered.containers, recovered.unindexed), (60, vec![]));
    check(&db, 0, 180, 100);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

#[test]
fn a_damaged_run_that_is_in_the_lake_is_read_from_there() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 300, 5000);
    db.evict(&mut quiet()).unwrap();
    db.evict_index().unwrap();
    fill(&db, 300, 50, 5000);
    db.flush(&mut quiet()).unwrap();
    db.close().unwrap();
    let db = world.open().unwrap();
    let index = world.dir.path().join("metadata/index");
    let kept: Vec<_> = std::fs::read_dir(&index).unwrap().map(|e| e.unwrap().path()).collect();
    let runs: Vec<_> = kept.iter().filter(|p| p.extension().is_some_and(|e| e == "run")).collect();
    let copies: Vec<_> = runs.iter().map(|path| std::fs::read(path).unwrap()).collect();
    db.evict(&mut quiet()).unwrap();
    db.evict_index().unwrap();
    drop(db);
    // files that came back, as a restored backup would have them, and rotten
    for (path, copy) in runs.iter().zip(copies) {
        let mut bytes = copy;
        bytes[4096 + 200] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    let db = world.open().unwrap();
    assert!(run_files(world.dir.path()) > 0);
    check(&db, 0, 350, 5000);
    assert_eq!(run_files(world.dir.path()), 0);
}

#[test]
fn a_lost_local_index_is_built_anew_and_takes_no_number_twice() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 300, 5000);
    db.evict(&mut quiet()).unwrap();
    db.evict_index().unwrap();
    drop(db);
    std::fs::remove_dir_all(world.dir.path().join("metadata/index")).unwrap();
    let db = world.open().unwrap();
    check(&db, 0, 300, 5000);
    fill(&db, 300, 50, 5000);
    db.evict(&mut quiet()).unwrap();
    db.evict_index().unwrap();
    assert_eq!(run_files(world.dir.path()), 0);
    check(&db, 0, 350, 5000);
    drop(db);
    let (db, _) = world.recover(&world.dir.path().join("new"), &mut quiet()).unwrap();
    check(&db, 0, 350, 5000);
}

//! Readers: what is in the lake, from anywhere, as many as one likes, and never a write.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, check, fill, quiet};
use prunedb_core::LakeId;
use prunedb_engine::{Cursor, Db, Error, TableKind};
use prunedb_store::{MemoryStore, PutMode, ShardStore, StoredHead};
use std::{
    thread,
    time::{Duration, Instant},
};

const BYTES: usize = 5000;

/// All keys of a table in the order of their insertion.
fn keys(db: &Db, table: &str) -> Vec<Vec<u8>> {
    let (table, mut from, mut keys) = (db.table(table).unwrap(), None::<Cursor>, Vec::new());
    loop {
        let (page, next) = db.scan_keys(&table, from, 50).unwrap();
        keys.extend(page);
        from = next;
        if from.is_none() {
            return keys;
        }
    }
}

#[test]
fn readers_on_empty_folders_answer_every_key_after_the_writer_evicted_its_own() {
    let (world, db) = World::open_new("4+2", 7);
    fill(&db, 0, 1000, BYTES);
    db.evict(&mut quiet()).unwrap();
    assert_eq!(db.status().unwrap().local_data_bytes, 0);
    let second = world.open_reader("second").unwrap();
    let third = world.open_reader("third").unwrap();
    thread::scope(|scope| {
        for reader in [&second, &third, &db] {
            scope.spawn(move || check(reader, 0, 1000, BYTES));
        }
    });
    for reader in [&second, &third] {
        assert_eq!(keys(reader, "test/keyed"), keys(&db, "test/keyed"));
        let sequence = reader.table("test/sequence").unwrap();
        assert_eq!(reader.range(&sequence, 990, 100).unwrap().len(), 10);
        let (status, of_writer) = (reader.status().unwrap(), db.status().unwrap());
        assert_eq!(status.tables, of_writer.tables);
        let same = |s: &prunedb_engine::Status| (s.term, s.head_number, s.records, s.containers);
        assert_eq!(same(&status), same(&of_writer));
        let follows = status.reader.unwrap();
        assert_eq!((follows.nodes_needed, follows.failure), (3, None));
        assert!(follows.confirmed_ago.is_some() && follows.nodes_answered >= 3);
    }
    assert!(db.status().unwrap().reader.is_none());

    let snapshot = second.snapshot();
    // the writer goes on: what is not offloaded is not seen, the rest is, with one more look
    fill(&db, 1000, 300, BYTES);
    assert!(!second.refresh().unwrap());
    let keyed = second.table("test/keyed").unwrap();
    assert_eq!(second.get(&keyed, &1000_u64.to_le_bytes()).unwrap(), None);
    db.flush(&mut quiet()).unwrap();
    assert_eq!(second.get(&keyed, &1000_u64.to_le_bytes()).unwrap(), None);
    assert!(second.refresh().unwrap());
    assert!(!second.refresh().unwrap());
    check(&second, 0, 1300, BYTES);
    check(&third, 0, 1000, BYTES);
    assert_eq!(snapshot.iter(&keyed).unwrap().count(), 1000);
    assert_eq!(second.iter(&keyed).unwrap().count(), 1300);
}

#[test]
fn whoever_looks_often_or_seldom_or_joins_late_sees_the_same() {
    let (world, db) = World::open_new("2+1", 4);
    fill(&db, 0, 1, BYTES);
    db.flush(&mut quiet()).unwrap();
    let (often, seldom) =
        (world.open_reader("often").unwrap(), world.open_reader("seldom").unwrap());
    let mut count = 1;
    for round in 1..40 {
        let table = format!("round/{}", round % 7);
        db.ensure_table(&table, TableKind::Keyed).unwrap();
        fill(&db, count, round % 5, BYTES);
        count += round % 5;
        db.flush(&mut quiet()).unwrap();
        often.refresh().unwrap();
        check(&often, count.saturating_sub(6), count.min(6), BYTES);
        if round % 11 == 0 {
            assert!(seldom.refresh().unwrap());
        }
    }
    seldom.refresh().unwrap();
    let late = world.open_reader("late").unwrap();
    for reader in [&often, &seldom, &late] {
        check(reader, 0, count, BYTES);
        assert_eq!(reader.tables(), db.tables());
        assert_eq!(keys(reader, "test/sequence"), keys(&db, "test/sequence"));
    }
}

#[test]
fn a_reader_goes_on_where_it_stopped_and_serves_what_it_has_without_the_lake() {
    let (world, db) = World::open_new("2+1", 4);
    fill(&db, 0, 300, BYTES);
    db.flush(&mut quiet()).unwrap();
    let reader = world.open_reader("reader").unwrap();
    check(&reader, 0, 300, BYTES);
    reader.close().unwrap();
    let gets = world.gets();
    let reader = world.open_reader("reader").unwrap();
    check(&reader, 0, 300, BYTES);
    assert_eq!(world.gets(), gets, "manifest, index and frames are here");
    // not closed: the index is made again from footers, the frames of which are here
    drop(reader);
    world.set_offline(&[0, 1, 2, 3], true);
    let reader = world.open_reader("reader").unwrap();
    check(&reader, 0, 300, BYTES);
    let status = reader.reader_status().unwrap();
    assert_eq!((status.confirmed_ago, status.nodes_answered), (None, 0));
    assert!(status.failure.unwrap().contains("no head"));
    assert!(world.open_reader("new").is_err());
    world.set_offline(&[0, 1, 2, 3], false);
    fill(&db, 300, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    assert!(reader.refresh().unwrap());
    check(&reader, 0, 310, BYTES);
    // what failed before there was anything begins again, and a folder that is gone is made anew
    check(&world.open_reader("new").unwrap(), 0, 310, BYTES);
    drop(reader);
    std::fs::remove_dir_all(world.dir.path().join("reader")).unwrap();
    check(&world.open_reader("reader").unwrap(), 0, 310, BYTES);
}

#[test]
fn a_reader_never_writes() {
    let (world, db) = World::open_new("2+1", 4);
    let (keyed, _) = fill(&db, 0, 300, BYTES);
    db.flush(&mut quiet()).unwrap();
    let reader = world.open_reader("reader").unwrap();
    let read_only = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::ReadOnly), "{error}");
    };
    read_only(reader.put(&keyed, b"key", b"value"));
    read_only(reader.put_checked(&keyed, b"key", b"value").map(drop));
    read_only(reader.ensure_table("new", TableKind::Keyed).map(drop));
    reader.ensure_table("test/keyed", TableKind::Keyed).unwrap();
    // damage that it meets is left to the writer
    let shard = world.shard(&db, 0, 1);
    let lost = world.holder(shard);
    world.runtime.block_on(lost.delete(shard, prunedb_core::Term(9))).unwrap();
    check(&reader, 0, 300, BYTES);
    read_only(reader.repair(false, &mut quiet()).map(drop));
    reader.flush(&mut quiet()).unwrap();
    let evicted = reader.evict(&mut quiet()).unwrap();
    assert!(evicted.containers > 0 && evicted.kept.is_empty());
    check(&reader, 0, 300, BYTES);
    // roles are not changed by accident: a reader's folder that is written would take the lake over
    let role = |opened: Result<Db, Error>| {
        let error = opened.unwrap_err();
        assert!(matches!(error, Error::Role { .. }), "{error}");
    };
    drop(reader);
    role(world.open_on(World::disk(), &world.dir.path().join("reader")));
    drop(db);
    role(world.open_reader("."));
    let error = world.open().unwrap().refresh().unwrap_err();
    assert!(matches!(error, Error::Role { .. }), "{error}");
}

#[test]
fn readers_follow_a_new_writer_and_not_the_old_one() {
    let (world, db) = World::open_new("2+2", 5);
    fill(&db, 0, 100, BYTES);
    db.flush(&mut quiet()).unwrap();
    let reader = world.open_reader("reader").unwrap();
    let term = reader.status().unwrap().term;
    let (taken, _) = world.recover(&world.dir.path().join("elsewhere"), &mut quiet()).unwrap();
    fill(&taken, 100, 100, BYTES);
    taken.flush(&mut quiet()).unwrap();
    fill(&db, 5000, 10, BYTES);
    assert!(matches!(db.flush(&mut quiet()), Err(Error::Fenced { .. })));
    assert!(reader.refresh().unwrap());
    assert!(reader.status().unwrap().term > term);
    check(&reader, 0, 200, BYTES);
    let keyed = reader.table("test/keyed").unwrap();
    assert_eq!(reader.get(&keyed, &5000_u64.to_le_bytes()).unwrap(), None);
    // with q nodes gone it goes on, with more it says that something newer may be there
    world.set_offline(&[0, 3], true);
    assert!(!reader.refresh().unwrap());
    world.set_offline(&[4], true);
    let error = reader.refresh().unwrap_err();
    assert!(matches!(error, Error::Quorum { answered: 2, needed: 3, .. }), "{error}");
    let status = reader.reader_status().unwrap();
    assert!(status.failure.is_some() && status.confirmed_ago.is_some());
}

#[test]
fn a_head_that_went_back_is_refused_and_said() {
    let (mut world, db) = World::open_new("2+1", 4);
    let heads = |world: &World| -> Vec<StoredHead> {
        let head = |s: &MemoryStore| world.runtime.block_on(s.head(db.lake())).unwrap().unwrap();
        world.stores.values().map(head).collect()
    };
    fill(&db, 0, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    let old = heads(&world);
    fill(&db, 10, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    let reader = world.open_reader("reader").unwrap();
    check(&reader, 0, 20, BYTES);
    reader.close().unwrap();
    world.empty_nodes();
    for (store, head) in world.stores.values().zip(old) {
        world.runtime.block_on(store.put_head(db.lake(), head)).unwrap();
    }
    let reader = world.open_reader("reader").unwrap();
    let error = reader.refresh().unwrap_err();
    assert!(matches!(error, Error::RolledBack { found: (_, 1), ours: (_, 2) }), "{error}");
    assert!(reader.reader_status().unwrap().failure.unwrap().contains("gone back"));
    check(&reader, 0, 20, BYTES);
    // who comes new cannot know
    world.open_reader("new").unwrap_err();
}

/// A node with the shards and the head of another one.
fn copy(world: &World, lake: LakeId, node: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new(node.name());
    world.runtime.block_on(async {
        for shard in node.list(lake, None, 1000).await.unwrap() {
            let length = u32::try_from(shard.bytes).unwrap();
            let bytes = node.get(shard.id, 0, length).await.unwrap();
            let put = copy.put(shard.id, shard.term, shard.bytes, PutMode::IfAbsent);
            let mut upload = put.await.unwrap();
            upload.write(bytes).await.unwrap();
            upload.commit(shard.name).await.unwrap();
        }
        copy.put_head(lake, node.head(lake).await.unwrap().unwrap()).await.unwrap();
    });
    copy
}

#[test]
fn a_head_with_another_history_is_refused_and_said() {
    let (mut world, db) = World::open_new("2+1", 4);
    fill(&db, 0, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    let nodes = world.stores.values();
    let backup: Vec<MemoryStore> = nodes.map(|node| copy(&world, db.lake(), node)).collect();
    fill(&db, 10, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    let reader = world.open_reader("reader").unwrap();
    check(&reader, 0, 20, BYTES);
    reader.close().unwrap();
    drop(db);
    // all nodes come back from an old backup, and a new writer goes on from there
    world.stores.values_mut().zip(backup).for_each(|(node, backup)| *node = backup);
    let (other, _) = world.recover(&world.dir.path().join("other"), &mut quiet()).unwrap();
    for (from, count) in [(100, 10), (110, 1), (111, 1)] {
        fill(&other, from, count, BYTES);
        other.flush(&mut quiet()).unwrap();
        let reader = world.open_reader("reader").unwrap();
        let error = reader.refresh().unwrap_err();
        assert!(matches!(error, Error::Diverged { .. }), "{error}");
        check(&reader, 0, 20, BYTES);
    }
    let new = world.open_reader("new").unwrap();
    check(&new, 0, 10, BYTES);
    check(&new, 100, 12, BYTES);
}

#[test]
fn a_reader_in_the_background_follows_by_itself() {
    let (world, db) = World::open_new("2+1", 4);
    let (keyed, _) = fill(&db, 0, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    let reader = world.open_reader("reader").unwrap().with_background();
    fill(&db, 10, 10, BYTES);
    db.flush(&mut quiet()).unwrap();
    let started = Instant::now();
    while reader.get(&keyed, &19_u64.to_le_bytes()).unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", reader.reader_status());
        thread::sleep(Duration::from_millis(10));
    }
    check(&reader, 0, 20, BYTES);
}

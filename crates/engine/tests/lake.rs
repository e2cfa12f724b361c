//! The main job: in, out of sight, nodes gone, and everything back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, check, fill, quiet, value};
use prunedb_core::{ContainerId, Digest, ShardId, ShardIndex};
use prunedb_engine::{ContainerPlace, Db, Depth, Error, FaultKind, NodeDomains, TableKind};
use prunedb_store::{MemoryStore, PutMode, ShardStore};
use std::sync::Arc;

const RECORDS: u64 = 300;
const BYTES: usize = 20_000;

fn offloaded() -> (World, Db) {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, RECORDS, BYTES);
    let evicted = db.evict(&mut quiet()).unwrap();
    assert!(evicted.containers >= 5 && evicted.kept.is_empty(), "{evicted:?}");
    assert_eq!(db.status().unwrap().local_data_bytes, 0);
    (world, db)
}

#[test]
fn everything_comes_back_after_eviction_and_a_read_asks_one_node() {
    let (world, db) = offloaded();
    let sequence = db.table("test/sequence").unwrap();
    let before = world.gets();
    let (found, trace) = db.get_traced(&sequence, &17u64.to_be_bytes()).unwrap();
    assert!(found == Some(value(17, BYTES)));
    assert!((1..=2).contains(&trace.asked.len()), "{trace:?}");
    assert_eq!((trace.rebuilt, world.gets() - before), (0, trace.asked.len() as u64));
    // explain names the same nodes
    let explanation = db.explain(&sequence, &17u64.to_be_bytes()).unwrap().unwrap();
    let touched: Vec<_> =
        explanation.shards.iter().filter(|s| s.touched).map(|s| &s.node).collect();
    assert!(explanation.shards.iter().all(|s| s.state == "ok"), "{explanation:?}");
    assert!(trace.asked.iter().all(|node| touched.contains(&node)), "{explanation:?} {trace:?}");
    // the second time it is cached
    let before = world.gets();
    let (_, trace) = db.get_traced(&sequence, &17u64.to_be_bytes()).unwrap();
    assert_eq!((trace.asked, world.gets() - before), (vec![], 0));
    check(&db, 0, RECORDS, BYTES);
}

#[test]
fn any_q_nodes_may_be_gone() {
    let (world, db) = offloaded();
    for lost in [[0, 1], [3, 6], [2, 7]] {
        world.set_offline(&lost, true);
        check(&db, 0, RECORDS, BYTES);
        assert!(db.evict(&mut quiet()).unwrap().kept.is_empty());
        world.set_offline(&lost, false);
    }
}

#[test]
fn more_than_q_lost_names_container_shards_and_nodes() {
    let (world, db) = offloaded();
    let sequence = db.table("test/sequence").unwrap();
    let all = db.holders().unwrap();
    let first = all.containers.iter().find(|c| c.id == ContainerId::data(0)).unwrap();
    let lost = &all.groups[first.group][..5];
    world.set_offline(lost, true);
    let error = db.get(&sequence, &0u64.to_be_bytes()).unwrap_err();
    assert!(
        matches!(&error, Error::Lost { container, needed: 4, .. } if *container == ContainerId::data(0)),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("d0") && text.contains(&format!("shard 1 on node-{:02}", lost[1])),
        "{text}"
    );
    // a database opens all the same
    drop(db);
    let db = world.open().unwrap();
    // pages of an index without local files are lost, too
    world.set_offline(lost, false);
    assert!(db.evict_index().unwrap() > 0);
    world.set_offline(lost, true);
    drop(db);
    let db = world.open().unwrap();
    let error = db.get(&sequence, &0u64.to_be_bytes()).unwrap_err();
    let is_index =
        matches!(&error, Error::Lost { container, .. } if container.to_string().starts_with('i'));
    assert!(is_index, "{error}");
}

#[test]
fn damage_is_never_returned_and_repair_heals_it() {
    let (world, db) = offloaded();
    // one store notices, the other lies; both shards hold data of the first container
    let (noticed, lied) = (world.shard(&db, 0, 0), world.shard(&db, 0, 1));
    assert!(world.holder(noticed).corrupt(noticed, 40_000));
    assert!(world.holder(lied).falsify(lied, 40_000));
    check(&db, 0, RECORDS, BYTES);
    assert_eq!(db.status().unwrap().damaged_shards, 2);
    let report = db.repair(false, &mut quiet()).unwrap();
    assert_eq!(
        (report.repaired.len(), report.failed.len(), report.moved_slots),
        (2, 0, 0),
        "{report:?}"
    );
    let verified = db.verify(Depth::Deep, &mut quiet()).unwrap();
    assert!(verified.is_healthy() && verified.bytes_read > 0, "{verified:?}");
}

#[test]
fn verify_finds_what_no_read_touched() {
    let (world, db) = offloaded();
    let (lied, lost) = (world.shard(&db, 1, 5), world.shard(&db, 2, 4));
    assert!(world.holder(lied).falsify(lied, 100));
    assert!(world.holder(lost).lose(lost));
    let quick = db.verify(Depth::Quick, &mut quiet()).unwrap();
    assert_eq!(quick.faults.len(), 1, "{quick:?}");
    assert_eq!(
        (quick.faults[0].container, quick.faults[0].reason.as_str()),
        (ContainerId::data(2), "missing")
    );
    let deep = db.verify(Depth::Deep, &mut quiet()).unwrap();
    assert_eq!(deep.faults.len(), 2, "{deep:?}");
    assert_eq!(db.repair(false, &mut quiet()).unwrap().repaired.len(), 2);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

#[test]
fn slots_of_dead_nodes_move_to_spare_ones() {
    let (world, db) = offloaded();
    world.set_offline(&[1, 5], true);
    let report = db.repair(true, &mut quiet()).unwrap();
    assert!(
        report.failed.is_empty() && report.moved_slots > 0 && !report.repaired.is_empty(),
        "{report:?}"
    );
    // the two that died stay dead, and two more go: only the rebuilt shards make that survivable
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    world.set_offline(&[0, 2], true);
    check(&db, 0, RECORDS, BYTES);
    // the head knows the new places
    world.set_offline(&[0, 2], false);
    drop(db);
    let (db, recovered) = world.recover(&world.dir.path().join("new"), &mut quiet()).unwrap();
    assert!(recovered.containers >= 5);
    check(&db, 0, RECORDS, BYTES);
}

/// What is not rebuilt yet is not given up: found by seed 1086 of the simulator.
#[test]
fn a_move_that_is_cut_short_gives_nothing_up() {
    let (world, db) = offloaded();
    world.set_offline(&[1, 5], true);
    // after the first container the others can be read no more, nor can a head be published
    let mut cut_short = |progress: prunedb_engine::Progress| {
        world.set_offline(&[0, 2, 3], progress.done > 0);
    };
    assert!(db.repair(true, &mut cut_short).is_err());
    assert!(world.runtime.block_on(world.stores["node-00"].space()).is_err(), "it came that far");
    world.set_offline(&[0, 1, 2, 3, 5], false);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    world.set_offline(&[1, 5], true);
    let again = db.repair(true, &mut quiet()).unwrap();
    assert!(again.failed.is_empty() && again.moved_slots > 0, "{again:?}");
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

/// A slot that moved gives up what its old node has: found by seed 43 of the simulator.
#[test]
fn slots_stay_where_more_nodes_are_out_of_reach_than_can_be_rebuilt() {
    let (world, db) = offloaded();
    world.set_offline(&[0, 1, 2, 3, 4], true);
    // nothing can be published now: moved slots would be in the local manifest all the same
    _ = db.repair(true, &mut quiet());
    world.set_offline(&[0, 1, 2, 3, 4], false);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    check(&db, 0, RECORDS, BYTES);
}

#[test]
fn recover_on_an_empty_folder_gives_everything_back_and_takes_over() {
    let (world, db) = offloaded();
    let lake = db.lake();
    world.set_offline(&[4, 6], true);
    let place = world.dir.path().join("elsewhere");
    let (recovered_db, recovered) = world.recover(&place, &mut quiet()).unwrap();
    assert_eq!((recovered_db.lake(), recovered.tables, recovered.records), (lake, 2, 2 * RECORDS));
    check(&recovered_db, 0, RECORDS, BYTES);
    world.set_offline(&[4, 6], false);
    // the new one writes; the old one, whose machine comes back, is fenced off
    fill(&recovered_db, RECORDS, 50, BYTES);
    recovered_db.flush(&mut quiet()).unwrap();
    fill(&db, RECORDS + 1000, 50, BYTES);
    let error = db.flush(&mut quiet()).unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    check(&recovered_db, 0, RECORDS + 50, BYTES);
    // and recovering again, from the newer head, has the new records too
    drop(recovered_db);
    let (again, _) = world.recover(&world.dir.path().join("third"), &mut quiet()).unwrap();
    check(&again, 0, RECORDS + 50, BYTES);
}

#[test]
fn recover_with_another_secret_finds_no_head() {
    let (mut world, _db) = offloaded();
    world.secret = 8;
    let place = world.dir.path().join("elsewhere");
    let error = world.recover(&place, &mut quiet()).unwrap_err();
    assert!(matches!(error, Error::NoHead { answered: 8, asked: 8, .. }), "{error}");
}

#[test]
fn a_node_that_is_down_does_not_stop_an_offload_but_too_many_do() {
    let (world, db) = World::open_new("4+2", 6);
    world.set_offline(&[5], true);
    fill(&db, 0, 100, BYTES);
    db.flush(&mut quiet()).unwrap();
    let status = db.status().unwrap();
    assert!(status.damaged_shards > 0 && status.waiting_offload == 0, "{status:?}");
    world.set_offline(&[0, 1, 2], true);
    fill(&db, 100, 100, BYTES);
    let error = db.flush(&mut quiet()).unwrap_err();
    assert!(matches!(error, Error::Offload { needed: 5, .. }), "{error}");
    let status = db.status().unwrap();
    assert!(status.waiting_offload > 0 && status.offload_failure.is_some(), "{status:?}");
    check(&db, 100, 100, BYTES);
    world.set_offline(&[0, 1, 2, 5], false);
    db.flush(&mut quiet()).unwrap();
    assert!(db.repair(false, &mut quiet()).unwrap().failed.is_empty());
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

#[test]
fn an_offload_goes_to_another_group_where_too_many_nodes_of_its_own_are_down() {
    let (world, db) = World::open_new("4+2", 12);
    for round in 0..6 {
        world.set_offline(&[round, 11 - round], true);
        fill(&db, round as u64 * 10, 10, BYTES);
        // the first try may find out who is down
        assert!((0..3).any(|_| db.flush(&mut quiet()).is_ok()), "round {round}");
        assert_eq!(db.status().unwrap().waiting_offload, 0);
        world.set_offline(&[round, 11 - round], false);
    }
    check(&db, 0, 60, BYTES);
}

#[test]
fn the_cache_stays_below_its_limit() {
    let mut world = World::new("4+2", 8);
    world.cache_bytes = 1 << 20;
    world.create().unwrap();
    let db = world.open().unwrap();
    fill(&db, 0, RECORDS, BYTES);
    db.evict(&mut quiet()).unwrap();
    check(&db, 0, RECORDS, BYTES);
    let local = db.status().unwrap().local_data_bytes;
    // eight frames, and a page of local header for each container
    assert!(local > 0 && local <= (1 << 20) + 16 * 4096, "{local}");
    check(&db, 0, RECORDS, BYTES);
}

#[test]
fn scans_and_ranges_see_every_record_once_and_in_order() {
    let (_world, db) = World::open_new("4+2", 8);
    let (keyed, sequence) = fill(&db, 0, 150, BYTES);
    db.put(&keyed, &5u64.to_le_bytes(), b"a second time").unwrap();
    db.evict(&mut quiet()).unwrap();
    fill(&db, 200, 10, BYTES);
    let mut keys = Vec::new();
    let mut from = None;
    loop {
        let scan = db.scan(&keyed, from, 7).unwrap();
        keys.extend(
            scan.entries.into_iter().map(|e| u64::from_le_bytes(e.key.try_into().unwrap())),
        );
        match scan.next {
            Some(next) => from = Some(next.to_string().parse().unwrap()),
            None => break,
        }
    }
    let expected: Vec<u64> = (0..150).chain(200..210).collect();
    assert_eq!(keys, expected);
    let range = db.range(&sequence, 148, 5).unwrap();
    assert_eq!(range.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [148, 149, 200, 201, 202]);
    assert!(matches!(db.range(&keyed, 0, 1), Err(Error::TableKind { .. })));
}

#[test]
fn manifests_stay_few_however_many_flushes_there_are() {
    let (world, db) = World::open_new("2+1", 4);
    for round in 0..40 {
        fill(&db, round * 3, 3, 100);
        db.flush(&mut quiet()).unwrap();
    }
    let manifests = world.runtime.block_on(async {
        use prunedb_store::ShardStore as _;
        let mut seen = std::collections::BTreeSet::new();
        for store in world.stores.values() {
            for stat in store.list(db.lake(), None, 1000).await.unwrap() {
                if stat.id.container.kind == prunedb_core::ContainerKind::Manifest {
                    seen.insert(stat.id.container);
                }
            }
        }
        seen
    });
    // 16 heads keep what they replaced, the newest names a few
    assert!(manifests.len() <= 16 + 8, "{}", manifests.len());
    drop(db);
    let (db, recovered) = world.recover(&world.dir.path().join("new"), &mut quiet()).unwrap();
    assert_eq!(recovered.containers, 40);
    check(&db, 0, 120, 100);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

#[test]
fn two_databases_with_the_same_puts_make_the_same_containers_and_shards() {
    let mut roots = Vec::new();
    for group_bytes in [1, 1 << 20] {
        let world = World::new("4+2", 6);
        world.create().unwrap();
        let mut options = world.options(world.dir.path());
        options.group_bytes = group_bytes;
        let handle = world.runtime.handle().clone();
        let db =
            Db::open(World::disk(), options, world.secret(), &world.connect(), handle).unwrap();
        fill(&db, 0, 120, BYTES);
        db.flush(&mut quiet()).unwrap();
        let mut names = Vec::new();
        for container in db.containers().unwrap() {
            assert!(matches!(container.place, ContainerPlace::Lake { .. }));
            for shard in 0..6 {
                let id = world.shard(&db, container.id.number, shard);
                let stat =
                    world.runtime.block_on(prunedb_store::ShardStore::stat(world.holder(id), id));
                names.push((id, stat.unwrap().unwrap().name));
            }
        }
        roots.push(names);
    }
    assert!(roots[0].len() >= 12);
    assert_eq!(roots[0], roots[1]);
}

#[test]
fn an_empty_value_a_large_one_and_one_larger_than_a_container() {
    let (_world, db) = World::open_new("4+2", 8);
    let table = db.ensure_table("blobs", TableKind::Keyed).unwrap();
    for (key, bytes) in [("empty", 0), ("one", 1), ("large", 900_000), ("huge", 3_000_000)] {
        db.put(&table, key.as_bytes(), &value(9, bytes)).unwrap();
    }
    db.evict(&mut quiet()).unwrap();
    for (key, bytes) in [("empty", 0), ("one", 1), ("large", 900_000), ("huge", 3_000_000)] {
        assert!(db.get(&table, key.as_bytes()).unwrap() == Some(value(9, bytes)), "{key}");
    }
    assert!(db.get(&table, b"absent").unwrap().is_none());
}

#[test]
fn a_local_copy_stays_while_its_container_is_at_risk() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 20, BYTES);
    db.flush(&mut quiet()).unwrap();
    for shard in [1, 4] {
        let id = world.shard(&db, 0, shard);
        assert!(world.holder(id).lose(id));
    }
    assert_eq!(db.verify(Depth::Quick, &mut quiet()).unwrap().faults.len(), 2);
    let evicted = db.evict(&mut quiet()).unwrap();
    assert_eq!((evicted.containers, evicted.kept.len()), (0, 1), "{evicted:?}");
    assert!(evicted.kept[0].1.contains("4 of its 6 shards are good"), "{evicted:?}");
    assert!(db.repair(false, &mut quiet()).unwrap().failed.is_empty());
    assert_eq!(db.evict(&mut quiet()).unwrap().containers, 1);
    check(&db, 0, 20, BYTES);
}

#[test]
fn shards_of_a_manifest_container_that_is_gone_are_not_damage_for_ever() {
    let (world, db) = World::open_new("2+1", 4);
    fill(&db, 0, 3, 100);
    db.flush(&mut quiet()).unwrap();
    let manifest = ContainerId::manifest(0);
    let id = ShardId { lake: db.lake(), container: manifest, index: ShardIndex(1) };
    assert!(world.holder(id).lose(id));
    assert!(!db.verify(Depth::Quick, &mut quiet()).unwrap().is_healthy());
    assert_eq!(db.status().unwrap().damaged_shards, 1);
    for round in 1..30 {
        fill(&db, round * 3, 3, 100);
        db.flush(&mut quiet()).unwrap();
    }
    db.repair(false, &mut quiet()).unwrap();
    assert_eq!(db.status().unwrap().damaged_shards, 0);
}

#[test]
fn what_a_read_finds_damaged_is_repaired_without_being_asked() {
    let (world, db) = offloaded();
    let lied = world.shard(&db, 0, 0);
    assert!(world.holder(lied).falsify(lied, 40_000));
    let db = db.with_background();
    check(&db, 0, 20, BYTES);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while db.status().unwrap().damaged_shards > 0 {
        assert!(std::time::Instant::now() < until, "it is not repaired");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

#[test]
fn a_shard_that_an_old_writer_left_under_the_same_name_is_replaced() {
    let (world, db) = offloaded();
    let put = |id: ShardId, bytes: Vec<u8>| {
        let store = world.holder(id);
        assert!(store.lose(id));
        world.runtime.block_on(async {
            let name = prunedb_core::Digest(*blake3::hash(&bytes).as_bytes());
            let mode = prunedb_store::PutMode::IfAbsent;
            let mut upload =
                store.put(id, prunedb_core::Term(1), bytes.len() as u64, mode).await.unwrap();
            upload.write(bytes.into()).await.unwrap();
            upload.commit(name).await.unwrap();
        });
    };
    // one of another length, one of the same: the one is found when it is begun, the other when it is committed
    let (other, same) = (world.shard(&db, 0, 2), world.shard(&db, 0, 5));
    put(other, vec![1; 77]);
    let bytes = world.runtime.block_on(world.holder(same).stat(same)).unwrap().unwrap().bytes;
    put(same, vec![1; usize::try_from(bytes).unwrap()]);
    let verified = db.verify(Depth::Quick, &mut quiet()).unwrap();
    assert!(verified.faults.iter().all(|f| f.kind == FaultKind::Damaged), "{verified:?}");
    assert_eq!(verified.faults.len(), 2);
    let report = db.repair(false, &mut quiet()).unwrap();
    assert_eq!((report.repaired.len(), report.failed.len()), (2, 0), "{report:?}");
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

/// An upload that was cut short, and then a change of policy: found by seeds 1080, 1085, 1108 and 1134 of the simulator.
#[test]
fn shards_of_an_upload_that_never_counted_make_way() {
    let (world, mut db) = offloaded();
    for (from, opens_again) in [(RECORDS, false), (RECORDS + 10, true)] {
        let next = db.containers().unwrap().iter().map(|c| c.id.number).max().unwrap() + 1;
        let term = db.status().unwrap().term;
        // wherever the next container goes, something else is there already
        for (store, index) in world.stores.values().flat_map(|s| (0..6).map(move |i| (s, i))) {
            let bytes = vec![index; 50 + usize::from(index)];
            let (id, name) = (world.shard(&db, next, index), *blake3::hash(&bytes).as_bytes());
            world.runtime.block_on(async {
                let put = store.put(id, term, bytes.len() as u64, PutMode::IfAbsent);
                let mut upload = put.await.unwrap();
                upload.write(bytes.into()).await.unwrap();
                upload.commit(Digest(name)).await.unwrap();
            });
        }
        if opens_again {
            drop(db);
            db = world.open().unwrap();
        }
        fill(&db, from, 10, BYTES);
        db.evict(&mut quiet()).unwrap();
        assert!(db.status().unwrap().term > term, "of our own term: under a new one");
        assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
        check(&db, 0, from + 10, BYTES);
    }
}

#[test]
fn shards_on_a_node_that_is_out_of_reach_are_not_taken_for_damaged() {
    let (world, db) = offloaded();
    world.set_offline(&[2], true);
    let verified = db.verify(Depth::Deep, &mut quiet()).unwrap();
    assert!(!verified.is_healthy() && verified.lost.is_empty());
    assert!(verified.faults.iter().all(|f| f.kind == FaultKind::Unreachable), "{verified:?}");
    assert_eq!(db.status().unwrap().damaged_shards, 0);
    assert_eq!(db.repair(false, &mut quiet()).unwrap().repaired, []);
    // three of six shards out of reach: what cannot be read now is named
    world.set_offline(&[3, 4, 5], true);
    assert!(!db.verify(Depth::Quick, &mut quiet()).unwrap().lost.is_empty());
    world.set_offline(&[2, 3, 4, 5], false);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

#[test]
fn the_container_that_is_nearest_to_its_loss_is_repaired_first() {
    let (world, db) = offloaded();
    for (container, shards) in [(0, &[1][..]), (2, &[0, 3]), (3, &[4])] {
        for &shard in shards {
            let id = world.shard(&db, container, shard);
            assert!(world.holder(id).lose(id));
        }
    }
    db.verify(Depth::Quick, &mut quiet()).unwrap();
    let status = db.status().unwrap().repair;
    assert_eq!((status.containers, status.spare_min, status.running), (3, Some(0), None));
    let mut running = Vec::new();
    let report = db
        .repair(false, &mut |_| running.push(db.status().unwrap().repair.running.is_some()))
        .unwrap();
    assert!(running.iter().all(|shown| *shown) && running.len() == 4, "{running:?}");
    assert_eq!(db.status().unwrap().repair, prunedb_engine::RepairStatus::default());
    let order: Vec<u32> = report.repaired.iter().map(|r| r.container.number).collect();
    assert_eq!(order, [2, 2, 0, 3]);
}

#[test]
fn a_node_that_leaves_hands_its_shards_over_and_one_that_joins_takes_them() {
    let (mut world, db) = World::open_new("4+2", 6);
    fill(&db, 0, 100, BYTES);
    db.evict(&mut quiet()).unwrap();
    // six nodes for six shards: nobody could take its slots
    let error = db.leave("node-01", &mut quiet()).unwrap_err();
    assert!(matches!(error, Error::NoSpareNode { .. }), "{error}");
    assert!(matches!(db.leave("node-77", &mut quiet()), Err(Error::UnknownNode { .. })));
    let joined = MemoryStore::new("node-06");
    world.stores.insert("node-06".into(), joined.clone());
    db.add_node("node-06", Arc::new(joined.clone()), NodeDomains::default()).unwrap();
    let again = db.add_node("node-06", Arc::new(joined), NodeDomains::default());
    assert!(matches!(again, Err(Error::RepeatedNode { .. })));

    // one shard of the leaving node is damaged, unnoticed: it is rebuilt
    let lied = world.shard(&db, 0, 1);
    assert!(world.stores["node-01"].falsify(lied, 5000));
    let before = world.gets();
    let left = db.leave("node-01", &mut quiet()).unwrap();
    assert!(
        left.moved_slots >= 6 && left.copied_shards >= 3 && left.rebuilt_shards == 1,
        "{left:?}"
    );
    // one read for a shard, and four for the one that was rebuilt
    assert!(world.gets() - before <= left.copied_shards * 2 + 10, "{}", world.gets() - before);
    let node = world.stores.remove("node-01").unwrap();
    node.set_offline(true);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    assert!(db.status().unwrap().nodes.iter().all(|node| node.address != "node-01"));
    // for good: two others may go, new containers are stored, and the head knows it
    world.set_offline(&[0, 3], true);
    check(&db, 0, 100, BYTES);
    world.set_offline(&[0, 3], false);
    fill(&db, 100, 50, BYTES);
    db.evict(&mut quiet()).unwrap();
    drop(db);
    let (db, _) = world.recover(&world.dir.path().join("new"), &mut quiet()).unwrap();
    check(&db, 0, 150, BYTES);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
}

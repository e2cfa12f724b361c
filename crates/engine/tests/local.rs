//! What happens on the local disk: durability, torn tails, corruption, refusals.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, check, fill, quiet, value};
use prunedb_engine::{Db, Error, TableKind};
use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The only file with that ending in the data folder.
fn only(dir: &Path, ending: &str) -> PathBuf {
    let mut found: Vec<_> = fs::read_dir(dir.join("data"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == ending))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn what_was_put_is_there_after_a_reopen_offloaded_or_not() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 120, 20_000);
    drop(db);
    let db = world.open().unwrap();
    check(&db, 0, 120, 20_000);
    db.evict(&mut quiet()).unwrap();
    fill(&db, 120, 5, 20_000);
    db.close().unwrap();
    let db = world.open().unwrap();
    check(&db, 0, 125, 20_000);
}

#[test]
fn a_tail_torn_at_any_byte_loses_no_earlier_put_and_invents_none() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 3, 50);
    let before = fs::metadata(only(world.dir.path(), "active")).unwrap().len();
    fill(&db, 3, 1, 50);
    drop(db);
    let file = only(world.dir.path(), "active");
    let whole = fs::read(&file).unwrap();
    // the watermark of the last group is written with the next one, so it may be torn anywhere behind the third
    for cut in usize::try_from(before).unwrap()..whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        let db = world.open().unwrap();
        check(&db, 0, 3, 50);
        let sequence = db.table("test/sequence").unwrap();
        assert!(db.get(&sequence, &3u64.to_be_bytes()).unwrap().is_none(), "cut at {cut}");
        // and it goes on
        fill(&db, 3, 1, 50);
        check(&db, 0, 4, 50);
        drop(db);
    }
}

#[test]
fn a_flipped_byte_below_the_watermark_is_corruption_and_says_where() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 3, 50);
    db.close().unwrap();
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(only(world.dir.path(), "active"))
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 4096 + 64 + 20).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 4096 + 64 + 20).unwrap();
    let error = world.open().unwrap_err();
    assert!(matches!(error, Error::Damaged { offset: 64, .. }), "{error}");
    file.write_all_at(&byte, 4096 + 64 + 20).unwrap();
    check(&world.open().unwrap(), 0, 3, 50);
}

#[test]
fn bit_rot_in_a_sealed_file_is_found_before_it_reaches_the_lake() {
    let (world, db) = World::open_new("4+2", 6);
    world.set_offline(&[0, 1, 2], true);
    fill(&db, 0, 3, 5000);
    db.flush(&mut quiet()).unwrap_err();
    world.set_offline(&[0, 1, 2], false);
    let path = only(world.dir.path(), "sealed");
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    file.write_all_at(&[0xaa], 4096 + 3000).unwrap();
    let error = db.flush(&mut quiet()).unwrap_err();
    assert!(
        matches!(&error, Error::Damaged { reason, .. } if reason.contains("digest")),
        "{error}"
    );
}

#[test]
fn a_damaged_local_copy_is_read_from_the_lake_instead() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 20, 5000);
    db.flush(&mut quiet()).unwrap();
    let path = only(world.dir.path(), "sealed");
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    file.write_all_at(&[0x55; 200], 4096 + 3000).unwrap();
    check(&db, 0, 20, 5000);
}

#[test]
fn one_folder_one_process_one_lake() {
    let (mut world, db) = World::open_new("4+2", 8);
    assert!(matches!(world.open(), Err(Error::InUse { .. })));
    assert!(matches!(world.create(), Err(Error::AlreadyADatabase { .. })));
    fill(&db, 0, 3, 50);
    drop(db);
    world.secret = 8;
    let error = world.open().unwrap_err();
    assert!(matches!(error, Error::WrongSecret { .. }), "{error}");
    let empty = World::new("4+2", 8);
    assert!(matches!(empty.open(), Err(Error::NotADatabase { .. })));
    assert!(matches!(
        World::new("4+2", 5).create(),
        Err(Error::TooFewNodes { needed: 6, given: 5, .. })
    ));
}

#[test]
fn keys_values_tables_have_limits() {
    let (_world, db) = World::open_new("4+2", 8);
    let keyed = db.ensure_table("keyed", TableKind::Keyed).unwrap();
    let sequence = db.ensure_table("sequence", TableKind::Sequence).unwrap();
    assert!(matches!(db.put(&keyed, b"", b""), Err(Error::Key { bytes: 0, .. })));
    assert!(matches!(db.put(&keyed, &[1; 1025], b""), Err(Error::Key { bytes: 1025, .. })));
    assert!(matches!(db.put(&sequence, b"1", b""), Err(Error::Key { bytes: 1, .. })));
    db.put(&keyed, &[1; 1024], b"longest key").unwrap();
    let long = vec![0; (64 << 20) + 1];
    assert!(matches!(db.put(&keyed, b"k", &long), Err(Error::ValueTooLong { .. })));
    assert!(matches!(db.ensure_table("keyed", TableKind::Sequence), Err(Error::TableKind { .. })));
    assert!(matches!(db.table("nothing"), Err(Error::UnknownTable { .. })));
    for name in ["", "with space", "ü", &"n".repeat(129)] {
        assert!(
            matches!(db.ensure_table(name, TableKind::Keyed), Err(Error::TableName { .. })),
            "{name}"
        );
    }
    // the first record of a key wins; put_checked looks first
    db.put(&keyed, b"once", b"first").unwrap();
    db.put(&keyed, b"once", b"second").unwrap();
    assert_eq!(db.get(&keyed, b"once").unwrap().unwrap(), b"first");
    assert!(!db.put_checked(&keyed, b"once", b"first").unwrap());
    assert!(matches!(db.put_checked(&keyed, b"once", b"third"), Err(Error::Contradiction { .. })));
}

#[test]
fn many_writers_share_groups_and_all_of_it_is_there() {
    let (world, db) = World::open_new("4+2", 8);
    let table = db.ensure_table("many", TableKind::Keyed).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8u64 {
            let (db, table) = (&db, &table);
            scope.spawn(move || {
                for i in 0..100u64 {
                    let key = (writer << 32 | i).to_be_bytes();
                    db.put(table, &key, &value(i, 3000)).unwrap();
                    assert!(db.get(table, &key).unwrap().is_some(), "read your own writes");
                }
            });
        }
    });
    drop(db);
    let db = world.open().unwrap();
    for writer in 0..8u64 {
        for i in 0..100u64 {
            let key = (writer << 32 | i).to_be_bytes();
            assert!(db.get(&table, &key).unwrap() == Some(value(i, 3000)), "{writer} {i}");
        }
    }
}

#[test]
fn the_background_offloads_and_evicts_by_itself() {
    let mut world = World::new("4+2", 8);
    world.cache_bytes = 2 << 20;
    world.create().unwrap();
    let db: Db = world.open().unwrap().with_background();
    fill(&db, 0, 300, 20_000);
    for _ in 0..200 {
        let status = db.status().unwrap();
        if status.waiting_offload == 0 && status.local_data_bytes < 4 << 20 {
            check(&db, 0, 300, 20_000);
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{:?}", db.status().unwrap());
}

#[test]
fn a_damaged_index_is_rebuilt_from_footers() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 200, 20_000);
    db.evict(&mut quiet()).unwrap();
    db.close().unwrap();
    let index = world.dir.path().join("metadata/index");
    for entry in fs::read_dir(&index).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().step_by(97).for_each(|b| *b ^= 0x10);
        fs::write(&path, bytes).unwrap();
    }
    let db = world.open().unwrap();
    check(&db, 0, 200, 20_000);
}

#[test]
fn a_damaged_container_does_not_hold_up_those_behind_it() {
    let mut world = World::new("4+2", 6);
    world.container_bytes = 200_000;
    world.create().unwrap();
    let db = world.open().unwrap();
    fill(&db, 0, 30, 20_000);
    let first = world.dir.path().join("data/d0000000000.sealed");
    let file = fs::OpenOptions::new().write(true).open(first).unwrap();
    file.write_all_at(&[0xaa], 4096 + 3000).unwrap();
    let error = db.flush(&mut quiet()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let status = db.status().unwrap();
    assert_eq!(status.waiting_offload, 1, "{status:?}");
}

#[test]
fn nothing_is_evicted_that_no_head_names_and_a_failed_publication_is_repeated() {
    let mut world = World::new("4+2", 8);
    world.cache_bytes = 0;
    world.container_bytes = 200_000;
    world.create().unwrap();
    let db = world.open().unwrap();
    fill(&db, 0, 100, 20_000);
    // two nodes without which the first container's group has enough slots; the head needs six of eight nodes
    let pairs = (1..8).flat_map(|b| (0..b).map(move |a| [a, b]));
    let offloads_without = |pair: &[usize; 2]| {
        world.set_offline(pair, true);
        let offloaded = db.offload_next().is_ok_and(|container| container.is_some());
        world.set_offline(pair, offloaded);
        offloaded
    };
    let pair = pairs.into_iter().find(offloads_without).unwrap();
    let third = (0..8).find(|node| !pair.contains(node)).unwrap();
    world.set_offline(&[third], true);
    let db = db.with_background();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(world.dir.path().join("data/d0000000000.sealed").exists());
    world.set_offline(&[pair[0], pair[1], third], false);
    for _ in 0..200 {
        if db.status().unwrap().waiting_offload == 0
            && !world.dir.path().join("data/d0000000000.sealed").exists()
        {
            check(&db, 0, 100, 20_000);
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{:?}", db.status().unwrap());
}

#[test]
fn a_table_of_another_database_is_refused() {
    let (_world, db) = World::open_new("4+2", 8);
    let (_other, elsewhere) = World::open_new("4+2", 8);
    let table = elsewhere.ensure_table("elsewhere", TableKind::Keyed).unwrap();
    assert!(matches!(db.put(&table, b"k", b"v"), Err(Error::UnknownTable { .. })));
    db.ensure_table("here", TableKind::Keyed).unwrap();
    assert!(matches!(db.put(&table, b"k", b"v"), Err(Error::UnknownTable { .. })));
}

#[test]
fn containers_of_an_earlier_database_are_not_taken_over() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 3, 50);
    drop(db);
    fs::remove_dir_all(world.dir.path().join("metadata")).unwrap();
    let error = world.create().unwrap_err();
    assert!(matches!(error, Error::LocalContainers { count: 1, .. }), "{error}");
}

#[test]
fn a_node_is_named_once() {
    let world = World::new("2+1", 3);
    let nodes = vec!["node-00".into(), "node-01".into(), "node-00".into(), "node-02".into()];
    let lake = world.secret().lake_id();
    let error = Db::create(&World::disk(), &world.options(world.dir.path()), lake, nodes);
    assert!(matches!(error, Err(Error::RepeatedNode { .. })), "{error:?}");
}

#[test]
fn a_key_put_twice_is_reported_with_both_digests_where_the_values_differ() {
    let (world, db) = World::open_new("4+2", 8);
    let keyed = db.ensure_table("test/keyed", TableKind::Keyed).unwrap();
    let sequence = db.ensure_table("test/sequence", TableKind::Sequence).unwrap();
    let position = 7u64.to_be_bytes();
    for value in ["one", "two"] {
        db.put(&keyed, b"same", b"same").unwrap();
        db.put(&keyed, b"differs", value.as_bytes()).unwrap();
        db.put(&keyed, value.as_bytes(), b"other").unwrap();
        db.put(&sequence, &position, value.as_bytes()).unwrap();
        db.flush(&mut quiet()).unwrap();
        fill(&db, 100, 3, 100);
    }
    assert_eq!(db.duplicates().unwrap(), []);
    db.close().unwrap();
    let db = world.open().unwrap();
    let found = db.duplicates().unwrap();
    let digest = |value: &str| prunedb_core::Digest(*blake3::hash(value.as_bytes()).as_bytes());
    for (table, key) in [("test/keyed", b"differs".as_slice()), ("test/sequence", &position)] {
        let of_key: Vec<_> = found.iter().filter(|d| d.table == table && d.key == key).collect();
        assert_eq!(of_key.len(), 1, "{found:?}");
        let (first, second) = (of_key[0].first, of_key[0].second);
        assert_eq!((first.digest, second.digest), (digest("one"), digest("two")));
        assert_eq!((first.container, second.container), (container(0), container(1)));
    }
    assert!(found.iter().all(|d| d.key != b"same"), "{found:?}");
    assert_eq!(db.status().unwrap().duplicates, found.len() as u64);
    assert_eq!(db.get(&keyed, b"differs").unwrap().unwrap(), b"one");
}

#[test]
fn two_records_of_a_key_that_cannot_be_compared_now_are_compared_by_a_later_process() {
    let mut world = World::new("4+2", 8);
    world.cache_bytes = 0;
    world.create().unwrap();
    let db = world.open().unwrap();
    let table = db.ensure_table("test/keyed", TableKind::Keyed).unwrap();
    for value in ["one", "two"] {
        db.put(&table, b"differs", value.as_bytes()).unwrap();
        db.flush(&mut quiet()).unwrap();
    }
    drop(db);
    for number in 0..2 {
        let name = format!("data/d{number:010}.sealed");
        std::fs::remove_file(world.dir.path().join(name)).unwrap();
    }
    let db = world.open().unwrap();
    let nodes = [0, 1, 2, 3, 4, 5, 6, 7];
    world.set_offline(&nodes, true);
    db.close().unwrap();
    let db = world.open().unwrap();
    assert_eq!(db.duplicates().unwrap(), []);
    world.set_offline(&nodes, false);
    db.close().unwrap();
    let found = world.open().unwrap().duplicates().unwrap();
    assert!(matches!(&found[..], [pair] if pair.key == b"differs"), "{found:?}");
}

fn container(number: u32) -> prunedb_core::ContainerId {
    prunedb_core::ContainerId::data(number)
}

#[test]
fn a_put_that_nobody_waits_for_becomes_durable_by_itself() {
    let (_world, db) = World::open_new("4+2", 8);
    let table = db.ensure_table("alone", TableKind::Keyed).unwrap();
    for round in 0..3u64 {
        let key = round.to_be_bytes();
        db.append(&[(&table, &key, b"value")]).unwrap();
        // what can be read is durable
        let start = std::time::Instant::now();
        while db.get(&table, &key).unwrap().is_none() {
            assert!(start.elapsed() < std::time::Duration::from_secs(30), "round {round}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

#[test]
fn without_an_age_of_groups_only_waiting_and_fullness_write() {
    let mut world = World::new("4+2", 8);
    world.group_age = std::time::Duration::ZERO;
    world.create().unwrap();
    let db = world.open().unwrap();
    let table = db.ensure_table("alone", TableKind::Keyed).unwrap();
    let position = db.append(&[(&table, b"key", b"value")]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert_eq!(db.get(&table, b"key").unwrap(), None);
    db.wait(position).unwrap();
    assert_eq!(db.get(&table, b"key").unwrap().unwrap(), b"value");
}

#[test]
fn a_sealed_name_that_was_lost_is_given_again_to_the_same_bytes() {
    let mut world = World::new("4+2", 6);
    world.container_bytes = 200_000;
    world.create().unwrap();
    let db = world.open().unwrap();
    fill(&db, 0, 15, 20_000);
    drop(db);
    let sealed = world.dir.path().join("data/d0000000000.sealed");
    let before = fs::read(&sealed).unwrap();
    fs::rename(&sealed, sealed.with_extension("active")).unwrap();
    let db = world.open().unwrap();
    check(&db, 0, 15, 20_000);
    assert!(fs::read(&sealed).unwrap()[4096..] == before[4096..]);
    fill(&db, 15, 15, 20_000);
    db.evict(&mut quiet()).unwrap();
    check(&db, 0, 30, 20_000);
}

#[test]
fn a_container_that_was_begun_too_early_is_not_gone_on_with() {
    let mut world = World::new("4+2", 6);
    world.container_bytes = 200_000;
    // on a slow machine a second group would say in the younger one's header that it has records
    world.group_age = std::time::Duration::ZERO;
    world.create().unwrap();
    let db = world.open().unwrap();
    fill(&db, 0, 15, 20_000);
    drop(db);
    // the younger one has its header only, the older one has no footer yet
    let data = world.dir.path().join("data");
    let sealed = data.join("d0000000000.sealed");
    let whole = fs::read(&sealed).unwrap();
    fs::rename(&sealed, data.join("d0000000000.active")).unwrap();
    let mut younger: Vec<_> = fs::read_dir(&data).unwrap().map(|e| e.unwrap().path()).collect();
    younger.retain(|path| !path.ends_with("d0000000000.active"));
    younger.sort();
    for path in younger.split_off(1) {
        fs::remove_file(path).unwrap();
    }
    let header = fs::read(&younger[0]).unwrap()[..4096 + 64].to_vec();
    fs::remove_file(&younger[0]).unwrap();
    fs::write(data.join("d0000000001.active"), header).unwrap();
    let db = world.open().unwrap();
    assert_eq!(db.containers().unwrap().len(), 1);
    // the next put does not fit into it, as before
    fill(&db, 15, 1, 20_000);
    assert!(fs::read(&sealed).unwrap()[4096..] == whole[4096..]);
}

#[test]
fn puts_that_wait_for_the_lake_are_seen_with_the_reason() {
    let mut world = World::new("4+2", 6);
    world.container_bytes = 200_000;
    world.create().unwrap();
    let db = world.open().unwrap();
    assert_eq!(db.status().unwrap().backpressure, None);
    world.set_offline(&[0, 1, 2], true);
    let db = db.with_background();
    let table = db.ensure_table("t", TableKind::Sequence).unwrap();
    let start = std::time::Instant::now();
    let refused = (0u64..).find_map(|n| {
        assert!(start.elapsed().as_secs() < 60, "puts are taken for ever");
        db.put(&table, &n.to_be_bytes(), &value(n, 50_000)).err()
    });
    let refused = refused.unwrap();
    assert!(matches!(refused, Error::OffloadBehind { waiting: 4.., .. }), "{refused}");
    let held = db.status().unwrap().backpressure.unwrap();
    assert!(held.reason.contains("fails") && held.reason.contains("node-0"), "{held:?}");
    // once the nodes are back puts are taken again
    world.set_offline(&[0, 1, 2], false);
    db.flush(&mut quiet()).unwrap();
    db.put(&table, &1_000_000u64.to_be_bytes(), b"again").unwrap();
    assert_eq!(db.status().unwrap().backpressure, None);
}

#[test]
fn a_container_of_a_newer_version_is_refused_and_left_alone() {
    let (world, db) = World::open_new("4+2", 8);
    fill(&db, 0, 3, 50);
    db.close().unwrap();
    let path = only(world.dir.path(), "active");
    let mut bytes = fs::read(&path).unwrap();
    for slot in [0, 2048].map(|at| at..at + 64) {
        let slot = &mut bytes[slot];
        slot[8..16].copy_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]);
        let crc = prunedb_format::crc32c(slot);
        slot[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(&path, &bytes).unwrap();
    let error = world.open().unwrap_err();
    assert!(matches!(&error, Error::Format { path: at, .. } if *at == path), "{error}");
    assert!(error.to_string().contains("version 2"), "{error}");
    assert!(fs::read(&path).unwrap() == bytes);
}

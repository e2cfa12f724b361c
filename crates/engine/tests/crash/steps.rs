//! One life that ends at any of its steps, and what it must leave.

use crate::common::{World, quiet, value};
use prunedb_disk::{
    Disk,
    faulty::{FaultyDisk, Unsynced},
};
use prunedb_engine::{Db, Depth, Error, TableKind};
use std::{path::Path, sync::Arc, time::Duration};

const BYTES: usize = 30_000;

fn world() -> World {
    let mut world = World::new("2+1", 4);
    world.container_bytes = 200_000;
    world.group_age = Duration::ZERO; // one thread alone: the same operations in the same order
    world
}

fn disk(disk: &FaultyDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn dir() -> &'static Path {
    Path::new("/prune")
}

/// What the database said, as far as it got.
#[derive(Debug, Default)]
struct Acknowledged {
    created: bool,
    /// records 0..tried were put, those below `durable` were acknowledged
    durable: u64,
    tried: u64,
}

fn put(db: &Db, seen: &mut Acknowledged, count: u64) -> Result<(), Error> {
    let keyed = db.ensure_table("keyed", TableKind::Keyed)?;
    let sequence = db.ensure_table("sequence", TableKind::Sequence)?;
    for number in seen.tried..seen.tried + count {
        let (key, value) = (number.to_le_bytes(), value(number, BYTES));
        let position = number.to_be_bytes();
        seen.tried += 1;
        let at = db.append(&[(&keyed, &key, &value), (&sequence, &position, &key)])?;
        if number % 3 != 0 {
            db.wait(at)?;
            seen.durable = seen.tried;
        }
    }
    Ok(())
}

/// A life: puts, seals, offloads, evictions, reads through the cache, a clean stop, and all that again.
fn live(world: &World, on: &FaultyDisk, seen: &mut Acknowledged) -> Result<(), Error> {
    let nodes = world.stores.keys().cloned().collect();
    Db::create(&disk(on), &world.options(dir()), world.secret().lake_id(), nodes)?;
    seen.created = true;
    let db = world.open_on(disk(on), dir())?;
    put(&db, seen, 8)?;
    db.flush(&mut quiet())?;
    put(&db, seen, 7)?;
    db.evict(&mut quiet())?;
    put(&db, seen, 4)?;
    let sequence = db.table("sequence")?;
    for number in [0, 9, 14] {
        db.get(&sequence, &u64::to_be_bytes(number))?;
    }
    db.close()?;
    let db = world.open_on(disk(on), dir())?;
    put(&db, seen, 9)?;
    db.offload_next()?;
    db.evict(&mut quiet())?;
    put(&db, seen, 2)?;
    db.flush(&mut quiet())
}

/// Every acknowledged record is there, and of the others only what was put.
fn check(db: &Db, seen: &Acknowledged) -> u64 {
    let (Ok(keyed), Ok(sequence)) = (db.table("keyed"), db.table("sequence")) else {
        assert_eq!(seen.durable, 0, "the tables are gone");
        return 0;
    };
    let mut there = 0;
    for number in 0..seen.tried {
        let found = db.get(&keyed, &number.to_le_bytes()).unwrap();
        let beside = db.get(&sequence, &number.to_be_bytes()).unwrap();
        assert_eq!(found.is_some(), beside.is_some(), "record {number}: half of a put");
        assert!(found.is_some() || number >= seen.durable, "record {number} is lost: {seen:?}");
        if let Some(found) = found {
            assert!(found == value(number, BYTES), "record {number}");
            there += 1;
        }
    }
    let scan = db.scan(&keyed, None, 1000).unwrap();
    assert_eq!(scan.entries.len() as u64, there, "{seen:?}");
    there
}

/// One life that ends after `count` operations, and the one after it.
fn crash_after(world: &mut World, count: u64, unsynced: Unsynced) {
    world.empty_nodes();
    let world = &*world;
    let on = FaultyDisk::default();
    on.die_after(count);
    let mut seen = Acknowledged::default();
    let end = live(world, &on, &mut seen);
    let on = on.crashed(unsynced);
    let context = format!("{count} {unsynced:?} {end:?} {seen:?}");
    let db = match world.open_on(disk(&on), dir()) {
        Ok(db) => db,
        Err(Error::NotADatabase { .. }) if !seen.created => {
            let nodes = world.stores.keys().cloned().collect();
            Db::create(&disk(&on), &world.options(dir()), world.secret().lake_id(), nodes)
                .unwrap_or_else(|e| panic!("{context}: {e}"));
            world.open_on(disk(&on), dir()).unwrap()
        }
        Err(e) => panic!("{context}: {e}"),
    };
    let kept = check(&db, &seen);
    // it goes on
    let mut more = Acknowledged { tried: kept, durable: kept, created: true };
    put(&db, &mut more, 6).unwrap_or_else(|e| panic!("{context}: {e}"));
    let evicted = db.evict(&mut quiet()).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert!(evicted.kept.is_empty(), "{context}: {evicted:?}");
    more.durable = more.tried;
    check(&db, &more);
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy(), "{context}");
    drop(db);
    // and the lake alone gives all of it back
    let empty = FaultyDisk::default();
    let (db, _) = world.recover_on(disk(&empty), dir(), &mut quiet()).unwrap();
    check(&db, &more);
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    let mut world = world();
    let on = FaultyDisk::default();
    let mut seen = Acknowledged::default();
    live(&world, &on, &mut seen).unwrap();
    let operations = on.operations();
    let samples = std::env::var("PRUNEDB_CRASH_SAMPLES").map_or(60, |n| n.parse().unwrap());
    for sample in 0..samples {
        // spread evenly, in steps that do not fall together with those of the engine
        let count = (sample * 7919) % operations;
        let unsynced = match sample % 3 {
            0 => Unsynced::Lost,
            1 => Unsynced::Kept,
            _ => Unsynced::Torn(sample),
        };
        crash_after(&mut world, count, unsynced);
    }
}

#[test]
fn a_container_that_could_not_be_created_is_created_by_the_next_put() {
    let world = world();
    for step in 0..8 {
        let on = FaultyDisk::default();
        let nodes = world.stores.keys().cloned().collect();
        let lake = world.secret().lake_id();
        Db::create(&disk(&on), &world.options(dir()), lake, nodes).unwrap();
        let db = world.open_on(disk(&on), dir()).unwrap();
        let table = db.ensure_table("keyed", TableKind::Keyed).unwrap();
        on.fail_once_after(step);
        let first = db.put(&table, b"one", b"1");
        let poisoned = matches!(db.put(&table, b"two", b"2"), Err(Error::Poisoned { .. }));
        assert!(first.is_ok() || step < 5 || poisoned, "{step}: {first:?}");
        assert!(!poisoned || step >= 5, "{step}: nothing was written yet");
        drop(db);
        let db = world.open_on(disk(&on), dir()).unwrap();
        db.put(&table, b"three", b"3").unwrap();
        assert_eq!(db.get(&table, b"two").unwrap().is_some(), !poisoned, "{step}");
    }
}

#[test]
fn a_long_put_of_small_records_is_scanned_in_a_few_reads() {
    let world = world();
    let on = FaultyDisk::default();
    let nodes = world.stores.keys().cloned().collect();
    Db::create(&disk(&on), &world.options(dir()), world.secret().lake_id(), nodes).unwrap();
    let db = world.open_on(disk(&on), dir()).unwrap();
    let table = db.ensure_table("sequence", TableKind::Sequence).unwrap();
    let keys: Vec<[u8; 8]> = (0..20_000u64).map(u64::to_be_bytes).collect();
    let put: Vec<_> = keys.iter().map(|key| (&table, &key[..], &[7u8; 700][..])).collect();
    db.append(&put).unwrap();
    db.commit().unwrap();
    drop(db);
    let before = on.bytes_read();
    let db = world.open_on(disk(&on), dir()).unwrap();
    let read = on.bytes_read() - before;
    assert!(read < 8 * 20_000 * 732, "{read} bytes");
    assert_eq!(db.get(&table, &keys[19_999]).unwrap().unwrap(), [7; 700]);
}

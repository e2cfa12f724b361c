//! Everybody at once: what was acknowledged is read, scanned and listed whatever happens to its container meanwhile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, quiet, value};
use prunedb_engine::{Db, Depth, Table, TableKind};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

const BYTES: usize = 6000;

/// Reads what was acknowledged, again and again, until it is over.
fn read(db: &Db, table: &Table, acknowledged: &AtomicU64, over: &AtomicBool) {
    let mut number = 0;
    while !over.load(SeqCst) {
        let count = acknowledged.load(SeqCst).max(1);
        number = (number + 7919) % count;
        if acknowledged.load(SeqCst) > number {
            let found = db.get(table, &number.to_be_bytes()).unwrap();
            assert!(found == Some(value(number, BYTES)), "record {number} of {count}");
        }
    }
}

#[test]
fn readers_scans_and_lists_see_everything_while_containers_move() {
    let mut world = World::new("2+1", 4);
    world.container_bytes = 200_000;
    world.cache_bytes = 600_000;
    world.create().unwrap();
    let db = world.open().unwrap().with_background();
    let table = db.ensure_table("races", TableKind::Sequence).unwrap();
    let (acknowledged, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let until = Instant::now() + Duration::from_secs(2);
    let loops = |step: &dyn Fn()| {
        while !over.load(SeqCst) {
            step();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| read(&db, &table, &acknowledged, &over));
        scope.spawn(|| read(&db, &table, &acknowledged, &over));
        scope.spawn(|| {
            loops(&|| {
                let count = acknowledged.load(SeqCst);
                let mut seen = 0;
                let mut from = None;
                loop {
                    let scan = db.scan(&table, from, 50).unwrap();
                    seen += scan.entries.len() as u64;
                    from = scan.next;
                    if from.is_none() {
                        break;
                    }
                }
                assert!(seen >= count, "{seen} of {count} records were scanned");
            });
        });
        scope.spawn(|| {
            loops(&|| {
                let count = acknowledged.load(SeqCst);
                let listed: u64 = db.containers().unwrap().iter().map(|c| c.records).sum();
                assert!(listed >= count, "{listed} of {count} records are listed");
                db.status().unwrap();
            });
        });
        scope.spawn(|| {
            loops(&|| {
                let evicted = db.evict(&mut quiet()).unwrap();
                assert!(evicted.kept.is_empty(), "{evicted:?}");
                thread::sleep(Duration::from_millis(30));
            });
        });
        for number in 0.. {
            if Instant::now() > until {
                break;
            }
            db.put(&table, &u64::to_be_bytes(number), &value(number, BYTES)).unwrap();
            acknowledged.store(number + 1, SeqCst);
        }
        over.store(true, SeqCst);
    });
    db.flush(&mut quiet()).unwrap();
    assert!(db.verify(Depth::Deep, &mut quiet()).unwrap().is_healthy());
    drop(db);
    let db = world.open().unwrap();
    for number in 0..acknowledged.load(SeqCst) {
        assert!(db.get(&table, &number.to_be_bytes()).unwrap() == Some(value(number, BYTES)));
    }
}

#[test]
fn writers_that_meet_a_full_container_seal_it_once() {
    let world = World::new("2+1", 4);
    world.create().unwrap();
    let db = world.open().unwrap();
    let table = db.ensure_table("races", TableKind::Sequence).unwrap();
    thread::scope(|scope| {
        for writer in 0..8 {
            let (db, table) = (&db, &table);
            scope.spawn(move || {
                for number in 0..300_u64 {
                    let key = (writer * 1000 + number).to_be_bytes();
                    db.put(table, &key, &value(number, BYTES)).unwrap();
                }
            });
        }
    });
    let mut containers = db.containers().unwrap();
    containers.pop();
    assert!(containers.len() > 10, "{}", containers.len());
    for container in containers {
        let bytes = container.container_bytes;
        assert!(bytes > world.container_bytes * 3 / 4, "{} has {bytes} bytes", container.id);
    }
}

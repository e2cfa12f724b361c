//! Reading many records: iterators, snapshots, multi-get, and puts that look first.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{World, fill, quiet, value};
use prunedb_engine::{Db, Error, Table, TableKind};
use std::{sync::Barrier, thread};

/// Lengths of values that take one window, many, or share one.
fn length(number: u64) -> usize {
    [0, 30, 5000, 150_000, 900, 40_000][usize::try_from(number % 6).unwrap()]
}

fn put_mixed(db: &Db, numbers: std::ops::Range<u64>) -> (Table, Table) {
    let sequence = db.ensure_table("mixed/sequence", TableKind::Sequence).unwrap();
    let keyed = db.ensure_table("mixed/keyed", TableKind::Keyed).unwrap();
    for number in numbers {
        let position = (number * 2).to_be_bytes();
        let value = value(number, length(number));
        db.append(&[(&sequence, &position, &value), (&keyed, &number.to_le_bytes(), &value)])
            .unwrap();
    }
    db.commit().unwrap();
    (sequence, keyed)
}

fn numbers_of(db: &Db, sequence: &Table, keyed: &Table) -> (Vec<u64>, Vec<u64>) {
    let mut of_sequence = Vec::new();
    for entry in db.iter(sequence).unwrap() {
        let entry = entry.unwrap();
        let number = u64::from_be_bytes(entry.key.try_into().unwrap()) / 2;
        assert!(entry.value == value(number, length(number)), "{number}");
        of_sequence.push(number);
    }
    let mut of_keyed = Vec::new();
    for entry in db.iter(keyed).unwrap() {
        let entry = entry.unwrap();
        let number = u64::from_le_bytes(entry.key.try_into().unwrap());
        assert!(entry.value == value(number, length(number)), "{number}");
        of_keyed.push(number);
    }
    (of_sequence, of_keyed)
}

#[test]
fn iterators_give_every_record_once_and_in_order_wherever_it_lies() {
    let (world, db) = World::open_new("4+2", 8);
    let (sequence, keyed) = put_mixed(&db, 0..100);
    let all: Vec<u64> = (0..100).collect();
    assert_eq!(numbers_of(&db, &sequence, &keyed), (all.clone(), all.clone()));
    db.evict(&mut quiet()).unwrap();
    assert_eq!(numbers_of(&db, &sequence, &keyed), (all.clone(), all));
    put_mixed(&db, 100..130);
    db.close().unwrap();
    let db = world.open().unwrap();
    let all: Vec<u64> = (0..130).collect();
    assert_eq!(numbers_of(&db, &sequence, &keyed), (all.clone(), all));
    // from the middle of a gap on, page by page, and one at a time
    let range = db.range(&sequence, 41, 3).unwrap();
    assert_eq!(range.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [42, 44, 46]);
    let from: Vec<_> = db.iter_from(&sequence, 251).unwrap().map(|e| e.unwrap().key).collect();
    assert_eq!(from, [252u64, 254, 256, 258].map(|p| p.to_be_bytes().to_vec()));
    assert!(matches!(db.iter_from(&keyed, 0), Err(Error::TableKind { .. })));
    // who stops early stops the thread, so that the folder can be opened again
    let mut some = db.iter(&sequence).unwrap();
    assert!(some.next().is_some());
    drop((some, db));
    let start = std::time::Instant::now();
    while matches!(world.open(), Err(Error::InUse { .. })) {
        assert!(start.elapsed().as_secs() < 30, "the scan's thread goes on");
        thread::yield_now();
    }
}

#[test]
fn a_snapshot_sees_what_was_durable_when_it_was_taken_and_nothing_else() {
    let (_world, db) = World::open_new("4+2", 8);
    let (keyed, sequence) = fill(&db, 0, 40, 20_000);
    let snapshot = db.snapshot();
    db.put(&sequence, &1000u64.to_be_bytes(), b"later").unwrap();
    db.put(&keyed, b"later", b"later").unwrap();
    fill(&db, 40, 40, 20_000);
    let check = |when: &str| {
        let positions: Vec<u64> = snapshot
            .iter(&sequence)
            .unwrap()
            .map(|e| u64::from_be_bytes(e.unwrap().key.try_into().unwrap()))
            .collect();
        assert_eq!(positions, (0..40).collect::<Vec<_>>(), "{when}");
        assert_eq!(snapshot.iter(&keyed).unwrap().count(), 40, "{when}");
        assert_eq!(snapshot.range(&sequence, 38, 10).unwrap().len(), 2, "{when}");
        assert_eq!(snapshot.get(&keyed, b"later").unwrap(), None, "{when}");
        assert_eq!(snapshot.get(&sequence, &1000u64.to_be_bytes()).unwrap(), None, "{when}");
        assert!(snapshot.get(&keyed, &39u64.to_le_bytes()).unwrap().is_some(), "{when}");
        assert!(snapshot.get(&keyed, &40u64.to_le_bytes()).unwrap().is_none(), "{when}");
    };
    check("in the active container");
    db.flush(&mut quiet()).unwrap();
    check("sealed");
    db.evict(&mut quiet()).unwrap();
    check("evicted");
    assert_eq!(db.get(&keyed, b"later").unwrap().unwrap(), b"later");
    assert_eq!(db.iter(&sequence).unwrap().count(), 81);
}

#[test]
fn an_unwaited_put_is_not_in_a_snapshot() {
    let mut world = World::new("4+2", 8);
    world.group_age = std::time::Duration::ZERO;
    world.create().unwrap();
    let db = world.open().unwrap();
    let table = db.ensure_table("t", TableKind::Keyed).unwrap();
    db.append(&[(&table, b"key", b"value")]).unwrap();
    let snapshot = db.snapshot();
    db.commit().unwrap();
    assert_eq!(snapshot.get(&table, b"key").unwrap(), None);
    assert_eq!(db.snapshot().get(&table, b"key").unwrap().unwrap(), b"value");
}

#[test]
fn several_keys_at_once() {
    let (_world, db) = World::open_new("4+2", 8);
    let (keyed, sequence) = fill(&db, 0, 5, 100);
    let keys: Vec<[u8; 8]> = [3u64, 99, 0].map(u64::to_le_bytes).to_vec();
    let keys: Vec<&[u8]> = keys.iter().map(<[u8; 8]>::as_slice).collect();
    let found = db.get_many(&keyed, &keys).unwrap();
    let expected = [Some(3u64), None, Some(0)].map(|n| n.map(|n| n.to_be_bytes().to_vec()));
    assert_eq!(found, expected);
    assert!(matches!(db.get_many(&sequence, &[b"short"]), Err(Error::Key { bytes: 5, .. })));
}

#[test]
fn of_many_that_look_first_one_wins() {
    let (_world, db) = World::open_new("4+2", 8);
    let table = db.ensure_table("checked", TableKind::Keyed).unwrap();
    for key in 0..20u8 {
        let together = Barrier::new(6);
        let outcomes: Vec<Result<bool, Error>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..6u8)
                .map(|writer| {
                    let (db, table, together) = (&db, &table, &together);
                    scope.spawn(move || {
                        together.wait();
                        // two of them want the same
                        db.put_checked(table, &[key], &[writer / 2])
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winner = db.get(&table, &[key]).unwrap().unwrap()[0];
        let new = outcomes.iter().filter(|o| matches!(o, Ok(true))).count();
        assert_eq!(new, 1, "{outcomes:?}");
        for (writer, outcome) in (0..6u8).zip(&outcomes) {
            match outcome {
                Ok(_) => assert_eq!(writer / 2, winner),
                Err(Error::Contradiction { stored, given, .. }) => {
                    let digest = |v: u8| prunedb_core::Digest(*blake3::hash(&[v]).as_bytes());
                    assert_eq!((*stored, *given), (digest(winner), digest(writer / 2)));
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert_eq!(db.iter(&table).unwrap().count(), 20);
    assert_eq!(db.status().unwrap().records, 20, "nothing was put twice");
}

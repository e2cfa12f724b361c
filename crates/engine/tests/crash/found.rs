//! What the fuzzer found, each by itself.

use crate::common::{World, check, fill, quiet};
use prunedb_disk::{
    Disk,
    faulty::{FaultyDisk, Unsynced},
};
use prunedb_engine::{Db, Error};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

fn dir() -> &'static Path {
    Path::new("/prune")
}

fn world() -> World {
    let mut world = World::new("2+1", 4);
    world.group_age = Duration::ZERO;
    world
}

fn create(world: &World, on: &FaultyDisk) -> Result<(), Error> {
    let disk: Arc<dyn Disk> = Arc::new(on.clone());
    let nodes = world.stores.keys().cloned().collect();
    Db::create(&disk, &world.options(dir()), world.secret().lake_id(), nodes)
}

fn open(world: &World, on: &FaultyDisk) -> Db {
    world.open_on(Arc::new(on.clone()), dir()).unwrap()
}

#[test]
fn records_behind_a_failed_sync_count_only_once_the_disk_has_them() {
    let world = world();
    // memory still shows them, or does not, as the disk's seed says
    for seed in 0..8 {
        let on = FaultyDisk::new(seed);
        create(&world, &on).unwrap();
        let db = open(&world, &on);
        let (keyed, _) = fill(&db, 0, 5, 3000);
        on.set_faults(|faults| faults.syncs = 1);
        assert!(db.put(&keyed, b"unlucky", &[1; 20_000]).is_err());
        let on = on.killed();
        let db = open(&world, &on);
        fill(&db, 5, 5, 3000);
        fill(&db, 10, 5, 3000);
        let on = on.crashed(Unsynced::Lost);
        check(&open(&world, &on), 0, 15, 3000);
    }
}

#[test]
fn a_container_whose_creation_was_torn_is_created_again() {
    let world = world();
    for seed in 0..300 {
        let on = FaultyDisk::new(seed);
        create(&world, &on).unwrap();
        let db = open(&world, &on);
        on.die_after(6 + seed % 12);
        let done = db.ensure_table("test/keyed", prunedb_engine::TableKind::Keyed);
        let put = done.and_then(|table| db.put(&table, b"key", b"value"));
        let on = on.crashed(Unsynced::Torn(seed));
        let db = open(&world, &on);
        if put.is_ok() {
            let table = db.table("test/keyed").unwrap();
            assert_eq!(db.get(&table, b"key").unwrap().unwrap(), b"value");
        }
        fill(&db, 0, 3, 300);
        check(&db, 0, 3, 300);
    }
}

#[test]
fn a_database_that_died_while_it_was_created_is_created_again_and_stays() {
    let world = world();
    let whole = FaultyDisk::default();
    create(&world, &whole).unwrap();
    for operations in 0..whole.operations() {
        for seed in 0..6 {
            let on = FaultyDisk::new(seed);
            on.die_after(operations);
            let done = create(&world, &on).is_ok();
            let on = if seed == 0 { on.killed() } else { on.crashed(Unsynced::Torn(seed)) };
            match create(&world, &on) {
                Ok(()) => assert!(!done, "{operations} {seed}: it is gone"),
                Err(Error::AlreadyADatabase { .. }) => {}
                Err(error) => panic!("{operations} {seed}: {error}"),
            }
            fill(&open(&world, &on), 0, 3, 300);
            check(&open(&world, &on.crashed(Unsynced::Lost)), 0, 3, 300);
        }
    }
}

#[test]
fn an_index_that_rotted_does_not_keep_it_from_the_lake() {
    // each page of each of its two runs; the first page of a run is its header, which opening reads
    for nth in 0.. {
        let (world, on) = (world(), FaultyDisk::default());
        create(&world, &on).unwrap();
        let db = open(&world, &on);
        fill(&db, 0, 50, 300);
        db.flush(&mut quiet()).unwrap();
        db.close().unwrap();
        let is_run = |path: &PathBuf| path.extension().is_some_and(|e| e == "run");
        let pages = on.paths().into_iter().filter(is_run).flat_map(|path| {
            let bytes = on.file(&path).len();
            (4096..bytes).step_by(4096).map(move |at| (path.clone(), at))
        });
        let Some((path, at)) = pages.collect::<Vec<_>>().get(nth).cloned() else {
            assert!(nth >= 2);
            break;
        };
        on.flip(path, at + 100, 1);
        let db = open(&world, &on);
        db.evict_index().unwrap();
        db.evict(&mut quiet()).unwrap();
        check(&db, 0, 50, 300);
    }
}

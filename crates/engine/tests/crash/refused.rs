//! Disks that refuse, and files that are not what they were: a clear error, a writer that stops safely, nothing lost.

use crate::common::{World, check, fill, quiet};
use prunedb_disk::{Disk, faulty::FaultyDisk};
use prunedb_engine::{Db, Error, TableKind};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

const DIR: &str = "/prune";
const MANIFEST: &str = "/prune/metadata/manifest.redb";
const EDITS: &str = "/prune/metadata/manifest.edits";

fn dir() -> &'static Path {
    Path::new(DIR)
}

fn disk(disk: &FaultyDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn open_new(world: &World, on: &FaultyDisk) -> Db {
    let nodes = world.stores.keys().cloned().collect();
    Db::create(&disk(on), &world.options(dir()), world.secret().lake_id(), nodes).unwrap();
    world.open_on(disk(on), dir()).unwrap()
}

#[test]
fn a_disk_that_fills_up_refuses_puts_and_takes_them_again_when_there_is_room() {
    let (world, on) = (World::new("2+1", 4), FaultyDisk::default());
    let db = open_new(&world, &on);
    fill(&db, 0, 20, 3000);
    let table = db.table("test/keyed").unwrap();
    on.set_free_bytes(16 << 20);
    let refused = db.append(&[(&table, b"new", b"value")]);
    assert!(matches!(refused, Err(Error::DiskFull { needed_bytes, free_bytes, .. })
        if free_bytes == 16 << 20 && needed_bytes > free_bytes));
    check(&db, 0, 20, 3000);
    // what is safe in the lake makes room, although nothing can be put
    let before = db.evict(&mut quiet()).unwrap();
    assert_eq!((before.containers, before.kept.len()), (1, 0));
    on.set_free_bytes(1 << 30);
    db.put(&table, b"new", b"value").unwrap();
    assert_eq!(db.get(&table, b"new").unwrap().unwrap(), b"value");
    check(&db, 0, 20, 3000);
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_group_stops_the_writer_and_nothing_else() {
    let (world, on) = (World::new("2+1", 4), FaultyDisk::default());
    let db = open_new(&world, &on);
    fill(&db, 0, 20, 3000);
    let table = db.table("test/keyed").unwrap();
    on.set_faults(|faults| faults.writes_left = 0);
    let refused = db.put(&table, b"new", b"value");
    assert!(matches!(refused, Err(Error::DiskFull { .. })), "{refused:?}");
    on.set_faults(|faults| faults.writes_left = u64::MAX);
    let stopped = db.put(&table, b"new", b"value");
    assert!(matches!(&stopped, Err(Error::Poisoned { reason }) if reason.contains("full")));
    check(&db, 0, 20, 3000);
    drop(db);
    let db = world.open_on(disk(&on), dir()).unwrap();
    check(&db, 0, 20, 3000);
    fill(&db, 20, 5, 3000);
    check(&db, 0, 25, 3000);
}

/// Bytes of a group go to the file before anybody waits for them.
#[test]
fn a_disk_that_is_full_while_a_group_grows_stops_the_writer_before_the_put_that_meets_it() {
    let (mut world, on) = (World::new("2+1", 4), FaultyDisk::default());
    world.container_bytes = 1_000_000;
    let db = open_new(&world, &on);
    fill(&db, 0, 20, 3000);
    let table = db.table("test/keyed").unwrap();
    on.set_faults(|faults| faults.writes_left = 0);
    let key = |nth: u64| format!("new {nth}").into_bytes();
    let append = |nth| db.append(&[(&table, &key(nth), &[7; 100_000])]);
    let met = (0..9).find_map(|nth| append(nth).err().map(|error| (nth, error)));
    let (met, error) = met.expect("a group does not grow in memory without end");
    assert!(matches!(error, Error::DiskFull { .. }) && met > 0, "{met}: {error}");
    on.set_faults(|faults| faults.writes_left = u64::MAX);
    assert!(matches!(append(9), Err(Error::Poisoned { .. })));
    assert!(matches!(db.commit(), Err(Error::Poisoned { .. })));
    check(&db, 0, 20, 3000);
    drop(db);
    let db = world.open_on(disk(&on), dir()).unwrap();
    check(&db, 0, 20, 3000);
    assert_eq!(db.get(&table, &key(met)).unwrap(), None);
}

#[test]
fn a_disk_that_becomes_read_only_is_read_and_written_again_later() {
    let (world, on) = (World::new("2+1", 4), FaultyDisk::default());
    let db = open_new(&world, &on);
    fill(&db, 0, 20, 3000);
    let table = db.table("test/keyed").unwrap();
    on.set_faults(|faults| faults.read_only = true);
    let refused = db.put(&table, b"new", b"value").unwrap_err().to_string();
    assert!(refused.contains("read-only") && refused.contains("/prune/data"), "{refused}");
    assert!(matches!(db.put(&table, b"new", b"value"), Err(Error::Poisoned { .. })));
    let other = db.ensure_table("other", TableKind::Keyed).unwrap_err().to_string();
    assert!(other.contains("read-only") && other.contains(EDITS), "{other}");
    check(&db, 0, 20, 3000);
    drop(db);
    let opened = world.open_on(disk(&on), dir()).unwrap_err().to_string();
    assert!(opened.contains("read-only") && opened.contains("/prune/metadata"), "{opened}");
    on.set_faults(|faults| faults.read_only = false);
    let db = world.open_on(disk(&on), dir()).unwrap();
    fill(&db, 20, 5, 3000);
    check(&db, 0, 25, 3000);
}

#[test]
fn a_damaged_index_page_is_built_anew_while_it_is_read() {
    let (world, on) = (World::new("2+1", 4), FaultyDisk::default());
    let db = open_new(&world, &on);
    fill(&db, 0, 200, 3000);
    db.evict(&mut quiet()).unwrap();
    let is_index = |path: &std::path::PathBuf| path.starts_with("/prune/metadata/index");
    for path in on.paths().into_iter().filter(is_index) {
        for at in (0..on.file(&path).len()).step_by(1500) {
            if on.has(&path) {
                on.flip(&path, at, 4);
            }
        }
    }
    check(&db, 0, 200, 3000);
    drop(db);
    check(&world.open_on(disk(&on), dir()).unwrap(), 0, 200, 3000);
}

/// A bit anywhere in the manifest: what it holds is right, or an error that names the file.
#[test]
fn a_damaged_manifest_is_named_and_comes_back_from_the_lake() {
    let (mut world, on) = (World::new("2+1", 4), FaultyDisk::default());
    world.container_bytes = 100_000;
    let db = open_new(&world, &on);
    fill(&db, 0, 100, 3000);
    db.evict(&mut quiet()).unwrap();
    db.close().unwrap();
    let mut told = 0;
    // every byte of redb's header, and some of the rest
    for nth in 0..700 {
        let on = on.killed();
        let file = if nth < 600 { MANIFEST } else { EDITS };
        let at = if nth < 320 { nth } else { nth * 7919 % on.file(file).len() };
        on.flip(file, at, 1 << (nth % 8));
        let work = || -> Result<(), Error> {
            let db = world.open_on(disk(&on), dir())?;
            for number in 0..100u64 {
                let found = db.get(&db.table("test/sequence")?, &number.to_be_bytes())?;
                assert!(found == Some(crate::common::value(number, 3000)), "{number}");
            }
            Ok(())
        };
        match catch_unwind(AssertUnwindSafe(work)).expect("an error, not a panic") {
            Ok(()) => {}
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(file) && error.contains("prunedb recover"), "{error}");
                told += 1;
            }
        }
    }
    assert!(told > 0);
    let empty = FaultyDisk::default();
    let (db, _) = world.recover_on(disk(&empty), dir(), &mut quiet()).unwrap();
    check(&db, 0, 100, 3000);
}

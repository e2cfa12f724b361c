//! Several threads put while the background thread seals, offloads and evicts, and the disk dies under all of them.

use crate::common::{World, value};
use prunedb_disk::{
    Disk,
    faulty::{Chance, FaultyDisk, Unsynced},
};
use prunedb_engine::{Db, TableKind};
use std::{path::Path, sync::Arc};

const WRITERS: u64 = 3;

/// Puts until one fails; how many were acknowledged, and how many were tried.
fn write(db: &Db, writer: u64) -> (u64, u64) {
    let Ok(table) = db.ensure_table("together", TableKind::Keyed) else { return (0, 0) };
    for number in 0..400 {
        let (key, value) = ([writer, number].map(u64::to_le_bytes).concat(), value(number, 4000));
        if db.put(&table, &key, &value).is_err() {
            return (number, number + 1);
        }
    }
    (400, 400)
}

#[test]
fn writers_that_die_together_lose_nothing_acknowledged() {
    for seed in 0..12 {
        let mut chance = Chance::new(seed);
        let mut world = World::new("2+1", 4);
        world.container_bytes = 200_000;
        world.cache_bytes = 300_000;
        let on = FaultyDisk::new(seed);
        let disk: Arc<dyn Disk> = Arc::new(on.clone());
        let dir = Path::new("/prune");
        let nodes = world.stores.keys().cloned().collect();
        Db::create(&disk, &world.options(dir), world.secret().lake_id(), nodes).unwrap();
        let db = world.open_on(disk, dir).unwrap().with_background();
        on.die_after(chance.below(1500));
        let counts: Vec<(u64, u64)> = std::thread::scope(|scope| {
            let db = &db;
            let write = |writer| scope.spawn(move || write(db, writer));
            let writers: Vec<_> = (0..WRITERS).map(write).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let after = on.crashed(Unsynced::Torn(seed));
        let db = world.open_on(Arc::new(after), dir).unwrap();
        let table = db.ensure_table("together", TableKind::Keyed).unwrap();
        for (writer, (acknowledged, tried)) in (0..).zip(counts) {
            for number in 0..400 {
                let key = [writer, number].map(u64::to_le_bytes).concat();
                let found = db.get(&table, &key).unwrap();
                assert!(
                    found.is_some() || number >= acknowledged,
                    "{seed}: {writer} {number} lost"
                );
                assert!(found.is_none() || number < tried, "{seed}: {writer} {number} invented");
                assert!(found.is_none_or(|found| found == value(number, 4000)));
            }
        }
    }
}

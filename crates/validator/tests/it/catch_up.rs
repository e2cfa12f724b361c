//! Going on from a snapshot that a validator gives over its door.

use crate::world::{World, genesis};
use prunedb_consensus::{Local, LocalConfig, SITTING_HEIGHTS};
use prunedb_core::Digest;
use prunedb_disk::faulty::FaultyDisk;
use prunedb_registry::State;
use prunedb_validator::{CatchUpError, NoCopies, Validator, ValidatorConfig, ValidatorKey, behind};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::runtime::Handle;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_behind_goes_on_from_a_snapshot() {
    let disk = FaultyDisk::new(1);
    let world = World::with_snapshots(&disk, Arc::new(NoCopies), SITTING_HEIGHTS).await;
    world.deposit(7, 100).await;
    // the first blocks are covered by two snapshots, and pruned
    while world.client.height(4 * SITTING_HEIGHTS, 10_000).await.unwrap() < 4 * SITTING_HEIGHTS {}
    let other = behind(&world.client, world.registry, 0).await.expect("the first block is gone");
    assert_eq!(other.count(), 1);
    let here = world.client.height(0, 0).await.unwrap();
    assert!(behind(&world.client, world.registry, here).await.is_none(), "the next one is there");

    let snapshot = other.snapshot(0).await.unwrap();
    let height = snapshot.state().height();
    assert_eq!(snapshot.blocks[0].0.height, height + 1);
    assert_eq!(snapshot.blocks.len() as u64, SITTING_HEIGHTS);
    let disk = FaultyDisk::new(2);
    let dir = Path::new("/new/state");
    snapshot.save(&disk, dir).unwrap();
    let root = snapshot.state().root();

    let foreign = behind(&world.client, Digest([1; 32]), 0).await.unwrap().snapshot(0).await;
    assert!(matches!(foreign, Err(CatchUpError::OtherRegistry { .. })), "{foreign:?}");

    // a validator with it is where the other one was
    let config = LocalConfig { dir: "/new/journal".into(), interval: Duration::from_secs(60) };
    let orderer = Arc::new(Local::start(Arc::new(disk.clone()), &config).unwrap());
    let config = ValidatorConfig { dir: dir.into(), genesis: genesis(), snapshot_heights: 16 };
    let (key, copies) = (ValidatorKey::from_seed(&[9; 32]), Arc::new(NoCopies));
    let runtime = Handle::current();
    let begun =
        Validator::start(&config, key, orderer, copies, Arc::new(disk.clone()), &runtime).unwrap();
    assert_eq!(begun.with_state(|state: &State| (state.height(), state.root())), (height, root));
    drop(begun);

    // a damaged one is told by its checksum; a new one may have come meanwhile
    let is_snapshot = |path: &&PathBuf| path.to_string_lossy().contains("/snapshot-");
    let mut refused = other.snapshot(0).await;
    for _ in 0..20 {
        if matches!(refused, Err(CatchUpError::Damaged { .. })) {
            break;
        }
        for path in world.disk.paths().iter().filter(is_snapshot) {
            world.disk.flip(path, 100, 1);
        }
        refused = other.snapshot(0).await;
    }
    assert!(matches!(refused, Err(CatchUpError::Damaged { .. })), "{refused:?}");
    world.stop().await;
}

//! Object stores pass the suite that all stores pass, and keep what they took.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prunedb_store::{BlobStore, Fencing, NodeOptions, ObjectBlobs, conformance, connect};

#[tokio::test]
async fn memory_conforms() {
    conformance::run(&BlobStore::new("memory", ObjectBlobs::memory()), 0).await;
}

#[tokio::test]
async fn a_folder_conforms_and_another_process_finds_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("file://{}/shards", dir.path().display());
    let store = connect(&address, NodeOptions::default()).unwrap();
    assert_eq!(store.name(), address);
    assert_eq!(store.capabilities().fencing, Fencing::Advisory);
    conformance::run(&*store, 0).await;
    let space = store.space().await.unwrap();
    // dropped and replaced uploads delete their chunks
    tokio::task::yield_now().await;
    let again = connect(&address, NodeOptions::default()).unwrap();
    let found = again.space().await.unwrap();
    assert_eq!(found.shards, space.shards);
    conformance::run(&*again, 1).await;
}

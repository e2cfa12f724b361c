//! The store in memory: the suite that all stores pass, and its faults.

use bytes::Bytes;
use prunedb_core::{ContainerId, Digest, LakeId, ShardId, ShardIndex, Term};
use prunedb_store::{MemoryStore, PutMode, ShardStore, StoreError, conformance};
use std::time::{Duration, Instant};

#[tokio::test]
async fn conforms() {
    conformance::run(&MemoryStore::new("memory"), 0).await;
}

const ID: ShardId =
    ShardId { lake: LakeId([1; 16]), container: ContainerId::data(1), index: ShardIndex(2) };

async fn put(store: &MemoryStore, shard: &Bytes, mode: PutMode) -> Result<(), StoreError> {
    let mut upload = store.put(ID, Term(1), shard.len() as u64, mode).await?;
    upload.write(shard.clone()).await?;
    upload.commit(Digest(*blake3::hash(shard).as_bytes())).await
}

#[tokio::test]
async fn faults_do_what_they_say() {
    let store = MemoryStore::new("memory");
    let shard = Bytes::from(vec![7; 50_000]);
    store.set_capacity(49_999);
    assert!(matches!(put(&store, &shard, PutMode::IfAbsent).await, Err(StoreError::Full { .. })));
    store.set_capacity(50_000);
    put(&store, &shard, PutMode::IfAbsent).await.unwrap();

    assert!(store.corrupt(ID, 20_000));
    let damaged = store.get(ID, 0, 50_000).await;
    assert!(matches!(damaged, Err(StoreError::Damaged { offset: 16_384, .. })), "{damaged:?}");
    assert_eq!(store.get(ID, 0, 16_384).await.unwrap(), shard[..16_384]);
    put(&store, &shard, PutMode::Replace).await.unwrap();
    assert_eq!(store.get(ID, 0, 50_000).await.unwrap(), shard);

    assert!(store.falsify(ID, 10));
    assert_ne!(store.get(ID, 0, 50_000).await.unwrap(), shard);
    assert!(!store.corrupt(ID, 50_000) && !store.falsify(ID, 50_000));

    store.set_delay(Duration::from_millis(20));
    let start = Instant::now();
    store.space().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
    store.set_delay(Duration::ZERO);

    store.set_offline(true);
    assert!(store.space().await.unwrap_err().is_unreachable());
    store.set_offline(false);
    assert!(store.lose(ID) && !store.lose(ID));
    assert!(matches!(store.get(ID, 0, 1).await, Err(StoreError::Absent { .. })));
    assert_eq!(store.gets(), 5);
}

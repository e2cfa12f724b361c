//! Samples of a shard in a place that makes none by itself: all of it is read.

use crate::{ShardStore, StoreError};
use prunedb_core::ShardId;
use prunedb_proof::{Audit, GROUP_BYTES, Prover, SampleProof};

/// What [`ShardStore::prove`] does for a store that only reads: memory is one range of 256 KiB.
///
/// # Errors
/// Those of reading; [`StoreError::Rejected`] where the shard has no samples.
pub(crate) async fn by_reading(
    store: &(impl ShardStore + ?Sized),
    audit: Audit,
) -> Result<Vec<SampleProof>, StoreError> {
    let name = || store.name().to_owned();
    let id: ShardId = audit.shard;
    let stat = store.stat(id).await?.ok_or_else(|| StoreError::Absent { store: name(), id })?;
    let indices = audit.indices(stat.bytes);
    let prover = indices.and_then(|indices| Prover::new(stat.bytes, indices));
    let mut prover =
        prover.map_err(|e| StoreError::Rejected { store: name(), reason: e.to_string() })?;
    let mut offset = 0;
    while offset < stat.bytes {
        let bytes = (stat.bytes - offset).min(GROUP_BYTES as u64);
        let group = store.get(id, offset, u32::try_from(bytes).expect("256 KiB at most")).await?;
        if group.len() as u64 != bytes {
            return Err(StoreError::Rejected { store: name(), reason: "a short range".into() });
        }
        prover.group(&group);
        offset += bytes;
    }
    Ok(prover.finish())
}

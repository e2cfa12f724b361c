//! An object store: a folder, memory, and with the feature `s3` a bucket.
//!
//! An object is whole or not there, and what was put is durable (a folder's files are synced). Chunks are 4 MiB: a shard
//! is one or two objects, and reading a few leaves is one range request.

use super::{BlobError, BlobFuture, Blobs};
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, local::LocalFileSystem, memory::InMemory, path::Path,
};
use std::{ops::Range, sync::Arc};

const CHUNK_BYTES: u32 = 4 << 20;

/// A place in an object store.
#[derive(Debug)]
pub struct ObjectBlobs {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// it lists its keys in order, so that a list may end early
    is_sorted: bool,
}

impl ObjectBlobs {
    /// A folder, created where it is not there.
    ///
    /// # Errors
    /// Where it cannot be.
    pub fn folder(path: &std::path::Path) -> Result<Self, BlobError> {
        let failed = |e: &dyn std::fmt::Display| {
            BlobError::Refused(format!("cannot use the folder {}: {e}", path.display()))
        };
        std::fs::create_dir_all(path).map_err(|e| failed(&e))?;
        let store = LocalFileSystem::new_with_prefix(path).map_err(|e| failed(&e))?;
        let store = Arc::new(store.with_fsync(true));
        Ok(Self { store, prefix: Path::default(), is_sorted: false })
    }

    /// Memory, for tests.
    pub fn memory() -> Self {
        Self { store: Arc::new(InMemory::new()), prefix: Path::default(), is_sorted: false }
    }

    /// A bucket, from `s3://bucket/prefix`. Keys, region and endpoint come from the environment, as for Amazon's own tools
    /// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`).
    ///
    /// # Errors
    /// Where the address or the environment is not complete.
    #[cfg(feature = "s3")]
    pub fn s3(url: &str) -> Result<Self, BlobError> {
        let refused = |e: &dyn std::fmt::Display| BlobError::Refused(e.to_string());
        let store = object_store::aws::AmazonS3Builder::from_env()
            .with_url(url)
            .build()
            .map_err(|e| refused(&e))?;
        let prefix = url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        let prefix = Path::parse(prefix.map_or("", |(_, prefix)| prefix.trim_end_matches('/')));
        let prefix = prefix.map_err(|e| refused(&e))?;
        Ok(Self { store: Arc::new(store), prefix, is_sorted: true })
    }

    fn path(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }
}

fn failed(error: &Error) -> BlobError {
    match error {
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::NotSupported { .. }
        | Error::InvalidPath { .. } => BlobError::Refused(error.to_string()),
        other => BlobError::Unreachable(other.to_string()),
    }
}

/// An answer in which absent is not an error.
fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, BlobError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(failed(&e)),
    }
}

impl Blobs for ObjectBlobs {
    fn chunk_bytes(&self) -> u32 {
        CHUNK_BYTES
    }

    fn reads_ranges(&self) -> bool {
        true
    }

    fn put(&self, key: String, value: Bytes) -> BlobFuture<'_, ()> {
        Box::pin(async move {
            let put = self.store.put(&self.path(&key), value.into()).await;
            put.map(drop).map_err(|e| failed(&e))
        })
    }

    fn get(&self, key: String, range: Option<Range<u64>>) -> BlobFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            let path = self.path(&key);
            if let Some(range) = range {
                return found(self.store.get_range(&path, range).await);
            }
            match found(self.store.get(&path).await)? {
                Some(object) => found(object.bytes().await),
                None => Ok(None),
            }
        })
    }

    fn delete(&self, key: String) -> BlobFuture<'_, ()> {
        Box::pin(async move { found(self.store.delete(&self.path(&key)).await).map(drop) })
    }

    fn list(
        &self,
        prefix: String,
        after: Option<String>,
        count: usize,
    ) -> BlobFuture<'_, Vec<(String, u64)>> {
        Box::pin(async move {
            let root = self.path(&prefix);
            let mut objects = match after {
                Some(after) => self.store.list_with_offset(Some(&root), &self.path(&after)),
                None => self.store.list(Some(&root)),
            };
            let mut found = Vec::new();
            while let Some(object) = objects.try_next().await.map_err(|e| failed(&e))? {
                let Some(key) = object.location.prefix_match(&self.prefix) else { continue };
                let key: Path = key.collect();
                found.push((key.to_string(), object.size));
                if self.is_sorted && found.len() >= count {
                    break;
                }
            }
            found.sort_unstable();
            Ok(found)
        })
    }
}

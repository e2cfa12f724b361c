//! One shard on a light node's storage, as somebody whom the light node lets in sees it: a cell, or a probe.

use crate::{
    keys::{CELL_TERM, Keys, cells_lake},
    lookup::CELL_BYTES_MIN,
    relay::{Tunnel, Way},
};
use bytes::Bytes;
use prunedb_access::{CAPABILITY_BYTES, Credentials, PublicKey, Scope, SignedCapability};
use prunedb_core::{Digest, ShardId};
use prunedb_registry::Key;
use prunedb_store::{GET_BYTES_MAX, NodeOptions, NodeStore, PutMode, ShardStore, StoreError};
use std::io::{self, Read};

/// Bytes that are sent, or asked for, at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Ranges of a probe that are read back.
const PROBE_READS: u64 = 16;

/// Why a cell cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CellError {
    /// The bytes are no capability for one shard of the light node's.
    #[error("what the light node {0} gave is no capability for a cell of its own")]
    Capability(Key),
    /// The light node's storage.
    #[error("the light node's storage: {0}")]
    Storage(#[from] StoreError),
    /// The way to it.
    #[error("no way to the light node: {0}")]
    Way(#[source] io::Error),
    /// What is to be stored cannot be read.
    #[error("what is to be stored cannot be read: {0}")]
    Content(#[source] io::Error),
    /// The light node has less than it offers.
    #[error("{claimed} bytes are offered, {found} are free")]
    Capacity {
        /// what it offers
        claimed: u64,
        /// what is free
        found: u64,
    },
    /// What came back is not what was written.
    #[error("what came back is not what was written ({what})")]
    Differs {
        /// which part
        what: String,
    },
}

/// The shard.
pub(crate) struct CellStore {
    store: NodeStore,
    id: ShardId,
    /// closes with it
    _tunnel: Option<Tunnel>,
}

impl CellStore {
    /// The shard that a capability is about; `way`: how to a light node that is not reached directly.
    pub(crate) async fn open(
        endpoint: &str,
        way: Option<Way>,
        light: Key,
        capability: &[u8; CAPABILITY_BYTES],
        keys: &Keys,
    ) -> Result<Self, CellError> {
        let wrong = || CellError::Capability(light);
        let capability = SignedCapability::decode(capability).ok_or_else(wrong)?;
        let claims = capability.verify(&PublicKey(light.0)).map_err(|_| wrong())?;
        let Scope::Shard(id) = claims.scope else { return Err(wrong()) };
        if id.lake != cells_lake(light) || claims.holder.0 != keys.key().0 {
            return Err(wrong());
        }
        let tunnel = match way {
            None => None,
            Some(way) => Some(Tunnel::open(way, light).await.map_err(CellError::Way)?),
        };
        let server =
            tunnel.as_ref().map_or_else(|| endpoint.into(), |t| t.local_addr().to_string());
        let credentials = Credentials::given(keys.identity_again(), capability);
        let name = format!("light node {light} at {endpoint}");
        let key = PublicKey(light.0);
        let store = NodeStore::with_tls(name, server, key, credentials, NodeOptions::default());
        Ok(Self { store, id, _tunnel: tunnel })
    }

    /// Writes the content, filled up with zeros to `bytes`; the root.
    pub(crate) async fn write(
        &self,
        mut content: impl Read,
        bytes: u64,
    ) -> Result<Digest, CellError> {
        let mut upload = self.store.put(self.id, CELL_TERM, bytes, PutMode::IfAbsent).await?;
        let mut hasher = blake3::Hasher::new();
        let mut left = bytes;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let mut chunk = Vec::with_capacity(length);
            content
                .by_ref()
                .take(length as u64)
                .read_to_end(&mut chunk)
                .map_err(CellError::Content)?;
            chunk.resize(length, 0);
            hasher.update(&chunk);
            upload.write(chunk.into()).await?;
            left -= length as u64;
        }
        let root = Digest(*hasher.finalize().as_bytes());
        upload.commit(root).await?;
        Ok(root)
    }

    /// Reads a range; refuses one that is shorter than asked for.
    pub(crate) async fn read(&self, offset: u64, bytes: usize) -> Result<Bytes, CellError> {
        let asked = u32::try_from(bytes).unwrap_or(u32::MAX).min(GET_BYTES_MAX);
        let found = self.store.get(self.id, offset, asked).await?;
        if found.len() != asked as usize {
            return Err(CellError::Differs { what: format!("{asked} bytes at {offset}") });
        }
        Ok(found)
    }

    /// Reads all of it, piece by piece.
    ///
    /// # Errors
    /// [`CellError::Differs`] where it is not the content of this root; what was given to `take` is not to be used then.
    pub(crate) async fn read_all(
        &self,
        bytes: u64,
        root: &Digest,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), CellError> {
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < bytes {
            let length = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let found = self.read(offset, length).await?;
            hasher.update(&found);
            take(&found).map_err(CellError::Content)?;
            offset += length as u64;
        }
        let found = Digest(*hasher.finalize().as_bytes());
        if found != *root {
            return Err(CellError::Differs { what: format!("root {found}, expected {root}") });
        }
        Ok(())
    }

    /// Checks a capacity by a sample: so much is said to be free, and `probe_bytes` of noise are written, read back in part
    /// and deleted. What was written.
    ///
    /// # Errors
    /// [`CellError::Capacity`], [`CellError::Differs`] and those of the storage.
    pub(crate) async fn probe(
        &self,
        claimed: u64,
        probe_bytes: u64,
        seed: &[u8; 32],
    ) -> Result<u64, CellError> {
        let space = self.store.space().await?;
        let found = space.capacity_bytes.saturating_sub(space.used_bytes);
        if found < claimed {
            return Err(CellError::Capacity { claimed, found });
        }
        let bytes = probe_bytes.min(claimed).max(CELL_BYTES_MIN);
        let noise = Noise(blake3::Hasher::new_keyed(seed).finalize_xof());
        self.write(noise, bytes).await?;
        let length = usize::try_from(bytes).unwrap_or(usize::MAX).min(CHUNK_BYTES / 4);
        for turn in 0..PROBE_READS {
            // where they lie is as little known beforehand as the noise
            let drawn = blake3::keyed_hash(seed, &turn.to_le_bytes());
            let drawn = u64::from_le_bytes(*drawn.as_bytes().first_chunk().expect("8 of 32"));
            let offset = drawn % (bytes - length as u64 + 1);
            let found = self.read(offset, length).await?;
            let mut expected = vec![0; length];
            let mut noise = blake3::Hasher::new_keyed(seed).finalize_xof();
            noise.set_position(offset);
            noise.fill(&mut expected);
            if found != expected {
                return Err(CellError::Differs { what: format!("{length} bytes at {offset}") });
            }
        }
        self.store.delete(self.id, CELL_TERM).await?;
        Ok(bytes)
    }
}

/// Bytes that nobody can make without the seed.
struct Noise(blake3::OutputReader);

impl Read for Noise {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.fill(out);
        Ok(out.len())
    }
}

//! What, beside a lake key, fixes the bytes of a container's shards.

use crate::{CodecVersion, UnknownCodec};
use prunedb_core::{ContainerId, Digest, Generation, LakeId, Policy};
use prunedb_format::manifest::StreamEntry;

/// Which container of which lake, and how it is coded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamParams {
    /// its lake
    pub lake: LakeId,
    /// which container
    pub container: ContainerId,
    /// p+q
    pub policy: Policy,
    /// how its frames are compressed
    pub codec: CodecVersion,
    /// generation of the lake key
    pub generation: Generation,
}

impl StreamParams {
    /// What the manifest says of a container of this lake.
    ///
    /// # Errors
    /// [`UnknownCodec`] where a newer program wrote it.
    pub fn of_entry(
        lake: LakeId,
        entry: &StreamEntry,
    ) -> Result<(Self, CodedStream), UnknownCodec> {
        let codec = CodecVersion::new(entry.codec)?;
        let StreamEntry { id: container, policy, generation, .. } = *entry;
        let (container_bytes, coded_bytes) = (entry.container_bytes, entry.coded_bytes);
        let stream = CodedStream { container_bytes, coded_bytes, digest: entry.stream_digest };
        Ok((Self { lake, container, policy, codec, generation }, stream))
    }
}

/// A coded stream: the compressed frames of a container, one after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodedStream {
    /// length of the container
    pub container_bytes: u64,
    /// length of the stream
    pub coded_bytes: u64,
    /// BLAKE3 of the stream. A hash of plaintext: it stays where the plaintext may be known
    pub digest: Digest,
}

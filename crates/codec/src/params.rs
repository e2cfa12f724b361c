//! What, beside a lake key, fixes the bytes of a container's shards.

use crate::CodecVersion;
use prunedb_core::{ContainerId, Digest, Generation, LakeId, Policy};

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

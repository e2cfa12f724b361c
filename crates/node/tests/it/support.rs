//! Small helpers of all tests.

use prunedb_core::{ContainerId, Digest, LakeId, ShardId, ShardIndex, Term};
pub(crate) use prunedb_disk::faulty::{Chance, FaultyDisk, Unsynced};
use prunedb_node::{Node, NodeConfig, NodeError, PutMode};
use std::sync::Arc;

pub(crate) const LAKE: LakeId = LakeId(*b"a lake for tests");
pub(crate) const FIRST: &str = "/node/segments/00000000.seg";
pub(crate) const PAGE: usize = 4096;

pub(crate) fn config() -> NodeConfig {
    let mut config = NodeConfig::new("127.0.0.1:0".parse().unwrap(), "/node", 1 << 30);
    config.mark_seed = Some([7; 32]);
    config
}

pub(crate) fn open(disk: &FaultyDisk) -> Node {
    open_with(config(), disk)
}

pub(crate) fn open_with(config: NodeConfig, disk: &FaultyDisk) -> Node {
    Node::open(config, Arc::new(disk.clone())).unwrap()
}

pub(crate) fn id(number: u32) -> ShardId {
    ShardId { lake: LAKE, container: ContainerId::data(number), index: ShardIndex(3) }
}

/// Bytes that depend on the seed, and do not repeat.
pub(crate) fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut out = vec![0; count];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

pub(crate) fn name(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

pub(crate) fn put(node: &Node, id: ShardId, term: u64, shard: &[u8]) -> Result<(), NodeError> {
    put_as(node, id, term, shard, PutMode::IfAbsent)
}

pub(crate) fn put_as(
    node: &Node,
    id: ShardId,
    term: u64,
    shard: &[u8],
    mode: PutMode,
) -> Result<(), NodeError> {
    let mut upload = node.put(id, Term(term), shard.len() as u64, mode)?;
    for (nth, piece) in shard.chunks(100_000).enumerate() {
        upload.write(nth as u64 * 100_000, piece)?;
    }
    upload.commit(name(shard), Term(term))
}

pub(crate) fn get(node: &Node, id: ShardId) -> Result<Vec<u8>, NodeError> {
    let info = node.stat(id).unwrap().ok_or(NodeError::Absent { id })?;
    let read = node.get(id, 0, u32::try_from(info.bytes).unwrap())?;
    assert_eq!(name(&read), info.name, "{id}: a range that is not the shard's");
    Ok(read.into())
}

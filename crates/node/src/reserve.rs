//! Shards that the node's own machine makes: whoever else puts one is refused before a byte of it is sent.

use crate::{Node, NodeError, PutMode, Upload};
use prunedb_core::{ShardId, Term};
use std::fmt::Debug;

/// Says which shards the node's own machine makes, from a copy of the history that it has itself.
pub trait Reserve: Debug + Send + Sync {
    /// Whether a shard that somebody wants to put over the network is to be made here. It is asked where the shard is not here,
    /// or is to be replaced; to be brief.
    fn is_reserved(&self, id: ShardId) -> bool;

    /// How many shards were made here, and their bytes.
    fn made(&self) -> (u64, u64);
}

impl Node {
    /// As [`Node::put`], for who comes over the network.
    ///
    /// # Errors
    /// [`NodeError::Reserved`], and those of [`Node::put`].
    pub(crate) fn put_of_client(
        &self,
        id: ShardId,
        term: Term,
        shard_bytes: u64,
        mode: PutMode,
    ) -> Result<Upload, NodeError> {
        if let Some(reserve) = &self.config().reserve {
            let is_fine = match self.inner.entry(id)? {
                // told that it is here; nothing is sent
                Some(_) if mode == PutMode::IfAbsent => true,
                // a copy that this node knows to be bad is as good as none
                stored => stored.is_some_and(|entry| entry.damaged),
            };
            if !is_fine && reserve.is_reserved(id) {
                return Err(NodeError::Reserved { id });
            }
        }
        self.put(id, term, shard_bytes, mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeConfig;
    use prunedb_core::{ContainerId, Digest, LakeId, ShardIndex};
    use prunedb_disk::faulty::FaultyDisk;
    use std::sync::Arc;

    #[derive(Debug)]
    struct DataShards;

    impl Reserve for DataShards {
        fn is_reserved(&self, id: ShardId) -> bool {
            id.container == ContainerId::data(1)
        }

        fn made(&self) -> (u64, u64) {
            (0, 0)
        }
    }

    #[test]
    fn a_reserved_shard_is_put_by_this_machine_only() {
        let mut config = NodeConfig::new(([127, 0, 0, 1], 0).into(), "/node", 1 << 30);
        config.reserve = Some(Arc::new(DataShards));
        let node = Node::open(config, Arc::new(FaultyDisk::new(1))).unwrap();
        let shard = |number| ShardId {
            lake: LakeId([1; 16]),
            container: ContainerId::data(number),
            index: ShardIndex(0),
        };
        let bytes = vec![7; 4096];
        let name = Digest(*blake3::hash(&bytes).as_bytes());
        let store = |mut upload: Upload| {
            upload.write(0, &bytes).unwrap();
            upload.commit(name, Term(1)).unwrap();
        };
        let length = bytes.len() as u64;
        let put = |id, mode| node.put_of_client(id, Term(1), length, mode);
        store(put(shard(2), PutMode::IfAbsent).unwrap());
        for mode in [PutMode::IfAbsent, PutMode::Replace] {
            let refused = put(shard(1), mode);
            assert!(matches!(refused, Err(NodeError::Reserved { .. })), "{refused:?}");
        }
        store(node.put(shard(1), Term(1), length, PutMode::IfAbsent).unwrap());
        // it is here: nothing has to be sent, and nothing is replaced
        assert_eq!(put(shard(1), PutMode::IfAbsent).unwrap().stored(), Some(name));
        assert!(matches!(put(shard(1), PutMode::Replace), Err(NodeError::Reserved { .. })));
    }
}

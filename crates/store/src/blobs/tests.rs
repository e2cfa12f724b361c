use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn an_entry_comes_back_and_arbitrary_bytes_never_panic(
        bytes in any::<u64>(), term in any::<u64>(), upload in any::<u64>(), chunk_bytes in 1u32..,
        garbage in proptest::collection::vec(any::<u8>(), 0..70),
    ) {
        let meta = Meta { bytes, term: Term(term), name: Digest([7; 32]), upload, chunk_bytes };
        prop_assert_eq!(Meta::decode(&meta.encode()), Some(meta));
        let _any_entry = Meta::decode(&garbage);
    }

    #[test]
    fn keys_sort_as_shards_do(
        mut shards in proptest::collection::vec((0u8..3, any::<u32>(), any::<u8>()), 1..20),
    ) {
        let kinds = [ContainerKind::Data, ContainerKind::Manifest, ContainerKind::Index];
        let lake = LakeId([3; 16]);
        let mut ids: Vec<ShardId> = shards
            .drain(..)
            .map(|(kind, number, index)| ShardId {
                lake,
                container: ContainerId { kind: kinds[usize::from(kind)], number },
                index: ShardIndex(index),
            })
            .collect();
        let mut keys: Vec<String> = ids.iter().map(|id| meta_key(*id)).collect();
        keys.sort();
        ids.sort();
        let found: Vec<ShardId> = keys.iter().map(|key| shard_of(lake, key).unwrap()).collect();
        prop_assert_eq!(found, ids);
    }
}

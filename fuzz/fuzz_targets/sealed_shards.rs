//! Sealed shards of one container, damaged as the input says: what comes back is the container, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prunedb_codec::{
    CodecVersion, CodedStream, Encoder, FrameTable, LakeSecret, MemorySpool, OpenError, Opener,
    ShardBuffers, StreamParams, compress, decode_container,
};
use prunedb_core::{ContainerId, ContainerKind, Generation, Policy, ShardIndex};
use prunedb_erasure::ReedSolomon;
use std::{
    num::NonZero,
    sync::{Arc, LazyLock},
};
use zeroize::Zeroizing;

const POLICY: (usize, usize) = (4, 3);
const CONTAINER_BYTES: usize = 40_000;

struct Sealed {
    container: Vec<u8>,
    table: FrameTable,
    opener: Opener,
    code: Arc<ReedSolomon>,
    shards: Vec<Vec<u8>>,
}

static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let container: Vec<u8> = (0..CONTAINER_BYTES).map(|i| (i * i >> 7) as u8).collect();
    let key = LakeSecret::new(Zeroizing::new([3; 32])).lake_key(Generation(1));
    let policy = Policy::new(POLICY.0, POLICY.1).expect("a policy");
    let (codec, id) = (CodecVersion::CURRENT, ContainerId::data(7));
    let params =
        StreamParams { lake: key.lake(), container: id, policy, codec, generation: Generation(1) };
    let mut spool = MemorySpool::default();
    let length = container.len() as u64;
    let (table, stream): (FrameTable, CodedStream) =
        compress(&container, length, ContainerKind::Data, codec, NonZero::<usize>::MIN, &mut spool)
            .expect("memory");
    let code = Arc::new(ReedSolomon::new(POLICY.0, POLICY.1).expect("a code"));
    let mut encoder =
        Encoder::new(&key, params, stream, code.clone()).expect("they belong together");
    let rows = encoder.layout().leaves_per_shard();
    let run_bytes = encoder.layout().shard_bytes() as usize;
    let mut buffers = ShardBuffers::new(policy.total_shards(), run_bytes);
    let mut runs: Vec<_> = buffers.runs_mut().collect();
    encoder.encode_rows(&spool, 0..rows, &mut runs).expect("memory");
    let shards = runs.into_iter().map(|run| run.to_vec()).collect();
    let opener = Opener::new(&key, params, stream).expect("they belong together");
    Sealed { container, table, opener, code, shards }
});

fuzz_target!(|input: (Vec<(u8, u8)>, Vec<(u8, u16, u8)>, u8, u64, &[u8])| {
    let (given, flips, shard, first_leaf, noise) = input;
    let sealed = &*SEALED;
    let mut shards = sealed.shards.clone();
    for (shard, at, bits) in flips {
        let bytes = &mut shards[usize::from(shard) % POLICY.0];
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= bits;
    }
    // some shards, in any order, some of them cut short, some of them twice, some that are not there
    let given: Vec<(ShardIndex, &[u8])> = given
        .iter()
        .take(12)
        .map(|&(shard, cut)| {
            let bytes = shards.get(usize::from(shard)).map_or(noise, Vec::as_slice);
            (ShardIndex(shard), &bytes[..bytes.len() - usize::from(cut).min(bytes.len())])
        })
        .collect();
    if let Ok(decoded) = decode_container(&sealed.opener, &sealed.code, &sealed.table, &given) {
        assert!(decoded.bytes == sealed.container, "wrong bytes");
    }
    // leaves that nobody sealed
    let mut out = Vec::new();
    match sealed.opener.open_leaves(ShardIndex(shard), first_leaf, noise, &mut out) {
        Ok(()) => assert!(noise.is_empty()),
        Err(OpenError::Leaf { shard: found, leaf, .. }) => {
            assert!(found == ShardIndex(shard) && leaf >= first_leaf);
        }
        Err(_) => {}
    }
    assert!(out.is_empty());
});

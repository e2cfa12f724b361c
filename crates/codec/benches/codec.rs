//! GB/s per core of each stage of the codec, and of all of them fused: `cargo bench -p prunedb-codec -- 16+4 20+80`.
//!
//! Thread CPU time, best of several runs, so that a busy machine disturbs little. `encode`, `fused` and `whole` count input
//! bytes, `seal`, `open` and `hash` shard bytes. `sum` is what the parts would give one after another in the cache; the
//! share beside `fused` is of that. With PRUNEDB_CORPUS set, `compress` runs over its Ethereum blocks.

use bytes::BytesMut;
use prunedb_codec::{
    CodecVersion, CodedStream, Encoder, LakeSecret, MemorySpool, Opener, RowHasher, StreamParams,
    compress,
};
use prunedb_core::{ContainerId, ContainerKind, Digest, Generation, Policy, ShardIndex};
use prunedb_erasure::ReedSolomon;
use std::{hint::black_box, num::NonZero, path::Path, sync::Arc};
use zeroize::Zeroizing;

const INPUT_BYTES: usize = 64 << 20;
const LEAF_BYTES: usize = 16_384;
const PAYLOAD_BYTES: usize = LEAF_BYTES - 16;
/// Rows encoded at once; their leaves are what the ring to the nodes would hold.
const ROWS_AT_ONCE: u64 = 1;
const RUNS: usize = 7;

fn main() {
    let mut policies: Vec<Policy> =
        std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    if policies.is_empty() {
        policies = ["16+4", "20+80"].map(|text| text.parse().expect("a policy")).to_vec();
    }
    let mut input = vec![0; INPUT_BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut input);

    let mut copy = vec![1; INPUT_BYTES];
    let memcpy = gbps(INPUT_BYTES, || black_box(&mut copy).copy_from_slice(black_box(&input)));
    println!("memcpy (64 MB)             {memcpy:7.2} GB/s");
    drop(copy);
    let blocks = blocks();
    let compressed = compress_gbps(&blocks);
    println!("compress ({:3} MB)          {compressed:7.2} GB/s", blocks.len() >> 20);
    let spool = spool_of(&input);
    for policy in policies {
        measure(policy, &spool, compressed);
    }
}

fn measure(policy: Policy, spool: &MemorySpool, compressed: f64) {
    let (p, n) = (policy.data_shards(), policy.total_shards());
    let key = LakeSecret::new(Zeroizing::new([1; 32])).lake_key(Generation(1));
    let (lake, container) = (key.lake(), ContainerId::data(1));
    let codec = CodecVersion::CURRENT;
    let params = StreamParams { lake, container, policy, codec, generation: Generation(1) };
    let bytes = INPUT_BYTES as u64;
    let stream =
        CodedStream { container_bytes: bytes, coded_bytes: bytes, digest: Digest([1; 32]) };
    let code = Arc::new(ReedSolomon::new(p, policy.parity_shards()).expect("a policy has a code"));
    let opener = Opener::new(&key, params, stream).expect("they belong together");

    // the parts, in the cache
    let data = vec![vec![3u8; PAYLOAD_BYTES + 1088]; p];
    let mut parity = vec![vec![0u8; PAYLOAD_BYTES + 1088]; policy.parity_shards()];
    let repeat = INPUT_BYTES / (p * PAYLOAD_BYTES);
    let encode = gbps(repeat * p * PAYLOAD_BYTES, || {
        for _ in 0..repeat {
            let data: Vec<_> =
                data.iter().enumerate().map(|(i, d)| &d[i % 17 * 64..][..PAYLOAD_BYTES]).collect();
            let mut parity: Vec<_> = parity
                .iter_mut()
                .enumerate()
                .map(|(i, d)| &mut d[(i + p) % 17 * 64..][..PAYLOAD_BYTES])
                .collect();
            code.encode(black_box(&data), &mut parity).expect("they fit");
        }
    });
    let payload = vec![5; PAYLOAD_BYTES];
    let mut leaf = Vec::with_capacity(LEAF_BYTES);
    let seal = gbps(1000 * LEAF_BYTES, || {
        for _ in 0..1000 {
            leaf.clear();
            opener.seal_leaves(ShardIndex(0), 1, black_box(&payload), &mut leaf).expect("a leaf");
        }
    });
    let mut opened = Vec::with_capacity(PAYLOAD_BYTES);
    let open = gbps(1000 * LEAF_BYTES, || {
        for _ in 0..1000 {
            opened.clear();
            opener.open_leaves(ShardIndex(0), 1, black_box(&leaf), &mut opened).expect("a leaf");
        }
    });
    let rows = INPUT_BYTES.div_ceil(n * LEAF_BYTES);
    let row = vec![leaf.clone(); n];
    let hasher = gbps(rows * n * LEAF_BYTES, || {
        let mut hashers = vec![blake3::Hasher::new(); n];
        for _ in 0..rows {
            for (hasher, leaf) in hashers.iter_mut().zip(black_box(&row)) {
                hasher.update(leaf);
            }
        }
        black_box(hashers.iter().map(blake3::Hasher::finalize).collect::<Vec<_>>());
    });
    let hash = gbps(rows * n * LEAF_BYTES, || {
        let mut hasher = RowHasher::new(n, rows as u64, LEAF_BYTES);
        for _ in 0..rows {
            for (shard, leaf) in black_box(&row).iter().enumerate() {
                hasher.leaf(shard, leaf);
            }
            hasher.end_row();
        }
        black_box(hasher.finish());
    });

    let mut ring = vec![BytesMut::new(); n];
    let fused = gbps(INPUT_BYTES, || {
        let mut encoder =
            Encoder::new(&key, params, stream, code.clone()).expect("they belong together");
        let rows = encoder.layout().leaves_per_shard();
        while encoder.next_row() < rows {
            let next = encoder.next_row();
            ring.iter_mut().for_each(BytesMut::clear);
            let end = rows.min(next + ROWS_AT_ONCE);
            encoder.encode_rows(spool, next..end, &mut ring).expect("rows in order");
        }
        black_box(encoder.finish().expect("every row"));
    });
    let shards_per_input = n as f64 / p as f64;
    let sum = 1.0 / (1.0 / encode + shards_per_input * (1.0 / seal + 1.0 / hash));
    let whole = 1.0 / (1.0 / compressed + 1.0 / fused);
    println!("{policy}");
    println!("  encode (in cache)        {encode:7.2} GB/s, kernel {}", code.kernel());
    println!("  seal                     {seal:7.2}");
    println!("  open                     {open:7.2}");
    println!(
        "  hash                     {hash:7.2} ({:.2} of Hasher's {hasher:.2})",
        hash / hasher
    );
    println!("  sum                      {sum:7.2}");
    println!("  fused                    {fused:7.2} ({:.2} of sum)", fused / sum);
    println!("  whole                    {whole:7.2}");
}

fn compress_gbps(blocks: &[u8]) -> f64 {
    gbps(blocks.len(), || {
        let mut spool = MemorySpool::with_capacity(blocks.len());
        let one = NonZero::<usize>::MIN;
        let codec = CodecVersion::CURRENT;
        let made =
            compress(&blocks, blocks.len() as u64, ContainerKind::Data, codec, one, &mut spool);
        black_box(made.expect("memory does not fail"));
    })
}

fn spool_of(bytes: &[u8]) -> MemorySpool {
    let mut spool = MemorySpool::with_capacity(bytes.len());
    prunedb_codec::Spool::append(&mut spool, bytes).expect("memory does not fail");
    spool
}

/// Up to 16 MB of Ethereum blocks, or bytes half of which repeat.
fn blocks() -> Vec<u8> {
    let corpus = std::env::var_os("PRUNEDB_CORPUS").map(|dir| Path::new(&dir).join("ethereum/rlp"));
    let mut out = Vec::new();
    for entry in corpus.iter().flat_map(std::fs::read_dir).flatten().flatten() {
        out.extend(std::fs::read(entry.path()).unwrap_or_default());
    }
    if out.is_empty() {
        println!("PRUNEDB_CORPUS is not set: `compress` runs over generated bytes");
        out.resize(16 << 20, 0);
        for (index, chunk) in out.chunks_mut(64).enumerate() {
            if index % 2 == 0 {
                blake3::Hasher::new().update(&index.to_le_bytes()).finalize_xof().fill(chunk);
            }
        }
    }
    out.truncate(16 << 20);
    out
}

/// Bytes over the least thread CPU time of several runs.
fn gbps(bytes: usize, mut work: impl FnMut()) -> f64 {
    let least = (0..RUNS)
        .map(|_| {
            let start = thread_seconds();
            work();
            thread_seconds() - start
        })
        .fold(f64::INFINITY, f64::min);
    bytes as f64 / least / 1e9
}

fn thread_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

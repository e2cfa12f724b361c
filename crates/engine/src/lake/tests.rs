//! Slow, hanging and far nodes, on a clock that only moves while everybody waits: figures are exact and repeatable.

use super::{upload::run, *};
use prunedb_codec::{CodecVersion, CodedStream, Encoder, Key, MemorySpool, StreamParams};
use prunedb_core::{Generation, ShardId};
use prunedb_format::manifest::StreamEntry;
use prunedb_store::{MemoryStore, conformance::SlowStore};
use std::{collections::BTreeMap, num::NonZero};

/// A lake on nodes whose latency can be set.
struct World {
    lake: Arc<Lake>,
    slow: Vec<SlowStore>,
    memory: Vec<MemoryStore>,
    policy: Policy,
}

/// A container as it was stored.
#[derive(Debug)]
struct Stored {
    stream: StreamEntry,
    coded: Vec<u8>,
    missing: Vec<ShardIndex>,
}

const GENERATION: Generation = Generation(0);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl World {
    fn new(policy: &str, nodes: usize) -> Self {
        let policy: Policy = policy.parse().unwrap();
        let node_count = u32::try_from(nodes).unwrap();
        let names: Vec<String> = (0..nodes).map(|n| format!("node-{n:03}")).collect();
        let memory: Vec<MemoryStore> =
            names.iter().map(|name| MemoryStore::new(name.clone())).collect();
        let slow: Vec<SlowStore> =
            memory.iter().map(|m| SlowStore::new(Arc::new(m.clone()))).collect();
        let by_name: BTreeMap<String, SlowStore> =
            names.iter().cloned().zip(slow.iter().cloned()).collect();
        let secret = LakeSecret::new(Key::new([9; 32]));
        let connect = move |name: &str| Arc::new(by_name[name].clone()) as Arc<dyn ShardStore>;
        let slots = u32::try_from(policy.total_shards()).unwrap();
        let groups = (0..2)
            .map(|first| Group {
                policy,
                slots: (first..first + slots).map(|n| n % node_count).collect(),
            })
            .collect();
        let lake = Lake::new(
            secret,
            tokio::runtime::Handle::current().into(),
            &names,
            groups,
            &BTreeMap::new(),
            &connect,
            0,
        );
        Self { lake: Arc::new(lake), slow, memory, policy }
    }

    /// Stores a container of so many random bytes in a group.
    async fn store(&self, number: u32, group: u32, bytes: usize) -> Result<Stored, Error> {
        let id = ContainerId::data(number);
        let mut container = vec![0; bytes];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut container);
        let codec = CodecVersion::CURRENT;
        let mut spool = MemorySpool::with_capacity(bytes);
        let one = NonZero::<usize>::MIN;
        let (_, coded): (_, CodedStream) =
            prunedb_codec::compress(&container, bytes as u64, id.kind, codec, one, &mut spool)
                .unwrap();
        let lake = &self.lake;
        let params = StreamParams {
            lake: lake.id,
            container: id,
            policy: self.policy,
            codec,
            generation: GENERATION,
        };
        let key = lake.secret.lake_key(GENERATION);
        let encoder = Encoder::new(&key, params, coded, lake.code(self.policy)).unwrap();
        let uploaded = run(lake, params, encoder, &spool, group, Term(1), false).await?.uploaded?;
        let stream = StreamEntry {
            id,
            policy: self.policy,
            codec: codec.number(),
            generation: GENERATION,
            group,
            term: Term(1),
            container_bytes: bytes as u64,
            coded_bytes: coded.coded_bytes,
            stream_digest: coded.digest,
            root: uploaded.encoded.root,
        };
        Ok(Stored { stream, coded: spool.as_slice().to_vec(), missing: uploaded.missing })
    }

    fn shards(&self, stored: &Stored) -> Shards {
        Shards::new(&self.lake, &stored.stream).unwrap()
    }

    fn asked_bytes(&self) -> u64 {
        self.slow.iter().map(SlowStore::asked_bytes).sum()
    }
}

/// Reads bytes of the coded stream, and says how long it took.
async fn read(shards: &Shards, stored: &Stored, range: std::ops::Range<usize>) -> Duration {
    let start = Instant::now();
    let found = shards.coded(range.start as u64..range.end as u64).await.unwrap();
    assert!(found == stored.coded[range]);
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_holds_an_upload_up_once_and_a_little() {
    let world = World::new("16+4", 20);
    world.slow.iter().for_each(|node| node.set_uploads(|| ms(1)));
    let start = Instant::now();
    assert_eq!(world.store(0, 0, 40_000_000).await.unwrap().missing, []);
    let healthy = start.elapsed();
    world.slow[7].set_uploads(|| SlowStore::HANGS);
    let start = Instant::now();
    let stored = world.store(1, 0, 40_000_000).await.unwrap();
    assert_eq!(stored.missing, [ShardIndex(7)]);
    let first = start.elapsed();
    assert!(first <= healthy + ms(250), "{first:?} instead of {healthy:?}");
    // from now on it is left alone for a while
    let start = Instant::now();
    assert_eq!(world.store(2, 0, 40_000_000).await.unwrap().missing, [ShardIndex(7)]);
    assert!(start.elapsed() <= healthy);
    // then it is tried again
    world.slow[7].set_uploads(|| ms(1));
    tokio::time::sleep(ms(6000)).await;
    assert_eq!(world.store(3, 0, 40_000_000).await.unwrap().missing, []);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_in_its_commit_is_left_to_repair() {
    let world = World::new("4+2", 6);
    // a shard of one chunk: begin, write, and then the commit that never comes
    let mut step = 0;
    world.slow[2].set_uploads(move || {
        step += 1;
        if step < 3 { Duration::ZERO } else { SlowStore::HANGS }
    });
    let start = Instant::now();
    assert_eq!(world.store(0, 0, 100_000).await.unwrap().missing, [ShardIndex(2)]);
    assert!(start.elapsed() <= ms(1000), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_pace_is_that_of_the_nodes_that_are_needed() {
    // 18 of 20 are needed: with four slow ones two of these are waited for, and all go on that keep up with them
    let world = World::new("16+4", 20);
    for node in [0, 5, 10, 15] {
        world.slow[node].set_uploads(|| ms(100));
    }
    let stored = world.store(0, 0, 40_000_000).await.unwrap();
    assert_eq!(stored.missing, []);
    // with as many hanging as are needed nothing is stored, and the nodes are named
    for node in [1, 2, 3] {
        world.slow[node].set_uploads(|| SlowStore::HANGS);
    }
    let error = world.store(1, 0, 40_000_000).await.unwrap_err();
    assert!(matches!(error, Error::Offload { needed: 18, .. }), "{error}");
    assert!(error.to_string().contains("node-002"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_read_from_a_node_that_hangs_is_hedged_and_then_not_tried_there() {
    let world = World::new("4+2", 6);
    let stored = world.store(0, 0, 4_000_000).await.unwrap();
    world.slow.iter().for_each(|node| node.set_reads(|| ms(20)));
    let shards = world.shards(&stored);
    for _ in 0..20 {
        for slice in 0..4 {
            read(&shards, &stored, slice * 1_050_000..slice * 1_050_000 + 1000).await;
        }
    }
    world.slow[1].set_reads(|| SlowStore::HANGS);
    let mut took = Vec::new();
    for _ in 0..5 {
        took.push(read(&shards, &stored, 1_200_000..1_201_000).await);
        tokio::task::yield_now().await; // what was cancelled is dropped
    }
    // twice its median and a read of the others; after three times the others at once
    assert!(took[..3].iter().all(|t| (ms(60)..ms(70)).contains(t)), "{took:?}");
    assert!(took[3..].iter().all(|t| (ms(20)..ms(25)).contains(t)), "{took:?}");
    // it answers again: after a while it is asked again
    world.slow[1].set_reads(|| ms(20));
    tokio::time::sleep(ms(5000)).await;
    let before = world.slow[1].asked();
    read(&shards, &stored, 1_200_000..1_201_000).await;
    assert_eq!(world.slow[1].asked(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn eighty_of_a_hundred_nodes_may_hang() {
    let world = World::new("20+80", 100);
    let stored = world.store(0, 0, 400_000).await.unwrap();
    world.slow.iter().for_each(|node| node.set_reads(|| ms(20)));
    world.slow[..80].iter().for_each(|node| node.set_reads(|| SlowStore::HANGS));
    let shards = world.shards(&stored);
    let first = read(&shards, &stored, 0..1000).await;
    // the own node, 25 others, and then a wave of five every 250 ms
    assert!(first <= ms(250) * 17, "{first:?}");
    for _ in 0..3 {
        read(&shards, &stored, 0..1000).await;
    }
    let later = read(&shards, &stored, 0..1000).await;
    assert!(later <= ms(30), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn near_nodes_come_first_and_data_shards_before_parity() {
    let world = World::new("4+4", 8);
    let stored = world.store(0, 0, 400_000).await.unwrap();
    for (node, latency) in
        [(0, 200), (1, 10), (2, 10), (3, 200), (4, 10), (5, 10), (6, 10), (7, 200)]
    {
        world.slow[node].set_reads(move || ms(latency));
    }
    let shards = world.shards(&stored);
    let leaves = 0..1;
    for _ in 0..10 {
        for shard in world.policy.shards() {
            shards.any(leaves.clone(), vec![shard], Some(shard), Hurry::Reader).await.unwrap();
        }
    }
    let order: Vec<u8> = shards.order(&[]).iter().map(|s| s.0).collect();
    assert_eq!(order, [1, 2, 4, 5, 6, 0, 3, 7]);
    // a damaged shard and a node that is out of reach come last
    let id = ShardId { lake: world.lake.id, container: stored.stream.id, index: ShardIndex(1) };
    assert!(world.memory[1].falsify(id, 10));
    world.memory[2].set_offline(true);
    read(&shards, &stored, 0..400_000).await;
    let order: Vec<u8> = shards.order(&[]).iter().map(|s| s.0).collect();
    assert_eq!(order, [4, 5, 6, 0, 3, 7, 2, 1]);
    assert_eq!(shards.bad(), [ShardIndex(1)]);
}

/// Random numbers in 0..1, the same in every run.
fn random(seed: u64) -> impl FnMut() -> f64 + Send {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Reads at random, and gives p50, p99 and the traffic in bytes asked for by the byte that was wanted.
async fn measure(world: &World, stored: &Stored, whole: bool) -> (Duration, Duration, f64) {
    let shards = world.shards(stored);
    let layout = shards.layout();
    let mut random = random(77);
    let (before, mut wanted) = (world.asked_bytes(), 0);
    let mut took = Vec::new();
    for _ in 0..2000 {
        if whole {
            let start = Instant::now();
            let leaves = 0..layout.leaves_per_shard();
            shards.any(leaves, shards.order(&[]), None, Hurry::Reader).await.unwrap();
            took.push(start.elapsed());
            wanted += layout.shard_bytes() * world.policy.data_shards() as u64;
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "a share of a length")]
            let at = (random() * (stored.coded.len() - 2000) as f64) as usize;
            took.push(read(&shards, stored, at..at + 1000).await);
            wanted += layout
                .pieces(at as u64..at as u64 + 1000)
                .map(|piece| piece.leaf_count * layout.leaf_bytes() as u64)
                .sum::<u64>();
        }
    }
    took.sort_unstable();
    let traffic = (world.asked_bytes() - before) as f64 / wanted as f64;
    (took[took.len() / 2], took[took.len() * 99 / 100], traffic)
}

/// `cargo test -p prunedb-engine --lib hedged -- --nocapture` prints the figures (docs/benchmarks/reads-under-faults.md).
#[tokio::test(start_paused = true)]
async fn hedged_reads_stay_near_the_healthy_ones_with_slow_nodes() {
    for (policy, nodes) in [("20+80", 100), ("16+4", 20)] {
        for whole in [true, false] {
            let mut healthy_p99 = Duration::ZERO;
            for slow in [0, nodes / 20] {
                let world = World::new(policy, nodes);
                let stored = world.store(0, 0, 320_000).await.unwrap();
                for (number, node) in world.slow.iter().enumerate() {
                    let mut random = random(number as u64 + 1);
                    let factor = if number % 20 == 3 && number / 20 < slow { 20.0 } else { 1.0 };
                    // 20 ms and an exponential tail of 5 ms
                    node.set_reads(move || {
                        Duration::from_secs_f64((0.020 - 0.005 * (1.0 - random()).ln()) * factor)
                    });
                }
                let (p50, p99, traffic) = measure(&world, &stored, whole).await;
                let what = if whole { "whole containers" } else { "single records" };
                println!(
                    "{policy} {what}, {slow} of {nodes} nodes 20x slow: p50 {p50:?} p99 {p99:?} traffic {traffic:.2}"
                );
                if slow == 0 {
                    healthy_p99 = p99;
                } else {
                    assert!(p99 <= healthy_p99 * 3, "{p99:?} against {healthy_p99:?}");
                }
                assert!(!whole || traffic <= 1.3, "{traffic}");
            }
        }
    }
}

//! The whole way: container bytes -> coded stream -> sealed shards -> container bytes.

mod golden;

use crate::{testing::sample_bytes, *};
use proptest::{prelude::*, sample::subsequence};
use prunedb_core::{ContainerId, ContainerKind, Digest, Generation, Policy, ShardIndex};
use prunedb_erasure::{Kernel, ReedSolomon};
use std::{num::NonZero, sync::Arc};
use zeroize::Zeroizing;

/// One container and everything that was made of it.
struct Sealed {
    bytes: Vec<u8>,
    table: FrameTable,
    opener: Opener,
    code: Arc<ReedSolomon>,
    shards: Vec<Vec<u8>>,
    made: EncodedContainer,
}

fn secret() -> LakeSecret {
    LakeSecret::new(Zeroizing::new(*b"a secret for tests, 32 bytes !!!"))
}

fn params(policy: Policy, container: ContainerId) -> StreamParams {
    let (lake, generation) = (secret().lake_id(), Generation(1));
    StreamParams { lake, container, policy, codec: CodecVersion::CURRENT, generation }
}

fn code_of(policy: Policy) -> Arc<ReedSolomon> {
    Arc::new(ReedSolomon::new(policy.data_shards(), policy.parity_shards()).unwrap())
}

fn seal(
    bytes: Vec<u8>,
    policy: &str,
    container: ContainerId,
    threads: usize,
    rows_at_once: u64,
) -> Sealed {
    let policy: Policy = policy.parse().unwrap();
    seal_by(code_of(policy), bytes, policy, container, threads, rows_at_once)
}

fn seal_by(
    code: Arc<ReedSolomon>,
    bytes: Vec<u8>,
    policy: Policy,
    container: ContainerId,
    threads: usize,
    rows_at_once: u64,
) -> Sealed {
    let (params, key) = (params(policy, container), secret().lake_key(Generation(1)));
    let mut spool = MemorySpool::default();
    let threads = NonZero::new(threads).unwrap();
    let length = bytes.len() as u64;
    let (table, stream) =
        compress(&bytes, length, container.kind, params.codec, threads, &mut spool).unwrap();
    let mut encoder = Encoder::new(&key, params, stream, code.clone()).unwrap();
    let mut shards = vec![Vec::new(); policy.total_shards()];
    let rows = encoder.layout().leaves_per_shard();
    while encoder.next_row() < rows {
        let next = encoder.next_row()..rows.min(encoder.next_row() + rows_at_once);
        let run_bytes =
            usize::try_from(next.end - next.start).unwrap() * encoder.layout().leaf_bytes();
        let mut leaves = ShardBuffers::new(policy.total_shards(), run_bytes);
        let mut runs: Vec<_> = leaves.runs_mut().collect();
        encoder.encode_rows(&spool, next, &mut runs).unwrap();
        shards.iter_mut().zip(runs).for_each(|(shard, run)| shard.extend_from_slice(run));
    }
    let made = encoder.finish().unwrap();
    Sealed { bytes, table, opener: Opener::new(&key, params, stream).unwrap(), code, shards, made }
}

impl Sealed {
    fn decode(&self, shards: &[usize]) -> Result<DecodedContainer, DecodeError> {
        let given: Vec<_> = shards.iter().map(|&i| (shard(i), &self.shards[i][..])).collect();
        decode_container(&self.opener, &self.code, &self.table, &given)
    }
}

fn shard(index: usize) -> ShardIndex {
    ShardIndex(u8::try_from(index).unwrap())
}

#[test]
fn names_and_root_are_checked_by_public_facts() {
    for (policy, length) in
        [("2+1", 1_000_000), ("16+4", 3_000_000), ("20+80", 2_000_000), ("3+2", 0)]
    {
        let sealed = seal(sample_bytes(5, length), policy, ContainerId::data(3), 2, 3);
        let layout = sealed.opener.layout();
        for (sealed_shard, name) in sealed.shards.iter().zip(&sealed.made.names) {
            assert_eq!(sealed_shard.len() as u64, layout.shard_bytes());
            assert_eq!(blake3::hash(sealed_shard).as_bytes(), &name.0);
        }
        let facts = sealed.opener.params().facts(sealed.opener.stream(), layout);
        assert_eq!(facts.verify(&sealed.made.names, &sealed.made.root), Ok(()));
    }
}

#[test]
fn the_bytes_depend_on_neither_threads_nor_steps() {
    let bytes = sample_bytes(6, 4_000_000);
    let one = seal(bytes.clone(), "16+4", ContainerId::data(3), 1, 1);
    let other = seal(bytes, "16+4", ContainerId::data(3), 4, 1000);
    assert!(one.shards == other.shards && one.made == other.made && one.table == other.table);
}

#[test]
fn every_kernel_makes_the_same_shards() {
    for (policy, length) in [("16+4", 1_500_000), ("20+80", 1_400_000)] {
        let (policy, bytes) = (policy.parse::<Policy>().unwrap(), sample_bytes(14, length));
        let (p, q) = (policy.data_shards(), policy.parity_shards());
        let mut made = Kernel::available().into_iter().map(|kernel| {
            let code = Arc::new(ReedSolomon::with_kernel(p, q, kernel).unwrap());
            let sealed = seal_by(code, bytes.clone(), policy, ContainerId::data(3), 1, 2);
            (kernel, sealed.shards, sealed.made)
        });
        let (_, shards, names) = made.next().unwrap();
        for (kernel, other_shards, other_names) in made {
            assert!(shards == other_shards && names == other_names, "{policy} on {kernel}");
        }
    }
}

#[test]
fn every_set_of_shards_of_a_small_code_gives_the_container() {
    let sealed = seal(sample_bytes(7, 700_000), "3+2", ContainerId::data(0), 1, 4);
    for set in 0u32..32 {
        let shards: Vec<_> = (0..5).filter(|i| set >> i & 1 == 1).collect();
        match sealed.decode(&shards) {
            Ok(found) => assert!(shards.len() >= 3 && found.bytes == sealed.bytes, "{shards:?}"),
            Err(DecodeError::Rows { found: 0, .. }) => assert!(shards.is_empty()),
            Err(DecodeError::TooFew { needed: 3, whole, leaf: 0, .. }) => {
                assert!(shards.len() < 3 && whole == shards.len(), "{shards:?}");
            }
            Err(other) => panic!("{shards:?}: {other}"),
        }
    }
}

#[test]
fn a_flipped_bit_in_any_leaf_is_found_with_its_place() {
    let sealed = seal(sample_bytes(8, 900_000), "4+2", ContainerId::data(77), 1, 9);
    let (layout, container) = (*sealed.opener.layout(), ContainerId::data(77));
    let mut random = 1u64;
    for index in 0..6 {
        for leaf in 0..layout.leaves_per_shard() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let start = usize::try_from(leaf).unwrap() * layout.leaf_bytes();
            let at = start + usize::try_from(random >> 33).unwrap() % layout.leaf_bytes();
            let mut bad = sealed.shards[index].clone();
            bad[at] ^= 1 << (random >> 30 & 7);
            let mut out = vec![1, 2, 3];
            let found = sealed.opener.open_leaves(shard(index), 0, &bad, &mut out);
            assert_eq!(found, Err(OpenError::Leaf { container, shard: shard(index), leaf }));
            assert_eq!(out, [1, 2, 3]);
        }
    }
}

#[test]
fn damaged_leaves_are_set_aside_while_others_of_their_row_suffice() {
    let mut sealed = seal(sample_bytes(9, 300_000), "4+2", ContainerId::data(1), 1, 9);
    let all = [5, 0, 2, 1, 3, 4];
    // every shard has a damaged leaf, no row has more than two
    let damaged: Vec<_> =
        (0..6).map(|i| DamagedLeaf { shard: shard(i), leaf: i as u64 / 2 * 3 }).collect();
    for bad in &damaged {
        sealed.shards[bad.shard.as_usize()][usize::try_from(bad.leaf).unwrap() * 4096 + 7] ^= 1;
    }
    let found = sealed.decode(&all).unwrap();
    assert!(found.bytes == sealed.bytes);
    // the last row has its data leaves whole: nobody looks at its parity
    assert!(found.damaged.into_iter().eq(damaged.into_iter().take(4)));

    // a shard whose end is missing
    let leaves = sealed.opener.layout().leaves_per_shard();
    let end = sealed.shards[1].len();
    sealed.shards[1].truncate(end - 4097);
    assert!(sealed.decode(&all).unwrap().bytes == sealed.bytes);

    // one damaged leaf too many
    let at = end - 100;
    sealed.shards[0][at] ^= 1;
    sealed.shards[4][at] ^= 1;
    let container = ContainerId::data(1);
    let damaged = vec![shard(0), shard(4)];
    let leaf = leaves - 1;
    let too_few = DecodeError::TooFew { container, leaf, needed: 4, whole: 3, damaged };
    assert_eq!(sealed.decode(&all), Err(too_few));
    assert!(matches!(
        sealed.decode(&[1, 1, 3, 4]),
        Err(DecodeError::Shards { source: RebuildError::Duplicate { .. }, .. })
    ));
    sealed.shards[3].extend_from_slice(&[0; 4096]);
    assert!(matches!(sealed.decode(&all), Err(DecodeError::Leaves(OpenError::Range { .. }))));
}

#[test]
fn rows_arrive_in_any_order_from_any_shards() {
    let sealed = seal(sample_bytes(12, 2_000_000), "5+4", ContainerId::data(1), 1, 9);
    let leaves = usize::try_from(sealed.opener.layout().leaves_per_shard()).unwrap();
    let leaf_bytes = sealed.opener.layout().leaf_bytes();
    let mut decoder = StreamDecoder::new(&sealed.opener, &sealed.code);
    for row in (0..leaves).rev() {
        let range = row * leaf_bytes..(row + 1) * leaf_bytes;
        let given: Vec<_> = (row..row + 5)
            .map(|i| (shard(i * 2 % 9), &sealed.shards[i * 2 % 9][range.clone()]))
            .collect();
        if row == 3 {
            let refused = decoder.rows(3, &given[1..]);
            assert!(matches!(refused, Err(DecodeError::TooFew { leaf: 3, whole: 4, .. })));
        }
        decoder.rows(row as u64, &given).unwrap();
    }
    assert!(decoder.damaged().is_empty());
    assert!(decoder.finish(&sealed.table).unwrap().bytes == sealed.bytes);

    let none = StreamDecoder::new(&sealed.opener, &sealed.code).finish(&sealed.table);
    assert!(matches!(none, Err(DecodeError::Rows { found: 0, .. })));
    let other = seal(sample_bytes(13, 1_000), "5+4", ContainerId::data(1), 1, 9);
    let mut decoder = StreamDecoder::new(&other.opener, &other.code);
    let given: Vec<_> = (0..5).map(|i| (shard(i), &other.shards[i][..])).collect();
    decoder.rows(0, &given).unwrap();
    assert!(matches!(decoder.finish(&sealed.table), Err(DecodeError::Table { .. })));
}

#[test]
fn other_keys_containers_and_streams_open_nothing() {
    let sealed = seal(sample_bytes(10, 100_000), "2+1", ContainerId::data(1), 1, 9);
    let (params, stream) = (*sealed.opener.params(), *sealed.opener.stream());
    let key = secret().lake_key(Generation(1));
    for (params, stream) in [
        (StreamParams { container: ContainerId::data(2), ..params }, stream),
        (params, CodedStream { digest: Digest([1; 32]), ..stream }),
    ] {
        let opener = Opener::new(&key, params, stream).unwrap();
        let result = opener.open_leaves(shard(0), 0, &sealed.shards[0], &mut Vec::new());
        assert!(matches!(result, Err(OpenError::Leaf { leaf: 0, .. })));
    }
    // a shard under another's number, leaves at another place
    let opener = &sealed.opener;
    assert!(opener.open_leaves(shard(1), 0, &sealed.shards[0], &mut Vec::new()).is_err());
    assert!(opener.open_leaves(shard(0), 1, &sealed.shards[0][..4096], &mut Vec::new()).is_err());

    let other = secret().lake_key(Generation(2));
    assert!(matches!(Opener::new(&other, params, stream), Err(OpenError::Key(_))));
    assert!(matches!(Encoder::new(&other, params, stream, sealed.code), Err(EncodeError::Key(_))));
}

#[test]
fn misuse_is_refused() {
    let sealed = seal(sample_bytes(11, 400_000), "2+1", ContainerId::data(1), 1, 9);
    let (opener, leaf) = (&sealed.opener, sealed.opener.layout().leaf_bytes());
    let leaves = opener.layout().leaves_per_shard();
    let open =
        |shard, first, bytes: &[u8]| opener.open_leaves(shard, first, bytes, &mut Vec::new());
    assert!(matches!(open(shard(3), 0, &[]), Err(OpenError::Range { .. })));
    assert!(matches!(open(shard(0), leaves, &vec![0; leaf]), Err(OpenError::Range { .. })));
    assert!(matches!(open(shard(0), u64::MAX, &vec![0; leaf]), Err(OpenError::Range { .. })));
    assert!(matches!(open(shard(0), 0, &vec![0; leaf - 1]), Err(OpenError::Length { .. })));
    assert_eq!(open(shard(0), leaves, &[]), Ok(()));

    let (params, stream) = (*opener.params(), *opener.stream());
    let key = secret().lake_key(Generation(1));
    let wrong = code_of("2+2".parse().unwrap());
    assert!(matches!(Encoder::new(&key, params, stream, wrong), Err(EncodeError::Code { .. })));
    let mut encoder = Encoder::new(&key, params, stream, sealed.code.clone()).unwrap();
    let empty: Vec<u8> = Vec::new();
    let mut out = vec![vec![7; leaf]; 3];
    #[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake")]
    for rows in [1..2, 0..leaves + 1, 0u64..0u64.wrapping_sub(1), 1..0] {
        let refused = encoder.encode_rows(&empty, rows, &mut out);
        assert!(matches!(refused, Err(EncodeError::Rows { next: 0, .. })));
    }
    let refused = encoder.encode_rows(&empty, 0..1, &mut out[..2]);
    assert!(matches!(refused, Err(EncodeError::Outputs { found: 2, .. })));
    let refused = encoder.encode_rows(&empty, 0..2, &mut out);
    assert!(
        matches!(refused, Err(EncodeError::OutputLength { shard: ShardIndex(0), expected, .. }) if expected == 2 * leaf)
    );
    let refused = encoder.encode_rows(&empty, 0..1, &mut out);
    assert!(matches!(refused, Err(EncodeError::Spool { offset: 0, .. })));
    assert!(out.iter().all(|shard| *shard == vec![7; leaf]));
    assert!(matches!(encoder.finish(), Err(EncodeError::Rows { .. })));

    let code = &sealed.code;
    let (a, b) = (&[0u8; 8][..], &[0u8; 7][..]);
    assert!(matches!(
        rebuild(code, &[(shard(0), a)], &[shard(1)]),
        Err(RebuildError::TooFew { needed: 2, found: 1 })
    ));
    assert!(matches!(
        rebuild(code, &[(shard(0), a), (shard(1), b)], &[shard(2)]),
        Err(RebuildError::Length { position: 1, expected: 8, found: 7 })
    ));
    assert!(matches!(
        rebuild(code, &[(shard(0), a), (shard(1), a)], &[shard(1)]),
        Err(RebuildError::WantedPresent { .. })
    ));
    assert!(matches!(
        rebuild(code, &[(shard(0), a), (shard(3), a)], &[shard(1)]),
        Err(RebuildError::NoSuchShard { total_shards: 3, .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_p_of_p_plus_q_give_the_container(
        (p, q, set) in (2usize..24, 1usize..24)
            .prop_flat_map(|(p, q)| (Just(p), Just(q), subsequence((0..p + q).collect::<Vec<_>>(), p))),
        seed: u64, length in 0usize..600_000, kind in 0u8..3, number: u32,
    ) {
        let kind = ContainerKind::from_byte(kind).unwrap();
        let sealed = seal(sample_bytes(seed, length), &format!("{p}+{q}"), ContainerId { kind, number }, 2, 7);
        prop_assert!(sealed.decode(&set).unwrap().bytes == sealed.bytes);
    }

    /// What a point read does: pieces -> leaves -> frame; with the shard lost, the same leaves of `p` others.
    #[test]
    fn a_frame_is_read_from_its_leaves_or_from_any_p_others(seed: u64, length in 1usize..2_000_000, at: prop::sample::Index) {
        let sealed = seal(sample_bytes(seed, length), "5+3", ContainerId::data(1), 1, 100);
        let (opener, layout) = (&sealed.opener, sealed.opener.layout());
        let frame = sealed.table.frame_at(at.index(length) as u64).unwrap();
        let (mut direct, mut rebuilt) = (Vec::new(), Vec::new());
        for piece in layout.pieces(frame.coded.clone()) {
            let leaf = |n: u64| usize::try_from(n).unwrap() * layout.leaf_bytes();
            let range = leaf(piece.first_leaf)..leaf(piece.first_leaf + piece.leaf_count);
            let open = |index: usize| {
                let mut out = Vec::new();
                opener.open_leaves(shard(index), piece.first_leaf, &sealed.shards[index][range.clone()], &mut out).unwrap();
                out
            };
            let own = piece.shard.as_usize();
            let others: Vec<_> = (0..8).filter(|&i| i != own).map(|i| (shard(i), open(i))).collect();
            let have: Vec<_> = others.iter().map(|(i, bytes)| (*i, bytes.as_slice())).collect();
            let lost = rebuild(&sealed.code, &have[2..], &[piece.shard]).unwrap().remove(0);
            prop_assert!(lost == open(own));
            direct.extend_from_slice(&open(own)[piece.skip..][..piece.take]);
            rebuilt.extend_from_slice(&lost[piece.skip..][..piece.take]);

            // sealing it again gives the bytes that were lost: repair
            let mut resealed = vec![0; range.len()];
            opener.seal_leaves(piece.shard, piece.first_leaf, &lost, &mut resealed).unwrap();
            prop_assert!(resealed == sealed.shards[own][range.clone()]);
        }
        let mut out = Vec::new();
        FrameDecoder::new().decode(ContainerId::data(1), &frame, &direct, &mut out).unwrap();
        let range = usize::try_from(frame.container.start).unwrap()..usize::try_from(frame.container.end).unwrap();
        prop_assert!(out == sealed.bytes[range] && direct == rebuilt);
    }

    #[test]
    fn arbitrary_leaves_never_open(bytes in prop::collection::vec(any::<u8>(), 0..9000), index in 0u8..4, first in 0u64..40) {
        let params = params("2+1".parse().unwrap(), ContainerId::data(1));
        let stream = CodedStream { container_bytes: 90_000, coded_bytes: 80_000, digest: Digest([3; 32]) };
        let opener = Opener::new(&secret().lake_key(Generation(1)), params, stream).unwrap();
        let mut out = Vec::new();
        if opener.open_leaves(ShardIndex(index), first, &bytes, &mut out).is_ok() {
            prop_assert!(bytes.is_empty());
        }
        prop_assert!(out.is_empty());
    }
}

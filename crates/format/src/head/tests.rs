use super::*;
use crate::manifest::tests::{any_stream, some_stream};
use proptest::{collection::vec, prelude::*};
use prunedb_core::ContainerId;

fn any_prefix() -> impl Strategy<Value = HeadPrefix> {
    (any::<[u8; 16]>(), any::<[u64; 2]>(), any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(
        |(lake, [term, number], salt, public_key)| HeadPrefix {
            lake: LakeId(lake),
            term: Term(term),
            number,
            salt,
            public_key,
        },
    )
}

fn any_group(nodes: u32) -> impl Strategy<Value = Group> {
    (2usize..20, 1usize..20, any::<u32>()).prop_map(move |(p, q, start)| {
        let policy = Policy::new(p, q).unwrap();
        let slots = (0..u32::try_from(p + q).unwrap())
            .map(|i| start.wrapping_add(i.wrapping_mul(7)) % nodes)
            .collect();
        Group { policy, slots }
    })
}

fn any_body() -> impl Strategy<Value = HeadBody> {
    let nodes = vec("[a-z0-9.:]{0,30}", 1..30);
    nodes
        .prop_flat_map(|nodes| {
            let groups = vec(any_group(u32::try_from(nodes.len()).unwrap()), 0..4);
            let manifests = vec((1u64..1 << 40, any_stream(), 0u32..1000), 0..4);
            (Just(nodes), groups, manifests, any::<u32>())
        })
        .prop_map(|(nodes, groups, streams, next_data)| {
            let mut next_edit = 0;
            let manifests = streams
                .into_iter()
                .map(|(edits, stream, number)| {
                    let first_edit = next_edit;
                    next_edit += edits;
                    let stream = StreamEntry { id: ContainerId::manifest(number), ..stream };
                    ManifestRef { first_edit, edits, stream }
                })
                .collect();
            let policy = Policy::new(16, 4).unwrap();
            HeadBody { next_data, next_manifest: 1000, next_edit, policy, nodes, groups, manifests }
        })
}

fn head_of(prefix: &HeadPrefix, sealed: &[u8], signature: [u8; SIGNATURE_BYTES]) -> Vec<u8> {
    [&prefix.encode(sealed.len()), sealed, &signature].concat()
}

proptest! {
    #[test]
    fn parts_round_trip(prefix in any_prefix(), sealed in vec(any::<u8>(), TAG_BYTES..300), end: [u8; 32]) {
        let mut signature = [7; SIGNATURE_BYTES];
        signature[32..].copy_from_slice(&end);
        let bytes = head_of(&prefix, &sealed, signature);
        let parts = HeadParts::decode(&bytes).unwrap();
        prop_assert_eq!(&parts.prefix, &prefix);
        prop_assert_eq!(parts.prefix_bytes, &bytes[..PREFIX_BYTES]);
        prop_assert_eq!(parts.sealed, &sealed);
        prop_assert_eq!(parts.signed, &bytes[..bytes.len() - SIGNATURE_BYTES]);
        prop_assert_eq!(parts.signature, &signature);
        for cut in 0..bytes.len() {
            prop_assert!(HeadParts::decode(&bytes[..cut]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        let told = matches!(HeadParts::decode(&longer), Err(FormatError::Excess { bytes: 1, .. }));
        prop_assert!(told);
    }

    /// A head has no checksum: what a flipped bit changes is either refused or under the signature.
    #[test]
    fn flipped_bit_is_refused_or_signed(prefix in any_prefix(), sealed in vec(any::<u8>(), TAG_BYTES..100), at: prop::sample::Index) {
        let good = head_of(&prefix, &sealed, [7; SIGNATURE_BYTES]);
        let good_parts = HeadParts::decode(&good).unwrap();
        let mut bad = good.clone();
        let bit = at.index(bad.len() * 8);
        bad[bit / 8] ^= 1 << (bit % 8);
        match HeadParts::decode(&bad) {
            Err(_) => prop_assert!(bit / 8 < 16, "magic, version or length"),
            Ok(parts) => prop_assert!(
                (parts.signed != good_parts.signed) != (parts.signature != good_parts.signature)
            ),
        }
    }

    #[test]
    fn body_round_trip_and_every_cut_is_seen(body in any_body()) {
        let bytes = body.encode();
        for cut in 0..bytes.len() {
            prop_assert!(HeadBody::decode(&bytes[..cut]).is_err());
        }
        prop_assert!(HeadBody::decode(&[&bytes[..], &[0]].concat()).is_err());
        prop_assert_eq!(HeadBody::decode(&bytes), Ok(body));
    }

    #[test]
    fn any_bytes_are_a_body_or_refused(
        body in any_body(),
        at: prop::sample::Index,
        byte: u8,
        noise in vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = body.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for bytes in [bytes, noise] {
            if let Ok(body) = HeadBody::decode(&bytes) {
                prop_assert_eq!(body.encode(), bytes);
            }
        }
    }

    #[test]
    fn any_bytes_are_no_head(bytes in vec(any::<u8>(), 0..600)) {
        prop_assert!(HeadParts::decode(&bytes).is_err());
    }
}

fn body() -> HeadBody {
    let policy = Policy::new(2, 1).unwrap();
    HeadBody {
        next_data: 3,
        next_manifest: 0,
        next_edit: 0,
        policy,
        nodes: vec!["127.0.0.1:7001".into(), "127.0.0.1:7002".into(), "[::1]:7003".into()],
        groups: vec![Group { policy, slots: vec![0, 1, 2] }],
        manifests: vec![],
    }
}

#[test]
fn body_that_contradicts_itself_is_refused() {
    let stream = || StreamEntry { id: ContainerId::manifest(0), ..some_stream() };
    let one = |first_edit, edits| ManifestRef { first_edit, edits, stream: stream() };
    let good = HeadBody { next_manifest: 1, next_edit: 5, manifests: vec![one(0, 5)], ..body() };
    assert!(HeadBody::decode(&good.encode()).is_ok());
    let data = StreamEntry { id: ContainerId::data(0), ..stream() };
    for (bad, why) in [
        (
            HeadBody { groups: vec![Group { slots: vec![0, 1, 3], ..body().groups[0] }], ..body() },
            "no such node",
        ),
        (HeadBody { next_edit: 1, ..body() }, "an edit is nowhere"),
        (HeadBody { next_edit: 4, ..good.clone() }, "more edits than there are"),
        (HeadBody { manifests: vec![one(1, 4)], ..good.clone() }, "the first edit is missing"),
        (HeadBody { manifests: vec![one(0, 2), one(3, 2)], ..good.clone() }, "a gap"),
        (HeadBody { manifests: vec![one(0, 3), one(2, 3)], ..good.clone() }, "an overlap"),
        (
            HeadBody { manifests: vec![one(0, u64::MAX), one(u64::MAX, 6)], ..good.clone() },
            "over the end",
        ),
        (HeadBody { next_manifest: 0, ..good.clone() }, "a number that would be given twice"),
        (
            HeadBody { manifests: vec![ManifestRef { stream: data, ..one(0, 5) }], ..good },
            "a data container",
        ),
    ] {
        let found = HeadBody::decode(&bad.encode());
        assert!(matches!(found, Err(FormatError::Value { .. })), "{why}: {found:?}");
    }
}

#[test]
fn counts_allocate_nothing_before_their_items_are_there() {
    let mut bytes = body().encode();
    bytes.truncate(20);
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(HeadBody::decode(&bytes), Err(FormatError::Truncated { .. })));
}

#[test]
fn sealed_length_is_bounded() {
    let prefix = HeadPrefix {
        lake: LakeId([1; 16]),
        term: Term(2),
        number: 3,
        salt: [4; 32],
        public_key: [5; 32],
    };
    let longest = head_of(&prefix, &vec![0; SEALED_BYTES_MAX], [0; SIGNATURE_BYTES]);
    assert_eq!(longest.len(), 1 << 20);
    assert!(HeadParts::decode(&longest).is_ok());
    for length in [0, 15, SEALED_BYTES_MAX + 1, u32::MAX as usize] {
        let mut bytes = longest.clone();
        bytes[12..16].copy_from_slice(&count_u32(length));
        let found = HeadParts::decode(&bytes);
        assert!(matches!(found, Err(FormatError::Value { .. })), "{length}: {found:?}");
    }
    let mut newer = longest;
    newer[8] = 2;
    assert!(matches!(HeadParts::decode(&newer), Err(FormatError::Version { found: 2, .. })));
}

use super::*;
use crate::{CLOCK_SKEW, Credentials, Denied, Gate, Owner, Pass};
use proptest::prelude::*;
use prunedb_core::{ContainerId, ShardIndex};
use zeroize::Zeroizing;

const LAKE: LakeId = LakeId(*b"the lake's 16 by");
const NOW: u64 = 1_800_000_000;

fn identity(seed: u8) -> Identity {
    Identity::from_seed(Zeroizing::new([seed; 32]))
}

fn owner() -> Identity {
    identity(1)
}

fn holder() -> Identity {
    identity(2)
}

fn shard(index: u8) -> ShardId {
    ShardId { lake: LAKE, container: ContainerId::data(7), index: ShardIndex(index) }
}

fn capability() -> Capability {
    Capability {
        lake: LAKE,
        holder: holder().public(),
        operations: Operations::READ,
        scope: Scope::Lake,
        term: Term(5),
        issued: NOW,
        expires: NOW + 100,
    }
}

fn gate() -> Gate {
    let other = Owner { lake: LakeId([9; 16]), key: identity(9).public() };
    Gate::new(vec![other, Owner { lake: LAKE, key: owner().public() }])
}

fn admit(capability: Capability, now: u64) -> Result<Pass, Denied> {
    gate().admit(capability.sign(&owner()).as_bytes(), holder().public(), now)
}

#[test]
fn golden() {
    let all = Capability {
        operations: Operations::ALL,
        scope: Scope::Shard(shard(3)),
        term: Term(u64::MAX),
        ..capability()
    };
    let signed = [capability().sign(&owner()), all.sign(&owner())];
    let text: String = signed.iter().map(|one| format!("{one}\n")).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/capability/v1/capabilities.txt");
    if cfg!(bless) {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(golden, text);
    for (line, expected) in golden.lines().zip([capability(), all]) {
        let read: SignedCapability = line.parse().unwrap();
        assert_eq!(read.verify(&owner().public()), Ok(expected));
    }
}

#[test]
fn words_round_trip() {
    for (text, operations) in [
        ("read", Operations::READ),
        ("read,write,delete,lead", Operations::ALL),
        ("write,lead", Operations(10)),
    ] {
        assert_eq!(text.parse(), Ok(operations));
        assert_eq!(operations.to_string(), text);
    }
    assert_eq!("read,reed".parse::<Operations>(), Err(WordError { word: "reed".into() }));
    let owner = Owner { lake: LAKE, key: owner().public() };
    assert_eq!(owner.to_string().parse(), Ok(owner));
    for bad in ["", "x", "00:11", &owner.to_string()[1..]] {
        assert!(bad.parse::<Owner>().is_err(), "{bad}");
    }
}

#[test]
fn a_good_one_is_admitted_and_allows_what_it_says() {
    let pass = admit(capability(), NOW).unwrap();
    assert_eq!(pass.allows(Operations::READ, LAKE, Some(shard(1)), None, NOW), Ok(()));
    assert_eq!(pass.allows(Operations::READ, LAKE, None, None, NOW), Ok(()));
    let allowed = Operations::READ;
    assert_eq!(
        pass.allows(Operations::WRITE, LAKE, Some(shard(1)), Some(Term(5)), NOW),
        Err(Denied::Operation { allowed })
    );
    let other = LakeId([9; 16]);
    assert_eq!(
        pass.allows(Operations::READ, other, None, None, NOW),
        Err(Denied::Lake { lake: LAKE })
    );
    let later = NOW + 100 + CLOCK_SKEW.as_secs();
    assert_eq!(pass.allows(Operations::READ, LAKE, None, None, later - 1), Ok(()));
    assert_eq!(
        pass.allows(Operations::READ, LAKE, None, None, later),
        Err(Denied::Expired { seconds: CLOCK_SKEW.as_secs() })
    );
}

#[test]
fn terms_and_shards_are_bounds() {
    let pass = admit(
        Capability { operations: Operations::ALL, scope: Scope::Shard(shard(3)), ..capability() },
        NOW,
    );
    let pass = pass.unwrap();
    let write = |shard, term| pass.allows(Operations::WRITE, LAKE, shard, Some(Term(term)), NOW);
    assert_eq!(write(Some(shard(3)), 5), Ok(()));
    assert_eq!(write(Some(shard(3)), 6), Err(Denied::Term { max: Term(5) }));
    assert_eq!(write(Some(shard(4)), 5), Err(Denied::Shard));
    assert_eq!(write(None, 5), Err(Denied::Shard), "a shard's holder does not lead the lake");
}

#[test]
fn what_is_not_good_is_denied_with_its_reason() {
    let skew = CLOCK_SKEW.as_secs();
    assert!(admit(capability(), NOW - skew).is_ok());
    assert_eq!(admit(capability(), NOW - skew - 1), Err(Denied::Early { seconds: skew + 1 }));
    assert!(admit(capability(), NOW + 99 + skew).is_ok());
    let late = NOW + 100 + skew;
    assert_eq!(admit(capability(), late), Err(Denied::Expired { seconds: skew }));
    assert_eq!(
        admit(capability(), u64::MAX),
        Err(Denied::Expired { seconds: u64::MAX - NOW - 100 })
    );

    let good = capability().sign(&owner());
    let foreign = capability().sign(&identity(9));
    let denied = |bytes: &[u8], holder: &Identity| gate().admit(bytes, holder.public(), NOW);
    assert_eq!(denied(foreign.as_bytes(), &holder()), Err(Denied::Foreign));
    let elsewhere = Capability { lake: LakeId([8; 16]), ..capability() }.sign(&owner());
    assert_eq!(denied(elsewhere.as_bytes(), &holder()), Err(Denied::Foreign));
    let thief = identity(3);
    let of = holder().public();
    assert_eq!(denied(good.as_bytes(), &thief), Err(Denied::Holder { holder: of }));
    assert_eq!(denied(&good.as_bytes()[1..], &holder()), Err(Denied::Malformed));
    assert_eq!(denied(b"", &holder()), Err(Denied::Malformed));
}

#[test]
fn what_makes_no_sense_is_malformed_whoever_signed_it() {
    let other_lake = ShardId { lake: LakeId([9; 16]), ..shard(1) };
    for bad in [
        Capability { operations: Operations(0), ..capability() },
        Capability { operations: Operations(16), ..capability() },
        Capability { expires: NOW, ..capability() },
        Capability { expires: NOW + LIFE_MAX.as_secs() + 1, ..capability() },
        Capability { scope: Scope::Shard(other_lake), ..capability() },
    ] {
        assert_eq!(admit(bad, NOW), Err(Denied::Malformed), "{bad:?}");
    }
}

#[test]
fn an_owner_writes_its_own() {
    let credentials = Credentials::owner(holder(), LAKE, owner(), Operations::READ);
    let (signed, fresh) = credentials.capability(NOW).unwrap();
    let pass = gate().admit(signed.as_bytes(), holder().public(), NOW).unwrap();
    assert_eq!(pass.in_time(NOW + fresh.as_secs()), Ok(()));
    assert!(pass.allows(Operations::LEAD, LAKE, None, None, NOW).is_err());
    assert_eq!(Credentials::anonymous(holder()).capability(NOW), None);
    let given = Credentials::given(holder(), signed);
    assert_eq!(given.capability(NOW).unwrap().0, signed);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_decode_to_themselves(
        mut bytes in prop::collection::vec(any::<u8>(), CAPABILITY_BYTES..=CAPABILITY_BYTES), framed: bool, now: u64,
    ) {
        if framed {
            bytes[..8].copy_from_slice(MAGIC);
            bytes[56] &= 15;
            bytes[57..64].fill(0);
            bytes[64..88].fill(0);
            let issued = u64::from_le_bytes(bytes[96..104].try_into().unwrap());
            let expires = issued.saturating_add(u64::from(bytes[104]));
            bytes[104..112].copy_from_slice(&expires.to_le_bytes());
        }
        if let Some(signed) = SignedCapability::decode(&bytes) {
            prop_assert_eq!(&signed.as_bytes()[..], &bytes[..]);
            prop_assert!(signed.verify(&owner().public()).is_err());
        }
        prop_assert!(gate().admit(&bytes, holder().public(), now).is_err());
    }

    #[test]
    fn every_flipped_bit_is_found(bit in 0..CAPABILITY_BYTES * 8) {
        let mut bytes = *capability().sign(&owner()).as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(gate().admit(&bytes, holder().public(), NOW).is_err());
    }

    #[test]
    fn any_text_is_a_capability_or_not(text: String) {
        _ = text.parse::<SignedCapability>();
        _ = text.parse::<Owner>();
        _ = text.parse::<Operations>();
    }
}

use super::*;
use zeroize::Zeroizing;

const NOW: u64 = 1_000_000;

fn identity(number: u8) -> Identity {
    Identity::from_seed(Zeroizing::new([number; 32]))
}

fn key(number: u8) -> Key {
    Key(identity(number).public().0)
}

fn wish(ttl: u8) -> Wish {
    Wish {
        owner: key(1),
        nonce: [7; 16],
        bytes: 1 << 20,
        price_max: Amount(10),
        epochs: 3,
        except: vec![NodeId(5)],
        ttl,
        expires: NOW + 30,
    }
}

fn offer() -> Offer {
    Offer {
        holder: NodeId(4),
        holder_key: key(40),
        holder_endpoint: Endpoint::new("127.0.0.1:1").unwrap(),
        is_relayed: false,
        heavy: NodeId(2),
        heavy_endpoint: Endpoint::new("127.0.0.1:2").unwrap(),
        price: Amount(10),
        capability: [0; 176],
    }
}

/// A question that passed these heavy nodes.
fn passed(ttl: u8, heavies: &[u8]) -> Lookup {
    let asked = Lookup::new(wish(ttl), &identity(1));
    heavies.iter().fold(asked, |lookup, &heavy| lookup.passed(&identity(heavy)))
}

#[test]
fn a_question_goes_as_far_as_its_ttl_and_no_hop_can_be_forged() {
    assert_eq!(passed(3, &[]).check(key(10), key(1), NOW), Ok(()));
    assert_eq!(passed(3, &[10, 11, 12]).check(key(13), key(12), NOW), Ok(()));
    let far = passed(3, &[10, 11, 12, 13]);
    assert!(!far.may_go_on());
    assert_eq!(
        far.check(key(14), key(13), NOW),
        Err(LookupError::TooFar { hops: 5, allowed: 4 }),
        "the fifth would be one too many"
    );
    assert_eq!(
        passed(3, &[10, 11]).check(key(10), key(11), NOW),
        Err(LookupError::Loop { heavy: key(10) })
    );
    assert_eq!(
        passed(3, &[10, 11, 10]).check(key(12), key(10), NOW),
        Err(LookupError::Loop { heavy: key(10) })
    );
    assert_eq!(
        passed(3, &[10]).check(key(11), key(12), NOW),
        Err(LookupError::Bearer { expected: key(10), found: key(12) })
    );
    // taken out, turned around, put in, signed by another
    let mut cut = passed(3, &[10, 11]);
    cut.hops.remove(0);
    assert_eq!(
        cut.check(key(12), key(11), NOW),
        Err(LookupError::Hop { position: 0, heavy: key(11) })
    );
    let mut turned = passed(3, &[10, 11]);
    turned.hops.swap(0, 1);
    assert!(matches!(turned.check(key(12), key(10), NOW), Err(LookupError::Hop { .. })));
    let mut forged = passed(3, &[10]);
    forged.hops[0].heavy = key(11);
    assert!(matches!(forged.check(key(12), key(11), NOW), Err(LookupError::Hop { .. })));
}

#[test]
fn what_the_owner_signed_cannot_be_changed_nor_be_nonsense() {
    let mut other = passed(3, &[]);
    other.wish.price_max = Amount(1_000);
    assert_eq!(other.check(key(10), key(1), NOW), Err(LookupError::Owner { owner: key(1) }));
    let check = |change: fn(&mut Wish)| {
        let mut wish = wish(3);
        change(&mut wish);
        Lookup::new(wish, &identity(1)).check(key(10), key(1), NOW)
    };
    for wrong in [
        check(|w| w.bytes = 1024),
        check(|w| w.bytes = 5000),
        check(|w| w.bytes = (256 << 20) + 1024),
        check(|w| w.epochs = 0),
        check(|w| w.ttl = 8),
        check(|w| w.except = vec![NodeId(1); 256]),
    ] {
        assert!(matches!(wrong, Err(LookupError::Wish { .. })), "{wrong:?}");
    }
    for late in [check(|w| w.expires = NOW - 400), check(|w| w.expires = NOW + 500)] {
        assert!(matches!(late, Err(LookupError::Time { .. })), "{late:?}");
    }
    assert_eq!(check(|w| w.bytes = 256 << 20), Ok(()));
}

#[test]
fn an_answer_is_of_its_question_and_of_its_path() {
    let found = passed(3, &[10, 11]).answered(offer(), &identity(11));
    assert_eq!(found.check(&wish(3), &[key(10)]), Ok(()));
    assert_eq!(found.check(&wish(3), &[key(10), key(11)]), Ok(()));
    assert_eq!(
        found.check(&wish(3), &[key(11)]),
        Err(LookupError::Answer { what: "path" }),
        "another heavy node was asked"
    );
    let mut dear = found.clone();
    dear.offer.price = Amount(9);
    assert!(matches!(dear.check(&wish(3), &[key(10)]), Err(LookupError::Hop { .. })));
    let stolen = passed(3, &[10, 11]).answered(offer(), &identity(12));
    assert!(matches!(stolen.check(&wish(3), &[key(10)]), Err(LookupError::Hop { .. })));
    let of = |change: fn(&mut Offer)| {
        let mut offer = offer();
        change(&mut offer);
        passed(3, &[10]).answered(offer, &identity(10)).check(&wish(3), &[key(10)])
    };
    assert_eq!(of(|o| o.price = Amount(11)), Err(LookupError::Answer { what: "price" }));
    assert_eq!(of(|o| o.holder = NodeId(5)), Err(LookupError::Answer { what: "holder" }));
    assert_eq!(of(|o| o.holder_key = key(1)), Err(LookupError::Answer { what: "holder" }));
    let other = Wish { nonce: [8; 16], ..wish(3) };
    assert!(matches!(found.check(&other, &[key(10)]), Err(LookupError::Hop { .. })));
}

#[test]
fn the_bytes_are_the_published_ones() {
    let found = passed(3, &[10, 11]).answered(offer(), &identity(11));
    let text: String = passed(3, &[10]).to_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let answer: String = found.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let text = format!("{}\n{text}\n{answer}\n", wish(3).digest());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/lookup/v1/found.txt");
    if cfg!(bless) {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(path).unwrap());
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_are_no_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        if let Ok(lookup) = Lookup::from_bytes("lookup", &bytes) {
            proptest::prop_assert_eq!(lookup.to_bytes(), &bytes[..]);
            proptest::prop_assert!(lookup.check(key(2), key(3), NOW).is_err());
        }
        if let Ok(found) = Found::from_bytes("found", &bytes) {
            proptest::prop_assert!(found.check(&wish(3), &[]).is_err());
        }
    }
}

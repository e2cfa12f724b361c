//! Capabilities of any bytes: never a panic, one encoding for each, and none is good that the owner has not signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prunedb_access::{Gate, Identity, Operations, Owner, PublicKey, SignedCapability};
use zeroize::Zeroizing;

fuzz_target!(|input: (u64, &[u8])| {
    let (now, bytes) = input;
    let text = String::from_utf8_lossy(bytes);
    let _ = (text.parse::<Owner>(), text.parse::<Operations>(), text.parse::<PublicKey>());
    let _ = text.parse::<SignedCapability>();
    let Some(signed) = SignedCapability::decode(bytes) else { return };
    assert!(signed.as_bytes()[..] == *bytes);
    assert!(signed.to_string().parse() == Ok(signed));
    let claims = *signed.claims();
    let key = Identity::from_seed(Zeroizing::new([7; 32])).public();
    let gate = Gate::new(vec![Owner { lake: claims.lake, key }]);
    assert!(gate.admit(bytes, claims.holder, now).is_err());
});

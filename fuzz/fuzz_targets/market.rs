//! Messages, answers, contracts and addresses of the marketplace, of any bytes: never a panic, one encoding for each, and nothing is
//! good that nobody signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prunedb_core::Digest;
use prunedb_market::{
    Contract, HeavyAddress,
    checks::{CheckedCell, Closed, Evidence, verify},
    lookup::{Found, Lookup},
    message::{Answer, Request},
};
use prunedb_registry::{Canonical, Key, NodeId};

const NOW: u64 = 1_800_000_000;
const CELL: CheckedCell = CheckedCell { holder: NodeId(1), root: Digest([1; 32]), bytes: 4096 };

fn reads_as_it_is_written<T: Canonical>(bytes: &[u8]) -> Option<T> {
    let value = T::from_bytes("any bytes", bytes).ok()?;
    assert_eq!(value.to_bytes(), bytes);
    Some(value)
}

fn look_at_lookup(lookup: &Lookup) {
    assert!(lookup.check(Key([2; 32]), lookup.wish.owner, NOW).is_err(), "a signature out of nothing");
}

fn look_at_evidence(evidence: &Evidence) {
    assert!(!evidence.is_under(&Digest([3; 32])), "a root out of nothing");
    assert!(verify(&CELL, &[4; 32], 8, &evidence.shown).is_err(), "samples out of nothing");
}

fuzz_target!(|bytes: &[u8]| {
    match reads_as_it_is_written(bytes) {
        Some(Request::Lookup { lookup }) => look_at_lookup(&lookup),
        Some(Request::Register { probe, .. }) => drop(prunedb_access::SignedCapability::decode(&probe)),
        _ => {}
    }
    match reads_as_it_is_written(bytes) {
        Some(Answer::Evidence { evidence }) => look_at_evidence(&evidence),
        Some(Answer::Refused { refusal }) => drop(refusal.to_string()),
        _ => {}
    }
    if let Some(lookup) = reads_as_it_is_written(bytes) {
        look_at_lookup(&lookup);
        if let Some(found) = reads_as_it_is_written::<Found>(bytes) {
            assert!(found.check(&lookup.wish, &[]).is_err(), "a signature out of nothing");
        }
    }
    if let Some(evidence) = reads_as_it_is_written(bytes) {
        look_at_evidence(&evidence);
    }
    if let Some(closed) = reads_as_it_is_written::<Closed>(bytes) {
        assert!(closed.evidence(u64::MAX).is_none_or(|e| e.is_under(&closed.root())));
    }
    drop(reads_as_it_is_written::<Contract>(bytes));
    if let Some(address) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<HeavyAddress>().ok()) {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
});

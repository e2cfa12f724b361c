//! Transactions, parameters and snapshots of any bytes: never a panic, one encoding for each; and a state machine that takes
//! any transaction, refuses it without a change, or keeps its invariants.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prunedb_core::{Digest, LakeId};
use prunedb_format::bytes::Reader;
use prunedb_registry::{Body, Canonical, CheckedTx, Genesis, Key, Params, SignedTx, State};

const AUTHORITY: Key = Key([1; 32]);

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tx) = SignedTx::decode(bytes) {
        assert_eq!(tx.to_bytes(), bytes);
        // the published transaction is signed for another registry
        assert!(tx.check(&Digest([0; 32])).is_err(), "a signature out of nothing");
    }
    for result in [
        Params::from_bytes("parameters", bytes).map(|p| p.to_bytes()),
        Genesis::from_bytes("genesis", bytes).map(|g| g.to_bytes()),
    ] {
        assert!(result.is_err() || result.is_ok_and(|again| again == bytes));
    }
    assert!(State::restore(bytes, &Digest([1; 32])).is_err());

    let params = Params { nodes_max: 8, groups_max: 4, accounts_max: 16, ..Params::permissioned(AUTHORITY) };
    let genesis = Genesis { lake: LakeId([9; 16]), params, validators: vec![AUTHORITY] };
    let mut state = State::new(&genesis).expect("good rules");
    let mut from = Reader::new("transactions", bytes);
    for height in 1..64 {
        state.advance(height).expect("the next height");
        let Ok(body) = Body::get(&mut from) else { break };
        let nonce = state.bank().accounts[&AUTHORITY].nonce;
        let registry = *state.registry();
        let tx = CheckedTx::unsigned(registry, nonce, u64::MAX, body, vec![AUTHORITY]);
        let before = state.clone();
        if state.apply(height, &tx).is_err() {
            assert!(state == before, "a refused transaction changed the state");
        }
        let bank = state.bank();
        assert_eq!(state.money(), u128::from(bank.deposited.0 - bank.withdrawn.0));
    }
    let root = state.root();
    let restored = State::restore(&state.snapshot(), &root).expect("its own snapshot");
    assert_eq!(restored.root(), root);
});

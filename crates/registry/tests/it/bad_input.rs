//! What is malformed, forged, replayed, late, or not due: refused with a reason, the state unchanged (`World::apply` checks
//! that).

use crate::world::{AUTHORITY, OWNER, VALIDATORS, World, genesis, node_key, params};
use proptest::prelude::*;
use prunedb_core::{Digest, Term};
use prunedb_registry::{
    Amount, Body, Canonical, CheckedTx, CloseBatch, Endpoint, Event, JoinNode, Key, NodeId, Params,
    Proof, Receipt, Reject, Secret, SetInSync, SignedTx, SnapshotError, State, TX_BYTES_MAX,
    TxError,
};

fn transfer(amount: u64) -> Body {
    Body::Transfer { account: OWNER, amount: Amount(amount) }
}

#[test]
fn a_transaction_counts_once_in_time_and_in_one_registry() {
    let secret = Secret::from_seed(&[3; 32]);
    let params = Params { authorities: vec![secret.key()], ..params() };
    let mut state = State::new(&genesis(params.clone())).unwrap();
    state.advance(1).unwrap();
    let deposit = || Body::Deposit { account: OWNER, amount: Amount(5) };
    let sign = |nonce, valid_until, registry: &Digest| {
        SignedTx::sign(registry, nonce, valid_until, deposit(), &[&secret])
    };
    let registry = *state.registry();
    let signed = sign(0, 1, &registry);
    let bytes = signed.to_bytes();
    assert_eq!(SignedTx::decode(&bytes).unwrap(), signed);
    let tx = signed.check(&registry).unwrap();
    state.apply(1, &tx).unwrap();
    assert_eq!(state.apply(1, &tx), Err(Reject::Nonce { expected: 1, found: 0 }));
    assert_eq!(state.apply(2, &tx), Err(Reject::Height { expected: 1, found: 2 }));
    assert_eq!(state.advance(3), Err(Reject::Height { expected: 2, found: 3 }));
    state.advance(2).unwrap();
    let late = sign(1, 1, &registry).check(&registry).unwrap();
    assert_eq!(state.apply(2, &late), Err(Reject::Expired { valid_until: 1, height: 2 }));
    let other = State::new(&genesis(Params { samples: 7, ..params })).unwrap();
    let foreign = sign(1, 9, other.registry());
    assert!(matches!(foreign.clone().check(&registry), Err(TxError::Signature { .. })));
    let foreign = foreign.check(other.registry()).unwrap();
    assert!(matches!(state.apply(2, &foreign), Err(Reject::Phase(_))));
}

#[test]
fn forged_and_oversized_transactions_are_none() {
    let secrets = [Secret::from_seed(&[1; 32]), Secret::from_seed(&[2; 32])];
    let registry = Digest([7; 32]);
    let signed = SignedTx::sign(&registry, 1, 2, transfer(3), &[&secrets[0], &secrets[1]]);
    assert_eq!(
        signed.clone().check(&registry).unwrap().signers(),
        [secrets[0].key(), secrets[1].key()]
    );
    let wrong = |change: fn(&mut SignedTx)| {
        let mut tx = signed.clone();
        change(&mut tx);
        tx.check(&registry).unwrap_err()
    };
    let is_forged = |e| matches!(e, TxError::Signature { .. });
    assert!(is_forged(wrong(|tx| tx.nonce += 1)));
    assert!(is_forged(wrong(|tx| tx.valid_until += 1)));
    assert!(is_forged(wrong(|tx| tx.body = transfer(4))));
    assert!(is_forged(wrong(|tx| tx.signatures[1].1[63] ^= 1)));
    assert!(is_forged(wrong(|tx| tx.signatures[0].0 = Key([5; 32]))));
    assert_eq!(wrong(|tx| tx.signatures.clear()), TxError::Signers { count: 0 });
    assert_eq!(wrong(|tx| tx.signatures[1] = tx.signatures[0]), TxError::Signers { count: 2 });
    let refused = SignedTx::decode(&vec![0; TX_BYTES_MAX + 1]);
    assert_eq!(refused, Err(TxError::Oversized { bytes: TX_BYTES_MAX + 1 }));
}

#[test]
fn nodes_join_once_with_their_own_key_and_the_authorities() {
    let mut world = World::started(params(), "2+2", 4, 1);
    let join = JoinNode {
        key: node_key(50),
        endpoint: Endpoint::default(),
        domains: [0; 3],
        capacity_gib: 1,
        stake: Amount(0),
    };
    let body = |join: &JoinNode| Body::JoinNode { join: join.clone() };
    let without_key = world.send(body(&join), &[OWNER, AUTHORITY]);
    assert_eq!(without_key, Err(Reject::Signer("the node's own key")));
    let without_authority = world.send(body(&join), &[OWNER, join.key]);
    assert_eq!(without_authority, Err(Reject::Signer("enough authorities")));
    let taken = JoinNode { key: node_key(0), ..join.clone() };
    let twice = world.send(body(&taken), &[OWNER, taken.key, AUTHORITY]);
    assert_eq!(twice, Err(Reject::KeyInUse(node_key(0))));
    let empty = JoinNode { capacity_gib: 0, ..join.clone() };
    assert!(matches!(
        world.send(body(&empty), &[OWNER, join.key, AUTHORITY]),
        Err(Reject::Value { .. })
    ));
    world.send(body(&join), &[OWNER, join.key, AUTHORITY]).unwrap();

    let mut open =
        World::started(Params { permissioned: false, nodes_max: 5, ..params() }, "2+2", 4, 1);
    open.send(body(&join), &[OWNER, join.key]).unwrap();
    assert_eq!(open.join(), Err(Reject::Full("nodes")));
    assert_eq!(
        World::started(params(), "2+2", 4, 1)
            .send(Body::OpenGroups { policy: "4+2".parse().unwrap(), count: 1 }, &[AUTHORITY])
            .map_err(|e| matches!(e, Reject::Election(_))),
        Err(true)
    );
}

#[test]
fn a_close_that_is_not_due_is_refused() {
    let mut world = World::started(params(), "2+2", 5, 2);
    let good = world.close();
    let mut refused = |batch: CloseBatch, signers: &[Key]| {
        world.send(Body::CloseBatch { batch }, signers).unwrap_err()
    };
    let enough = &VALIDATORS[..3];
    assert_eq!(refused(good, &VALIDATORS[..2]), Reject::Signer("two thirds of the validators"));
    assert_eq!(refused(good, &VALIDATORS[1..]), Reject::Signer("the holder of the lease"));
    let old = CloseBatch { term: 0, ..good };
    assert_eq!(refused(old, enough), Reject::Term { expected: Term(1), found: Term(0) });
    let value = |what, expected, found| Reject::Value { what, expected, found };
    assert_eq!(refused(CloseBatch { batch: 1, ..good }, enough), value("batch", 0, 1));
    assert_eq!(refused(CloseBatch { group: 1, ..good }, enough), value("group", 0, 1));
    for bad in [
        CloseBatch { blocks: 0, ..good },
        CloseBatch { first_block: u64::MAX, ..good },
        CloseBatch { leaf_bytes: 4095, ..good },
        CloseBatch { leaves_per_shard: 0, ..good },
        CloseBatch { leaves_per_shard: u32::MAX, ..good },
    ] {
        assert!(matches!(refused(bad, enough), Reject::Phase(_)), "{bad:?}");
    }
    world.archive();
    let gap = CloseBatch { first_block: 101, ..world.close() };
    let refused = world.send(Body::CloseBatch { batch: gap }, enough);
    assert_eq!(refused, Err(value("first block", 100, 101)));
}

#[test]
fn a_receipt_is_for_ones_own_slot_and_says_something_new() {
    let mut world = World::started(params(), "2+2", 5, 1);
    world.archive();
    let node = world.state.groups()[0].slots[0].holder.unwrap();
    let receipt =
        |slot, batches| Body::Receipt { receipt: Receipt { node, group: 0, slot, batches } };
    let key = [node_key(node.0)];
    assert!(matches!(world.send(receipt(0, 1), &key), Err(Reject::Phase(_))));
    assert!(matches!(world.send(receipt(0, 2), &key), Err(Reject::Value { .. })));
    assert_eq!(world.send(receipt(1, 1), &key), Err(Reject::Slot { group: 0, slot: 1, node }));
    assert!(matches!(world.send(receipt(9, 1), &key), Err(Reject::Slot { .. })));
    let far = Body::Receipt { receipt: Receipt { node, group: 7, slot: 0, batches: 1 } };
    assert!(matches!(world.send(far, &key), Err(Reject::Slot { .. })));
    assert!(matches!(
        world.send(receipt(0, 1), &[node_key(node.0 + 1)]),
        Err(Reject::Signer(_) | Reject::Account(_))
    ));
}

#[test]
fn a_proof_is_of_this_epoch_this_node_and_these_samples() {
    let mut world = World::started(params(), "2+2", 4, 2);
    world.archive();
    world.archive();
    assert!(world.proof(NodeId(0)).is_none(), "no seed yet");
    while world.state.epoch().seed.is_none() {
        world.block();
    }
    let good = world.proof(NodeId(0)).unwrap();
    let mut refused = |proof: Proof, signer: u32| {
        world.send(Body::Prove { proof }, &[node_key(signer)]).unwrap_err()
    };
    let with = |change: fn(&mut Proof)| {
        let mut proof = good.clone();
        change(&mut proof);
        proof
    };
    assert_eq!(refused(good.clone(), 1), Reject::Signer("the node"));
    assert!(matches!(refused(with(|p| p.epoch -= 1), 0), Reject::Value { what: "epoch", .. }));
    assert!(matches!(
        refused(with(|p| drop(p.answers.pop())), 0),
        Reject::Value { what: "answers", .. }
    ));
    assert!(matches!(
        refused(with(|p| p.node = NodeId(1)), 1),
        Reject::Root { .. } | Reject::Sample { .. }
    ));
    assert!(matches!(refused(with(|p| p.node = NodeId(9)), 0), Reject::Node(_)));
    assert!(matches!(
        refused(with(|p| p.answers[3].sample.sample[5] ^= 1), 0),
        Reject::Sample { position: 3, .. }
    ));
    assert!(matches!(
        refused(with(|p| p.answers[2].name.0[0] ^= 1), 0),
        Reject::Root { position: 2, .. }
    ));
    assert!(matches!(
        refused(with(|p| p.answers[0].name_path.clear()), 0),
        Reject::Root { position: 0, .. }
    ));
    let shifted = with(|p| p.answers.rotate_left(1));
    assert!(matches!(refused(shifted, 0), Reject::Root { .. } | Reject::Sample { .. }));
    let key = [node_key(0)];
    world.send(Body::Prove { proof: good.clone() }, &key).unwrap();
    assert!(matches!(world.send(Body::Prove { proof: good.clone() }, &key), Err(Reject::Phase(_))));
    world.prove();
    world.block();
    assert!(world.state.epoch().settled);
    assert!(matches!(world.send(Body::Prove { proof: good }, &key), Err(Reject::Phase(_))));
}

#[test]
fn the_lease_goes_to_one_of_the_in_sync_set_when_it_runs_out() {
    let mut world = World::started(params(), "2+2", 4, 1);
    let [first, second, third, _] = VALIDATORS;
    let acquire = |term, heights| Body::AcquireLease { term, heights };
    assert!(matches!(world.send(acquire(1, 10), &[second]), Err(Reject::Phase(_))));
    let stranger = Err(Reject::Signer("a validator, or enough authorities"));
    assert_eq!(world.send(acquire(1, 10), &[OWNER]), stranger);
    let in_sync = |members: &[Key]| Body::SetInSync {
        in_sync: SetInSync { term: 1, members: members.to_vec() },
    };
    assert!(matches!(world.send(in_sync(&[third, second]), &[first]), Err(Reject::Full(_))));
    assert!(matches!(world.send(in_sync(&[OWNER]), &[first]), Err(Reject::Signer(_))));
    world.send(in_sync(&[second]), &[first]).unwrap();
    let head = |term, number| Body::CommitHead { term, number, root: Digest([1; 32]) };
    world.send(head(1, 5), &[first]).unwrap();
    assert!(matches!(world.send(head(1, 5), &[first]), Err(Reject::Value { .. })));
    assert!(matches!(world.send(head(2, 6), &[first]), Err(Reject::Term { .. })));
    // its own holder ends it early, with a new term and a short time
    world.send(acquire(1, 2), &[first]).unwrap();
    for _ in 0..3 {
        world.block();
    }
    assert!(matches!(
        world.send(Body::RenewLease { term: 2, heights: 5 }, &[first]),
        Err(Reject::Phase(_))
    ));
    assert_eq!(world.send(acquire(2, 10), &[third]), Err(Reject::Signer("one of the in-sync set")));
    assert!(matches!(world.send(acquire(1, 10), &[second]), Err(Reject::Term { .. })));
    assert!(matches!(world.send(acquire(2, 0), &[second]), Err(Reject::Value { .. })));
    let events = world.send(acquire(2, 10), &[second]).unwrap();
    assert_eq!(events, [Event::Leased { holder: second, term: Term(3) }]);
    assert_eq!(
        world.send(head(1, 7), &[first]),
        Err(Reject::Term { expected: Term(3), found: Term(1) })
    );
    world.send(head(3, 7), &[second]).unwrap();
    world.send(Body::RenewLease { term: 3, heights: 50 }, &[second]).unwrap();
    assert_eq!(world.state.lease().unwrap().until, world.state.height() + 50);
    // a writer that is no validator: the authority signs that it may
    assert!(matches!(world.send(acquire(3, 10), &[OWNER, AUTHORITY]), Err(Reject::Phase(_))));
    for _ in 0..51 {
        world.block();
    }
    assert_eq!(world.send(acquire(3, 10), &[OWNER]), stranger);
    let events = world.send(acquire(3, 10), &[OWNER, AUTHORITY]).unwrap();
    assert_eq!(events, [Event::Leased { holder: OWNER, term: Term(4) }]);
    world.send(head(4, 8), &[OWNER]).unwrap();
    // it goes on as long as the authority says so
    let renew = Body::RenewLease { term: 4, heights: 50 };
    assert_eq!(world.send(renew.clone(), &[OWNER]), stranger);
    world.send(renew, &[OWNER, AUTHORITY]).unwrap();
}

#[test]
fn who_has_the_lease_and_is_a_validator_no_more_goes_on_until_it_runs_out() {
    let mut world = World::started(params(), "2+2", 4, 1);
    let [first, second, ..] = VALIDATORS;
    world.send(Body::AcquireLease { term: 1, heights: 100 }, &[first]).unwrap();
    let validators = VALIDATORS[1..].to_vec();
    world.send(Body::SetValidators { validators }, &[AUTHORITY]).unwrap();
    while world.state.validators().contains(&first) {
        world.block();
    }
    let head = |number| Body::CommitHead { term: 2, number, root: Digest([1; 32]) };
    world.send(head(1), &[first]).unwrap();
    let renewed = world.send(Body::RenewLease { term: 2, heights: 100 }, &[first]);
    assert_eq!(renewed, Err(Reject::Signer("a validator, or enough authorities")));
    let acquire = Body::AcquireLease { term: 2, heights: 100 };
    assert!(matches!(world.send(acquire.clone(), &[second]), Err(Reject::Phase(_))));
    while world.state.lease().unwrap().until >= world.state.height() {
        world.block();
    }
    assert!(matches!(world.send(head(2), &[first]), Err(Reject::Phase(_))));
    assert!(world.send(acquire.clone(), &[first]).is_err());
    world.send(acquire, &[second]).unwrap();
}

#[test]
fn parameters_and_validators_change_when_they_should() {
    let mut world = World::started(params(), "2+2", 4, 1);
    let later = Params { margin: 0, ..params() };
    let set = |height, params: &Params| Body::SetParams { height, params: params.clone() };
    assert!(matches!(world.send(set(5, &later), &[OWNER]), Err(Reject::Signer(_))));
    assert!(matches!(world.send(set(1, &later), &[AUTHORITY]), Err(Reject::Phase(_))));
    let bad = Params { samples: 0, ..params() };
    assert!(matches!(world.send(set(5, &bad), &[AUTHORITY]), Err(Reject::Params(_))));
    world.send(set(3, &later), &[AUTHORITY]).unwrap();
    world.block();
    assert_eq!(world.state.params().margin, 1);
    assert!(world.block().contains(&Event::ParamsChanged));
    assert_eq!(world.state.params(), &later);

    let new = Key([90; 32]);
    let validators = |keys: &[Key]| Body::SetValidators { validators: keys.to_vec() };
    assert!(matches!(world.send(validators(&[]), &[AUTHORITY]), Err(Reject::Full(_))));
    assert!(matches!(world.send(validators(&[new, new]), &[AUTHORITY]), Err(Reject::Full(_))));
    world.send(validators(&[new]), &[AUTHORITY]).unwrap();
    assert_eq!(world.state.validators(), VALIDATORS);
    world.run_until(|e| *e == Event::ValidatorsChanged);
    assert_eq!(world.state.validators(), [new]);
    assert!(matches!(
        world.send(Body::AttestReadBack { up_to: 0 }, &[VALIDATORS[0]]),
        Err(Reject::Signer(_))
    ));
}

#[test]
fn a_snapshot_of_another_state_or_half_a_snapshot_is_refused() {
    let mut world = World::started(params(), "2+2", 4, 2);
    world.archive();
    let (snapshot, root) = (world.state.snapshot(), world.state.root());
    let other = State::restore(&snapshot, &Digest([0; 32]));
    assert!(matches!(other, Err(SnapshotError::Root { .. })));
    for at in (0..snapshot.len()).step_by(7) {
        let mut flipped = snapshot.clone();
        flipped[at] ^= 1;
        assert!(State::restore(&flipped, &root).is_err(), "byte {at}");
        assert!(matches!(State::restore(&snapshot[..at], &root), Err(SnapshotError::Format(_))));
    }
    world.block();
    assert!(matches!(
        State::restore(&snapshot, &world.state.root()),
        Err(SnapshotError::Root { .. })
    ));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(kind in 0u8..30, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut tx = vec![0; 16];
        tx.push(kind);
        tx.extend(&bytes);
        if let Ok(tx_read) = SignedTx::decode(&tx) {
            prop_assert_eq!(tx_read.to_bytes(), tx.clone());
        }
        if let Ok(body) = Body::from_bytes("body", &tx[16..]) {
            prop_assert_eq!(body.to_bytes(), &tx[16..]);
        }
        prop_assert!(State::restore(&bytes, &Digest([1; 32])).is_err());
    }

    #[test]
    fn arbitrary_transactions_never_panic_the_machine(kind in 1u8..26, bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..200), sender in 0usize..4) {
        let mut world = World::started(params(), "2+2", 4, 1);
        world.send_close().unwrap();
        let mut all = vec![kind];
        all.extend(&bytes);
        // as much as there is of a body
        let body = (0..=all.len()).rev().find_map(|end| Body::from_bytes("body", &all[..end]).ok());
        if let Some(body) = body {
            let signers = [[AUTHORITY, OWNER], [VALIDATORS[0], OWNER], [OWNER, AUTHORITY], [node_key(0), OWNER]][sender];
            let tx: CheckedTx = world.tx(body, &signers);
            _ = world.apply(&tx);
            world.check();
        }
    }
}

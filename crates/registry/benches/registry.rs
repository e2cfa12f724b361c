//! `cargo bench -p prunedb-registry`: transactions a second, what an epoch and a root cost, how the state grows.

use prunedb_core::{Digest, LakeId};
use prunedb_registry::{
    Amount, Body, CheckedTx, CloseBatch, Endpoint, Genesis, JoinNode, Key, NodeId, Params, Receipt,
    State,
};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const AUTHORITY: Key = Key([1; 32]);
const NODES: u32 = 100;
const GROUPS: u32 = 4096;
/// How often the same closing is measured.
const CLOSINGS: u32 = 200;

fn node_key(number: u32) -> Key {
    let mut key = [100; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    Key(key)
}

fn send(state: &mut State, body: Body, signers: &[Key]) {
    let nonce = state.bank().accounts[&signers[0]].nonce;
    let tx = CheckedTx::unsigned(*state.registry(), nonce, u64::MAX, body, signers.to_vec());
    state.apply(state.height(), &tx).expect("made to be accepted");
}

fn close(state: &mut State) {
    let batch = state.batches().count();
    let close = CloseBatch {
        batch,
        term: 1,
        first_block: u64::from(batch) * 100,
        blocks: 100,
        container_digest: Digest([8; 32]),
        root: Digest([9; 32]),
        codec: 1,
        generation: 0,
        leaf_bytes: 16_384,
        leaves_per_shard: 100,
        container_bytes: 30_000_000,
        coded_bytes: 20_000_000,
        group: batch % GROUPS,
    };
    send(state, Body::CloseBatch { batch: close }, &[AUTHORITY]);
}

fn receipts(state: &mut State) -> u32 {
    let Some(group) = state.closing().map(|b| b.group) else { return 0 };
    let batches = state.batches().of_group(group) + 1;
    let mut sent = 0;
    for slot in 0..20 {
        let node = state.groups()[group as usize].slots[usize::from(slot)].holder.expect("elected");
        if state.closing().is_none() {
            // p and the margin are enough, the others follow
            break;
        }
        let receipt = Receipt { node, group, slot, batches };
        send(state, Body::Receipt { receipt }, &[node_key(node.0)]);
        sent += 1;
    }
    sent
}

fn ms(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

fn main() {
    let params = Params {
        closing_heights: 1,
        margin: 1,
        epoch_heights: 700,
        ..Params::permissioned(AUTHORITY)
    };
    let genesis = Genesis { lake: LakeId([9; 16]), params, validators: vec![AUTHORITY] };
    let mut state = State::new(&genesis).expect("good rules");
    state.advance(1).expect("the first height");
    for number in 0..NODES {
        let join = JoinNode {
            key: node_key(number),
            endpoint: Endpoint::new("127.0.0.1:9900").expect("short"),
            domains: [0; 3],
            capacity_gib: 500_000,
            stake: Amount(0),
        };
        let key = join.key;
        send(&mut state, Body::JoinNode { join }, &[AUTHORITY, key]);
    }
    let started = Instant::now();
    send(
        &mut state,
        Body::OpenGroups { policy: "16+4".parse().expect("a policy"), count: GROUPS },
        &[AUTHORITY],
    );
    println!("first election, {GROUPS} groups of 20, {NODES} nodes: {:.0} ms", ms(started));
    send(&mut state, Body::AcquireLease { term: 0, heights: 10_000 }, &[AUTHORITY]);

    let transfers = 200_000;
    let deposit = Body::Deposit { account: AUTHORITY, amount: Amount(1) };
    let started = Instant::now();
    for _ in 0..transfers {
        send(&mut state, deposit.clone(), &[AUTHORITY]);
    }
    println!(
        "registry::apply/tx=deposit: {:.0} transactions/s",
        f64::from(transfers) / started.elapsed().as_secs_f64()
    );

    // past the first epoch: what opened in it is frozen
    while state.epoch().number == 0 || !state.epoch().settled {
        state.advance(state.height() + 1).expect("the next height");
    }
    let started = Instant::now();
    close(&mut state);
    println!(
        "registry::apply/tx=close_batch (an election that moves nothing): {:.1} ms",
        ms(started)
    );
    let (mut sent, mut spent) = (0, Duration::ZERO);
    for _ in 0..CLOSINGS {
        let mut closing = state.clone();
        let started = Instant::now();
        sent += receipts(&mut closing);
        spent += started.elapsed();
    }
    println!(
        "registry::apply/tx=receipt: {:.0} transactions/s, the closing and a new epoch in every {} of them",
        f64::from(sent) / spent.as_secs_f64(),
        sent / CLOSINGS
    );
    receipts(&mut state);
    state.advance(state.height() + 1).expect("the next height");

    let mut one_left = state.clone();
    let started = Instant::now();
    send(
        &mut one_left,
        Body::LeaveNode { leave: prunedb_registry::Leave { node: NodeId(7) } },
        &[node_key(7)],
    );
    println!("one of {NODES} leaves: {:.1} ms, its slots are elected anew", ms(started));

    let started = Instant::now();
    black_box(state.root());
    println!("registry::root: {:.1} ms", ms(started));
    let started = Instant::now();
    let snapshot = state.snapshot();
    let root = state.root();
    println!("snapshot: {:.2} MB in {:.0} ms", snapshot.len() as f64 / 1e6, ms(started));
    let started = Instant::now();
    State::restore(&snapshot, &root).expect("just made");
    println!("restore: {:.0} ms", ms(started));
}

//! Transactions, questions, restarts, and clients that misbehave.

use crate::world::{AUTHORITY, VALIDATOR, World, secret};
use prunedb_disk::faulty::{FaultyDisk, Unsynced};
use prunedb_registry::{Amount, Body, SignedTx, canonical::Canonical};
use prunedb_validator::{Client, ClientError, NoCopies};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_comes_in_once_and_a_refusal_says_why() {
    let world = World::fresh().await;
    world.deposit(7, 100).await;
    let key = secret(7).key();
    assert_eq!(world.client.account(key).await.unwrap().1.unwrap().balance, Amount(100));
    let withdraw = |amount| Body::Withdraw { amount: Amount(amount) };
    let too_much = world.client.send(&world.registry, withdraw(101), &[&secret(7)]).await;
    let Err(ClientError::Rejected { reason, .. }) = too_much else { panic!("{too_much:?}") };
    assert_eq!(reason, "100 is there, 101 is needed");
    let stranger = world.client.send(&world.registry, withdraw(1), &[&secret(8)]).await;
    assert!(matches!(stranger, Err(ClientError::Account { .. })), "{stranger:?}");
    let forged = SignedTx::sign(&world.registry, 0, 1_000_000, withdraw(1), &[&secret(7)]);
    let mut bytes = forged.to_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    let refused = world.client.submit(bytes).await.unwrap_err().to_string();
    assert!(refused.contains("signature"), "{refused}");
    // two senders with one key: both come through
    let (one, two) = (world.client.clone(), Client::new([world.address.clone()]));
    let (sender, registry) = (secret(7), world.registry);
    let signers = [&sender];
    let (a, b) = tokio::join!(
        one.send(&registry, withdraw(10), &signers),
        two.send(&registry, withdraw(20), &signers)
    );
    assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
    assert_eq!(world.client.account(key).await.unwrap().1.unwrap().balance, Amount(70));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_from_its_snapshot_with_the_same_root() {
    let disk = FaultyDisk::new(1);
    let mut world = World::start(&disk, Arc::new(NoCopies)).await;
    for round in 1..4u64 {
        world.deposit(7, 100).await;
        let height = world.client.height(0, 0).await.unwrap();
        // past a snapshot
        world.client.height(height + 20, 10_000).await.unwrap();
        let (events, next) = world.client.history(0, 1000, 0).await.unwrap();
        let deposits = events.iter().filter(|e| e.kind == "deposited").count() as u64;
        assert_eq!(deposits, round, "{events:?}");
        assert_eq!(events.last().unwrap().number + 1, next);
        let status = world.client.status().await.unwrap();
        assert!(status.root_height > 0 && status.failure.is_none(), "{status:?}");
        let disk = world.stop().await.crashed(Unsynced::Torn(round));
        world = World::start(&disk, Arc::new(NoCopies)).await;
        let again = world.client.height(status.height, 10_000).await.unwrap();
        assert!(again >= status.height);
        let key = secret(7).key();
        let account = world.client.account(key).await.unwrap().1.unwrap();
        assert_eq!(account.balance, Amount(100 * round));
        let disk = world.stop().await;
        world = World::start(&disk, Arc::new(NoCopies)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_validator_gives_its_part_to_every_seed() {
    let world = World::fresh().await;
    let me = secret(VALIDATOR).key();
    let mut heights = world.validator.heights();
    let mut revealed = None;
    while revealed.is_none() {
        heights.changed().await.unwrap();
        revealed = world.validator.with_state(|state| state.epoch().reveals.get(&me).copied());
    }
    let epoch = world.client.epoch().await.unwrap();
    assert_eq!(epoch.reveals.get(&me), revealed.as_ref());
    world.client.height(epoch.started + 21, 10_000).await.unwrap();
    let (events, _) = world.client.history(0, 1000, 0).await.unwrap();
    assert!(events.iter().any(|e| e.kind == "seed"), "{events:?}");
    assert!(events.iter().all(|e| e.kind != "seed_withheld"), "{events:?}");
    let other = World::fresh().await;
    let mut heights = other.validator.heights();
    _ = heights.wait_for(|&height| height > 21).await.unwrap();
    let (seed, _) = other.validator.with_state(|s| (s.epoch().last_seed, s.height()));
    assert_ne!(seed, other.registry.0, "it does not follow from the genesis alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_or_ends_its_own_connection_only() {
    let world = World::fresh().await;
    let mut socket = TcpStream::connect(&world.address).await.unwrap();
    socket.write_all(&[3, 0, 0, 0, 99, 1, 2]).await.unwrap();
    let mut length = [0; 4];
    socket.read_exact(&mut length).await.unwrap();
    let mut answer = vec![0; u32::from_le_bytes(length) as usize];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[0], 1, "refused");
    socket.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    assert_eq!(socket.read(&mut length).await.unwrap(), 0, "closed");
    assert!(world.client.status().await.is_ok());
    let nobody = Client::new(["127.0.0.1:1".into(), world.address.clone()]);
    assert_eq!(nobody.status().await.unwrap().registry, world.registry, "the next one answers");
    let nobody = Client::new(["127.0.0.1:1".into()]);
    let error = nobody.status().await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1"), "{error}");
    assert_eq!(world.client.account(secret(AUTHORITY).key()).await.unwrap().1.unwrap().nonce, 0);
}

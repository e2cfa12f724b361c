//! Transactions, questions, restarts, and clients that misbehave.

use crate::world::{AUTHORITY, VALIDATOR, World, secret};
use prunedb_access::{Identity, PublicKey, tls};
use prunedb_disk::faulty::{FaultyDisk, Unsynced};
use prunedb_registry::{Amount, Body, SignedTx, canonical::Canonical};
use prunedb_validator::{Client, ClientError, DoorAddress, NoCopies};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

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
    let door: DoorAddress = world.address.parse().unwrap();
    let tls = tls::client(&Identity::from_seed([1; 32].into()), PublicKey(door.key.0));
    let socket = TcpStream::connect(&door.server).await.unwrap();
    let mut socket = TlsConnector::from(tls).connect(tls::no_name(), socket).await.unwrap();
    socket.write_all(&[3, 0, 0, 0, 99, 1, 2]).await.unwrap();
    let mut length = [0; 4];
    socket.read_exact(&mut length).await.unwrap();
    let mut answer = vec![0; u32::from_le_bytes(length) as usize];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[0], 1, "refused");
    socket.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    assert!(!matches!(socket.read(&mut length).await, Ok(1..)), "closed");
    // in the clear nothing is said
    let mut socket = TcpStream::connect(&door.server).await.unwrap();
    socket.write_all(&[1, 0, 0, 0, 1]).await.unwrap();
    let mut said = Vec::new();
    _ = socket.read_to_end(&mut said).await;
    assert!(said.len() < 16, "an alert at most: {said:?}");
    assert!(world.client.status().await.is_ok());
    let other = DoorAddress { server: "127.0.0.1:1".into(), ..door.clone() }.to_string();
    let nobody = Client::new([other.clone(), world.address.clone()]);
    assert_eq!(nobody.status().await.unwrap().registry, world.registry, "the next one answers");
    let error = Client::new([other.clone()]).status().await.unwrap_err().to_string();
    assert!(error.contains(&other), "{error}");
    let error = Client::new([door.server.clone()]).status().await.unwrap_err().to_string();
    assert!(error.contains("it names no key"), "{error}");
    assert_eq!(world.client.account(secret(AUTHORITY).key()).await.unwrap().1.unwrap().nonce, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_door_is_refused_whatever_it_says() {
    let world = World::fresh().await;
    // a validator, but not the one that is asked
    let mut door: DoorAddress = world.address.parse().unwrap();
    door.key = secret(99).key();
    // nor is one that speaks no TLS
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = plain.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = plain.accept().await {
            _ = socket.write_all(&[13, 0, 0, 0, 13]).await;
        }
    });
    let plain = DoorAddress { server, key: secret(VALIDATOR).key() };
    for door in [&door, &plain] {
        let client = Client::new([door.to_string()]);
        let error = client.status().await.unwrap_err();
        assert!(matches!(error, ClientError::Impostor { .. }), "{error}");
        assert_eq!(client.agreed_watermark().await, None);
    }
    let shown = Client::new([door.to_string()]).status().await.unwrap_err().to_string();
    let key = secret(VALIDATOR).key().to_string();
    assert!(shown.contains(&key), "{shown}");
    let both = Client::new([door.to_string(), world.address.clone()]);
    assert_eq!(
        both.status().await.unwrap().registry,
        world.registry,
        "the right one is asked, too"
    );
}

//! Those who lie, lose, vanish or cannot pay.

use crate::world::{CELL_BYTES, MONEY, World, content, rent};
use prunedb_core::Digest;
use prunedb_market::{CELL_TERM, LightState, LinkError, TenantError, cells_lake, message::Refusal};
use prunedb_registry::{Amount, Body, NodeStatus, Secret};

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_or_vanishes_is_not_paid_and_a_forged_report_is_found() {
    let world = World::start(1_000_000).await;
    let one = world.heavy(1).await;
    let two = world.heavy(2).await;
    one.add_neighbour(two.address());
    two.add_neighbour(one.address());
    let (loses, _) = world.light(11, &two, 1_000, false).await;
    let (vanishes, vanished_node) = world.light(12, &two, 2_000, false).await;
    let owner = world.tenant(20, &one, MONEY).await;
    let lost = owner.rent(&rent(1_500, 50), &content(1, CELL_BYTES)[..]).await.unwrap();
    let except = vec![lost.offer.holder];
    let second = prunedb_market::Rent { except, ..rent(2_500, 50) };
    let gone = owner.rent(&second, &content(2, CELL_BYTES)[..]).await.unwrap();
    assert_eq!(gone.offer.holder, vanished_node);
    world.reported(&lost, 1).await;

    let shard = loses.storage().list(cells_lake(loses.key()), None, 10).unwrap()[0];
    assert_eq!(shard.name, lost.root);
    assert!(loses.storage().delete(shard.id, CELL_TERM).unwrap());
    let vanished_key = vanishes.key();
    vanishes.stop().await;
    // one epoch may have been proven before
    let at = world.cell(lost.number).await.unwrap();
    let reported = at.cell.epochs - at.epochs_left + 3;
    let now = world.reported(&lost, reported).await;
    assert!(now.epochs_proven <= at.epochs_proven + 1, "lost, and paid: {now:?}");
    let now = world.reported(&gone, reported).await;
    assert!(now.epochs_proven <= at.epochs_proven + 1, "vanished, and paid: {now:?}");
    assert_eq!(world.balance(vanished_key) - MONEY, u64::from(now.epochs_proven) * 1_960);
    assert!(one.status().findings.is_empty(), "{:?}", one.status());

    // the heavy node has the lost cell paid, with answers that nobody gave
    let heavy = Secret::from_seed(&[2; 32]);
    let client = world.market.client();
    let mut blocks = world.blocks();
    while one.status().findings.is_empty() {
        let epoch = client.epoch().await.unwrap().number;
        let body = Body::ReportCells {
            heavy: two.node(),
            epoch: epoch - 1,
            answers_root: Digest([7; 32]),
            proven: vec![0b11],
        };
        // too late where the honest one came first: the next epoch's
        let sent = client.send(world.market.registry(), body, &[&heavy]).await;
        let paid = sent.is_ok();
        blocks.next().await;
        while paid
            && one.status().findings.is_empty()
            && client.epoch().await.unwrap().number <= epoch + 1
        {
            blocks.next().await;
        }
    }
    let finding = one.status().findings.remove(0);
    assert!(finding.contains("heavy node"), "{finding}");
    let is_forgery = ["not under the root", "no answer is shown", "had not answered"];
    assert!(is_forgery.iter().any(|text| finding.contains(text)), "{finding}");
    // who forges is asked nothing any more
    let refused = owner.find(&rent(9_000, 1)).await.unwrap_err().to_string();
    assert!(refused.contains("nobody within reach"), "{refused}");
    // it cannot show an answer under that root: the registry convicts it, and gives back what is left of the rent
    let nodes = || async { client.placement().await.unwrap().nodes };
    while nodes().await[two.node().0 as usize].status == NodeStatus::Active {
        blocks.next().await;
    }
    assert!(world.cell(lost.number).await.is_none() && world.cell(gone.number).await.is_none());
    loses.stop().await;
    one.stop().await;
    two.stop().await;
    world.market.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_capacity_and_an_empty_purse_are_refused() {
    let world = World::start(0).await;
    let heavy = world.heavy(1).await;
    let mut config = world.market.light_config([11; 32], heavy.address(), 64 << 20, 1_000);
    config.offer_bytes = Some(1 << 40);
    let liar = world.market.light(config, MONEY).await.unwrap();
    let mut state = liar.state();
    let refused = |s: &LightState| matches!(s, LightState::Waiting(Some(_)));
    let LightState::Waiting(Some(reason)) = state.wait_for(refused).await.unwrap().clone() else {
        panic!("it registered")
    };
    assert!(reason.contains("offers 1099511627776 bytes, the check found"), "{reason}");
    let nodes = world.market.client().placement().await.unwrap().nodes;
    assert_eq!(nodes.len(), 1, "it did not join");
    let (light, node) = world.light(12, &heavy, 1_000, false).await;
    let poor = world.tenant(20, &heavy, 2_999).await;
    let refused = poor.find(&rent(1_000, 3)).await.unwrap_err();
    let TenantError::Heavy(LinkError::Refused(Refusal::Funds { needed, found })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((needed, found), (Amount(3_000), Amount(2_999)));
    // enough when it was asked for, spent when the contract comes
    let twice = async || poor.rent(&rent(1_000, 2), &content(1, CELL_BYTES)[..]).await;
    assert_eq!(twice().await.unwrap().offer.holder, node);
    let refused = twice().await.unwrap_err().to_string();
    assert!(refused.contains("the owner has 999, the rent is 2000"), "{refused}");
    let short = [1u8; 10];
    let content = prunedb_market::Rent { content_bytes: (256 << 20) + 1, ..rent(1_000, 1) };
    let refused = poor.rent(&content, &short[..]).await.unwrap_err();
    assert!(matches!(refused, TenantError::Size { .. }), "{refused}");
    liar.stop().await;
    light.stop().await;
    heavy.stop().await;
    world.market.stop().await;
}

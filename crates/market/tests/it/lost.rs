//! Heavy nodes that die: those that come back, and those that do not.

use crate::world::{CELL_BYTES, MONEY, World, content, read, rent};
use prunedb_market::{LocalMarket, audit};

#[tokio::test(flavor = "multi_thread")]
async fn a_heavy_node_that_died_shows_what_it_reported_before() {
    let world = World::start(0).await;
    let heavy = world.heavy(1).await;
    let (light, _) = world.light(11, &heavy, 1_000, false).await;
    let owner = world.tenant(20, &heavy, MONEY).await;
    let cell = owner.rent(&rent(1_000, 50), &content(1, CELL_BYTES)[..]).await.unwrap();
    let reported = world.reported(&cell, 1).await;
    assert_eq!(reported.epochs_proven, 1);
    // nothing is written on the way out: the tasks end where they are
    drop(heavy);
    let before = world.market.client().cell_reports().await.unwrap()[0].1.epoch;
    let heavy = world.heavy(1).await;
    let registry = world.market.addresses();
    let audited = audit(&[30; 32], heavy.address(), &registry, cell.number).await.unwrap();
    // an epoch may have ended since, in which nobody was there to be asked
    let has_gone_on = audited.epoch > before && audited.shown == Ok(0);
    assert!(has_gone_on || audited.shown == Ok(8), "{before}: {audited:?}");
    let other = audit(&[30; 32], heavy.address(), &registry, cell.number + 1).await.unwrap();
    assert!(other.shown.is_err(), "{other:?}");
    light.stop().await;
    heavy.stop().await;
    world.market.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_of_a_heavy_node_that_does_not_come_back_go_over_to_another_one() {
    let world = World::start(0).await;
    let one = world.heavy(1).await;
    let two = world.heavy(2).await;
    let mut config = world.market.light_config([11; 32], one.address(), 64 << 20, 1_000);
    config.offer_bytes = Some(8 << 20);
    config.is_relayed = true;
    config.heavies.push(two.address());
    let light = world.market.light(config, MONEY).await.unwrap();
    LocalMarket::registered(&light).await.unwrap();
    let mut blocks = world.blocks();
    while one.status().summary.children + two.status().summary.children < 2 {
        blocks.next().await;
    }
    let owner = world.tenant(20, &one, MONEY).await;
    let text = content(1, CELL_BYTES);
    let cell = owner.rent(&rent(1_000, 50), &text[..]).await.unwrap();
    assert_eq!(cell.offer.heavy, one.node());
    let before = world.market.money();
    world.reported(&cell, 1).await;
    one.stop().await;
    let at = world.cell(cell.number).await.unwrap();
    let mut blocks = world.blocks();
    let adopted = loop {
        let now = world.cell(cell.number).await.unwrap();
        if now.cell.holder_heavy == Some(two.node()) {
            break now;
        }
        blocks.next().await;
    };
    assert_eq!(
        (adopted.held, adopted.epochs_left, adopted.epochs_proven),
        (at.held, at.epochs_left, at.epochs_proven),
        "what nobody reported is neither paid nor counted"
    );
    // the contract goes on: read through the new one, proven, paid
    assert_eq!(read(&owner, &cell).await, text);
    assert!(two.status().relayed_bytes > CELL_BYTES, "{:?}", two.status());
    let mut blocks = world.blocks();
    while world.cell(cell.number).await.unwrap().epochs_proven == at.epochs_proven {
        blocks.next().await;
    }
    owner.end(cell.number).await.unwrap();
    assert_eq!(world.market.money(), before, "nothing came, nothing went");
    // the price less 2 %; a half of them to each heavy node: the owner's, which is gone, and the holder's, whoever it is now
    let earned = world.balance(light.key()) - MONEY;
    assert_eq!((earned % 980, earned / 980 >= 2), (0, true), "{earned}");
    assert!(world.balance(two.address().key) > MONEY);
    light.stop().await;
    two.stop().await;
    world.market.stop().await;
}

//! From a wish to the last payment.

use crate::world::{CELL_BYTES, MONEY, World, content, read, rent};
use prunedb_market::TenantError;

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_is_found_two_hops_away_written_proven_paid_and_ended() {
    let world = World::start(1_000_000).await;
    let one = world.heavy(1).await;
    let two = world.heavy(2).await;
    one.add_neighbour(two.address());
    two.add_neighbour(one.address());
    // the near one is dear, one of the far ones is behind a wall
    let (near, near_node) = world.light(11, &one, 5_000, false).await;
    let (far, far_node) = world.light(12, &two, 1_000, false).await;
    let (walled, walled_node) = world.light(13, &two, 2_000, true).await;
    let owner = world.tenant(20, &one, MONEY).await;
    let before = world.market.money();

    // what does not fill whole KiB is filled up, and comes back as it was
    let text = content(1, CELL_BYTES - 100);
    let asked = prunedb_market::Rent { content_bytes: CELL_BYTES - 100, ..rent(1_500, 50) };
    let cell = owner.rent(&asked, &text[..]).await.unwrap();
    assert_eq!((cell.offer.holder, cell.bytes), (far_node, CELL_BYTES));
    assert_eq!(cell.path, [one.address().key, two.address().key], "two hops, in order");
    assert_eq!(far.cells().unwrap(), [(cell.root, CELL_BYTES)]);
    let walled_rent = prunedb_market::Rent { except: vec![far_node], ..rent(3_000, 50) };
    let other = content(2, CELL_BYTES);
    let relayed = owner.rent(&walled_rent, &other[..]).await.unwrap();
    assert_eq!(relayed.offer.holder, walled_node);
    assert!(two.status().relayed_bytes > CELL_BYTES, "{:?}", two.status());
    let third = prunedb_market::Rent { except: vec![far_node, walled_node], ..rent(9_000, 50) };
    let own = owner.rent(&third, &content(3, CELL_BYTES)[..]).await.unwrap();
    assert_eq!((own.offer.holder, own.path.len()), (near_node, 1), "in the own subtree");
    assert_eq!(read(&owner, &cell).await, text);
    assert_eq!(read(&owner, &relayed).await, other);
    let set_aside = 50 * (1_000 + 2_000 + 5_000);
    assert_eq!(world.balance(owner.key()), MONEY - set_aside);
    let nobody = prunedb_market::Rent { except: vec![far_node], ..rent(1_500, 50) };
    let refused = owner.find(&nobody).await.unwrap_err().to_string();
    assert!(refused.contains("nobody within reach"), "{refused}");

    let proven = world.reported(&cell, 3).await;
    assert!(proven.epochs_proven >= 2, "{proven:?}");
    owner.end(cell.number).await.unwrap();
    assert!(matches!(owner.end(cell.number).await, Err(TenantError::Registry(_))), "it has ended");
    owner.end(relayed.number).await.unwrap();
    owner.end(own.number).await.unwrap();
    // the price less 2 %, in halves to the two heavy nodes
    let earned = world.balance(far.key()) - MONEY;
    assert_eq!((earned % 980, earned / 980 >= 2), (0, true), "{earned}");
    assert_eq!((world.balance(near.key()) - MONEY) % 4_900, 0);
    assert_eq!(world.market.money(), before, "nothing came, nothing went");
    assert_eq!(one.status().findings, two.status().findings);
    assert!(one.status().findings.is_empty(), "{:?}", one.status());
    // what it owes has ended: it may go
    far.leave().await.unwrap();
    let mut blocks = world.blocks();
    while world.market.client().duty(far.key()).await.unwrap().is_some() {
        blocks.next().await;
    }
    for light in [near, far, walled] {
        light.stop().await;
    }
    one.stop().await;
    two.stop().await;
    world.market.stop().await;
}

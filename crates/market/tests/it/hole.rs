//! A light node behind a router, reached by iroh.

use crate::world::{CELL_BYTES, MONEY, World, content, read, rent};

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_is_written_and_read_by_iroh_and_nothing_of_it_is_relayed_over_tcp() {
    let world = World::start(0).await;
    let heavy = world.heavy(1).await;
    let (light, node) = world.light(11, &heavy, 1_000, true).await;
    let owner = world.tenant(20, &heavy, MONEY).await;
    let relayed = heavy.status().relayed_bytes;
    let text = content(1, CELL_BYTES);
    let cell = owner.rent(&rent(1_000, 50), &text[..]).await.unwrap();
    assert_eq!((cell.offer.holder, cell.offer.is_relayed), (node, true));
    assert_eq!(read(&owner, &cell).await, text);
    let status = heavy.status();
    assert_eq!(status.relayed_bytes, relayed, "it went another way");
    assert!(status.hole.unwrap().relayed_bytes > 0, "they met at the heavy node's relay");
    light.stop().await;
    heavy.stop().await;
    world.market.stop().await;
}
